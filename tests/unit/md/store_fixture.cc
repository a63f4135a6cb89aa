#include "md/store_fixture.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <sstream>

namespace md::test {

namespace {

void add_extension(X509* x509, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, x509, x509, nullptr, nullptr, 0);
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

}  // namespace

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
    X509_NAME* issuer = X509_get_issuer_name(x509);
    for (const auto& [field, value] :
         {std::pair{"C", "XX"}, std::pair{"O", "Example"}, std::pair{"CN", "E1"}}) {
        X509_NAME_add_entry_by_txt(issuer, field, MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(value), -1, -1, 0);
    }
    const auto from = std::chrono::system_clock::to_time_t(options.from);
    const auto until = std::chrono::system_clock::to_time_t(options.from + options.lifetime);
    ASN1_TIME_set(X509_getm_notBefore(x509), from);
    ASN1_TIME_set(X509_getm_notAfter(x509), until);
    X509_set_pubkey(x509, key);
    std::string names;
    for (const std::string& name : options.names) {
        names += (names.empty() ? "DNS:" : ",DNS:") + name;
    }
    if (!names.empty()) add_extension(x509, NID_subject_alt_name, names);
    if (options.must_staple) add_extension(x509, NID_tlsfeature, "status_request");
    if (!options.ca_issuers.empty()) {
        add_extension(x509, NID_info_access, "caIssuers;URI:" + options.ca_issuers);
    }
    if (!options.authority_key_id.empty()) {
        AUTHORITY_KEYID* id = AUTHORITY_KEYID_new();
        id->keyid = ASN1_OCTET_STRING_new();
        ASN1_OCTET_STRING_set(id->keyid, options.authority_key_id.data(),
                              static_cast<int>(options.authority_key_id.size()));
        X509_add1_ext_i2d(x509, NID_authority_key_identifier, id, 0, 0);
        AUTHORITY_KEYID_free(id);
    }
    base::check(X509_sign(x509, key, EVP_sha256()) > 0);
    Pair pair;
    pair.chain = to_text([&](BIO* bio) { return PEM_write_bio_X509(bio, x509); });
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
