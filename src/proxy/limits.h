// Every bound and every wait of the HTTP front, with the arithmetic of its default. The ones that
// an operator may change are members of Limits; the rest are constants.
#pragma once

#include <cstddef>
#include <cstdint>

namespace proxy {

/// Head of one message: Apache's LimitRequestLine 8190 and 100 fields are what sites are used to;
/// 32 KiB in all leaves room for large cookies. A connection owns this much only while its head is
/// incomplete.
constexpr size_t head_bytes_max = 32 * 1024;
constexpr size_t target_bytes_max = 16 * 1024;
constexpr size_t fields_max = 100;
constexpr size_t method_bytes_max = 32;
constexpr size_t field_name_bytes_max = 256;
/// A response's head: one chunk less TLS overhead, so that it is sealed in one record (faults.md
/// BE-11).
constexpr size_t response_head_bytes_max = 16 * 1024;
/// Names in Connection fields: each is compared with each field, so that 32 times 100 short
/// comparisons are the most that a head can cost. Browsers send one or two.
constexpr size_t connection_options_max = 32;
/// Trailers (H1-35).
constexpr size_t trailer_bytes_max = 16 * 1024;
constexpr size_t trailer_fields_max = 100;
/// Chunk framing may not outweigh data: a client is refused when more than 100 kB of framing came
/// with less data than that (H1-31, H1-32). One-byte chunks have five bytes of framing per byte and
/// are stopped; events of seven bytes and more each can be streamed for ever.
constexpr size_t chunk_overhead_free_bytes = 100 * 1000;
constexpr size_t chunk_extension_bytes_max = 1024;
/// Interim responses before the final one (BE-08): frameworks send a 103 for each asset of a page.
/// Beyond the first number they are left out, beyond the second the response is.
constexpr int interim_responses_relayed_max = 16;
constexpr int interim_responses_max = 256;

/// What [limits] in the configuration can change. Times in milliseconds.
struct Limits {
    uint32_t handshake_ms = 10'000;  // accept to TLS done
    uint32_t head_ms = 10'000;       // first byte of a head to its end, absolute
    uint32_t idle_ms = 60'000;       // keep-alive
    uint32_t body_ms = 20'000;       // without a byte of a request's body that we are ready for
    uint32_t body_rate_min = 1024;   // bytes/s of a request body, averaged from its first 10 s on
    /// bytes/s that a client takes of what it was sent, while something waits for it: in each 100 s
    /// after the first 10. A client that takes nothing is cut after 110 s.
    uint32_t response_rate_min = 1024;
    uint32_t backend_connect_ms = 5'000;
    /// Request sent to the first byte of the response, and between two reads of its body.
    uint32_t backend_response_ms = 60'000;
    uint32_t backend_idle_ms = 10'000;  // pooled, less what Keep-Alive: timeout= announces
    /// Pooled connections per server and worker, at most; as many as were in use lately are kept.
    uint32_t backend_idle_max = 1024;
    uint32_t tunnel_idle_ms = 3'600'000;
    uint64_t request_body_max = 0;           // bytes; 0: no limit (413 above it)
    uint32_t connections_max = 65'536;       // client connections per worker
    bool allow_unusual_field_names = false;  // in requests: more than letters, digits and '-'
};

}  // namespace proxy
