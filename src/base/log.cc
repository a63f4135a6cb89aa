#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace base {

LogRing::LogRing(size_t capacity)
    : capacity_(capacity), bytes_(std::make_unique<char[]>(capacity)) {}

void LogRing::copy_in(size_t at, const char* data, size_t size) {
    const size_t start = at % capacity_;
    const size_t first = std::min(size, capacity_ - start);
    std::memcpy(bytes_.get() + start, data, first);
    std::memcpy(bytes_.get(), data + first, size - first);
}

void LogRing::copy_out(size_t at, char* data, size_t size) const {
    const size_t start = at % capacity_;
    const size_t first = std::min(size, capacity_ - start);
    std::memcpy(data, bytes_.get() + start, first);
    std::memcpy(data + first, bytes_.get(), size - first);
}

bool LogRing::put(std::string_view line) {
    const size_t head = head_.load(std::memory_order_relaxed);
    const size_t tail = tail_.load(std::memory_order_acquire);
    if (line.size() + 1 > capacity_ - (head - tail)) {
        dropped_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    copy_in(head, line.data(), line.size());
    copy_in(head + line.size(), "\n", 1);
    head_.store(head + line.size() + 1, std::memory_order_release);
    return true;
}

bool LogRing::take(std::string& out) {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    const size_t size = head_.load(std::memory_order_acquire) - tail;
    if (size == 0) return false;
    const size_t old = out.size();
    out.resize(old + size);
    copy_out(tail, out.data() + old, size);
    tail_.store(tail + size, std::memory_order_release);
    return true;
}

namespace {

constexpr size_t diagnostic_ring_bytes = 64 * 1024;
constexpr size_t access_ring_bytes = 1024 * 1024;
/// How long lines may wait in the rings: batching costs less than a wake per line.
constexpr std::chrono::milliseconds drain_interval{20};

constexpr std::string_view level_names[] = {"error", "warn", "info", "debug"};

/// Writes all or gives up: a log that cannot be written must not stop the process.
void write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        text.remove_prefix(static_cast<size_t>(n));
    }
}

struct Sink {
    std::string path;  // empty: stderr
    std::shared_ptr<LogRing> ring;
    UniqueFd file;
    bool reopens = false;  // another file is wanted; until there is one, the old goes on
    bool complained = false;
};

class Writer {
  public:
    std::atomic<LogLevel> level{LogLevel::Info};

    std::shared_ptr<LogRing> add(const std::string& path, size_t capacity) {
        auto ring = std::make_shared<LogRing>(capacity);
        std::lock_guard lock(mutex_);
        sinks_.push_back(std::make_unique<Sink>(Sink{path, ring, UniqueFd{}, false, false}));
        return ring;
    }

    bool running() const { return running_.load(std::memory_order_acquire); }

    void start() {
        if (running_.exchange(true)) return;
        thread_ = std::thread([this] { run(); });
    }

    void stop() {
        if (!running_.exchange(false)) return;
        wake();
        thread_.join();
        drain();
    }

    void reopen() {
        reopen_.store(true, std::memory_order_release);
        wake();
    }

    void wake() {
        if (asleep_.exchange(false, std::memory_order_acq_rel)) asleep_.notify_one();
    }

  private:
    void run() {
        while (running()) {
            asleep_.store(true, std::memory_order_release);
            if (!drain() && running()) asleep_.wait(true, std::memory_order_acquire);
            std::this_thread::sleep_for(drain_interval);
        }
    }

    /// Writes what waits; false if nothing did.
    bool drain() {
        std::vector<Sink*> sinks;
        {
            std::lock_guard lock(mutex_);
            // A ring that only we hold has lost its producer: it goes once it is empty.
            std::erase_if(sinks_, [](const std::unique_ptr<Sink>& sink) {
                return sink->ring.use_count() == 1 && sink->ring->empty();
            });
            for (const auto& sink : sinks_) sinks.push_back(sink.get());
        }
        if (reopen_.exchange(false, std::memory_order_acq_rel)) {
            for (Sink* sink : sinks) {
                sink->reopens = true;
                sink->complained = false;
                (void)descriptor(*sink);  // at once: the old file may be compressed now
            }
        }
        bool any = false;
        for (Sink* sink : sinks) any |= write_sink(*sink);
        return any;
    }

    bool write_sink(Sink& sink) {
        buffer_.clear();
        const bool any = sink.ring->take(buffer_);
        if (const uint64_t dropped = sink.ring->take_dropped(); dropped > 0) {
            Log::write(
                LogLevel::Warn, "log", sink.path.empty() ? "stderr" : sink.path,
                fmt::format("{} lines dropped: written faster than they could be stored", dropped));
        }
        if (any) write_all(descriptor(sink), buffer_);
        return any;
    }

    int descriptor(Sink& sink) {
        if (sink.path.empty()) return STDERR_FILENO;
        if (sink.path == "-") return STDOUT_FILENO;
        if (sink.file && !sink.reopens) return sink.file.fd();
        UniqueFd file(
            ::open(sink.path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640));
        if (file) {
            sink.file = std::move(file);
            sink.reopens = false;
        } else if (!std::exchange(sink.complained, true)) {
            write_all(STDERR_FILENO,
                      fmt::format(
                          "mdfront: cannot open log file {}: {}; {} until it can be "
                          "opened\n",
                          sink.path, system_error(errno, "open").message(),
                          sink.file ? "its lines go to the file before it" : "its lines are lost"));
        }
        return sink.file.fd();
    }

    std::mutex mutex_;  // sinks_: the list, not the rings
    std::vector<std::unique_ptr<Sink>> sinks_;
    std::string buffer_;
    std::atomic<bool> running_{false};
    std::atomic<bool> asleep_{false};
    std::atomic<bool> reopen_{false};
    std::thread thread_;
};

Writer& writer() {
    static Writer* instance = new Writer;  // lives as long as any thread may log: never destroyed
    return *instance;
}

}  // namespace

void Log::set_level(LogLevel level) {
    writer().level.store(level, std::memory_order_relaxed);
}
LogLevel Log::level() {
    return writer().level.load(std::memory_order_relaxed);
}
void Log::start() {
    writer().start();
}
void Log::stop() {
    writer().stop();
}
void Log::reopen() {
    writer().reopen();
}
void Log::wake() {
    writer().wake();
}

std::shared_ptr<LogRing> Log::open_file(const std::string& path) {
    return writer().add(path, access_ring_bytes);
}

void Log::write(LogLevel level, std::string_view component, std::string_view thing,
                std::string_view text) {
    if (level > Log::level()) return;
    const Time now = std::chrono::floor<Duration>(std::chrono::system_clock::now());
    std::string time = format_rfc3339(now);
    time.pop_back();  // its Z: milliseconds come before it
    const auto millisecond = now.time_since_epoch().count() % 1000;
    const std::string line = fmt::format("{}.{:03}Z {:<5} {:<6} {}{}{}", time, millisecond,
                                         level_names[static_cast<size_t>(level)], component, thing,
                                         thing.empty() ? "" : ": ", text);
    if (!writer().running()) {
        write_all(STDERR_FILENO, line + '\n');
        return;
    }
    thread_local std::shared_ptr<LogRing> ring = writer().add("", diagnostic_ring_bytes);
    ring->put(line);
    writer().wake();
}

}  // namespace base
