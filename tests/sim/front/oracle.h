// What was sent and what must hold: the ledger of all requests of a world, written by the clients
// and servers, and the judge of what each of them gets to see. It knows no byte of the front.
//
// The rules:
//   a server sees only requests that a client sent whole heads of and that are acceptable, with
//   their bodies whole and unchanged, or cut and then never complete;
//   twice only after the first connection was lost before a byte of the response, and only if the
//   request is idempotent or nothing of it could have been acted on (RFC 9110 9.2.2);
//   the fields say who the client is, and none of those remain that end at the front;
//   a client gets one final response for each request, in order, or its connection ends; each is
//   the one that the right server sent for this request, or a known answer of the front's own;
//   no cut message looks complete; interim responses come only before their own final one;
//   what nothing went wrong with is answered, and by its server.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/log.h"
#include "message.h"
#include "world_trace.h"

namespace sim::front {

/// Something does not hold. The world ends, and its seed is told.
struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// How a request is meant.
enum class Kind : uint8_t {
    Good,     ///< has to be answered, by a server or as expected
    BadHead,  ///< refused: no server may see it
    BadBody,  ///< its head may be forwarded, but it never becomes whole
};

/// One time that a request came to a server, and what the server made of it.
struct Attempt {
    uint32_t server = 0;
    uint32_t connection = 0;
    uint64_t salt = 0;       // of the response's body
    bool is_whole = false;   // the server read all of the request
    uint64_t body_read = 0;  // of the request
    // The response.
    int status = 0;  // 0: none was begun
    uint64_t size = 0;
    size_t padding = 0;           // of its X-Padding
    bool is_sent_whole = false;   // with the FIN that ends it, if it is one that FIN ends
    uint64_t ended_ms = 0;        // when a tunnel's server ended its side
    bool is_broken = false;       // nothing to be taken for a response will come, or it is cut
    bool is_junk = false;         // must not be passed on
    bool is_lost = false;         // its connection ended
    bool was_reset = false;       // … by RST: what was on its way may be lost
    bool is_superseded = false;   // the request came again
    uint64_t response_bytes = 0;  // given to the network
    int interims = 0;
};

struct Request {
    uint64_t id = 0;
    uint32_t client = 0;
    Kind kind = Kind::Good;
    bool is_tls = false;
    int minor = 1;
    std::string method;
    std::string target;
    std::string host;  // as sent
    std::string client_address;
    std::string tag;  // X-Tag, passed on as it is
    Framing framing = Framing::None;
    uint64_t body_size = 0;
    uint64_t salt = 0;
    bool is_idempotent = false;
    bool is_to_head = false;
    bool is_websocket = false;
    bool expects_continue = false;
    int site = -1;             // whose servers may see it; -1: nobody's
    int local_status = 0;      // what the front has to answer by itself; 0: forwards
    std::string local_body;    // may be answered with 200 and this (http-01)
    uint32_t routes_from = 0;  // the publication of routes when it was begun
    uint64_t begun_ms = 0;
    bool is_slow = false;  // its client is: may be given up for that
    // How far it was given to the network.
    bool is_head_sent = false;
    bool is_sent_whole = false;
    uint64_t body_sent = 0;
    bool is_tunnel_ended = false;  // by its client, in order
    // The response.
    int final_status = 0;
    bool is_answered = false;  // all of it
    std::deque<Attempt> attempts;
};

struct Counts {
    uint64_t requests = 0;  // whose heads were sent
    uint64_t bad = 0;       // … that are not acceptable
    uint64_t answered = 0;  // whole responses
    uint64_t local = 0;     // … of the front's own
    uint64_t refused = 0;   // bad ones that got their 4xx or were closed
    uint64_t attempts = 0;
    uint64_t replays = 0;
    uint64_t interims = 0;
    uint64_t tunnels = 0;
    uint64_t connections = 0;
    uint64_t handshakes = 0;
    uint64_t resumed = 0;
    uint64_t faults = 0;  // of clients and servers
    uint64_t kernel_faults = 0;
    uint64_t reloads = 0;
    uint64_t finals = 0;  // responses whose heads clients saw, 101 among them
    void add(const Counts& other);
};

/// What may go wrong in a world, and so excuse the front.
struct Excuses {
    bool bad_servers = false;  // servers cut, reset, keep silent, cannot be reached
    bool kernel = false;       // the kernel refuses, or memory is short
    bool draining = false;
    uint64_t times_out_ms = 0;  // no deadline of the front ends before
};

class Oracle {
  public:
    Oracle(Trace& trace, const uint64_t& now_ms) : trace_(trace), now_ms_(now_ms) {}

    Counts counts;
    Excuses excuses;

    /// A client is about to send it; `id` and the salts are set here.
    Request& open(Request request, uint64_t salt);
    Request* find(uint64_t id);
    /// Another publication of routes: the servers of each site.
    void publish(std::vector<std::set<uint32_t>> servers_of_site);
    uint32_t publication() const { return static_cast<uint32_t>(publications_.size()) - 1; }

    // What a server sees.
    struct Seen {
        Request* request = nullptr;
        Attempt* attempt = nullptr;
    };
    Seen on_request(uint32_t server, uint32_t connection, const Head& head);
    void on_request_data(const Seen& seen, std::string_view bytes);
    void on_request_end(const Seen& seen);

    // What a client sees. `request` is the first that has no final response yet.
    void on_interim(Request& request, const Head& head);
    /// A final head, 101 included. The attempt that it is of; null: the front's own.
    Attempt* on_response(Request& request, const Head& head);
    void on_response_data(const Request& request, const Attempt* attempt, uint64_t offset,
                          std::string_view bytes);
    /// `size`: of its body.
    void on_response_end(Request& request, const Attempt* attempt, uint64_t size);

    /// The connection ended, and that request, which was sent whole by a client that did nothing
    /// wrong, has no whole response: is there an excuse?
    void check_unanswered(const Request& request) const;

    template <typename... Arguments>
    [[noreturn]] void violate(fmt::format_string<Arguments...> format,
                              Arguments&&... arguments) const {
        throw Violation(fmt::format(format, std::forward<Arguments>(arguments)...));
    }
    /// The requests that got no response, for who looks at a failure.
    std::string describe_unanswered() const;
    Trace& trace() const { return trace_; }
    uint64_t now_ms() const { return now_ms_; }

  private:
    void check_fields(const Request& request, const Head& head) const;
    void check_repetition(const Request& request) const;
    bool may_see(const Request& request, uint32_t server) const;
    void check_local(const Request& request, const Head& head) const;
    bool is_late(const Request& request) const;
    bool is_excused(const Request& request) const;

    Trace& trace_;
    const uint64_t& now_ms_;
    std::deque<Request> requests_;
    std::vector<std::vector<std::set<uint32_t>>> publications_;
};

}  // namespace sim::front
