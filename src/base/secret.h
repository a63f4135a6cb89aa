// Bytes that must not stay behind in memory: private keys in PEM or DER, HMAC keys, pass phrases. A
// core file, a swapped page or a read past the end of some other buffer would show them long after
// they were used.
//
// A Secret owns its bytes and wipes them before their memory goes anywhere: when it dies, when it
// grows, when it is assigned to. It is moved, and copied only by copy(), so that each copy is seen
// where it is made. It turns into no string and cannot be printed; who reads it gets a view.
//
// What other libraries keep of it is theirs: OpenSSL wipes its keys, the JSON and the HTTP library
// wipe nothing (wipe() is for the strings that they hand out).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <optional>
#include <span>
#include <string_view>

namespace base {

class Secret {
  public:
    /// Where the bytes live: tests look at it afterwards. It must outlive the secret.
    using Memory = std::pmr::memory_resource;

    Secret() = default;
    explicit Secret(std::string_view text, Memory& memory = *std::pmr::new_delete_resource());
    explicit Secret(std::span<const uint8_t> bytes);
    Secret(Secret&& other) noexcept;
    Secret& operator=(Secret&& other) noexcept;
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;
    ~Secret();

    Secret copy() const;

    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    /// Views are good until the next change. None into a secret that ends with the expression.
    std::string_view text() const& { return {data_, size_}; }
    std::span<const uint8_t> bytes() const& {
        return {reinterpret_cast<const uint8_t*>(data_), size_};
    }
    std::string_view text() const&& = delete;
    std::span<const uint8_t> bytes() const&& = delete;

    /// To be filled by whoever reads it from somewhere.
    std::span<char> buffer() & { return {data_, size_}; }
    std::span<uint8_t> writable() & { return {reinterpret_cast<uint8_t*>(data_), size_}; }

    void append(std::string_view text);
    /// New bytes are zero; those that are cut off are wiped.
    void resize(size_t size);
    /// Room for so many bytes, so that appending moves nothing.
    void reserve(size_t capacity);
    void clear() { resize(0); }

    /// Takes as long wherever they differ.
    friend bool operator==(const Secret& a, const Secret& b);

  private:
    void release() noexcept;

    Memory* memory_ = std::pmr::new_delete_resource();
    char* data_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
};

/// The bytes of base64url without padding (RFC 4648 5); nullopt if the text is something else.
std::optional<Secret> secret_from_base64url(std::string_view text);

/// Zeroes that the compiler does not leave out.
void wipe(void* at, size_t size);
/// Empties a string or vector that a library made of a secret, and leaves nothing of it, nor of a
/// longer value before it, in its memory.
template <typename Container>
void wipe(Container& container) {
    container.resize(container.capacity());
    wipe(container.data(), container.size() * sizeof *container.data());
    container.clear();
}

}  // namespace base
