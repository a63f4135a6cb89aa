// Work for all workers, and waiting until each has done it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"

namespace app {

/// Hands work to a worker's thread (proxy::Worker::post).
using Post = std::function<void(std::function<void()>)>;

/// Runs `work(number)` on each worker and waits until all have. Returns how many had not within
/// `limit`; theirs runs later, so `work` owns what it touches. Not to be called on a worker.
size_t run_on_all(const std::vector<Post>& workers, std::function<void(size_t)> work,
                  base::Duration limit);

}  // namespace app
