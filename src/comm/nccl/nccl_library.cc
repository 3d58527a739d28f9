#include "comm/nccl/nccl_library.h"

#include <cstdlib>
#include <mutex>

#include "device/cuda/library_search.h"

namespace tandem {
namespace {

constexpr const char* kFileName = "libnccl.so.2";

struct NamedLibrary {
  std::mutex mutex;
  std::string file;
};
NamedLibrary& named_library() {
  static NamedLibrary library;
  return library;
}

}  // namespace

void use_nccl_library(const std::string& file) {
  const std::lock_guard lock(named_library().mutex);
  named_library().file = file;
}

NcclSearch nccl_search() {
  const std::lock_guard lock(named_library().mutex);
  const std::string& named = named_library().file;
  const char* variable = std::getenv("TANDEM_NCCL_LIBRARY");
  const std::string of_variable = variable == nullptr ? "" : variable;
  return {.setting = named.empty() ? of_variable : named, .virtual_env = active_virtual_env()};
}

std::vector<std::string> nccl_candidates(const NcclSearch& search) {
  if (!search.setting.empty()) return {search.setting};
  return library_candidates({.file_names = {kFileName},
                             .package_folders = {"nvidia/nccl/lib"},
                             .virtual_env = search.virtual_env,
                             .root = search.root});
}

}  // namespace tandem
