// Independent tasks over threads: tasks are taken from a shared counter, the first exception is rethrown.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace vanfast::cpu {

// Number of threads to use for a request: 0 or less means all hardware threads.
inline int resolve_threads(int threads) {
  if (threads > 0) return threads;
  const unsigned hardware = std::thread::hardware_concurrency();
  return hardware ? static_cast<int>(hardware) : 1;
}

// Calls work(task, thread) for every task in [0, tasks). The caller's thread is thread 0.
template <class Work>
void parallel_for(int64_t tasks, int threads, Work&& work) {
  threads = static_cast<int>(std::min<int64_t>(resolve_threads(threads), tasks));
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex guard;
  auto run = [&](int thread) {
    try {
      for (int64_t task = next++; task < tasks; task = next++) work(task, thread);
    } catch (...) {
      std::lock_guard<std::mutex> lock(guard);
      if (!error) error = std::current_exception();
      next = tasks;
    }
  };
  std::vector<std::thread> pool;
  for (int thread = 1; thread < threads; ++thread) pool.emplace_back(run, thread);
  if (threads > 0) run(0);
  for (auto& thread : pool) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace vanfast::cpu
