#include "comm/nccl/nccl_api.h"

#include <gmock/gmock.h>

#if __has_include(<nccl.h>)
#include <nccl.h>

#include <type_traits>
#endif

#include "base/error.h"

namespace tandem {
namespace {

TEST(NcclApi, IsFoundOrSaysWhereItWasLookedFor) {
  try {
    EXPECT_GE(nccl().version_code, 21700);
    EXPECT_THAT(nccl().path, testing::HasSubstr("nccl"));
    RecordProperty("nccl", nccl().path + " " + nccl_version_text(nccl().version_code));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_THAT(error.what(), testing::HasSubstr("libnccl.so.2"));
    EXPECT_THAT(error.hint(), testing::HasSubstr("TANDEM_NCCL_LIBRARY"));
  }
}

TEST(NcclApi, VersionHasThreeParts) {
  EXPECT_EQ(nccl_version_text(22809), "2.28.9");
}

#if __has_include(<nccl.h>)
// A type of the header as ours.
template <class T>
struct Ours {
  using Type = T;
};
template <class T>
using OursOf = typename Ours<T>::Type;
template <class T>
struct Ours<T*> {
  using Type = OursOf<T>*;
};
template <class R, class... A>
struct Ours<R(A...)> {
  using Type = OursOf<R>(OursOf<A>...);
};
template <>
struct Ours<ncclResult_t> {
  using Type = NcclResult;
};
template <>
struct Ours<ncclDataType_t> {
  using Type = NcclType;
};
template <>
struct Ours<ncclRedOp_t> {
  using Type = NcclOp;
};
template <>
struct Ours<ncclUniqueId> {
  using Type = NcclUniqueId;
};
template <>
struct Ours<ncclConfig_t> {
  using Type = NcclConfig;
};
template <>
struct Ours<ncclComm> {
  using Type = std::remove_pointer_t<NcclComm>;
};
template <>
struct Ours<CUstream_st> {
  using Type = void;
};

#define TANDEM_SAME_FUNCTION(ours, theirs) \
  static_assert(std::is_same_v<decltype(NcclApi::ours), OursOf<decltype(theirs)>*>, #theirs)
TANDEM_SAME_FUNCTION(get_version, ncclGetVersion);
TANDEM_SAME_FUNCTION(get_unique_id, ncclGetUniqueId);
TANDEM_SAME_FUNCTION(comm_init_rank_config, ncclCommInitRankConfig);
TANDEM_SAME_FUNCTION(comm_finalize, ncclCommFinalize);
TANDEM_SAME_FUNCTION(comm_destroy, ncclCommDestroy);
TANDEM_SAME_FUNCTION(comm_abort, ncclCommAbort);
TANDEM_SAME_FUNCTION(comm_get_async_error, ncclCommGetAsyncError);
TANDEM_SAME_FUNCTION(get_error_string, ncclGetErrorString);
TANDEM_SAME_FUNCTION(get_last_error, ncclGetLastError);
TANDEM_SAME_FUNCTION(group_start, ncclGroupStart);
TANDEM_SAME_FUNCTION(group_end, ncclGroupEnd);
TANDEM_SAME_FUNCTION(all_reduce, ncclAllReduce);
TANDEM_SAME_FUNCTION(all_gather, ncclAllGather);
TANDEM_SAME_FUNCTION(reduce_scatter, ncclReduceScatter);
TANDEM_SAME_FUNCTION(reduce, ncclReduce);
TANDEM_SAME_FUNCTION(broadcast, ncclBroadcast);
TANDEM_SAME_FUNCTION(send, ncclSend);
TANDEM_SAME_FUNCTION(recv, ncclRecv);

template <class A, class B>
constexpr bool same_value(A ours, B theirs) {
  return sizeof(A) == sizeof(B) && static_cast<int>(ours) == static_cast<int>(theirs);
}
static_assert(same_value(NcclResult::kSuccess, ncclSuccess));
static_assert(same_value(NcclResult::kUnhandledCudaError, ncclUnhandledCudaError));
static_assert(same_value(NcclResult::kSystemError, ncclSystemError));
static_assert(same_value(NcclResult::kInternalError, ncclInternalError));
static_assert(same_value(NcclResult::kInvalidArgument, ncclInvalidArgument));
static_assert(same_value(NcclResult::kInvalidUsage, ncclInvalidUsage));
static_assert(same_value(NcclResult::kRemoteError, ncclRemoteError));
static_assert(same_value(NcclResult::kInProgress, ncclInProgress));
static_assert(same_value(NcclType::kUint8, ncclUint8));
static_assert(same_value(NcclType::kInt32, ncclInt32));
static_assert(same_value(NcclType::kFloat16, ncclFloat16));
static_assert(same_value(NcclType::kFloat32, ncclFloat32));
static_assert(same_value(NcclType::kBfloat16, ncclBfloat16));
static_assert(same_value(NcclOp::kSum, ncclSum));

static_assert(sizeof(NcclUniqueId) == sizeof(ncclUniqueId));
static_assert(sizeof(NcclConfig) <= sizeof(ncclConfig_t));
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(offsetof(NcclConfig, net_name) == offsetof(ncclConfig_t, netName));

TEST(NcclApi, ConfigStartsAsTheHeadersDoes) {
  const ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  const NcclConfig ours;
  EXPECT_EQ(ours.magic, theirs.magic);
  EXPECT_EQ(ours.blocking, theirs.blocking);
  EXPECT_EQ(ours.cga_cluster_size, theirs.cgaClusterSize);
}
#endif

}  // namespace
}  // namespace tandem
