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

/// The only file that will do from now on, in this process; empty, as at first: what TANDEM_NCCL_LIBRARY names, if
/// anything. Any thread; before the first look for NCCL.
void use_nccl_library(const std::string& file);

/// As that and VIRTUAL_ENV say.
NcclSearch nccl_search();

/// What to hand to dlopen, in this order. A name without a folder is looked up in the loader's own path.
std::vector<std::string> nccl_candidates(const NcclSearch& search);

}  // namespace tandem
