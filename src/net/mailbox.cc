#include "net/mailbox.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

namespace net {

struct Mailbox::Message {
    std::function<void()> work;
    Message* next = nullptr;
};

Mailbox::Mailbox() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Mailbox::~Mailbox() {
    for (Message* message = head_.exchange(nullptr, std::memory_order_acquire);
         message != nullptr;) {
        delete std::exchange(message, message->next);
    }
}

void Mailbox::post(std::function<void()> work) {
    auto* message = new Message{std::move(work), nullptr};
    Message* before = head_.load(std::memory_order_relaxed);
    do {
        message->next = before;
    } while (!head_.compare_exchange_weak(before, message, std::memory_order_release,
                                          std::memory_order_relaxed));
    // From here on `message` is the loop's. Only who found the list empty wakes it: until the loop
    // drains, one wake is enough for all.
    if (before != nullptr) return;
    const uint64_t one = 1;
    // Fails only with the counter at its limit, which wakes just as well.
    (void)!::write(event_.fd(), &one, sizeof one);
}

void Mailbox::drain() {
    // The counter first: who posts after this finds either the list non-empty and is taken below,
    // or empty and wakes us again.
    uint64_t count = 0;
    (void)!::read(event_.fd(), &count, sizeof count);
    Message* newest = head_.exchange(nullptr, std::memory_order_acquire);
    Message* oldest = nullptr;
    while (newest != nullptr) {
        Message* next = std::exchange(newest->next, oldest);
        oldest = std::exchange(newest, next);
    }
    while (oldest != nullptr) {
        const std::unique_ptr<Message> message(std::exchange(oldest, oldest->next));
        message->work();
    }
}

}  // namespace net
