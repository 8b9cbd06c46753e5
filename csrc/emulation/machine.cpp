#include "emulation/machine.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "emulation/fibers.h"
#include "emulation/order.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace vanfast::emulation {
namespace {

struct Copy {
  void* shared;
  const void* global;
  bool valid;
};

struct Thread {
  explicit Thread(void (*entry)()) : fiber(entry) {}
  Fiber fiber;
  uint3 index = {};
  unsigned number = 0;
  bool inside = false, exited = false;
  const Site* waits = nullptr;
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

struct Meeting {
  const Site* site;
  unsigned mask, arrived;
  Combine combine;
  std::array<void*, kWarp> operands;
};

struct Warp {
  unsigned exists = 0, exited = 0;
  std::vector<Meeting> meetings;
};

struct Machine {
  std::mutex busy;
  std::string kernel;
  const std::function<void()>* body = nullptr;
  uint64_t launches = 0;
  Fiber host;
  std::vector<std::unique_ptr<Thread>> threads;
  Thread* current = nullptr;
  unsigned size = 0, live = 0, at_barrier = 0;
  const Site* barrier = nullptr;
  std::vector<Warp> warps;
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  std::string error;
  Order order;
} machine;

std::string text(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

std::string text(const Site& site) { return std::string(site.operation) + " at " + site.name; }

[[noreturn]] void fail(const std::string& message) { throw std::runtime_error(message); }

void touch(Site& site) {
  if (site.launch == machine.launches) return;
  site.launch = machine.launches;
  site.kernels.insert(machine.kernel);
}

// Hands over to the next thread in the order, or to the host where none can go on.
void hand_over() {
  Thread* const self = machine.current;
  if (self->fiber.overflowed()) {
    machine.error = "the stack of an emulated thread overflowed";
    return self->fiber.switch_to(machine.host);
  }
  if (!machine.order.any()) return self->fiber.switch_to(machine.host);
  Thread& next = *machine.threads[machine.order.next()];
  machine.current = &next;
  threadIdx = next.index;
  if (&next != self) self->fiber.switch_to(next.fiber);
}

void wait_at(const Site& site) {
  machine.current->waits = &site;
  machine.order.remove(machine.current->number);
  hand_over();
}

void release(unsigned thread) {
  machine.threads[thread]->waits = nullptr;
  machine.order.add(thread);
}

void open_barrier() {
  const Site* const site = std::exchange(machine.barrier, nullptr);
  machine.at_barrier = 0;
  for (unsigned t = 0; t < machine.size; ++t)
    if (machine.threads[t]->waits == site) release(t);
}

void exit_thread() {
  Thread& self = *machine.current;
  Warp& warp = machine.warps[self.number / kWarp];
  const unsigned bit = 1u << self.number % kWarp;
  self.exited = true;
  self.inside = false;
  warp.exited |= bit;
  --machine.live;
  machine.order.remove(self.number);
  for (const Meeting& meeting : warp.meetings)
    if ((meeting.mask & bit) && machine.error.empty())
      machine.error = "thread " + text(self.index) + " exited, but others wait for it in " + text(*meeting.site);
  if (machine.live > 0 && machine.at_barrier == machine.live) open_barrier();
}

// What a fiber does: one thread of one block after another.
void run_threads() {
  for (;;) {
    machine.current->inside = true;
    std::string message;
    try {
      (*machine.body)();
    } catch (const std::exception& error) {
      message = error.what();
    } catch (...) {
      message = "an unknown exception";
    }
    if (!message.empty()) machine.error = "thread " + text(threadIdx) + ": " + message;
    exit_thread();
    if (machine.error.empty())
      hand_over();
    else
      machine.current->fiber.switch_to(machine.host);
  }
}

std::string who_waits() {
  std::map<std::string, std::pair<int, std::string>> places;
  for (unsigned t = 0; t < machine.size; ++t) {
    const Thread& thread = *machine.threads[t];
    if (!thread.waits) continue;
    auto& [count, first] = places[text(*thread.waits)];
    if (count++ == 0) first = text(thread.index);
  }
  std::string result;
  for (const auto& [place, who] : places)
    result += (result.empty() ? "" : ", ") + std::to_string(who.first) + " threads (first " + who.second +
              ") wait in " + place;
  const unsigned exited = machine.size - machine.live;
  return result + (exited ? ", " + std::to_string(exited) + " exited" : "");
}

void start_block(dim3 block) {
  const unsigned size = machine.size;
  machine.live = size;
  machine.at_barrier = 0;
  machine.barrier = nullptr;
  machine.error.clear();
  machine.warps.assign((size + kWarp - 1) / kWarp, {});
  machine.order.start(size);
  for (unsigned t = 0; t < size; ++t) {
    if (t == machine.threads.size()) machine.threads.push_back(std::make_unique<Thread>(run_threads));
    Thread& thread = *machine.threads[t];
    if (thread.inside) thread.fiber.restart();  // left in the middle of a kernel that failed
    thread.inside = thread.exited = false;
    thread.waits = nullptr;
    thread.number = t;
    thread.index = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
    thread.open.clear();
    thread.groups.clear();
    machine.warps[t / kWarp].exists |= 1u << t % kWarp;
  }
}

void run_block() {
  Thread& first = *machine.threads[machine.order.next()];
  machine.current = &first;
  threadIdx = first.index;
  machine.host.switch_to(first.fiber);
  if (machine.error.empty() && machine.live > 0) machine.error = "deadlock: " + who_waits();
}

// The block's shared memory: of the very size asked for, so that AddressSanitizer sees the byte after it; without it a
// mark behind the end tells.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) : bytes_(bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 16, bytes + kMargin) != 0) throw std::bad_alloc();
    machine.shared = static_cast<unsigned char*>(memory);
    machine.shared_bytes = bytes;
  }
  ~SharedMemory() { std::free(std::exchange(machine.shared, nullptr)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void poison() const {
    std::memset(machine.shared, 0xff, bytes_);  // NaN in every float format
    std::memset(machine.shared + bytes_, 0x5a, kMargin);
  }
  bool overrun() const {
    const auto is_mark = [](unsigned char byte) { return byte == 0x5a; };
    return !std::all_of(machine.shared + bytes_, machine.shared + bytes_ + kMargin, is_mark);
  }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kMargin = 0;
#else
  static constexpr size_t kMargin = 256;
#endif
  size_t bytes_;
};

void check_limits(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (uint64_t(grid.x) * grid.y * grid.z == 0 || threads == 0) fail("invalid configuration: nothing to launch");
  if (threads > kMaxThreads || block.z > 64) fail("invalid configuration: too many threads in a block");
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) fail("invalid configuration: too many blocks");
  if (shared_bytes > kMaxShared) fail("invalid argument: more than 227 KB of shared memory");
}

}  // namespace

void set_seed(uint64_t seed) { machine.order.set_seed(seed); }

unsigned char* shared_memory() { return machine.shared; }

void check_shared(const void* pointer, size_t bytes, const char* operation) {
  const auto address = reinterpret_cast<uintptr_t>(pointer), start = reinterpret_cast<uintptr_t>(machine.shared);
  if (address % bytes != 0) fail(std::string(operation) + ": the shared address is not aligned");
  if (address < start || address + bytes > start + machine.shared_bytes)
    fail(std::string(operation) + ": outside of the block's shared memory");
}

unsigned lane() { return machine.current->number % kWarp; }

void launch(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  std::lock_guard<std::mutex> lock(machine.busy);
  machine.kernel = kernel;
  machine.body = &body;
  machine.size = block.x * block.y * block.z;
  ++machine.launches;
  std::string place;
  try {
    check_limits(grid, block, shared_bytes);
    gridDim = grid;
    blockDim = block;
    const SharedMemory memory(shared_bytes);
    for (const uint64_t number : machine.order.permutation(uint64_t(grid.x) * grid.y * grid.z)) {
      blockIdx = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                  static_cast<unsigned>(number / grid.x / grid.y)};
      place = ", block " + text(blockIdx);
      memory.poison();
      start_block(block);
      run_block();
      if (machine.error.empty() && memory.overrun()) machine.error = "wrote behind the block's shared memory";
      if (!machine.error.empty()) fail(machine.error);
    }
  } catch (const std::exception& error) {
    fail(std::string(kernel) + place + ": " + error.what());
  }
}

