#pragma once
// Sharded draws with all ranks on one device, for tests: what a communicator gathers is copied.

#include <algorithm>
#include <cstring>
#include <vector>

#include "device/buffer.h"
#include "device/cuda/runtime.h"
#include "kernels/sample/sample_sharded.h"
#include "kernels/testing.h"

namespace tandem {

/// Where the shares of `world_size` ranks end: unequal, some of them empty from three ranks on.
inline std::vector<std::int64_t> shares_end(std::int64_t vocabulary, int world_size) {
  std::vector<std::int64_t> parts, ends;
  std::int64_t sum = 0;
  for (int r = 0; r < world_size; ++r) sum += parts.emplace_back((r * 2 + 1) % 5 == 0 ? 0 : r % 3 + 1);
  std::int64_t before = 0;
  for (const std::int64_t part : parts) {
    before += part;
    ends.push_back(vocabulary * before / sum);
  }
  return ends;
}

class ShardedDraw {
 public:
  /// `stream` outlives it.
  explicit ShardedDraw(const Stream& stream) : stream_(stream) {}

  /// The token of every row, which all ranks have come to. `logits` [rows, vocabulary], `history` [rows, any].
  std::vector<std::int32_t> operator()(const std::vector<SampleRow>& rows, const std::vector<float>& logits,
                                       const std::vector<std::int32_t>& history, int world_size) const {
    const auto n = static_cast<std::int64_t>(rows.size());
    const std::int64_t vocabulary = static_cast<std::int64_t>(logits.size()) / n;
    std::vector<Rank> ranks;
    std::int64_t begin = 0;
    for (const std::int64_t end : shares_end(vocabulary, world_size)) {
      std::vector<float> own;
      for (std::int64_t row = 0; row < n; ++row) {
        own.insert(own.end(), logits.begin() + row * vocabulary + begin, logits.begin() + row * vocabulary + end);
      }
      Rank rank;
      rank.logits = upload(own.data(), DType::kF32, {n, end - begin});
      rank.rows = upload(rows.data(), DType::kU8, {n, sizeof(SampleRow)});
      rank.history = upload(history.data(), DType::kI32, {n, static_cast<std::int64_t>(history.size()) / n});
      const auto scratch = static_cast<std::int64_t>(sample_scratch_bytes(n, end - begin));
      rank.scratch = OwnedTensor(stream_.device(), DType::kU8, {scratch});
      rank.shard = {.logits = rank.logits.tensor,
                    .vocab_begin = begin,
                    .vocabulary = vocabulary,
                    .rank = static_cast<int>(ranks.size()),
                    .world_size = world_size,
                    .rows = rank.rows.tensor,
                    .history = rank.history.tensor,
                    .scratch = rank.scratch.tensor};
      ranks.push_back(std::move(rank));
      begin = end;
    }
    SampleStep previous = SampleStep::kStart;
    OwnedTensor gathered;
    for (const SampleStep next : sample_steps(rows, vocabulary)) {
      const bool ends = next == SampleStep::kEnd;
      const Shape shape = ends ? Shape{n} : sample_message_shape(next, n);
      for (Rank& rank : ranks) {
        rank.message = OwnedTensor(stream_.device(), DType::kI32, shape);
        const std::vector<std::byte> unwritten(rank.message.tensor.bytes(), std::byte{0xff});
        copy(rank.message.tensor.raw(), unwritten.data(), unwritten.size());
        sample_step(stream_, rank.shard, previous, gathered.tensor, next, rank.message.tensor);
      }
      stream_.synchronize();
      if (!ends) gathered = OwnedTensor(stream_.device(), DType::kI32, {world_size, shape[0], shape[1]});
      for (std::size_t r = 0; r < ranks.size() && !ends; ++r) {
        const ConstTensor message = ranks[r].message.tensor;
        copy(static_cast<std::byte*>(gathered.tensor.raw()) + r * message.bytes(), message.raw(), message.bytes());
      }
      stream_.synchronize();
      previous = next;
    }
    std::vector<std::int32_t> tokens(rows.size()), others(rows.size());
    for (const Rank& rank : ranks) {
      copy(others.data(), rank.message.tensor.raw(), rank.message.tensor.bytes());
      stream_.synchronize();
      if (rank.shard.rank == 0) tokens = others;
      EXPECT_EQ(others, tokens) << "rank " << rank.shard.rank;
    }
    return tokens;
  }

 private:
  struct Rank {
    OwnedTensor logits, rows, history, scratch, message;
    SampleShard shard;
  };

  OwnedTensor upload(const void* data, DType dtype, Shape shape) const {
    OwnedTensor result(stream_.device(), dtype, shape);
    copy(result.tensor.raw(), data, result.tensor.bytes());
    return result;
  }
  void copy(void* to, const void* from, std::size_t bytes) const {
    if (bytes == 0) return;
    if (stream_.device().is_cpu()) {
      std::memcpy(to, from, bytes);
    } else if constexpr (kBuiltWithCuda) {
      cuda::copy(stream_.cuda_handle(), to, from, bytes);
    }
  }

  const Stream& stream_;
};

/// Every combination of top-k, top-p and min-p, warm and cold, with greedy rows among them.
inline std::vector<SamplingParams> sampling_cases() {
  std::vector<SamplingParams> all;
  for (const std::int32_t top_k : {0, 1, 7, 40, 100000}) {
    for (const float top_p : {1.0f, 0.9f, 0.3f, 1e-6f}) {
      for (const float min_p : {0.0f, 0.2f, 1.0f}) {
        const auto i = all.size();
        all.push_back({.temperature = i % 7 == 3   ? 0
                                      : i % 3 == 0 ? 2.5f
                                                   : 0.8f,
                       .top_k = top_k,
                       .top_p = top_p,
                       .min_p = min_p,
                       .repetition_penalty = i % 2 == 0 ? 1.3f : 1.0f,
                       .seed = (std::uint64_t{1} << 32) + i});
      }
    }
  }
  return all;
}

/// Logits of `rows` sequences, every third of a value that others have too.
inline std::vector<float> logits_with_ties(std::int64_t rows, std::int64_t vocabulary, std::uint32_t seed) {
  std::vector<float> logits = random_values(rows * vocabulary, seed, 4.0f);
  for (std::size_t i = 0; i < logits.size(); i += 3) logits[i] = std::round(logits[i] * 2) / 2;
  return logits;
}

}  // namespace tandem
