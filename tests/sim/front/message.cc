#include "message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace sim::front {

namespace {

constexpr size_t head_bytes_max = 80 * 1024;

uint64_t mix(uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

/// Eight bytes of a pattern.
uint64_t word_of(uint64_t salt, uint64_t index) {
    return mix(salt + (index + 1) * 0x9e3779b97f4a7c15ULL);
}

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

bool is_same(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                              [](char x, char y) { return lower(x) == lower(y); });
}

bool is_token(std::string_view text) {
    static const auto table = [] {
        std::array<bool, 256> all{};
        for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789"
                                             "abcdefghijklmnopqrstuvwxyz"
                                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
            all[static_cast<uint8_t>(c)] = true;
        }
        return all;
    }();
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](char c) { return table[static_cast<uint8_t>(c)]; });
}

bool has_control(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        return (static_cast<uint8_t>(c) < 0x20 && c != '\t') || c == 0x7f;
    });
}

}  // namespace

void write_pattern(uint64_t salt, uint64_t offset, std::span<char> out) {
    for (size_t at = 0; at < out.size();) {
        const uint64_t word = word_of(salt, (offset + at) / 8);
        const size_t skip = (offset + at) % 8;
        const size_t size = std::min(out.size() - at, 8 - skip);
        std::memcpy(out.data() + at, reinterpret_cast<const char*>(&word) + skip, size);
        at += size;
    }
}

bool is_pattern(uint64_t salt, uint64_t offset, std::string_view bytes) {
    for (size_t at = 0; at < bytes.size();) {
        const uint64_t word = word_of(salt, (offset + at) / 8);
        const size_t skip = (offset + at) % 8;
        const size_t size = std::min(bytes.size() - at, 8 - skip);
        if (std::memcmp(bytes.data() + at, reinterpret_cast<const char*>(&word) + skip, size) !=
            0) {
            return false;
        }
        at += size;
    }
    return true;
}

std::string pattern_text(uint64_t salt, size_t size) {
    std::string text(size, 'a');
    for (size_t at = 0; at < size; ++at) {
        text[at] = static_cast<char>('a' + (word_of(salt, at / 8) >> (8 * (at % 8))) % 26);
    }
    return text;
}

bool read_number(std::string_view text, uint64_t& number) {
    const char* end = text.data() + text.size();
    if (text.empty() || text.front() < '0' || text.front() > '9') return false;
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    return error == std::errc{} && stop == end;
}

const char* name_of(Framing framing) {
    switch (framing) {
        case Framing::None:
            return "no body";
        case Framing::Length:
            return "Content-Length";
        case Framing::Chunked:
            return "chunked";
        case Framing::UntilClose:
            return "until close";
    }
    return "";
}

// ---- Writing

BodyWriter::BodyWriter(uint64_t salt, uint64_t size, Framing framing, Dice dice)
    : salt_(salt),
      size_(framing == Framing::None ? 0 : size),
      framing_(framing),
      is_done_(framing == Framing::None || (size == 0 && framing != Framing::Chunked)),
      dice_(dice) {}

void BodyWriter::write(std::string& out, size_t wanted) {
    if (is_done_) return;
    if (framing_ == Framing::Chunked) {
        const size_t end = out.size() + wanted;
        do {
            if (written_ == size_) return write_end(out);
            write_chunk(out, wanted);
        } while (out.size() < end);
        return;
    }
    const size_t size = static_cast<size_t>(std::min<uint64_t>(wanted, size_ - written_));
    const size_t before = out.size();
    out.resize(before + size);
    write_pattern(salt_, written_, std::span(out).subspan(before));
    written_ += size;
    is_done_ = written_ == size_;
}

void BodyWriter::write_chunk(std::string& out, size_t wanted) {
    // Tiny chunks only in small bodies: the front refuses more framing than data beyond 100 kB.
    const bool is_tiny = size_ < 10'000 && dice_.chance(300);
    const uint64_t most =
        is_tiny ? 1 + dice_.below(20) : 1 + dice_.below(std::max<size_t>(wanted, 200));
    const uint64_t size = std::min(is_tiny ? most : most + 60, size_ - written_);
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, size, 16).ptr;
    if (dice_.chance(100)) out.append(1 + dice_.below(4), '0');
    for (const char* digit = digits; digit < end; ++digit) {
        const bool upper = *digit >= 'a' && dice_.chance(300);
        out += static_cast<char>(upper ? *digit & ~0x20 : *digit);
    }
    if (dice_.chance(80)) {
        static constexpr std::string_view extensions[] = {";a", ";a=b", "; name=\"x y\"",
                                                          ";q=1;r=2"};
        out += extensions[dice_.below(std::size(extensions))];
    }
    out += "\r\n";
    const size_t before = out.size();
    out.resize(before + static_cast<size_t>(size));
    write_pattern(salt_, written_, std::span(out).subspan(before));
    written_ += size;
    out += "\r\n";
}

