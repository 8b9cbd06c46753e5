#include "cpu/dispatch.h"

#include <stdexcept>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace vanfast::cpu {

namespace {

#if defined(__x86_64__)
bool has_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const bool tile = d & (1u << 24), bf16 = d & (1u << 22);
  // Linux hands out the tile registers on request only (arch_prctl ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)
  return tile && bf16 && syscall(SYS_arch_prctl, 0x1023, 18) == 0;
}

bool has_avx512_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5));
}
#endif

std::vector<std::pair<std::string, const Kernels*>> find_kernels() {
  std::vector<std::pair<std::string, const Kernels*>> found = {{"base", &kBaseKernels}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.emplace_back("avx2", &kAvx2Kernels);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    found.emplace_back("avx512", &kAvx512Kernels);
    if (has_avx512_bf16()) {
      found.emplace_back("avx512_bf16", &kAvx512Bf16Kernels);
      if (has_amx_bf16()) found.emplace_back("amx", &kAmxKernels);
    }
  }
#endif
  return found;
}

const std::vector<std::pair<std::string, const Kernels*>>& all_kernels() {
  static const auto found = find_kernels();
  return found;
}

}  // namespace

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const auto& entry : all_kernels()) names.push_back(entry.first);
  return names;
}

const Kernels& kernels_for(const std::string& isa) {
  if (isa.empty()) return *all_kernels().back().second;
  if (isa == kAmxModelKernels.name) return kAmxModelKernels;
  std::string names;
  for (const auto& entry : all_kernels()) {
    if (entry.first == isa) return *entry.second;
    names += (names.empty() ? "" : ", ") + entry.first;
  }
  throw std::invalid_argument("isa = '" + isa + "' is not available on this CPU; allowed: " + names);
}

}  // namespace vanfast::cpu
