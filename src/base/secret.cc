#include "base/secret.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace base {

Secret::Secret(std::string_view text, Memory& memory) : memory_(&memory) {
    append(text);
}

Secret::Secret(std::span<const uint8_t> bytes)
    : Secret(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())) {}

Secret::Secret(Secret&& other) noexcept
    : memory_(other.memory_),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
    if (this == &other) return *this;
    release();
    memory_ = other.memory_;
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
}

Secret::~Secret() {
    release();
}

void Secret::release() noexcept {
    if (data_ == nullptr) return;
    wipe(data_, capacity_);
    memory_->deallocate(data_, capacity_, 1);
    data_ = nullptr;
    size_ = 0;
    capacity_ = 0;
}

Secret Secret::copy() const {
    return Secret(text());
}

void Secret::reserve(size_t capacity) {
    if (capacity <= capacity_) return;
    Secret larger;
    larger.memory_ = memory_;
    larger.data_ = static_cast<char*>(memory_->allocate(capacity, 1));
    larger.capacity_ = capacity;
    larger.size_ = size_;
    if (size_ > 0) std::memcpy(larger.data_, data_, size_);
    *this = std::move(larger);
}

void Secret::append(std::string_view text) {
    if (text.empty()) return;
    const size_t before = size_;
    if (before + text.size() > capacity_) reserve(std::max(before + text.size(), 2 * capacity_));
    std::memcpy(data_ + before, text.data(), text.size());
    size_ = before + text.size();
}

void Secret::resize(size_t size) {
    if (size > capacity_) reserve(size);
    if (size < size_) {
        wipe(data_ + size, size_ - size);
    } else if (size > size_) {
        std::memset(data_ + size_, 0, size - size_);
    }
    size_ = size;
}

bool operator==(const Secret& a, const Secret& b) {
    return a.size_ == b.size_ && (a.size_ == 0 || CRYPTO_memcmp(a.data_, b.data_, a.size_) == 0);
}

std::optional<Secret> secret_from_base64url(std::string_view text) {
    auto bytes = from_base64url(text);
    if (!bytes) return std::nullopt;
    Secret secret{std::span<const uint8_t>(*bytes)};
    wipe(*bytes);
    return secret;
}

void wipe(void* at, size_t size) {
    if (size > 0) OPENSSL_cleanse(at, size);
}

}  // namespace base
