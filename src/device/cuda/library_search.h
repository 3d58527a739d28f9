#pragma once
// Where shared libraries of NVIDIA's may lie: those that come with CUDA, or as packages of Python.

#include <filesystem>
#include <string>
#include <vector>

namespace tandem {

struct LibrarySearch {
  std::vector<std::string> file_names = {};       ///< the best first
  std::vector<std::string> package_folders = {};  ///< below site-packages, such as "nvidia/nccl/lib"
  std::filesystem::path virtual_env = {};         ///< of Python; empty: none is active
  std::filesystem::path root = "/";               ///< tests have their own
};

/// Of the active virtual environment: what VIRTUAL_ENV says.
std::filesystem::path active_virtual_env();

/// What to hand to dlopen, in this order: the loader's own path (names without a folder), CUDA's folder, then those
/// files that are in Python's packages, of the newest version of Python first.
std::vector<std::string> library_candidates(const LibrarySearch& search);

}  // namespace tandem
