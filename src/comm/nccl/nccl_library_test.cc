#include "comm/nccl/nccl_library.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

namespace tandem {
namespace {

using testing::ElementsAre;

class NcclLibrary : public testing::Test {
 protected:
  NcclLibrary() { std::filesystem::remove_all(root_); }
  ~NcclLibrary() override { std::filesystem::remove_all(root_); }

  std::string place(const std::string& folder) const {
    const std::filesystem::path path = root_ / folder / "libnccl.so.2";
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "not a library";
    return path;
  }
  std::filesystem::path root_ = std::filesystem::path(testing::TempDir()) / "nccl_library_test";
};

TEST_F(NcclLibrary, TheUsersOwnIsTheOnlyOne) {
  place("usr/lib/python3.11/dist-packages/nvidia/nccl/lib");
  EXPECT_THAT(nccl_candidates({.setting = "/opt/nccl/libnccl.so", .root = root_}), ElementsAre("/opt/nccl/libnccl.so"));
}

TEST_F(NcclLibrary, WhatIsNamedBeatsTheVariable) {
  ::setenv("TANDEM_NCCL_LIBRARY", "/of/the/variable.so", 1);
  EXPECT_EQ(nccl_search().setting, "/of/the/variable.so");
  use_nccl_library("/of/the/settings.so");
  EXPECT_EQ(nccl_search().setting, "/of/the/settings.so");
  use_nccl_library("");
  ::unsetenv("TANDEM_NCCL_LIBRARY");
  EXPECT_EQ(nccl_search().setting, "");
}

TEST_F(NcclLibrary, LoadersPathThenCudaThenPythonNewestFirst) {
  const std::string in_venv = place("venv/lib/python3.12/site-packages/nvidia/nccl/lib");
  const std::string local = place("usr/local/lib/python3.11/dist-packages/nvidia/nccl/lib");
  const std::string newer = place("usr/lib/python3.11/site-packages/nvidia/nccl/lib");
  const std::string older = place("usr/lib/python3.9/site-packages/nvidia/nccl/lib");
  std::filesystem::create_directories(root_ / "usr/lib/python3/dist-packages");
  EXPECT_THAT(nccl_candidates({.virtual_env = root_ / "venv", .root = root_}),
              ElementsAre("libnccl.so.2", (root_ / "usr/local/cuda/lib64/libnccl.so.2").string(), in_venv, local, newer,
                          older));
}

TEST_F(NcclLibrary, FoldersThatAreNotThereAreNoError) {
  EXPECT_THAT(nccl_candidates({.virtual_env = root_ / "venv", .root = root_}),
              ElementsAre("libnccl.so.2", (root_ / "usr/local/cuda/lib64/libnccl.so.2").string()));
}

}  // namespace
}  // namespace tandem
