#pragma once
// One call of any operation with inputs that make its result known: for the contract suite.

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "base/random.h"
#include "comm/communicator_contract_rig.h"

namespace tandem::contract {

enum class Op { kAllReduce, kAllGather, kReduceScatter, kBroadcast, kGather, kSendRecv, kBarrier };
inline constexpr Op kAllOps[] = {Op::kAllReduce, Op::kAllGather, Op::kReduceScatter, Op::kBroadcast,
                                 Op::kGather,    Op::kSendRecv,  Op::kBarrier};
inline constexpr DType kSumTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI32};
inline constexpr DType kPlainTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI32, DType::kU8};

inline std::string to_string(Op op) {
  static constexpr const char* kNames[] = {"all-reduce", "all-gather", "reduce-scatter", "broadcast",
                                           "gather",     "send/recv",  "barrier"};
  return kNames[static_cast<int>(op)];
}
inline bool is_sum(Op op) {
  return op == Op::kAllReduce || op == Op::kReduceScatter;
}

struct Spec {
  Op op = Op::kAllReduce;
  DType dtype = DType::kF32;
  std::int64_t count = 0;                 ///< elements of x, or of each shard
  std::vector<std::int64_t> counts = {};  ///< of ragged shards, by rank; instead of `count`
  int root = 0;
  bool in_place = false;
  std::int64_t skew = 0;  ///< elements between 64 aligned bytes and each tensor
  std::uint32_t id = 0;   ///< makes the inputs of this call differ from those of others
};

inline std::string to_string(const Spec& spec) {
  std::string text = format("{} of {} {}{}, root {}, call id {}", to_string(spec.op), spec.count, to_string(spec.dtype),
                            spec.in_place ? " in place" : "", spec.root, spec.id);
  if (spec.skew != 0) text += format(", {} elements beside alignment", spec.skew);
  for (const std::int64_t count : spec.counts) text += format(" {}", count);
  return text;
}

/// Inputs repeat after this many elements: a prime, so that no size of a block or share is a multiple of it.
inline constexpr std::size_t kPeriod = 251;

/// Where in the period rank `rank` starts in this call.
inline std::size_t phase(const Spec& spec, int rank) {
  return (spec.id * std::size_t{101} + static_cast<std::size_t>(rank) * 37) % kPeriod;
}
/// One period of integers of -8 to 8, so that sums of 16 are exact in every dtype. For u8: 0 to 16.
inline std::array<int, kPeriod> pattern(DType dtype) {
  std::array<int, kPeriod> values;
  for (std::size_t i = 0; i < kPeriod; ++i) {
    values[i] = static_cast<int>((i * 0x9E3779B9u) % 65521 % 17) - (dtype == DType::kU8 ? 0 : 8);
  }
  return values;
}

/// `count` elements of the endless repetition of `period`, from `start` on.
inline std::vector<int> repeat(const std::array<int, kPeriod>& period, std::size_t start, std::int64_t count) {
  std::vector<int> values(static_cast<std::size_t>(count));
  std::size_t place = start;
  for (int& value : values) {
    value = period[place];
    if (++place == kPeriod) place = 0;
  }
  return values;
}

/// What rank `rank` brings.
inline std::vector<int> contribution(const Spec& spec, int rank, std::int64_t count) {
  return repeat(pattern(spec.dtype), phase(spec, rank), count);
}

