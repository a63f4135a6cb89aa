// Messages of HTTP/1.1 as the simulated clients and servers write and read them. Nothing here knows
// the front's own readers: what it sends is judged by a second, stricter pair of eyes.
//
// A body is a pattern: a function of its salt and the offset. So each byte of it can be checked
// wherever it arrives, and none is stored.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dice.h"

namespace sim::front {

/// The bytes of the body `salt` from `offset` on.
void write_pattern(uint64_t salt, uint64_t offset, std::span<char> out);
bool is_pattern(uint64_t salt, uint64_t offset, std::string_view bytes);
/// Printable text made of `salt`, for fields.
std::string pattern_text(uint64_t salt, size_t size);

/// The whole of `text` as a decimal number; false if it is none.
bool read_number(std::string_view text, uint64_t& number);

enum class Framing : uint8_t { None, Length, Chunked, UntilClose };
const char* name_of(Framing framing);

/// Writes a body piece by piece, framed: chunks of odd sizes, with extensions and trailers.
class BodyWriter {
  public:
    BodyWriter() = default;
    BodyWriter(uint64_t salt, uint64_t size, Framing framing, Dice dice);

    /// Appends a piece of about `wanted` bytes. Nothing is left to be appended: is_done().
    void write(std::string& out, size_t wanted);
    bool is_done() const { return is_done_; }
    /// Of the body itself, without framing.
    uint64_t written() const { return written_; }

  private:
    void write_chunk(std::string& out, size_t wanted);
    void write_end(std::string& out);

    uint64_t salt_ = 0;
    uint64_t size_ = 0;
    uint64_t written_ = 0;
    Framing framing_ = Framing::None;
    bool is_done_ = true;
    Dice dice_{0};
};

struct Field {
    std::string_view name;
    std::string_view value;
};

/// A head, taken apart. The views stand in `text`.
struct Head {
    std::string text;
    std::string_view method;  // requests
    std::string_view target;
    int status = 0;  // responses
    int minor = 1;
    std::vector<Field> fields;
    Framing framing = Framing::None;
    uint64_t length = 0;

    /// How often a field stands in it; `value` is set to the last one.
    size_t count(std::string_view name, std::string_view* value = nullptr) const;
    std::string_view value_of(std::string_view name) const;
    /// Whether Connection has that option.
    bool has_option(std::string_view option) const;
};

/// Reads what the front sends, and takes nothing that is not exactly right: it is one program that
/// writes these heads and chunks, and has no excuse.
class Reader {
  public:
    enum class Kind : uint8_t { Requests, Responses };
    enum class Event : uint8_t { NeedMore, Head, Data, End, Bad };

    explicit Reader(Kind kind) : kind_(kind) {}

    void feed(std::string_view bytes);
    /// What comes next of that which was fed. After a head with 1xx (101 excepted) comes another
    /// head; after 101, and after raw(), there is only data.
    Event next();
    const Head& head() const { return head_; }
    std::string_view data() const { return data_; }
    const std::string& why() const { return why_; }

    /// The next final response answers HEAD.
    void set_to_head(bool to_head) { to_head_ = to_head; }
    void raw() { state_ = State::Raw; }
    /// Nothing of the next message has come.
    bool is_between() const { return state_ == State::Head && at_ == buffer_.size(); }
    /// In a body that only the end of the connection ends.
    bool is_until_close() const { return state_ == State::UntilClose; }
    /// In the middle of a message.
    bool is_in_message() const { return state_ != State::Raw && !is_between(); }

  private:
    enum class State : uint8_t {
        Head,
        Length,
        ChunkSize,
        ChunkData,
        ChunkEnd,
        Trailers,
        UntilClose,
        End,
        Raw
    };
    Event read_head();
    Event read_chunk_size();
    bool parse_head();
    bool parse_start_line(std::string_view line);
    bool parse_fields(size_t from);
    bool decide_framing();
    Event take_data(uint64_t most);
    bool bad(std::string why);
    /// The next line without its CRLF; false if it is not there yet, or bad.
    bool take_line(std::string_view& line);

    Kind kind_;
    State state_ = State::Head;
    bool to_head_ = false;
    std::string buffer_;
    size_t at_ = 0;       // what was used of it
    size_t scanned_ = 0;  // where the search for a head's end goes on
    uint64_t left_ = 0;
    Head head_;
    std::string_view data_;
    std::string why_;
};

}  // namespace sim::front
