// The chunked transfer coding (RFC 9112 7.1), both ways. The decoder is strict (faults.md H1-26 …
// H1-35), drops extensions and bounds the framing's share. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proxy/limits.h"

namespace proxy {

/// States of the decoder:
///
///   Size ─▶ [Extension ─▶] SizeLf ─▶ Data ─▶ DataCr ─▶ DataLf ─▶ Size
///                            └─ 0 ─▶ LineStart ─▶ TrailerName ─▶ TrailerValue ─▶ TrailerLf ─┐
///                                     │   ▲─────────────────────────────────────────────────┘
///                                     └─▶ EndLf ─▶ Done
class ChunkDecoder {
  public:
    enum class State : uint8_t { More, Done, Bad };
    struct Step {
        State state = State::More;
        size_t consumed = 0;      ///< bytes of the input used
        std::string_view data;    ///< body bytes found, a view into the input; may be empty
        const char* reason = "";  ///< Bad: the word for the log
    };

    /// Who sends: the share of framing is bounded for clients only. A backend may stream single
    /// bytes.
    enum class Peer : uint8_t { Client, Backend };
    explicit ChunkDecoder(Peer peer = Peer::Client) : peer_(peer) {}

    /// Takes the next piece: framing up to and including one run of data. Call again with the rest
    /// while state is More and something was consumed. After Done, what was not consumed is the
    /// next message. Bad stays Bad. Trailers are added to `trailers` as field lines, whose names
    /// and values are as in a head; at most trailer_bytes_max and two bytes for each. Null:
    /// dropped.
    Step decode(std::string_view input, std::string* trailers = nullptr);
    void reset() { *this = ChunkDecoder(peer_); }

  private:
    enum class Phase : uint8_t {
        Size,
        ExtensionStart,
        Extension,
        SizeLf,
        Data,
        DataCr,
        DataLf,
        LineStart,
        TrailerName,
        TrailerValue,
        TrailerLf,
        EndLf,
        Done,
        Bad,
    };

    /// Takes framing from `input` at `at` until data begins, the body ends or the input does.
    const char* read_framing(std::string_view input, size_t& at, std::string* trailers);
    const char* read_size(char c);
    const char* end_size();
    const char* read_name(char c);
    bool is_forbidden_trailer() const;

    Peer peer_;
    Phase phase_ = Phase::Size;
    uint8_t digits_ = 0;      // of the current size
    uint8_t name_bytes_ = 0;  // of the current trailer's name, those kept
    uint8_t trailer_fields_ = 0;
    uint32_t line_bytes_ = 0;  // of the current extension or trailer name
    uint32_t trailer_bytes_ = 0;
    uint64_t remaining_ = 0;  // of the current chunk
    uint64_t data_bytes_ = 0;
    uint64_t framing_bytes_ = 0;
    std::array<char, 17> name_;  // the longest that is refused: transfer-encoding
};

/// "1a2b\r\n" into `out`; bytes written (at most 18).
size_t write_chunk_size(uint64_t size, std::span<uint8_t, 18> out);
constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace proxy
