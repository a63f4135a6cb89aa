// Runs a libFuzzer target without libFuzzer, so that gcc builds and their sanitizers can: first
// each seed and each of its prefixes, then pseudo-random mutations for some seconds.
//
//   fuzz_<name> CORPUS [SECONDS [SEED]]     the seed is printed; with it a run can be repeated
//   fuzz_<name> FILE                        one input, e.g. the fuzz_failure.bin that a failure
//   leaves
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t input_bytes_max = 8192;

std::string input;  // what is being tried

/// Signal-safe: keeps the input that failed.
void keep_input(int) {
    const int fd = open("fuzz_failure.bin", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)!write(fd, input.data(),
                     input.size());  // on the way out: nothing to do about an error
        (void)close(fd);
    }
    (void)signal(SIGABRT, SIG_DFL);
    abort();
}

void run(std::string_view bytes) {
    input = bytes;
    // A copy of exactly that size, so that a sanitizer sees a byte read beyond it.
    const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
    (void)LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// What HTTP's parsers trip over.
constexpr std::string_view words[] = {"\r\n",
                                      "\n",
                                      "\r",
                                      " ",
                                      "\t",
                                      ":",
                                      ";",
                                      ",",
                                      "\r\n ",
                                      "\r\n\r\n",
                                      "0",
                                      "1",
                                      "\x7f",
                                      "\x80",
                                      "\xff",
                                      "_",
                                      "#",
                                      "*",
                                      "chunked",
                                      "Transfer-Encoding: chunked\r\n",
                                      "Content-Length: 5\r\n",
                                      "Content-Length: 0\r\n",
                                      "Connection: close\r\n",
                                      "Connection: Upgrade\r\n",
                                      "Upgrade: websocket\r\n",
                                      "Host: b\r\n",
                                      "Expect: 100-continue\r\n",
                                      "HTTP/1.0",
                                      "HTTP/1.1",
                                      "http://a",
                                      "[::1]",
                                      "X: y\r\n",
                                      "ffffffffffffffff",
                                      "0\r\n\r\n",
                                      "1;a=b\r\n",
                                      "keep-alive",
                                      "99999999999999999999",
                                      "HEAD",
                                      "OPTIONS",
                                      "204",
                                      "304",
                                      "101"};

class Mutator {
  public:
    Mutator(const std::vector<std::string>& seeds, uint64_t seed) : seeds_(seeds), random_(seed) {}

    std::string next() {
        std::string bytes = seeds_[below(seeds_.size())];
        for (size_t changes = 1 + below(6); changes > 0; --changes) change(bytes);
        if (bytes.size() > input_bytes_max) bytes.resize(input_bytes_max);
        return bytes;
    }

  private:
    size_t below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

    void change(std::string& bytes) {
        const size_t at = below(bytes.size() + 1);
        const size_t size = below(std::min<size_t>(bytes.size() - at, 40) + 1);
        switch (below(8)) {
            case 0:
                if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
                break;
            case 1:
                if (at < bytes.size()) bytes[at] = static_cast<char>(below(256));
                break;
            case 2:
                bytes.insert(at, 1, static_cast<char>(below(256)));
                break;
            case 3:
                bytes.erase(at, size);
                break;
            case 4:
                bytes.insert(below(bytes.size() + 1), bytes.substr(at, size));
                break;
            case 5:
                bytes.insert(at, words[below(std::size(words))]);
                break;
            case 6:
                bytes.replace(at, size, words[below(std::size(words))]);
                break;
            case 7: {
                const std::string& other = seeds_[below(seeds_.size())];
                bytes.replace(at, std::string::npos, other, below(other.size() + 1),
                              std::string::npos);
                break;
            }
        }
    }

    const std::vector<std::string>& seeds_;
    std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        (void)std::fprintf(stderr, "usage: %s CORPUS|FILE [SECONDS [SEED]]\n", argv[0]);
        return 2;
    }
    (void)signal(SIGABRT, keep_input);
    if (!std::filesystem::is_directory(argv[1])) {
        run(read_file(argv[1]));
        return 0;
    }
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(argv[1]))
        paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    std::vector<std::string> seeds;
    for (const auto& path : paths) seeds.push_back(read_file(path));
    if (seeds.empty()) {
        (void)std::fprintf(stderr, "no seeds in %s\n", argv[1]);
        return 2;
    }
    const double seconds = argc > 2 ? std::atof(argv[2]) : 3;
    const uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : std::random_device{}();
    (void)std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    (void)std::fflush(stdout);

    for (const std::string& whole : seeds) {
        for (size_t size = 0; size <= whole.size(); ++size)
            run(std::string_view(whole).substr(0, size));
    }
    Mutator mutator(seeds, seed);
    uint64_t runs = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) {
        for (int i = 0; i < 100; ++i, ++runs) run(mutator.next());
    }
    (void)std::printf("%llu inputs\n", static_cast<unsigned long long>(runs));
    return 0;
}
