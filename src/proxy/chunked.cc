#include "proxy/chunked.h"

#include <algorithm>

#include "proxy/head_guard.h"
#include "proxy/http1_parser.h"

namespace proxy {

namespace {

constexpr int size_digits_max = 16;  // leading zeros included: 17 digits are refused (H1-26)

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

ChunkDecoder::Step ChunkDecoder::decode(std::string_view input, std::string* trailers) {
    size_t at = 0;
    if (phase_ != Phase::Data) {
        const char* reason = phase_ == Phase::Bad ? "bad-chunk" : read_framing(input, at, trailers);
        if (reason != nullptr) {
            phase_ = Phase::Bad;
            return {State::Bad, at, {}, reason};
        }
        if (phase_ != Phase::Data)
            return {phase_ == Phase::Done ? State::Done : State::More, at, {}, ""};
    }
    const size_t size = static_cast<size_t>(std::min<uint64_t>(input.size() - at, remaining_));
    remaining_ -= size;
    data_bytes_ += size;
    if (remaining_ == 0) phase_ = Phase::DataCr;
    return {State::More, at + size, input.substr(at, size), ""};
}

const char* ChunkDecoder::read_framing(std::string_view input, size_t& at, std::string* trailers) {
    size_t start = at;
    while (at < input.size() && phase_ != Phase::Data && phase_ != Phase::Done) {
        const char c = input[at];
        switch (phase_) {
            case Phase::Size:
                if (const char* reason = read_size(c)) return reason;
                break;
            case Phase::ExtensionStart:
                // RFC 9112 7.1.1: blanks, then a name.
                if (++line_bytes_ > chunk_extension_bytes_max) return "chunk-extension-too-long";
                if (is_token_byte(c)) {
                    phase_ = Phase::Extension;
                } else if (c != ' ' && c != '\t') {
                    return "bad-chunk-extension";
                }
                break;
            case Phase::Extension: {
                // The rest is dropped, so only what could end the line matters (H1-28).
                const size_t stop = find_control(input, at, input.size());
                line_bytes_ += static_cast<uint32_t>(
                    std::min<size_t>(stop - at, chunk_extension_bytes_max + 1));
                if (line_bytes_ > chunk_extension_bytes_max) return "chunk-extension-too-long";
                at = stop;
                if (at == input.size()) continue;
                if (input[at] != '\r') return "bad-chunk-extension";
                phase_ = Phase::SizeLf;
                break;
            }
            case Phase::SizeLf:
                if (c != '\n') return "bad-chunk-line-end";
                ++at;
                framing_bytes_ += at - start;
                start = at;
                if (const char* reason = end_size()) return reason;
                continue;
            case Phase::DataCr:
                if (c != '\r') return "bad-chunk-end";
                phase_ = Phase::DataLf;
                break;
            case Phase::DataLf:
                if (c != '\n') return "bad-chunk-end";
                phase_ = Phase::Size;
                digits_ = 0;
                break;
            case Phase::LineStart:
                if (c == '\r') {
                    phase_ = Phase::EndLf;
                    break;
                }
                if (trailer_fields_ >= trailer_fields_max) return "too-many-trailers";
                trailer_fields_++;
                name_bytes_ = 0;
                line_bytes_ = 0;
                phase_ = Phase::TrailerName;
                [[fallthrough]];
            case Phase::TrailerName:
                if (const char* reason = read_name(c)) return reason;
                if (trailers != nullptr) trailers->push_back(c);
                break;
            case Phase::TrailerValue: {
                const size_t stop = find_control(input, at, input.size());
                trailer_bytes_ +=
                    static_cast<uint32_t>(std::min<size_t>(stop - at, trailer_bytes_max + 1));
                if (trailer_bytes_ > trailer_bytes_max) return "trailers-too-large";
                if (trailers != nullptr) trailers->append(input.substr(at, stop - at));
                at = stop;
                if (at == input.size()) continue;
                if (input[at] != '\r') return "bad-trailer";
                phase_ = Phase::TrailerLf;
                break;
            }
            case Phase::TrailerLf:
                if (c != '\n') return "bad-trailer";
                if (trailers != nullptr) trailers->append("\r\n");
                phase_ = Phase::LineStart;
                break;
            case Phase::EndLf:
                if (c != '\n') return "bad-trailer";
                phase_ = Phase::Done;
                break;
            case Phase::Data:
            case Phase::Done:
            case Phase::Bad:
                return "bad-chunk";
        }
        ++at;
    }
    framing_bytes_ += at - start;
    return nullptr;
}

const char* ChunkDecoder::read_size(char c) {
    if (const int value = hex_value(c); value >= 0) {
        if (++digits_ > size_digits_max) return "bad-chunk-size";
        remaining_ = remaining_ << 4 | static_cast<uint64_t>(value);
        return nullptr;
    }
    if (digits_ == 0 || remaining_ >> 63 != 0) return "bad-chunk-size";
    line_bytes_ = 0;
    switch (c) {
        case '\r':
            phase_ = Phase::SizeLf;
            return nullptr;
        case ';':
            phase_ = Phase::ExtensionStart;
            return nullptr;
        case '\n':
            return "bad-chunk-line-end";
        default:
            return "bad-chunk-size";
    }
}

/// The size line has ended.
const char* ChunkDecoder::end_size() {
    if (peer_ == Peer::Client && framing_bytes_ > chunk_overhead_free_bytes &&
        data_bytes_ < framing_bytes_) {
        return "too-much-chunk-framing";
    }
    phase_ = remaining_ == 0 ? Phase::LineStart : Phase::Data;
    return nullptr;
}

const char* ChunkDecoder::read_name(char c) {
    if (++trailer_bytes_ > trailer_bytes_max) return "trailers-too-large";
    if (is_token_byte(c)) {
        if (++line_bytes_ > field_name_bytes_max) return "bad-trailer";
        // A longer name than the buffer's is none of the refused ones: line_bytes_ tells.
        if (name_bytes_ < name_.size()) name_[name_bytes_++] = c;
        return nullptr;
    }
    if (c != ':' || line_bytes_ == 0) return "bad-trailer";
    if (is_forbidden_trailer()) return "forbidden-trailer";
    phase_ = Phase::TrailerValue;
    return nullptr;
}

/// Framing and routing after the fact (RFC 9110 6.5.1, H1-34).
bool ChunkDecoder::is_forbidden_trailer() const {
    if (line_bytes_ > name_.size()) return false;
    const FieldId id = field_id({name_.data(), name_bytes_});
    return id == FieldId::ContentLength || id == FieldId::TransferEncoding || id == FieldId::Host;
}

size_t write_chunk_size(uint64_t size, std::span<uint8_t, 18> out) {
    constexpr std::string_view digits = "0123456789abcdef";
    size_t count = 1;
    while (count < size_digits_max && size >> (4 * count) != 0) ++count;
    for (size_t i = count; i > 0; --i, size >>= 4) {
        out[i - 1] = static_cast<uint8_t>(digits[size & 15]);
    }
    out[count] = '\r';
    out[count + 1] = '\n';
    return count + 2;
}

}  // namespace proxy
