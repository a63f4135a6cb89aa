// Talks to the mdfront that runs, over its admin listener: plain HTTP on a Unix socket, if there is
// one, else on TCP. Errors are lines for people that say what to do.
//
// libcurl itself and not md's Transport: that one knows https and CAs only, and should.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/address.h"

namespace app {

struct AdminAnswer {
    int status = 0;
    std::string body;
};

class AdminClient {
  public:
    template <typename T>
    using Answer = base::Result<T, std::string>;

    /// `address` as people write it ("unix:/run/mdfront/admin.sock", "127.0.0.1:9180"); "": the
    /// [admin] listen of the configuration, Unix sockets first.
    static Answer<AdminClient> open(const std::string& address, const std::string& config_path);

    Answer<AdminAnswer> get(const std::string& path);
    Answer<AdminAnswer> post(const std::string& path, const std::string& json);

  private:
    explicit AdminClient(net::Address address) : address_(address) {}
    Answer<AdminAnswer> exchange(const std::string& path, const std::string* json);
    std::string why_not(int system_error, const char* text) const;

    net::Address address_;
};

/// NAME as one segment of a path.
std::string path_segment(const std::string& name);

}  // namespace app
