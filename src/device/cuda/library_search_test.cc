#include "device/cuda/library_search.h"

#include <gmock/gmock.h>

#include <fstream>

namespace tandem {
namespace {

TEST(LibrarySearch, TakesEachNameInEachPlaceTheLoadersFirst) {
  const std::filesystem::path root = std::filesystem::path(testing::TempDir()) / "library_search_test";
  std::filesystem::remove_all(root);
  const auto place = [&](const std::string& file) {
    const std::filesystem::path path = root / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "not a library";
    return path.string();
  };
  const std::string old_name = place("venv/lib/python3.12/site-packages/nvidia/one/lib/libx.so.1");
  const std::string second_folder = place("usr/lib/python3.11/dist-packages/nvidia/two/lib/libx.so.2");
  const std::string first_folder = place("usr/lib/python3.11/dist-packages/nvidia/one/lib/libx.so.2");
  const LibrarySearch search{.file_names = {"libx.so.2", "libx.so.1"},
                             .package_folders = {"nvidia/one/lib", "nvidia/two/lib"},
                             .virtual_env = root / "venv",
                             .root = root};
  EXPECT_THAT(
      library_candidates(search),
      testing::ElementsAre("libx.so.2", "libx.so.1", (root / "usr/local/cuda/lib64/libx.so.2").string(),
                           (root / "usr/local/cuda/lib64/libx.so.1").string(), old_name, first_folder, second_folder));
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace tandem
