#include "device/cuda/library_search.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

namespace tandem {
namespace {

void add_site_packages(const LibrarySearch& search, const std::filesystem::path& lib,
                       std::vector<std::string>& candidates) {
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
      for (const std::string& folder : search.package_folders) {
        for (const std::string& name : search.file_names) {
          const std::filesystem::path file = version / packages / folder / name;
          if (std::filesystem::exists(file, error)) candidates.push_back(file);
        }
      }
    }
  }
}

}  // namespace

std::filesystem::path active_virtual_env() {
  const char* text = std::getenv("VIRTUAL_ENV");
  return text == nullptr ? "" : text;
}

std::vector<std::string> library_candidates(const LibrarySearch& search) {
  std::vector<std::string> candidates = search.file_names;
  for (const std::string& name : search.file_names) candidates.push_back(search.root / "usr/local/cuda/lib64" / name);
  if (!search.virtual_env.empty()) add_site_packages(search, search.virtual_env / "lib", candidates);
  add_site_packages(search, search.root / "usr/local/lib", candidates);
  add_site_packages(search, search.root / "usr/lib", candidates);
  return candidates;
}

}  // namespace tandem
