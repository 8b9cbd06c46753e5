// Independent tasks over threads: tasks are taken from a shared counter, the first exception is rethrown.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace vanfast::cpu {

// Number of threads to use for a request: 0 or less means all that this process may run on.
inline int resolve_threads(int threads) {
  if (threads > 0) return threads;
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  const unsigned hardware = std::thread::hardware_concurrency();
  return hardware ? static_cast<int>(hardware) : 1;
}

inline void no_poll() {}

// Calls work(task, thread) for every task in [0, tasks). The caller's thread is thread 0; it calls poll() before each
// of its tasks, and what poll throws ends the whole.
template <class Work, class Poll = void (*)()>
void parallel_for(int64_t tasks, int threads, Work&& work, Poll&& poll = no_poll) {
  threads = static_cast<int>(std::min<int64_t>(resolve_threads(threads), tasks));
  std::atomic<int64_t> next{0};
  std::exception_ptr error;
  std::mutex guard;
  auto run = [&](int thread) {
    try {
      for (int64_t task = next++; task < tasks; task = next++) {
        if (thread == 0) poll();
        work(task, thread);
      }
    } catch (...) {
      std::lock_guard<std::mutex> lock(guard);
      if (!error) error = std::current_exception();
      next = tasks;
    }
  };
  std::vector<std::thread> pool;
  pool.reserve(std::max(threads - 1, 0));
  try {
    for (int thread = 1; thread < threads; ++thread) pool.emplace_back(run, thread);
  } catch (const std::system_error&) {
    // the system gives no more threads: those that started, and this one, do the work
  }
  if (threads > 0) run(0);
  for (auto& thread : pool) thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace vanfast::cpu
