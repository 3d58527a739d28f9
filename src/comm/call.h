#pragma once
// What a rank calls, to compare it with what others call and to name it in errors.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/communicator.h"

namespace tandem {

enum class Collective : std::uint8_t {
  kAllReduce,
  kAllGather,
  kReduceScatter,
  kBroadcast,
  kGather,
  kBarrier,
  kSend,
  kRecv,
  kAllReduceAddRmsNorm
};

/// "all-reduce", "recv"
std::string_view to_string(Collective op);

/// Of a collective the same on all ranks, or the call fails.
struct Call {
  Collective op;
  DType dtype = DType::kU8;
  int root = -1;             ///< of send and recv: the peer
  std::int64_t columns = 0;  ///< of a norm
  std::int64_t count = 0;    ///< elements of x, of the equal shard; of ragged shares none
  bool ragged = false;
  std::array<std::int64_t, kMaxWorldSize + 1> offsets{};  ///< of the ragged shares, else zero
  std::uint32_t number = 0;  ///< of a collective: among its rank's, from 1. Not compared, as the next
  bool captured = false;     ///< recorded into a graph, whose launches are no calls

  /// Looks at the offsets of ragged shares only: an equal call is told by its first cache line.
  bool operator==(const Call& other) const {
    return op == other.op && dtype == other.dtype && root == other.root && columns == other.columns &&
           count == other.count && ragged == other.ragged && (!ragged || offsets == other.offsets);
  }
};

Call with_shares(Call call, const Shares& shares);

/// "all-gather of 5 f32", "broadcast of 5 f32, root 1", "recv of 7 f32 from rank 3"
std::string describe(const Call& call, int world_size);

}  // namespace tandem