/// Calls spec's operation and checks this rank's result bit for bit.
inline void perform(Communicator& comm, const Stream& stream, const Spec& spec) {
  const int rank = comm.rank();
  const int world_size = comm.world_size();
  const bool ragged = !spec.counts.empty();
  std::vector<std::int64_t> counts =
      ragged ? spec.counts : std::vector<std::int64_t>(static_cast<std::size_t>(world_size), spec.count);
  const std::int64_t mine = counts[static_cast<std::size_t>(rank)];
  const std::int64_t begin = std::accumulate(counts.begin(), counts.begin() + rank, std::int64_t{0});
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const std::string what = format("rank {} of {}: {}", rank, world_size, to_string(spec));

  const auto array = [&](const std::vector<int>& values) {
    return Array(stream, spec.dtype, encode(spec.dtype, values), spec.skew);
  };
  const auto check = [&](const Array& out, std::span<const int> expected) {
    comm.synchronize(stream);
    out.require_equal(stream, encode(spec.dtype, expected), what);
  };
  const auto sum_of_all = [&](std::int64_t count) {
    const std::array<int, kPeriod> period = pattern(spec.dtype);
    std::array<int, kPeriod> sum{};
    for (std::size_t i = 0; i < kPeriod; ++i) {
      for (int r = 0; r < world_size; ++r) sum[i] += period[(i + phase(spec, r)) % kPeriod];
    }
    return repeat(sum, 0, count);
  };
  const auto all_shards = [&] {
    std::vector<int> shards;
    for (int r = 0; r < world_size; ++r) {
      const std::vector<int> values = contribution(spec, r, counts[static_cast<std::size_t>(r)]);
      shards.insert(shards.end(), values.begin(), values.end());
    }
    return shards;
  };

  switch (spec.op) {
    case Op::kAllReduce: {
      const std::vector<int> values = contribution(spec, rank, spec.count);
      const Array x = array(values);
      if (spec.in_place) {
        comm.all_reduce(stream, x.tensor());
        return check(x, sum_of_all(spec.count));
      }
      const Array out(stream, spec.dtype, spec.count, spec.skew);
      comm.all_reduce(stream, out.tensor(), x.tensor());
      check(out, sum_of_all(spec.count));
      return check(x, values);
    }
    case Op::kAllGather:
    case Op::kGather: {
      const std::vector<int> values = contribution(spec, rank, mine);
      const Array shard = array(values);
      const bool receives = spec.op == Op::kAllGather || rank == spec.root;
      std::vector<int> before(static_cast<std::size_t>(total), 99);
      std::copy(values.begin(), values.end(), before.begin() + begin);
      const Array out = array(before);
      const Tensor in = spec.in_place && receives ? out.part(begin, mine) : shard.tensor();
      if (spec.op == Op::kAllGather) {
        ragged ? comm.all_gather(stream, out.tensor(), in, counts) : comm.all_gather(stream, out.tensor(), in);
      } else {
        const Tensor target = receives ? out.tensor() : Tensor();
        ragged ? comm.gather(stream, target, in, counts, spec.root) : comm.gather(stream, target, in, spec.root);
      }
      check(shard, values);
      return check(out, receives ? all_shards() : before);
    }
    case Op::kReduceScatter: {
      const std::vector<int> values = contribution(spec, rank, total);
      const std::vector<int> sum = sum_of_all(total);
      const auto share = std::span(sum).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(mine));
      const Array x = array(values);
      const Array elsewhere(stream, spec.dtype, mine, spec.skew);
      const Tensor out = spec.in_place ? x.part(begin, mine) : elsewhere.tensor();
      ragged ? comm.reduce_scatter(stream, out, x.tensor(), counts) : comm.reduce_scatter(stream, out, x.tensor());
      if (!spec.in_place) {
        check(elsewhere, share);
        return check(x, values);
      }
      std::vector<int> after = values;
      std::copy(share.begin(), share.end(), after.begin() + begin);
      return check(x, after);
    }
    case Op::kBroadcast: {
      const Array x = array(contribution(spec, rank, spec.count));
      comm.broadcast(stream, x.tensor(), spec.root);
      return check(x, contribution(spec, spec.root, spec.count));
    }
    case Op::kSendRecv: {  // each rank to the next; rank 0 starts, so there is always one that receives
      if (world_size == 1) return;
      const int from = (rank + world_size - 1) % world_size;
      const Array x = array(contribution(spec, rank, spec.count));
      const Array got(stream, spec.dtype, spec.count, spec.skew);
      if (rank == 0) comm.send(stream, x.tensor(), 1);
      comm.recv(stream, got.tensor(), from);
      if (rank != 0) comm.send(stream, x.tensor(), (rank + 1) % world_size);
      return check(got, contribution(spec, from, spec.count));
    }
    case Op::kBarrier:
      return comm.barrier();
  }
}

/// Call `id` of a random sequence: the same on every rank.
inline Spec random_spec(std::uint32_t seed, std::uint32_t id, int world_size) {
  const std::array<std::uint32_t, 4> a = philox({id, 0, 0, 0}, {seed, 0});
  Spec spec;
  spec.id = id;
  spec.op = kAllOps[a[0] % std::size(kAllOps)];
  spec.dtype = is_sum(spec.op) ? kSumTypes[a[1] % std::size(kSumTypes)] : kPlainTypes[a[1] % std::size(kPlainTypes)];
  spec.root = static_cast<int>(a[2] % static_cast<std::uint32_t>(world_size));
  spec.in_place = (a[2] >> 16) % 2 == 0;
  const std::int64_t limit = std::int64_t{1} << ((a[3] >> 16) % 15);  // small ones as likely as large ones
  const auto count = [&](std::uint32_t n) {
    return static_cast<std::int64_t>(philox({id, 1, n, 0}, {seed, 0})[0]) % (limit + 1);
  };
  spec.count = count(0);
  const bool has_shares = spec.op == Op::kAllGather || spec.op == Op::kReduceScatter || spec.op == Op::kGather;
  if (has_shares && a[3] % 2 == 0) {
    for (int r = 0; r < world_size; ++r) spec.counts.push_back(count(static_cast<std::uint32_t>(r)) / world_size);
  }
  return spec;
}

}  // namespace tandem::contract
