#include "net/ring_size.h"

#include <algorithm>
#include <charconv>

namespace net {

namespace {

/// Twice what is handled in a turn.
constexpr uint32_t cq_entries_min = 2048;
constexpr uint32_t sq_entries_min = 128;

size_t in_pages(size_t bytes) {
    constexpr size_t page = 4096;
    return (bytes + page - 1) / page * page;
}

}  // namespace

size_t locked_bytes(const LoopOptions& options) {
    // linux/io_uring.h: struct io_uring_sqe, _cqe and _buf; the heads and tails of both queues and
    // the index of submissions stand with the completions.
    constexpr size_t sqe_bytes = 64;
    constexpr size_t cqe_bytes = 16;
    constexpr size_t buffer_entry_bytes = 16;
    constexpr size_t heads_bytes = 256;
    size_t bytes = in_pages(options.sq_entries * sqe_bytes) +
                   in_pages(heads_bytes + options.cq_entries * cqe_bytes +
                            options.sq_entries * sizeof(uint32_t));
    for (const uint32_t count :
         {options.small_buffers, options.large_buffers, options.bulk_buffers}) {
        bytes += in_pages(count * buffer_entry_bytes);
    }
    return bytes;
}

bool counts_locked_memory(std::string_view release) {
    const char* const end = release.data() + release.size();
    int major = 0;
    int minor = 0;
    const auto after_major = std::from_chars(release.data(), end, major);
    if (after_major.ec != std::errc{} || after_major.ptr == end) return true;
    if (std::from_chars(after_major.ptr + 1, end, minor).ec != std::errc{}) return true;
    const std::pair version(major, minor);
    return version < std::pair(5, 12) || version >= std::pair(6, 14);
}

bool shrink_queues(LoopOptions& options) {
    const LoopOptions before = options;
    options.cq_entries =
        std::max(options.cq_entries / 2, std::min(options.cq_entries, cq_entries_min));
    // The larger part first.
    if (options.cq_entries * 16 < options.sq_entries * 64 * 2) {
        options.sq_entries =
            std::max(options.sq_entries / 2, std::min(options.sq_entries, sq_entries_min));
    }
    return options.cq_entries != before.cq_entries || options.sq_entries != before.sq_entries;
}

}  // namespace net
