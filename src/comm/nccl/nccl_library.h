#pragma once
// Where NCCL's library may lie on this machine.

#include <filesystem>
#include <string>
#include <vector>

namespace tandem {

struct NcclSearch {
  std::string setting = {};                ///< what the user names; then nothing else will do
  std::filesystem::path virtual_env = {};  ///< of Python; empty: none is active
  std::filesystem::path root = "/";        ///< tests have their own
};

/// As TANDEM_NCCL_LIBRARY and VIRTUAL_ENV say.
NcclSearch nccl_search_from_environment();

/// What to hand to dlopen, in this order. A name without a folder is looked up in the loader's own path.
std::vector<std::string> nccl_candidates(const NcclSearch& search);

}  // namespace tandem
