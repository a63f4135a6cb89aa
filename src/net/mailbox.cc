#include "net/mailbox.h"

#include <system_error>

namespace net {

struct Mailbox::Message {
    std::function<void()> work;
    Message* next = nullptr;
};

Mailbox::Mailbox() {
    const int fd = kernel::open_event();
    if (fd < 0) throw std::system_error(-fd, std::generic_category(), "eventfd");
    event_.reset(fd);
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
    kernel::signal_event(event_.fd());
}

void Mailbox::drain() {
    // The counter first: who posts after this finds either the list non-empty and is taken below,
    // or empty and wakes us again.
    kernel::clear_event(event_.fd());
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