void BodyWriter::write_end(std::string& out) {
    out += dice_.chance(100) ? "000" : "0";
    if (dice_.chance(80)) out += ";last";
    out += "\r\n";
    if (dice_.chance(150)) {
        for (uint64_t i = dice_.below(4); i > 0; --i) out += "X-Trailer: of no consequence\r\n";
    }
    out += "\r\n";
    is_done_ = true;
}

// ---- Reading

size_t Head::count(std::string_view name, std::string_view* value) const {
    size_t found = 0;
    for (const Field& field : fields) {
        if (!is_same(field.name, name)) continue;
        ++found;
        if (value != nullptr) *value = field.value;
    }
    return found;
}

std::string_view Head::value_of(std::string_view name) const {
    std::string_view value;
    (void)count(name, &value);  // none is "" as well
    return value;
}

bool Head::has_option(std::string_view option) const {
    for (const Field& field : fields) {
        if (!is_same(field.name, "connection")) continue;
        std::string_view rest = field.value;
        while (!rest.empty()) {
            const size_t comma = std::min(rest.find(','), rest.size());
            std::string_view one = rest.substr(0, comma);
            while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
            while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
            if (is_same(one, option)) return true;
            rest.remove_prefix(std::min(rest.size(), comma + 1));
        }
    }
    return false;
}

void Reader::feed(std::string_view bytes) {
    if (at_ == buffer_.size()) {
        buffer_.clear();
        at_ = scanned_ = 0;
    } else if (at_ > 64 * 1024) {
        buffer_.erase(0, at_);
        scanned_ -= std::min(scanned_, at_);
        at_ = 0;
    }
    buffer_ += bytes;
}

bool Reader::bad(std::string why) {
    why_ = std::move(why);
    return false;
}

Reader::Event Reader::next() {
    if (!why_.empty()) return Event::Bad;
    switch (state_) {
        case State::Head:
            return read_head();
        case State::Length: {
            const Event event = take_data(left_);
            if (left_ == 0) state_ = State::End;
            return event;
        }
        case State::ChunkSize:
            return read_chunk_size();
        case State::ChunkData: {
            const Event event = take_data(left_);
            if (left_ == 0) state_ = State::ChunkEnd;
            return event;
        }
        case State::ChunkEnd: {
            std::string_view line;
            if (!take_line(line)) return why_.empty() ? Event::NeedMore : Event::Bad;
            if (!line.empty()) {
                (void)bad("a chunk is longer than its size");  // Bad below tells
                return Event::Bad;
            }
            state_ = State::ChunkSize;
            return read_chunk_size();
        }
        case State::Trailers:
            for (;;) {
                std::string_view line;
                if (!take_line(line)) return why_.empty() ? Event::NeedMore : Event::Bad;
                if (line.empty()) break;
                if (!is_token(line.substr(0, line.find(':'))) || line.find(':') == line.npos) {
                    (void)bad("a bad trailer");  // Bad below tells
                    return Event::Bad;
                }
            }
            [[fallthrough]];
        case State::End:
            state_ = State::Head;
            scanned_ = at_;
            return Event::End;
        case State::UntilClose:
        case State::Raw:
            left_ = buffer_.size() - at_;
            return take_data(left_);
    }
    return Event::Bad;
}

Reader::Event Reader::take_data(uint64_t most) {
    const size_t size = static_cast<size_t>(std::min<uint64_t>(most, buffer_.size() - at_));
    if (size == 0) return Event::NeedMore;
    data_ = std::string_view(buffer_).substr(at_, size);
    at_ += size;
    left_ -= size;
    return Event::Data;
}

bool Reader::take_line(std::string_view& line) {
    const size_t end = buffer_.find('\n', at_);
    if (end == std::string::npos) {
        return buffer_.size() - at_ > 8192 ? bad("a line without an end") : false;
    }
    if (end == at_ || buffer_[end - 1] != '\r') return bad("a bare LF");
    line = std::string_view(buffer_).substr(at_, end - 1 - at_);
    if (has_control(line)) return bad("a control byte in a line of framing");
    at_ = end + 1;
    return true;
}

