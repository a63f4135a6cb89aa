// Any bytes as a chunked body; the first one says in what pieces they come. What must hold: the
// pieces do not matter; what we take as a whole body llhttp takes too, with the same data and the
// same end; and data framed anew decodes to itself.
#include <llhttp.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/result.h"
#include "proxy/chunked.h"

namespace proxy {

namespace {

using base::check;

struct Decoded {
    ChunkDecoder::State state = ChunkDecoder::State::More;
    std::string reason;
    std::string data;
    std::string trailers;
    size_t consumed = 0;
};

Decoded decode(std::string_view bytes, size_t step) {
    ChunkDecoder decoder;
    Decoded decoded;
    while (decoded.state == ChunkDecoder::State::More && decoded.consumed < bytes.size()) {
        const std::string_view piece = bytes.substr(decoded.consumed, step);
        const ChunkDecoder::Step taken = decoder.decode(piece, &decoded.trailers);
        check(taken.consumed <= piece.size());
        check(taken.consumed > 0 || taken.state == ChunkDecoder::State::Bad);
        decoded.state = taken.state;
        decoded.reason = taken.reason;
        decoded.data += taken.data;
        decoded.consumed += taken.consumed;
    }
    check((decoded.state == ChunkDecoder::State::Bad) == !decoded.reason.empty());
    return decoded;
}

int keep_body(llhttp_t* parser, const char* at, size_t size) {
    static_cast<std::string*>(parser->data)->append(at, size);
    return 0;
}

int pause_at_end(llhttp_t*) {
    return HPE_PAUSED;
}

void check_llhttp(std::string_view body, const std::string& data) {
    constexpr std::string_view head =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_body = keep_body;
    settings.on_message_complete = pause_at_end;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    std::string found;
    parser.data = &found;
    check(llhttp_execute(&parser, head.data(), head.size()) == HPE_OK);
    if (llhttp_execute(&parser, body.data(), body.size()) != HPE_PAUSED) {
        // It takes fewer of the extensions that the grammar allows.
        check(body.find(';') != std::string_view::npos);
        return;
    }
    check(llhttp_get_error_pos(&parser) == body.data() + body.size());
    check(found == data);
}

}  // namespace

}  // namespace proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace proxy;
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const Decoded whole = decode(bytes, std::max<size_t>(1, bytes.size()));
    for (const size_t step : {size_t{1}, size_t{1} + data[0]}) {
        const Decoded pieces = decode(bytes, step);
        base::check(pieces.state == whole.state && pieces.reason == whole.reason);
        base::check(pieces.data == whole.data);
        if (whole.state == ChunkDecoder::State::Done)
            base::check(pieces.trailers == whole.trailers);
        if (whole.state == ChunkDecoder::State::Done)
            base::check(pieces.consumed == whole.consumed);
    }
    if (whole.state != ChunkDecoder::State::Done) return 0;
    // All of them and nothing else stand between the last chunk and the end.
    base::check(bytes.substr(0, whole.consumed).ends_with(whole.trailers + "\r\n"));
    check_llhttp(bytes.substr(0, whole.consumed), whole.data);
    std::string again;
    if (!whole.data.empty()) {
        std::array<uint8_t, 18> line;
        const size_t line_size = write_chunk_size(whole.data.size(), line);
        again.append(line.begin(), line.begin() + static_cast<ptrdiff_t>(line_size));
        again += whole.data + "\r\n";
    }
    again += last_chunk;
    const Decoded reread = decode(again, again.size());
    base::check(reread.state == ChunkDecoder::State::Done && reread.data == whole.data);
    return 0;
}
