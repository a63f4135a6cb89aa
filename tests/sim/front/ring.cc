// net/ring.h on the simulated kernel.
#include "net/ring.h"

#include <sys/socket.h>

#include "kernel.h"
#include "sim_ring.h"

namespace net {

using sim::front::Code;
using sim::front::Operation;
using sim::front::SimRing;

struct Ring::Kernel {
    Kernel(uint32_t sq_entries, uint32_t cq_entries)
        : ring(sim::front::Kernel::current().machine(), sq_entries, cq_entries) {}
    SimRing ring;
};

std::string refused_setup_flag() {
    return {};
}

Ring::Ring(std::unique_ptr<Kernel> kernel) : kernel_(std::move(kernel)) {}

Ring::~Ring() = default;

base::Result<std::unique_ptr<Ring>> Ring::create(uint32_t sq_entries, uint32_t cq_entries) {
    return std::unique_ptr<Ring>(new Ring(std::make_unique<Kernel>(sq_entries, cq_entries)));
}

base::Status Ring::enable() {
    kernel_->ring.enable();
    return {};
}

base::Status Ring::register_buffers(uint16_t group, io_uring_buf* entries, uint32_t count) {
    kernel_->ring.register_buffers(group, entries, count);
    return {};
}

void Ring::unregister_buffers(uint16_t group) {
    kernel_->ring.unregister_buffers(group);
}

void Ring::accept_multishot(Tag tag, int fd) {
    kernel_->ring.prepare(Code::Accept, tag, fd).multishot = true;
}

void Ring::accept_one(Tag tag, int fd) {
    (void)kernel_->ring.prepare(Code::Accept, tag, fd);
}

void Ring::receive(Tag tag, int fd, uint16_t group, bool multishot, bool poll_first) {
    Operation& operation = kernel_->ring.prepare(Code::Receive, tag, fd);
    operation.buffers = kernel_->ring.group(group);
    operation.multishot = multishot;
    operation.poll_first = poll_first;
}

void Ring::send(Tag tag, int fd, std::span<const uint8_t> bytes) {
    const iovec piece{const_cast<uint8_t*>(bytes.data()), bytes.size()};  // it is only read
    kernel_->ring.prepare_send(tag, fd, {&piece, 1}, nullptr);
}

void Ring::send(Tag tag, int fd, const msghdr& message) {
    kernel_->ring.prepare_send(tag, fd, {message.msg_iov, message.msg_iovlen}, &message);
}

void Ring::connect(Tag tag, int fd, const sockaddr* address, uint32_t length) {
    kernel_->ring.prepare(Code::Connect, tag, fd).address = Address::from_sockaddr(address, length);
}

void Ring::poll_multishot(Tag tag, int fd) {
    kernel_->ring.prepare(Code::Poll, tag, fd).multishot = true;
}

void Ring::cancel(Tag target) {
    kernel_->ring.prepare(Code::Cancel, {}, -1).target_tag = target.packed();
}

void Ring::cancel_each(Tag targets) {
    kernel_->ring.prepare(Code::CancelEach, {}, -1).target_tag = targets.packed();
}

void Ring::cancel_descriptor(int fd) {
    (void)kernel_->ring.prepare(Code::CancelDescriptor, {}, fd);
}

void Ring::cancel_all() {
    (void)kernel_->ring.prepare(Code::CancelAll, {}, -1);
}

void Ring::close(int fd) {
    (void)kernel_->ring.prepare(Code::Close, {}, fd);
}

void Ring::submit_and_wait(uint64_t wait_ms) {
    kernel_->ring.submit_and_wait(wait_ms);
}

size_t Ring::reap(std::span<Completion> out) {
    return kernel_->ring.reap(out, overflows_);
}

bool Ring::has_completions() const {
    return kernel_->ring.has_completions();
}

}  // namespace net
