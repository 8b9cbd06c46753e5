// Independent tasks over threads while the calling thread only watches: it polls every 50 ms, so that a long task can
// be interrupted and its progress told.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "cpu/parallel.h"

namespace vanfast::cpu {

class Watch {
 public:
  // Called by tasks now and then, with the work done since: throws when the whole is to end.
  void advance(int64_t work) {
    done_.fetch_add(work, std::memory_order_relaxed);
    if (stop_.load(std::memory_order_relaxed)) throw Stopped{};
  }
  int64_t done() const { return done_.load(std::memory_order_relaxed); }
  void stop() { stop_ = true; }
  struct Stopped {};

 private:
  std::atomic<int64_t> done_{0};
  std::atomic<bool> stop_{false};
};

// Calls work(task, watch) for every task in [0, tasks). What poll(work done) throws ends all tasks and is rethrown
// here, as is the first exception of a task.
inline void watched_for(int64_t tasks, int threads, const std::function<void(int64_t, Watch&)>& work,
                        const std::function<void(int64_t)>& poll) {
  threads = static_cast<int>(std::min<int64_t>(resolve_threads(threads), tasks));
  Watch watch;
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex guard;
  std::condition_variable finished;
  int running = 0;
  const auto run = [&] {
    try {
      for (int64_t task = next++; task < tasks; task = next++) work(task, watch);
    } catch (const Watch::Stopped&) {
    } catch (...) {
      std::lock_guard<std::mutex> lock(guard);
      if (!error) error = std::current_exception();
      watch.stop();
    }
    std::lock_guard<std::mutex> lock(guard);
    --running;
    finished.notify_one();
  };
  std::vector<std::thread> pool;
  pool.reserve(threads);
  try {
    for (int thread = 0; thread < threads; ++thread) {
      {
        std::lock_guard<std::mutex> lock(guard);
        ++running;
      }
      pool.emplace_back(run);
    }
  } catch (const std::system_error&) {
    std::lock_guard<std::mutex> lock(guard);
    --running;  // the system gives no more threads: those that started do the work
  }
  if (pool.empty() && threads > 0) {
    ++running;
    run();
  }
  {
    std::unique_lock<std::mutex> lock(guard);
    while (running > 0) {
      if (finished.wait_for(lock, std::chrono::milliseconds(50), [&] { return running == 0; })) break;
      lock.unlock();
      std::exception_ptr stopped;
      try {
        poll(watch.done());
      } catch (...) {
        stopped = std::current_exception();
        watch.stop();
      }
      lock.lock();
      if (stopped && !error) error = stopped;
      if (stopped) finished.wait(lock, [&] { return running == 0; });
    }
  }
  for (auto& thread : pool) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace vanfast::cpu
