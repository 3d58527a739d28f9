#include "comm/nccl/nccl_api.h"

#include <dlfcn.h>

#include <cstdlib>

#include "base/error.h"
#include "base/log.h"
#include "comm/nccl/nccl_library.h"

namespace tandem {
namespace {

// The first with the configuration of communicators as we declare it.
constexpr int kOldestVersion = 21700;

struct Opened {
  void* library = nullptr;
  std::string tried;  // names and the loader's words, a line each
};

Opened open_first(const std::vector<std::string>& candidates) {
  Opened opened;
  for (const std::string& name : candidates) {
    opened.library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (opened.library != nullptr) return opened;
    const char* reason = dlerror();
    opened.tried += format("\n  {}", reason != nullptr ? reason : name.c_str());
  }
  return opened;
}

template <class Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr) {
    fail_with_hint(ErrorKind::kUnsupported, format("this NCCL has no {}", name), "install NCCL 2.17 or newer");
  }
}

NcclApi load() {
  const NcclSearch search = nccl_search();
  const Opened opened = open_first(nccl_candidates(search));
  if (opened.library == nullptr) {
    fail_with_hint(
        ErrorKind::kUnsupported, "cannot load NCCL:" + opened.tried,
        search.setting.empty()
            ? "looked in the loader's path, in CUDA's folder and in Python's packages: install NCCL, or name "
              "its file in TANDEM_NCCL_LIBRARY"
            : "the setting nccl_library (TANDEM_NCCL_LIBRARY) names this file: correct it, or unset it to look in the "
              "usual places");
  }
  // NVLink's multicast needs a fabric manager that works, which machines and containers may lack. The user's own value
  // wins. NCCL reads it when the first communicator is made.
  setenv("NCCL_NVLS_ENABLE", "0", 0);

  NcclApi api{};
  find(opened.library, "ncclGetVersion", api.get_version);
  find(opened.library, "ncclGetUniqueId", api.get_unique_id);
  find(opened.library, "ncclCommInitRankConfig", api.comm_init_rank_config);
  find(opened.library, "ncclCommFinalize", api.comm_finalize);
  find(opened.library, "ncclCommDestroy", api.comm_destroy);
  find(opened.library, "ncclCommAbort", api.comm_abort);
  find(opened.library, "ncclCommGetAsyncError", api.comm_get_async_error);
  find(opened.library, "ncclGetErrorString", api.get_error_string);
  find(opened.library, "ncclGetLastError", api.get_last_error);
  find(opened.library, "ncclGroupStart", api.group_start);
  find(opened.library, "ncclGroupEnd", api.group_end);
  find(opened.library, "ncclAllReduce", api.all_reduce);
  find(opened.library, "ncclAllGather", api.all_gather);
  find(opened.library, "ncclReduceScatter", api.reduce_scatter);
  find(opened.library, "ncclReduce", api.reduce);
  find(opened.library, "ncclBroadcast", api.broadcast);
  find(opened.library, "ncclSend", api.send);
  find(opened.library, "ncclRecv", api.recv);

  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(api.get_version), &info) != 0 && info.dli_fname != nullptr) {
    api.path = info.dli_fname;
  }
  if (api.get_version(&api.version_code) != NcclResult::kSuccess || api.version_code < kOldestVersion) {
    fail_with_hint(ErrorKind::kUnsupported, format("{} is NCCL {}", api.path, nccl_version_text(api.version_code)),
                   "install NCCL 2.17 or newer, or name its file in TANDEM_NCCL_LIBRARY");
  }
  log(LogLevel::kDebug, Subsystem::kComm, "nccl: {} from {}, NCCL_NVLS_ENABLE={}", nccl_version_text(api.version_code),
      api.path, std::getenv("NCCL_NVLS_ENABLE"));
  return api;
}

}  // namespace

std::string nccl_version_text(int code) {
  return format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100);
}

const NcclApi& nccl() {
  static const NcclApi api = load();
  return api;
}

}  // namespace tandem
