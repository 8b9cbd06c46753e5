// Places in kernels where threads meet, by source line: they name themselves in errors, and barriers can be left out.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#define VANFAST_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace vanfast::emulation {

struct Site {
  std::string name;       // "cuda/conv_scan.cu:120"
  const char* operation;  // "__syncthreads"
  bool barrier = false;   // one that can be skipped
  bool skipped = false;
  uint64_t launch = 0;  // the last launch that came here
  std::set<std::string> kernels;
};

// `operation` is a literal, one pointer for each operation.
Site& site_of(const char* file, int line, const char* operation, bool barrier);

// Makes the barrier of this name a no-op, and all others barriers again; "" skips none.
void skip(const std::string& name);

std::vector<const Site*> barriers_executed();

}  // namespace vanfast::emulation
