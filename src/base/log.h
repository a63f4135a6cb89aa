// Logging without blocking. Each thread that logs has a bounded ring of its own (single producer);
// one log thread empties them into files. A full ring drops the line and counts it: a stuck disk
// never stops a worker (faults.md PR-13). Before start() and after stop() lines are written at
// once.
//
// A line on stderr: "2026-11-22T03:55:46.123Z warn  md      example.org: renewal failed: …".
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace base {

enum class LogLevel : uint8_t { Error, Warn, Info, Debug };

/// Lines from exactly one producing thread to the log thread. Bounded.
class LogRing {
  public:
    explicit LogRing(size_t capacity);

    /// Producer. False if it had no room: the line is dropped and counted.
    bool put(std::string_view line);
    /// Log thread. Appends all waiting lines, each ended by LF, to `out`; false if there were none.
    bool take(std::string& out);
    /// Log thread.
    bool empty() const { return head_.load(std::memory_order_acquire) == tail_.load(); }
    /// Lines dropped since the last call.
    uint64_t take_dropped() { return dropped_.exchange(0, std::memory_order_relaxed); }

  private:
    void copy_in(size_t at, const char* data, size_t size);
    void copy_out(size_t at, char* data, size_t size) const;

    const size_t capacity_;
    std::unique_ptr<char[]> bytes_;
    std::atomic<size_t> head_{0};  // next byte to write; counts without wrapping
    std::atomic<size_t> tail_{0};  // next byte to read
    std::atomic<uint64_t> dropped_{0};
};

/// What is logged, and the thread that writes it. One per process.
class Log {
  public:
    static void set_level(LogLevel level);
    static LogLevel level();
    /// Asked before a line whose arguments cost something: they are evaluated in any case.
    static bool is_enabled(LogLevel level) { return level <= Log::level(); }
    /// Starts the log thread. Until then, and after stop(), lines go straight to stderr.
    static void start();
    /// Writes what waits and ends the thread.
    static void stop();

    /// A diagnostic line. `component` is a room or a part of it, `thing` what the line is about (a
    /// domain, a listener, a client) or "". Any thread. The caller escapes text from the network.
    static void write(LogLevel level, std::string_view component, std::string_view thing,
                      std::string_view text);

    /// A ring whose lines go to `path` ("-": standard output), opened for appending by the log
    /// thread at the first line and again after reopen(). The caller is the ring's only producer.
    static std::shared_ptr<LogRing> open_file(const std::string& path);
    /// Opens files anew (after rotation); one that cannot be opened goes on as it was. Any thread.
    static void reopen();
    /// Tells the log thread that a ring has lines. Cheap when it is awake.
    static void wake();
};

template <typename... Args>
void log_error(std::string_view component, std::string_view thing,
               fmt::format_string<Args...> format, Args&&... args) {
    Log::write(LogLevel::Error, component, thing, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warn(std::string_view component, std::string_view thing,
              fmt::format_string<Args...> format, Args&&... args) {
    if (Log::level() < LogLevel::Warn) return;
    Log::write(LogLevel::Warn, component, thing, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(std::string_view component, std::string_view thing,
              fmt::format_string<Args...> format, Args&&... args) {
    if (Log::level() < LogLevel::Info) return;
    Log::write(LogLevel::Info, component, thing, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_debug(std::string_view component, std::string_view thing,
               fmt::format_string<Args...> format, Args&&... args) {
    if (Log::level() < LogLevel::Debug) return;
    Log::write(LogLevel::Debug, component, thing, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace base
