#include "comm/nccl/nccl_library.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <system_error>

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

// Wheels of NVIDIA's lie here. Several versions of Python: the newest first.
void add_site_packages(const std::filesystem::path& lib, std::vector<std::string>& candidates) {
  std::vector<std::filesystem::path> versions;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(lib, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().filename().string().starts_with("python3")) versions.push_back(entry->path());
  }
  const auto minor = [](const std::filesystem::path& path) {
    const std::string name = path.filename();
    const std::size_t dot = name.find('.');
    return dot == name.npos ? 0 : std::atoi(name.c_str() + dot + 1);
  };
  std::sort(versions.begin(), versions.end(), [&](const auto& a, const auto& b) { return minor(a) > minor(b); });
  for (const std::filesystem::path& version : versions) {
    for (const char* packages : {"site-packages", "dist-packages"}) {
      const std::filesystem::path file = version / packages / "nvidia/nccl/lib" / kFileName;
      if (std::filesystem::exists(file, error)) candidates.push_back(file);
    }
  }
}

}  // namespace

void use_nccl_library(const std::string& file) {
  const std::lock_guard lock(named_library().mutex);
  named_library().file = file;
}

NcclSearch nccl_search() {
  const auto value = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string(text == nullptr ? "" : text);
  };
  const std::lock_guard lock(named_library().mutex);
  const std::string& named = named_library().file;
  return {.setting = named.empty() ? value("TANDEM_NCCL_LIBRARY") : named, .virtual_env = value("VIRTUAL_ENV")};
}

std::vector<std::string> nccl_candidates(const NcclSearch& search) {
  if (!search.setting.empty()) return {search.setting};
  std::vector<std::string> candidates = {kFileName, search.root / "usr/local/cuda/lib64" / kFileName};
  if (!search.virtual_env.empty()) add_site_packages(search.virtual_env / "lib", candidates);
  add_site_packages(search.root / "usr/local/lib", candidates);
  add_site_packages(search.root / "usr/lib", candidates);
  return candidates;
}

}  // namespace tandem
