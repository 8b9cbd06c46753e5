#include "cpu/mcmc.h"

#include "cpu/dispatch.h"

namespace vanfast::cpu {

const McmcKernels& mcmc_kernels_for(const std::string& isa) {
  [[maybe_unused]] const std::string name = kernels_for(isa).name;  // refuses what this CPU does not have
#if defined(__x86_64__)
  if (name == "avx2") return kAvx2Mcmc;
  if (name != "base" && name != "amx_model") return kAvx512Mcmc;  // its relatives differ in matrix products alone
#endif
  return kBaseMcmc;
}

}  // namespace vanfast::cpu
