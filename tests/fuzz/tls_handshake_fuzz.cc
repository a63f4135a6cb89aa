// Any bytes as what a client sends first; two bytes in front say in what pieces they come, and how
// much room there is for the answer. What must hold: nobody gets through a handshake without
// knowing how, nothing is taken for data, and neither pieces nor room decide how it ends. (Only the
// reason may differ: of two faults the guard sees one, and OpenSSL the other one first.)
#include <algorithm>

#include "fuzz/tls_world.h"

namespace tls {

namespace {

using base::check;

void shake_hands(fuzz::Server& server, std::span<const uint8_t> bytes) {
    server.put(bytes);
    check(!server.session().handshake_done());
    check(server.received.empty());
    check(server.state() != Session::State::NeedSlowKey);
    server.check_end();
}

}  // namespace

}  // namespace tls

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static tls::fuzz::World world;
    if (size < 2) return 0;
    const std::span<const uint8_t> bytes(data + 2, size - 2);
    tls::fuzz::Server whole(world.accept(), SIZE_MAX, size_t{32} * 1024);
    tls::shake_hands(whole, bytes);
    tls::fuzz::Server cut(world.accept(), size_t{1} + data[0], size_t{1} + data[1] * size_t{8});
    tls::shake_hands(cut, bytes);
    base::check(cut.state() == whole.state());
    return 0;
}
