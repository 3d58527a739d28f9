#pragma once
// What we use of NCCL 2, declared by us: NVIDIA's toolkit has no nccl.h, and nobody needs NCCL to build Tandem. The
// names and values are those of NCCL's header; nccl_api_test.cc compares them where there is one.

#include <climits>
#include <cstddef>
#include <string>

namespace tandem {

enum class NcclResult : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

enum class NcclType : int { kUint8 = 1, kInt32 = 2, kFloat16 = 6, kFloat32 = 7, kBfloat16 = 9 };

enum class NcclOp : int { kSum = 0 };

struct NcclUniqueId {
  char internal[128] = {};
};

/// The part that NCCL 2.17 has: later ones take it by its size and version, and add their defaults.
struct NcclConfig {
  std::size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21700;
  int blocking = INT_MIN;  // INT_MIN: undefined
  int cga_cluster_size = INT_MIN;
  int min_ctas = INT_MIN;
  int max_ctas = INT_MIN;
  const char* net_name = nullptr;
};

using NcclComm = struct NcclCommunicatorOfLibrary*;
using NcclStream = void*;

/// The library, loaded once and never unloaded.
struct NcclApi {
  NcclResult (*get_version)(int* version);
  NcclResult (*get_unique_id)(NcclUniqueId* id);
  NcclResult (*comm_init_rank_config)(NcclComm* comm, int world_size, NcclUniqueId id, int rank, NcclConfig* config);
  NcclResult (*comm_finalize)(NcclComm comm);
  NcclResult (*comm_destroy)(NcclComm comm);
  NcclResult (*comm_abort)(NcclComm comm);
  NcclResult (*comm_get_async_error)(NcclComm comm, NcclResult* error);
  const char* (*get_error_string)(NcclResult result);
  const char* (*get_last_error)(NcclComm comm);
  NcclResult (*group_start)();
  NcclResult (*group_end)();
  NcclResult (*all_reduce)(const void* in, void* out, std::size_t count, NcclType type, NcclOp op, NcclComm comm,
                           NcclStream stream);
  NcclResult (*all_gather)(const void* in, void* out, std::size_t count, NcclType type, NcclComm comm,
                           NcclStream stream);
  NcclResult (*reduce_scatter)(const void* in, void* out, std::size_t count, NcclType type, NcclOp op, NcclComm comm,
                               NcclStream stream);
  NcclResult (*reduce)(const void* in, void* out, std::size_t count, NcclType type, NcclOp op, int root, NcclComm comm,
                       NcclStream stream);
  NcclResult (*broadcast)(const void* in, void* out, std::size_t count, NcclType type, int root, NcclComm comm,
                          NcclStream stream);
  NcclResult (*send)(const void* in, std::size_t count, NcclType type, int to, NcclComm comm, NcclStream stream);
  NcclResult (*recv)(void* out, std::size_t count, NcclType type, int from, NcclComm comm, NcclStream stream);

  std::string path;      ///< of the file
  int version_code = 0;  ///< 22809 is 2.28.9
};

/// "2.28.9"
std::string nccl_version_text(int code);

/// Throws kUnsupported, saying where it was looked for, when there is no NCCL that we can use. Looks again at each call
/// until there is.
const NcclApi& nccl();

}  // namespace tandem
