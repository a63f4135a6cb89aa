#include "app/broadcast.h"

namespace app {

size_t run_on_all(const std::vector<Post>& workers, std::function<void(size_t)> work,
                  base::Duration limit) {
    struct Waiting {
        std::mutex mutex;
        std::condition_variable changed;
        size_t left = 0;
        std::function<void(size_t)> work;
    };
    // Shared with the workers: one that is late finds it alive.
    auto waiting = std::make_shared<Waiting>();
    waiting->left = workers.size();
    waiting->work = std::move(work);
    for (size_t number = 0; number < workers.size(); ++number) {
        workers[number]([waiting, number] {
            waiting->work(number);
            const std::lock_guard lock(waiting->mutex);
            --waiting->left;
            waiting->changed.notify_one();
        });
    }
    std::unique_lock lock(waiting->mutex);
    waiting->changed.wait_for(lock, limit, [&] { return waiting->left == 0; });
    return waiting->left;
}

}  // namespace app
