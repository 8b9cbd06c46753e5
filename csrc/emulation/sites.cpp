#include "emulation/sites.h"

#include <array>
#include <map>
#include <utility>

namespace vanfast::emulation {
namespace {

struct Known {
  const char *file, *operation;
  int line;
  Site* site;
};

std::map<std::pair<std::string, std::string>, Site>& all() {
  static std::map<std::pair<std::string, std::string>, Site> sites;
  return sites;
}

std::string& skipped() {
  static std::string name;
  return name;
}

Site& look_up(const char* file, int line, const char* operation, bool barrier) {
  std::string path = file;
  if (const size_t root = path.rfind("csrc/"); root != std::string::npos) path.erase(0, root + 5);
  const std::string name = path + ":" + std::to_string(line);
  Site& site = all()[{name, operation}];
  site.name = name;
  site.operation = operation;
  site.barrier = barrier;
  site.skipped = barrier && name == skipped();
  return site;
}

}  // namespace

Site& site_of(const char* file, int line, const char* operation, bool barrier) {
  static std::array<Known, 1024> recent{};
  const auto address = reinterpret_cast<uintptr_t>(file) ^ reinterpret_cast<uintptr_t>(operation) * 31;
  Known& known = recent[(address ^ address >> 10 ^ static_cast<uintptr_t>(line) * 7) % recent.size()];
  if (known.file != file || known.line != line || known.operation != operation)
    known = {file, operation, line, &look_up(file, line, operation, barrier)};
  return *known.site;
}

void skip(const std::string& name) {
  skipped() = name;
  for (auto& [key, site] : all()) site.skipped = site.barrier && site.name == name;
}

std::vector<const Site*> barriers_executed() {
  std::vector<const Site*> result;
  for (const auto& [key, site] : all())
    if (site.barrier) result.push_back(&site);
  return result;
}

}  // namespace vanfast::emulation
