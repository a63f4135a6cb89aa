#include "md/store_fixture.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include "catch.h"

namespace md::test {

namespace {

void add_extension(X509* x509, int nid, const std::string& value, X509* issuer = nullptr) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer != nullptr ? issuer : x509, x509, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    base::check(extension != nullptr);
    base::check(X509_add_ext(x509, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

template <typename Write>
std::string to_text(Write&& write) {
    BIO* bio = BIO_new(BIO_s_mem());
    base::check(write(bio) == 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(bio);
    return text;
}

/// "/C=XX/O=Example/CN=<name>"
void fill_name(X509_NAME* into, const std::string& name) {
    for (const auto& [field, value] :
         {std::pair{"C", "XX"}, std::pair{"O", "Example"}, std::pair{"CN", name.c_str()}}) {
        X509_NAME_add_entry_by_txt(into, field, MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(value), -1, -1, 0);
    }
}

void set_times(X509* x509, base::Time from, base::Duration lifetime) {
    ASN1_TIME_set(X509_getm_notBefore(x509), std::chrono::system_clock::to_time_t(from));
    ASN1_TIME_set(X509_getm_notAfter(x509), std::chrono::system_clock::to_time_t(from + lifetime));
}

std::string pem_of(X509* x509) {
    return to_text([&](BIO* bio) { return PEM_write_bio_X509(bio, x509); });
}

/// The members of AIA (RFC 5280 4.2.2.1) in OpenSSL's words.
std::string access_text(const PairOptions& options) {
    std::string text;
    if (!options.ocsp_url.empty()) text = "OCSP;URI:" + options.ocsp_url;
    if (!options.ca_issuers.empty()) {
        text += (text.empty() ? "" : ",") + ("caIssuers;URI:" + options.ca_issuers);
    }
    return text;
}

}  // namespace

Issuer make_issuer(const IssuerOptions& options) {
    Issuer issuer{{X509_new(), X509_free},
                  {options.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"), EVP_PKEY_free}};
    X509* x509 = issuer.certificate.get();
    base::check(x509 != nullptr && issuer.key != nullptr);
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    fill_name(X509_get_subject_name(x509), options.name);
    X509_set_issuer_name(x509, X509_get_subject_name(x509));
    set_times(x509, options.from, options.lifetime);
    X509_set_pubkey(x509, issuer.key.get());
    add_extension(x509, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(x509, NID_subject_key_identifier, "hash");
    base::check(X509_sign(x509, issuer.key.get(), EVP_sha256()) > 0);
    return issuer;
}

void add_crl_points(x509_st* certificate, const std::vector<CrlPoint>& points) {
    CRL_DIST_POINTS* all = sk_DIST_POINT_new_null();
    for (const CrlPoint& point : points) {
        DIST_POINT* one = DIST_POINT_new();
        one->distpoint = DIST_POINT_NAME_new();
        one->distpoint->type = 0;
        one->distpoint->name.fullname = GENERAL_NAMES_new();
        for (const std::string& url : point.urls) {
            GENERAL_NAME* name = GENERAL_NAME_new();
            ASN1_IA5STRING* text = ASN1_IA5STRING_new();
            ASN1_STRING_set(text, url.data(), static_cast<int>(url.size()));
            GENERAL_NAME_set0_value(name, GEN_URI, text);
            sk_GENERAL_NAME_push(one->distpoint->name.fullname, name);
        }
        if (point.some_reasons) {
            one->reasons = ASN1_BIT_STRING_new();
            ASN1_BIT_STRING_set_bit(one->reasons, 1, 1);  // keyCompromise
        }
        if (point.other_issuer) {
            X509_NAME* other = X509_NAME_new();
            fill_name(other, "Other");
            GENERAL_NAME* name = GENERAL_NAME_new();
            GENERAL_NAME_set0_value(name, GEN_DIRNAME, other);
            one->CRLissuer = GENERAL_NAMES_new();
            sk_GENERAL_NAME_push(one->CRLissuer, name);
        }
        sk_DIST_POINT_push(all, one);
    }
    base::check(X509_add1_ext_i2d(certificate, NID_crl_distribution_points, all, 0, 0) == 1);
    sk_DIST_POINT_pop_free(all, DIST_POINT_free);
}

TempDir::TempDir() {
    // In memory if there is such a place: thousands of fsyncs take their time on a disk.
    const std::filesystem::path memory = "/dev/shm";
    const std::filesystem::path base_path =
        ::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (base_path / "mdfront-XXXXXX").string();
    base::check(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

void write_text(const std::string& path, std::string_view text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << text;
}

std::string read_text(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

unsigned mode_of(const std::string& path) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    return st.st_mode & 07777;
}

std::vector<std::string> tree(const std::string& path) {
    std::vector<std::string> entries;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
        std::string name = std::filesystem::relative(entry.path(), path).string();
        if (entry.is_directory()) name += '/';
        entries.push_back(std::move(name));
    }
    std::sort(entries.begin(), entries.end());
    return entries;
}

Pair make_pair(const PairOptions& options) {
    EVP_PKEY* key = options.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    X509* x509 = X509_new();
    base::check(key != nullptr && x509 != nullptr);
    X509_set_version(x509, X509_VERSION_3);
    BIGNUM* serial =
        BN_bin2bn(options.serial.data(), static_cast<int>(options.serial.size()), nullptr);
    BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x509));
    BN_free(serial);
    X509* issuer = options.issuer != nullptr ? options.issuer->certificate.get() : nullptr;
    if (issuer != nullptr) {
        X509_set_issuer_name(x509, X509_get_subject_name(issuer));
    } else {
        fill_name(X509_get_issuer_name(x509), "E1");
    }
    set_times(x509, options.from, options.lifetime);
    X509_set_pubkey(x509, key);
    std::string names;
    for (const std::string& name : options.names) {
        names += (names.empty() ? "DNS:" : ",DNS:") + name;
    }
    if (!names.empty()) add_extension(x509, NID_subject_alt_name, names);
    if (options.must_staple) add_extension(x509, NID_tlsfeature, "status_request");
    const std::string access = access_text(options);
    if (!access.empty()) add_extension(x509, NID_info_access, access);
    if (!options.crl_points.empty()) add_crl_points(x509, options.crl_points);
    if (!options.extended_key_usage.empty()) {
        add_extension(x509, NID_ext_key_usage, options.extended_key_usage);
    }
    if (issuer != nullptr) {
        add_extension(x509, NID_authority_key_identifier, "keyid:always", issuer);
    }
    if (!options.authority_key_id.empty()) {
        AUTHORITY_KEYID* id = AUTHORITY_KEYID_new();
        id->keyid = ASN1_OCTET_STRING_new();
        ASN1_OCTET_STRING_set(id->keyid, options.authority_key_id.data(),
                              static_cast<int>(options.authority_key_id.size()));
        X509_add1_ext_i2d(x509, NID_authority_key_identifier, id, 0, 0);
        AUTHORITY_KEYID_free(id);
    }
    EVP_PKEY* signer = options.issuer != nullptr ? options.issuer->key.get() : key;
    base::check(X509_sign(x509, signer, EVP_sha256()) > 0);
    Pair pair;
    pair.chain = pem_of(x509) + (issuer != nullptr ? pem_of(issuer) : "");
    pair.key = to_text([&](BIO* bio) {
        return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
    X509_free(x509);
    EVP_PKEY_free(key);
    return pair;
}

StoredDomain stored_domain(std::vector<std::string> names) {
    StoredDomain stored;
    stored.domain.name = names.front();
    stored.domain.names = std::move(names);
    stored.domain.contacts = {"mailto:ops@example.org"};
    stored.domain.ca_urls = {"https://ca.example.net/dir"};
    stored.domain.agreement = "accepted";
    return stored;
}

void save_set(Store& store, Group group, const StoredDomain& stored,
              const std::vector<Pair>& pairs) {
    const std::string& name = stored.domain.name;
    REQUIRE(save_domain(store, group, stored).ok());
    const std::vector<KeySpec> specs = stored.domain.key_specs();
    for (size_t i = 0; i < pairs.size(); ++i) {
        REQUIRE(save_credential(store, group, name, specs[i], pairs[i].chain, pairs[i].key).ok());
    }
}

std::unique_ptr<FileStore> open_store(const std::string& path) {
    static SystemFiles files;
    static base::SystemRandom random;
    auto store = FileStore::open(path, files, random);
    if (!store.ok()) FAIL(store.error().message());
    return std::move(store).value();
}

int FaultyFiles::next() {
    if (slow_) {
        interrupted_ = !interrupted_;
        if (interrupted_) return -EINTR;
    }
    ++calls_;
    const bool now = calls_ == at_;
    switch (fault_) {
        case Fault::None:
            return 0;
        case Fault::Die:
            if (now) ::_exit(died);
            return 0;
        case Fault::Error:
        case Fault::Interrupt:
            return now ? -error_ : 0;
        case Fault::ErrorFromThenOn:
            return calls_ >= at_ ? -error_ : 0;
    }
    return 0;
}

int FaultyFiles::open_root(const std::string& path) {
    const int fault = next();
    return fault < 0 ? fault : system_.open_root(path);
}
int FaultyFiles::make_root(const std::string& path) {
    const int fault = next();
    return fault < 0 ? fault : system_.make_root(path);
}
int FaultyFiles::open(int directory, const std::string& path, int flags) {
    const int fault = next();
    return fault < 0 ? fault : system_.open(directory, path, flags);
}
int FaultyFiles::close(int fd) {
    const int fault = slow_ ? 0 : next();  // an interrupted close is never repeated
    const int result = system_.close(fd);
    return fault < 0 ? fault : result;
}
ssize_t FaultyFiles::read(int fd, std::span<char> into) {
    const int fault = next();
    return fault < 0 ? fault : system_.read(fd, slow_ ? into.first(1) : into);
}
ssize_t FaultyFiles::write(int fd, std::string_view bytes) {
    // A process dies, and a disk is full, in the middle of a write.
    if (calls_ + 1 == at_ && !slow_) (void)system_.write(fd, bytes.substr(0, bytes.size() / 2));
    const int fault = next();
    return fault < 0 ? fault : system_.write(fd, slow_ ? bytes.substr(0, 1) : bytes);
}
int FaultyFiles::stat(int fd, FileFacts& facts) {
    const int fault = next();
    return fault < 0 ? fault : system_.stat(fd, facts);
}
int FaultyFiles::set_mode(int fd, unsigned mode) {
    const int fault = next();
    return fault < 0 ? fault : system_.set_mode(fd, mode);
}
int FaultyFiles::sync(int fd) {
    const int fault = next();
    return fault < 0 ? fault : system_.sync(fd);
}
int FaultyFiles::list(int directory, std::vector<Entry>& entries) {
    const int fault = next();
    return fault < 0 ? fault : system_.list(directory, entries);
}
int FaultyFiles::rename(int from_directory, const std::string& from, int to_directory,
                        const std::string& to) {
    const int fault = next();
    return fault < 0 ? fault : system_.rename(from_directory, from, to_directory, to);
}
int FaultyFiles::unlink(int directory, const std::string& name) {
    const int fault = next();
    return fault < 0 ? fault : system_.unlink(directory, name);
}
int FaultyFiles::make_directory(int directory, const std::string& name) {
    const int fault = next();
    return fault < 0 ? fault : system_.make_directory(directory, name);
}
int FaultyFiles::remove_directory(int directory, const std::string& name) {
    const int fault = next();
    return fault < 0 ? fault : system_.remove_directory(directory, name);
}

int FaultyFiles::lock(int fd) {
    const int fault = next();
    return fault < 0 ? fault : system_.lock(fd);
}

int FaultyFiles::truncate(int fd) {
    const int fault = next();
    return fault < 0 ? fault : system_.truncate(fd);
}

bool dies_at(int at, const std::function<void(Files&)>& operation) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        FaultyFiles files(FaultyFiles::Fault::Die, at);
        operation(files);
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    REQUIRE((WEXITSTATUS(status) == FaultyFiles::died || WEXITSTATUS(status) == 0));
    return WEXITSTATUS(status) == FaultyFiles::died;
}

}  // namespace md::test