Reader::Event Reader::read_chunk_size() {
    std::string_view line;
    if (!take_line(line)) return why_.empty() ? Event::NeedMore : Event::Bad;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), left_, 16);
    if (line.empty() || line.size() > 16 || error != std::errc{} ||
        stop != line.data() + line.size()) {
        (void)bad("a bad chunk size");  // Bad below tells
        return Event::Bad;
    }
    if (left_ == 0) {
        state_ = State::Trailers;
        return next();
    }
    state_ = State::ChunkData;
    return next();
}

Reader::Event Reader::read_head() {
    const size_t end = buffer_.find("\r\n\r\n", scanned_);
    if (end == std::string::npos) {
        scanned_ = std::max(at_, buffer_.size() < 3 ? 0 : buffer_.size() - 3);
        if (buffer_.size() - at_ <= head_bytes_max) return Event::NeedMore;
        (void)bad("a head without an end");  // Bad below tells
        return Event::Bad;
    }
    head_ = Head();
    head_.text.assign(buffer_, at_, end + 2 - at_);
    at_ = scanned_ = end + 4;
    if (!parse_head()) return Event::Bad;
    return Event::Head;
}

bool Reader::parse_head() {
    const std::string_view text = head_.text;
    const size_t line_end = text.find("\r\n");
    if (!parse_start_line(text.substr(0, line_end)) || !parse_fields(line_end + 2)) return false;
    if (!decide_framing()) return false;
    const bool is_interim = kind_ == Kind::Responses && head_.status < 200;
    if (is_interim) {
        if (head_.framing != Framing::None) return bad("an interim response with a body");
        state_ = head_.status == 101 ? State::Raw : State::Head;
        return true;
    }
    left_ = head_.length;
    switch (head_.framing) {
        case Framing::None:
            state_ = State::End;
            break;
        case Framing::Length:
            state_ = left_ == 0 ? State::End : State::Length;
            break;
        case Framing::Chunked:
            state_ = State::ChunkSize;
            break;
        case Framing::UntilClose:
            state_ = State::UntilClose;
            break;
    }
    return true;
}

bool Reader::parse_start_line(std::string_view line) {
    if (has_control(line)) return bad("a control byte in the start line");
    if (kind_ == Kind::Responses) {
        uint64_t status = 0;
        if (line.size() < 13 || !line.starts_with("HTTP/1.1 ") || line[12] != ' ' ||
            !read_number(line.substr(9, 3), status) || status < 100 || status > 599) {
            return bad("a bad status line: " + std::string(line));
        }
        head_.status = static_cast<int>(status);
        return true;
    }
    const size_t first = line.find(' ');
    const size_t second = first == line.npos ? line.npos : line.find(' ', first + 1);
    if (second == line.npos || line.substr(second) != " HTTP/1.1") {
        return bad("a bad request line: " + std::string(line));
    }
    head_.method = line.substr(0, first);
    head_.target = line.substr(first + 1, second - first - 1);
    if (!is_token(head_.method) || head_.target.empty()) {
        return bad("a bad request line: " + std::string(line));
    }
    return true;
}

bool Reader::parse_fields(size_t from) {
    const std::string_view text = head_.text;
    while (from < text.size()) {
        const size_t end = text.find("\r\n", from);
        const std::string_view line = text.substr(from, end - from);
        from = end + 2;
        const size_t colon = line.find(':');
        if (colon == line.npos || !is_token(line.substr(0, colon)) || has_control(line)) {
            return bad("a bad field: " + std::string(line));
        }
        std::string_view value = line.substr(colon + 1);
        while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) {
            value.remove_prefix(1);
        }
        while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) {
            value.remove_suffix(1);
        }
        head_.fields.push_back({line.substr(0, colon), value});
    }
    return true;
}

bool Reader::decide_framing() {
    std::string_view length;
    std::string_view coding;
    const size_t lengths = head_.count("content-length", &length);
    const size_t codings = head_.count("transfer-encoding", &coding);
    if (lengths + codings > 1) return bad("more than one field of framing");
    if (lengths == 1 && !read_number(length, head_.length)) return bad("a bad Content-Length");
    if (codings == 1 && coding != "chunked") return bad("a bad Transfer-Encoding");
    const int status = head_.status;
    if (kind_ == Kind::Responses && (to_head_ || status < 200 || status == 204 || status == 304)) {
        if (status < 200 || status == 204) {
            if (lengths + codings > 0) return bad("framing where there can be no body");
        }
        if (codings > 0 && !to_head_) return bad("a coding of no body");
        head_.length = 0;
        return true;
    }
    if (lengths == 1) {
        head_.framing = Framing::Length;
    } else if (codings == 1) {
        head_.framing = Framing::Chunked;
    } else if (kind_ == Kind::Responses) {
        head_.framing = Framing::UntilClose;
    }
    return true;
}

}  // namespace sim::front
