// The chunked transfer coding (RFC 9112 7.1), both ways. The decoder is strict (faults.md H1-26 …
// H1-35), drops extensions and trailers, and bounds the framing's share. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "proxy/limits.h"

namespace proxy {

class ChunkDecoder {
  public:
    enum class State : uint8_t { More, Done, Bad };
    struct Step {
        State state = State::More;
        size_t consumed = 0;      ///< bytes of the input used
        std::string_view data;    ///< body bytes found, a view into the input; may be empty
        const char* reason = "";  ///< Bad: the word for the log
    };

    /// Takes the next piece: framing up to and including one run of data. Call again with the rest
    /// while state is More and something was consumed. After Done, what was not consumed is the
    /// next message.
    Step decode(std::string_view input);
    void reset() { *this = ChunkDecoder{}; }

  private:
    uint8_t phase_ = 0;
    uint64_t remaining_ = 0;  // of the current chunk
    uint64_t data_bytes_ = 0;
    uint64_t framing_bytes_ = 0;
    size_t line_bytes_ = 0;  // of the current size line or trailer line
    size_t trailer_bytes_ = 0;
    int digits_ = 0;
    int trailer_fields_ = 0;
};

/// "1a2b\r\n" into `out`; bytes written (at most 18).
size_t write_chunk_size(uint64_t size, std::span<uint8_t, 18> out);
constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace proxy
