// Errors as values. Expected failures (peer, network, file) travel in a Result; bugs hit check().
#pragma once

#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace base {

/// Who speaks in Error::code.
enum class ErrorDomain : uint16_t {
    None,
    System,  ///< code is an errno
    Net,     ///< closed, limits, timeouts: the room's own words in Error::text
    Tls,     ///< code is what ERR_get_error gave, truncated to 32 bits
    Http,    ///< code is a status
    Input,   ///< somebody's text could not be read
};

/// What went wrong, small enough for hot paths: `text` is a string literal and is never freed.
struct Error {
    ErrorDomain domain = ErrorDomain::None;
    int32_t code = 0;
    const char* text = "";

    /// "connect: Connection refused (111)": text plus what the domain knows of the code.
    std::string message() const;
};
static_assert(sizeof(Error) == 16);

/// An Error of domain System from errno or a negative io_uring result; `text` names the operation.
Error system_error(int errno_value, const char* text);

/// A value or an error. The subset of std::expected that we need; gcc 12's C++20 has none.
template <typename T, typename E = Error>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(E error) : state_(std::in_place_index<1>, std::move(error)) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }
    T& value() & { return std::get<0>(state_); }
    const T& value() const& { return std::get<0>(state_); }
    T&& value() && { return std::get<0>(std::move(state_)); }
    const E& error() const { return std::get<1>(state_); }
    T* operator->() { return &value(); }
    T& operator*() & { return value(); }

  private:
    std::variant<T, E> state_;
};

/// Success without a value, or an error.
template <typename E>
class [[nodiscard]] Result<void, E> {
  public:
    Result() = default;
    Result(E error) : error_(std::move(error)) {}

    bool ok() const { return !error_.has_value(); }
    explicit operator bool() const { return ok(); }
    const E& error() const { return *error_; }

  private:
    std::optional<E> error_;
};

using Status = Result<void, Error>;

[[noreturn]] void check_failed(const std::source_location& where);

/// An invariant of ours. Stays on in release; never reachable from the wire. Failing it aborts.
inline void check(bool condition,
                  const std::source_location& where = std::source_location::current()) {
    if (!condition) [[unlikely]] {
        check_failed(where);
    }
}

}  // namespace base
