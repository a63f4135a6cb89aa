#include "net/stream_table.h"

#include <new>

namespace net {

StreamTable::~StreamTable() {
    for (uint32_t slot = 0; slot < size_; ++slot) at(slot).~Stream();
}

Stream& StreamTable::take() {
    if (!free_.empty()) {
        const uint32_t slot = free_.back();
        free_.pop_back();
        return at(slot);
    }
    if (size_ % block_streams == 0) {
        blocks_.push_back(std::make_unique<Block>());
        free_.reserve(blocks_.size() * block_streams);  // giving back never allocates
    }
    const uint32_t slot = size_++;
    return *new (&at(slot)) Stream(loop_, slot);
}

void StreamTable::give_back(Stream& stream) {
    stream.free();
    free_.push_back(stream.slot_);
}

}  // namespace net
