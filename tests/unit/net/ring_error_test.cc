#include "net/ring_error.h"

#include <cerrno>

#include "catch.h"
#include "net/event_loop.h"
#include "support.h"

namespace net {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("A refused io_uring is explained by sysctl, seccomp, kernel or limits") {
    struct Row {
        int error;
        RingEnvironment environment;
        std::vector<const char*> words;
    };
    const Row rows[] = {
        {EPERM, {2, -1, "6.12", ""}, {"kernel.io_uring_disabled=2", "everyone"}},
        {EPERM, {1, 990, "6.12", ""}, {"kernel.io_uring_disabled=1", "CAP_SYS_ADMIN", "group 990"}},
        {EPERM, {1, -1, "6.12", ""}, {"kernel.io_uring_group=-1", "CAP_SYS_ADMIN"}},
        {EPERM, {0, -1, "6.12", ""}, {"seccomp", "io_uring_setup", "io_uring_register"}},
        {EPERM, {std::nullopt, std::nullopt, "6.1", ""}, {"seccomp", "Docker"}},
        {EACCES, {0, -1, "6.12", ""}, {"seccomp"}},
        {ENOSYS, {std::nullopt, std::nullopt, "4.19.0", ""}, {"4.19.0", "5.1", "6.1"}},
        {EINVAL,
         {0, -1, "5.15.0", "IORING_SETUP_SINGLE_ISSUER"},
         {"5.15.0", "IORING_SETUP_SINGLE_ISSUER", "6.1"}},
        {EINVAL, {0, -1, "6.1.0", ""}, {"6.1.0", "sizes"}},
        {ENOMEM,
         {0, -1, "6.18", ""},
         {"LimitMEMLOCK", "ulimit -l", "5.12", "6.14", "6.18", "server.workers", "cgroup"}},
        {EMFILE, {0, -1, "6.1", ""}, {"LimitNOFILE"}},
        {ENFILE, {0, -1, "6.1", ""}, {"fs.file-max"}},
        {EIO, {0, -1, "6.1", ""}, {"io_uring_setup", "(5)"}},
    };
    for (const Row& row : rows) {
        const std::string text = explain_ring_error(row.error, row.environment);
        for (const char* word : row.words) CHECK_THAT(text, ContainsSubstring(word));
        CHECK(text.find('\n') == std::string::npos);
    }
}

TEST_CASE("This system's environment is read") {
    const RingEnvironment environment = read_ring_environment(EINVAL);
    CHECK_FALSE(environment.kernel.empty());
    CHECK(environment.unknown_flag.empty());  // as the other tests have a ring
    CHECK_FALSE(explain_ring_error(-EPERM).empty());
}

TEST_CASE("A loop that cannot be made says why") {
    const LoopOptions options{.sq_entries = 1u << 30, .cq_entries = 1u << 30};
    const auto loop = EventLoop::create(options);
    REQUIRE_FALSE(loop.ok());
    CHECK_THAT(loop.error().message(), ContainsSubstring("sizes of the io_uring"));
}

}  // namespace net