void sync_block(Site& site) {
  touch(site);
  if (site.skipped) return;
  if (machine.barrier && machine.barrier != &site)
    fail(text(site) + ", but " + std::to_string(machine.at_barrier) + " threads are in " + text(*machine.barrier));
  machine.barrier = &site;
  if (++machine.at_barrier < machine.live) return wait_at(site);
  open_barrier();
  hand_over();
}

void meet(Site& site, unsigned mask, void* operand, Combine combine) {
  touch(site);
  if (site.skipped) return;
  const unsigned number = machine.current->number, first = number - number % kWarp, bit = 1u << number % kWarp;
  Warp& warp = machine.warps[number / kWarp];
  if (!(mask & bit)) fail(text(site) + ": the mask leaves out the calling lane");
  if (mask & ~warp.exists) fail(text(site) + ": the mask names lanes that the block does not have");
  if (mask & warp.exited) fail(text(site) + ": the mask names lanes that have exited");
  auto at = std::find_if(warp.meetings.begin(), warp.meetings.end(), [&](auto& m) { return m.mask & mask; });
  if (at == warp.meetings.end()) {
    warp.meetings.push_back({&site, mask, 0, combine, {}});
    at = warp.meetings.end() - 1;
  }
  if (at->site != &site)
    fail("the warp diverges: lane " + std::to_string(number % kWarp) + " came to " + text(site) +
         ", another one it must meet to " + text(*at->site));
  if (at->mask != mask || at->combine != combine || (at->arrived & bit))
    fail(text(site) + ": lanes of a warp came with different masks or operands");
  at->arrived |= bit;
  at->operands[number % kWarp] = operand;
  if (at->arrived != mask) return wait_at(site);
  const Meeting complete = *at;
  warp.meetings.erase(at);
  if (combine) combine(complete.operands.data(), mask);
  for (unsigned l = 0; l < kWarp; ++l)
    if ((mask & ~bit) >> l & 1u) release(first + l);
  hand_over();
}

void start_copy(void* shared, const void* global, bool valid) {
  check_shared(shared, 16, "copy_async16");
  if (reinterpret_cast<uintptr_t>(global) % 16 != 0) fail("copy_async16: the global address is not aligned");
  std::memset(shared, 0xff, 16);  // who reads before the wait, or overwrites what others still read, is found out
  machine.current->open.push_back({shared, global, valid});
}

void commit_copies() { machine.current->groups.push_back(std::exchange(machine.current->open, {})); }

void wait_copies(Site& site, int groups_under_way) {
  touch(site);
  if (site.skipped) return;
  auto& groups = machine.current->groups;
  for (; groups.size() > static_cast<size_t>(groups_under_way); groups.pop_front())
    for (const Copy& copy : groups.front()) {
      if (copy.valid)
        std::memcpy(copy.shared, copy.global, 16);
      else
        std::memset(copy.shared, 0, 16);
    }
}

}  // namespace vanfast::emulation
