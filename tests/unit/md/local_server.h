// A server on loopback for tests of what really goes over a socket.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "catch.h"

namespace md::test {

/// Plain HTTP on loopback: gives every connection the same bytes, and remembers what it read.
class Server {
  public:
    explicit Server(std::string answer, bool stay_open = false)
        : answer_(std::move(answer)),
          stay_open_(stay_open),
          listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::bind(listener_.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::listen(listener_.fd(), 8) == 0);
        socklen_t size = sizeof address;
        REQUIRE(::getsockname(listener_.fd(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
        port_ = ntohs(address.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~Server() {
        ::shutdown(listener_.fd(), SHUT_RDWR);
        thread_.join();
    }
    std::string url() const { return fmt::format("http://127.0.0.1:{}/path", port_); }
    const std::string& seen() const { return seen_; }
    int connections() const { return connections_; }

  private:
    void serve() {
        while (true) {
            const base::UniqueFd client(::accept(listener_.fd(), nullptr, nullptr));
            if (!client) return;
            ++connections_;
            char buffer[4096];
            while (true) {
                std::string request;
                size_t body = 0;
                size_t head = std::string::npos;
                while (head == std::string::npos || request.size() < head + 4 + body) {
                    const ssize_t got = ::recv(client.fd(), buffer, sizeof buffer, 0);
                    if (got <= 0) break;
                    request.append(buffer, static_cast<size_t>(got));
                    head = request.find("\r\n\r\n");
                    const size_t length = request.find("Content-Length: ");
                    if (length != std::string::npos) body = std::stoul(request.substr(length + 16));
                }
                if (request.empty()) break;
                seen_ = request;
                if (::send(client.fd(), answer_.data(), answer_.size(), MSG_NOSIGNAL) < 0) break;
                if (!stay_open_) break;
            }
        }
    }
    std::string answer_;
    bool stay_open_;
    base::UniqueFd listener_;
    uint16_t port_ = 0;
    std::atomic<int> connections_{0};
    std::string seen_;
    std::thread thread_;
};

}  // namespace md::test
