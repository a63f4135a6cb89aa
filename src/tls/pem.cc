#include "tls/pem.h"

#include "base/secret.h"
#include "base/text.h"

namespace tls {

namespace {

using base::Error;
using base::ErrorDomain;

constexpr std::string_view begin_mark = "-----BEGIN ";
constexpr std::string_view end_mark = "-----END ";
constexpr std::string_view dashes = "-----";

Error input_error(const char* text) {
    return {ErrorDomain::Input, 0, text};
}

/// Takes one line off the front of `text`, without its end (LF, CR LF or CR) and outer blanks.
std::string_view take_line(std::string_view& text) {
    const size_t end = text.find_first_of("\r\n");
    const std::string_view line = text.substr(0, end);
    size_t next = end == std::string_view::npos ? text.size() : end + 1;
    if (next < text.size() && text[next - 1] == '\r' && text[next] == '\n') ++next;
    text.remove_prefix(next);
    return base::trim(line);
}

bool has_control_byte(std::string_view line) {
    return std::any_of(line.begin(), line.end(), [](char c) {
        const auto byte = static_cast<uint8_t>(c);
        return (byte < 0x20 && c != '\t') || byte == 0x7f;
    });
}

/// The label between `mark` and the closing dashes; "" if the line is no such boundary.
std::string_view boundary_label(std::string_view line, std::string_view mark) {
    if (!line.starts_with(mark) || !line.ends_with(dashes)) return {};
    line.remove_prefix(mark.size());
    if (line.size() <= dashes.size()) return {};
    line.remove_suffix(dashes.size());
    return line;
}

int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

/// Base64 as it comes, line by line. Strict: padding only at the end, no stray bits.
class Base64Reader {
  public:
    explicit Base64Reader(std::vector<uint8_t>& out) : out_(out) {}

    bool add(std::string_view line) {
        for (const char c : line) {
            if (c == ' ' || c == '\t') continue;
            if (c == '=') {
                ++padding_;
                continue;
            }
            const int value = sextet(c);
            if (value < 0 || padding_ > 0) return false;
            bits_ = (bits_ << 6) | static_cast<uint32_t>(value);
            if (++count_ == 4) {
                put(3);
            }
        }
        return true;
    }
    bool finish() {
        if (count_ == 0) return padding_ == 0;
        if (count_ == 1 || count_ + padding_ != 4) return false;
        const size_t bytes = count_ - 1;
        bits_ <<= 6 * (4 - count_);
        if ((bits_ & (bytes == 1 ? 0xffffu : 0xffu)) != 0) return false;
        put(bytes);
        return true;
    }

  private:
    void put(size_t bytes) {
        for (size_t i = 0; i < bytes; ++i) {
            out_.push_back(static_cast<uint8_t>(bits_ >> (16 - 8 * i)));
        }
        bits_ = 0;
        count_ = 0;
    }

    std::vector<uint8_t>& out_;
    uint32_t bits_ = 0;
    size_t count_ = 0;
    size_t padding_ = 0;
};

/// Reads from behind the BEGIN line through the END line.
base::Status read_block(std::string_view& text, PemBlock& block) {
    // Reserved once, so that no copy of a key stays behind in memory that a growing vector let go.
    const size_t end = std::min(text.find(dashes), text.size());
    block.der.reserve(end * 3 / 4 + 3);
    Base64Reader reader(block.der);
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (line.starts_with(dashes)) {
            if (boundary_label(line, end_mark) != block.label) {
                return input_error("PEM block ends with another label than it began with");
            }
            if (!block.encrypted && (!reader.finish() || block.der.empty())) {
                return input_error("PEM block is not base64");
            }
            return {};
        }
        if (line.find(':') != std::string_view::npos) block.encrypted = true;  // RFC 1421 header
        if (!block.encrypted && !reader.add(line)) return input_error("PEM block is not base64");
    }
    return input_error("PEM block has no end");
}

}  // namespace

PemBlock::~PemBlock() {
    base::wipe(der);
}

base::Result<std::vector<PemBlock>> read_pem(std::string_view text) {
    std::vector<PemBlock> blocks;
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (has_control_byte(line)) return input_error("PEM text holds control bytes");
        if (!line.starts_with(dashes)) continue;
        PemBlock block;
        block.label = boundary_label(line, begin_mark);
        if (block.label.empty()) return input_error("PEM boundary is broken");
        if (const base::Status status = read_block(text, block); !status) return status.error();
        blocks.push_back(std::move(block));
    }
    return blocks;
}

}  // namespace tls
