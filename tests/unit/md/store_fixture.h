// What the tests of the store share: a directory of their own, certificates made to order, and a
// Files that goes wrong at a given call.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "md/credentials.h"
#include "md/domain_json.h"
#include "md/file_store.h"

struct evp_pkey_st;
struct x509_st;

namespace md::test {

/// A time in 2026 that all examples count from.
inline base::Time at(std::string_view rfc3339) {
    base::Time time{};
    base::check(base::parse_rfc3339(rfc3339, time));
    return time;
}
inline const base::Time noon = at("2026-11-22T12:00:00Z");

/// Gone with everything in it at the end of the scope.
class TempDir {
  public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const std::string& path() const { return path_; }
    std::string operator/(std::string_view below) const { return path_ + "/" + std::string(below); }

  private:
    std::string path_;
};

void write_text(const std::string& path, std::string_view text);
std::string read_text(const std::string& path);
unsigned mode_of(const std::string& path);
/// Everything below, relative, sorted; directories end in '/'.
std::vector<std::string> tree(const std::string& path);

/// A CA's certificate and its key, which sign certificates, OCSP answers and CRLs.
struct Issuer {
    std::shared_ptr<x509_st> certificate;
    std::shared_ptr<evp_pkey_st> key;
};
struct IssuerOptions {
    std::string name = "E1";
    bool rsa = false;
    base::Time from = noon - std::chrono::hours{24};
    base::Duration lifetime = std::chrono::hours{24 * 3650};
};
/// Self-signed, "/C=XX/O=Example/CN=<name>".
Issuer make_issuer(const IssuerOptions& options = {});

/// A distribution point of a CRL (RFC 5280 4.2.1.13).
struct CrlPoint {
    std::vector<std::string> urls;
    bool some_reasons = false;
    bool other_issuer = false;  // who signs it
};
void add_crl_points(x509_st* certificate, const std::vector<CrlPoint>& points);

struct PairOptions {
    std::vector<std::string> names;
    base::Time from = noon;
    base::Duration lifetime = std::chrono::hours{24 * 90};
    bool rsa = false;
    bool must_staple = false;
    std::vector<uint8_t> serial{0x04, 0xa1};
    std::vector<uint8_t> authority_key_id{};  // empty: no such extension
    std::string ca_issuers{};
    std::string ocsp_url{};
    std::vector<CrlPoint> crl_points{};
    std::string extended_key_usage{};  // OpenSSL's word for it, "OCSPSigning"
    const Issuer* issuer = nullptr;    // signs it, and follows it in the chain
};
struct Pair {
    std::string chain;
    std::string key;
};
/// A certificate and its key. Without an issuer it names "/C=XX/O=Example/CN=E1", and is signed by
/// its own key.
Pair make_pair(const PairOptions& options);

/// Saves md.json and one pair for each key spec under group/name.
void save_set(Store& store, Group group, const StoredDomain& stored,
              const std::vector<Pair>& pairs);
StoredDomain stored_domain(std::vector<std::string> names);

/// Opens with the system's files; the test fails if that does not work.
std::unique_ptr<FileStore> open_store(const std::string& path);

/// Passes everything on, but does something else at call number `at` (counted from 1).
class FaultyFiles final : public Files {
  public:
    enum class Fault : uint8_t { None, Die, Error, ErrorFromThenOn, Interrupt };
    static constexpr int died = 77;  // exit status

    explicit FaultyFiles(Fault fault = Fault::None, int at = 0, int error = 0)
        : fault_(fault), at_(at), error_(error) {}
    int calls() const { return calls_; }
    /// All calls interrupted once before they are done, writes and reads byte by byte.
    void make_slow() { slow_ = true; }

    int open_root(const std::string& path) override;
    int make_root(const std::string& path) override;
    int open(int directory, const std::string& path, int flags) override;
    int close(int fd) override;
    ssize_t read(int fd, std::span<char> into) override;
    ssize_t write(int fd, std::string_view bytes) override;
    int stat(int fd, FileFacts& facts) override;
    int set_mode(int fd, unsigned mode) override;
    int sync(int fd) override;
    int list(int directory, std::vector<Entry>& entries) override;
    int rename(int from_directory, const std::string& from, int to_directory,
               const std::string& to) override;
    int unlink(int directory, const std::string& name) override;
    int make_directory(int directory, const std::string& name) override;
    int remove_directory(int directory, const std::string& name) override;
    int lock(int fd) override;
    int truncate(int fd) override;

  private:
    /// 0, or the error that this call gives instead of being done.
    int next();

    SystemFiles system_;
    Fault fault_;
    int at_;
    int error_;
    int calls_ = 0;
    bool slow_ = false;
    bool interrupted_ = false;
};

/// Runs it in a child that dies at call `at`; true if it got that far, false if it finished before.
bool dies_at(int at, const std::function<void(Files&)>& operation);

}  // namespace md::test
