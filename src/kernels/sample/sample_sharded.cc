#include "kernels/sample/sample_sharded.h"

#include <algorithm>

#include "base/random.h"
#include "kernels/activations.h"
#include "kernels/sample/sample_sharded_cuda.h"

namespace tandem {
namespace {

using namespace sampling;  // NOLINT

constexpr std::int64_t kStateBytes = sizeof(State);
static_assert(kStateBytes % 16 == 0, "keys follow the states");

/// One row of a step: the CPU twin.
class RowStep {
 public:
  RowStep(const SampleStepArguments& arguments, std::int64_t row)
      : a_(arguments),
        index_(row),
        row_(arguments.rows[row]),
        state_(arguments.states[row]),
        keys_(arguments.keys + row * sample_key_stride(arguments.share)) {}

  void run() {
    take();
    if (a_.next == SampleStep::kEnd) {
      a_.tokens[index_] = token_of(state_, row_, a_.previous == SampleStep::kToken ? largest_word(0) : 0);
      return;
    }
    const int words = words_of(a_.next);
    std::uint64_t* message = a_.message + index_ * words;
    std::fill(message, message + words, 0);
    give(message);
  }

 private:
  /// Word `i` of what rank `rank` gave for this row.
  std::uint64_t word(int rank, int i) const {
    return a_.gathered[(rank * a_.num_rows + index_) * words_of(a_.previous) + i];
  }
  std::uint64_t largest_word(int i) const {
    std::uint64_t result = 0;
    for (int r = 0; r < a_.world_size; ++r) result = std::max(result, word(r, i));
    return result;
  }
  /// Over the ranks below `end`.
  std::uint64_t sum_of_word(int i, int end) const {
    std::uint64_t sum = 0;
    for (int r = 0; r < end; ++r) sum += word(r, i);
    return sum;
  }

  void take() {
    if (a_.previous == SampleStep::kLargest) state_ = state_after_largest(row_, largest_word(0), largest_word(1));
    if (a_.previous == SampleStep::kTotal) take_total(state_, row_, sum_of_word(0, a_.world_size));
    if (a_.previous == SampleStep::kMass) {
      take_masses(state_, row_, sum_of_word(0, a_.world_size), sum_of_word(0, a_.rank), word(a_.rank, 0));
    }
    const SearchStep step = search_step(a_.previous);
    if (step.level >= 0 && is_searching(step)) take_histogram(step);
  }

  bool is_searching(SearchStep step) const {
    return step.first == SampleStep::kTopK ? has_top_k(row_, a_.vocabulary) : has_top_p(row_);
  }

  void take_histogram(SearchStep step) {
    std::uint64_t above = 0;
    int bin = kBins - 1;
    for (; bin > 0; --bin) {
      const std::uint64_t amount = sum_of_word(bin, a_.world_size);
      if (above + amount >= state_.need) break;
      above += amount;
    }
    take_bin(state_, step.level, bin, above);
    if (step.level < kLevels - 1) return;
    if (step.first == SampleStep::kTopK) return end_top_k(state_);
    end_top_p(state_, row_, sum_of_word(bin, a_.rank));
  }

  void give(std::uint64_t* message) {
    if (a_.next == SampleStep::kLargest) return give_largest(message);
    const SearchStep step = search_step(a_.next);
    if (step.level >= 0) {
      if (!is_searching(step)) return;
      for (std::int64_t i = 0; i < a_.share; ++i) {
        message[bin_of(keys_[i], step.level)] += amount_in(state_, row_, step, keys_[i]);
      }
    }
    if (a_.next == SampleStep::kTotal) {
      for (std::int64_t i = 0; i < a_.share; ++i) {
        if (keys_[i] >= state_.least) message[0] += mass_of(weight_in(state_, row_, keys_[i]));
      }
    }
    if (a_.next == SampleStep::kMass) {
      for_each_kept([&](std::int64_t, std::uint64_t mass) { message[0] += mass; });
    }
    if (a_.next == SampleStep::kToken && state_.target != kAll) {
      std::uint64_t before = 0;
      for_each_kept([&](std::int64_t i, std::uint64_t mass) {
        before += mass;
        if (message[0] == 0 && state_.target < before) message[0] = static_cast<std::uint64_t>(a_.vocab_begin + i + 1);
      });
    }
  }

  void give_largest(std::uint64_t* message) {
    const float* logits = a_.logits + index_ * a_.share;
    for (std::int64_t i = 0; i < a_.share; ++i) {
      keys_[i] = key_of(logits[i]);
      if (!is_finite(logits[i])) {
        message[1] = std::max(message[1], static_cast<std::uint64_t>(kAllFinite - (a_.vocab_begin + i)));
      }
    }
    const std::int64_t num_history = std::min<std::int64_t>(row_.num_history, a_.history_stride);
    for (std::int64_t j = 0; j < num_history && row_.repetition_penalty != 1; ++j) {
      const std::int64_t i = a_.history[index_ * a_.history_stride + j] - a_.vocab_begin;
      if (0 <= i && i < a_.share) keys_[i] = key_of(penalised(logits[i], row_.repetition_penalty));
    }
    for (std::int64_t i = 0; i < a_.share; ++i) {
      message[0] = std::max(message[0], place_of(keys_[i], a_.vocab_begin + i));
    }
  }

  /// body(place, mass) for the tokens that the filters leave, in order.
  template <class Body>
  void for_each_kept(const Body& body) const {
    std::uint64_t ties = state_.ties;
    for (std::int64_t i = 0; i < a_.share; ++i) {
      if (keys_[i] < state_.least || (keys_[i] == state_.least && ties == 0)) continue;
      if (keys_[i] == state_.least) --ties;
      body(i, mass_in(state_, row_, keys_[i]));
    }
  }

  const SampleStepArguments& a_;
  std::int64_t index_;
  const SampleRow& row_;
  State& state_;
  std::uint32_t* keys_;
};

void check_shard(const Stream& stream, const SampleShard& shard) {
  TANDEM_CHECK(shard.logits.num_dims() == 2 && shard.history.num_dims() == 2, "sample_step: logits {}, history {}",
               to_string(shard.logits.shape()), to_string(shard.history.shape()));
  const std::int64_t rows = shard.logits.size(0), share = shard.logits.size(1);
  check_dtype("sample_step: logits", shard.logits, DType::kF32);
  check_dtype("sample_step: rows", shard.rows, DType::kU8);
  check_shape("sample_step: rows", shard.rows, {rows, sizeof(SampleRow)});
  check_dtype("sample_step: history", shard.history, DType::kI32);
  check_shape("sample_step: history", shard.history, {rows, shard.history.size(1)});
  check_dtype("sample_step: scratch", shard.scratch, DType::kU8);
  TANDEM_CHECK(shard.scratch.bytes() >= sample_scratch_bytes(rows, share), "sample_step: scratch of {} bytes, not {}",
               shard.scratch.bytes(), sample_scratch_bytes(rows, share));
  TANDEM_CHECK(0 <= shard.rank && shard.rank < shard.world_size, "rank {} of {}", shard.rank, shard.world_size);
  TANDEM_CHECK(0 <= shard.vocab_begin && shard.vocab_begin + share <= shard.vocabulary &&
                   shard.vocabulary <= kMaxSampledVocabulary,
               "sample_step: tokens {} to {} of {}", shard.vocab_begin, shard.vocab_begin + share, shard.vocabulary);
  TANDEM_CHECK(shard.logits.device() == stream.device(), "sample_step: logits are on {}, the stream on {}",
               to_string(shard.logits.device()), to_string(stream.device()));
}

template <class T>
T* aligned_at(void* data, std::size_t alignment) {
  TANDEM_CHECK(reinterpret_cast<std::uintptr_t>(data) % alignment == 0, "sample_step: {} at {}", alignment, data);
  return static_cast<T*>(data);
}

}  // namespace

SampleRow sample_row(const SamplingParams& params, std::uint64_t counter, std::int32_t num_history) {
  check_sampling_params(params);
  TANDEM_CHECK(num_history >= 0, "a history of {}", num_history);
  return {.random = draw_bits(params.seed, counter) << 11,
          .temperature = params.temperature,
          .top_p = params.top_p,
          .min_p = params.min_p,
          .repetition_penalty = params.repetition_penalty,
          .top_k = params.top_k,
          .num_history = num_history};
}

std::vector<SampleStep> sample_steps(std::span<const SampleRow> rows, std::int64_t vocabulary) {
  const auto any = [&](const auto& has) { return std::any_of(rows.begin(), rows.end(), has); };
  std::vector<SampleStep> steps{SampleStep::kLargest};
  const auto add = [&](SampleStep first, int count) {
    for (int i = 0; i < count; ++i) steps.push_back(static_cast<SampleStep>(static_cast<int>(first) + i));
  };
  if (any([](const SampleRow& row) { return row.temperature > 0; })) {
    if (any([&](const SampleRow& row) { return has_top_k(row, vocabulary); })) add(SampleStep::kTopK, kLevels);
    if (any(has_top_p)) add(SampleStep::kTotal, 1 + kLevels);
    add(SampleStep::kMass, 2);
  }
  add(SampleStep::kEnd, 1);
  return steps;
}

std::size_t sample_scratch_bytes(std::int64_t rows, std::int64_t share) {
  return static_cast<std::size_t>(rows * (kStateBytes + sample_key_stride(share) * 4));
}

Shape sample_message_shape(SampleStep step, std::int64_t rows) {
  return {rows, 2 * words_of(step)};
}

void sample_step(const Stream& stream, const SampleShard& shard, SampleStep previous, ConstTensor gathered,
                 SampleStep next, Tensor message) {
  check_shard(stream, shard);
  TANDEM_CHECK(previous < next && next > SampleStep::kStart, "sample_step: from {} to {}", static_cast<int>(previous),
               static_cast<int>(next));
  const std::int64_t rows = shard.logits.size(0);
  check_dtype("sample_step: message", message, DType::kI32);
  check_shape("sample_step: message", message,
              next == SampleStep::kEnd ? Shape{rows} : sample_message_shape(next, rows));
  if (previous != SampleStep::kStart) {
    check_dtype("sample_step: gathered", gathered, DType::kI32);
    check_shape("sample_step: gathered", gathered, {shard.world_size, rows, 2 * words_of(previous)});
  }
  if (rows == 0) return;
  const bool ends = next == SampleStep::kEnd;
  SampleStepArguments arguments{
      .logits = shard.logits.data<float>(),
      .num_rows = rows,
      .share = shard.logits.size(1),
      .vocab_begin = shard.vocab_begin,
      .vocabulary = shard.vocabulary,
      .rank = shard.rank,
      .world_size = shard.world_size,
      .rows = aligned_at<const SampleRow>(const_cast<void*>(shard.rows.raw()), alignof(SampleRow)),
      .history = shard.history.data<std::int32_t>(),
      .history_stride = shard.history.size(1),
      .states = aligned_at<State>(shard.scratch.raw(), 16),
      .keys = reinterpret_cast<std::uint32_t*>(static_cast<std::byte*>(shard.scratch.raw()) + rows * kStateBytes),
      .previous = previous,
      .next = next,
      .gathered = aligned_at<const std::uint64_t>(const_cast<void*>(gathered.raw()), 8),
      .message = ends ? nullptr : aligned_at<std::uint64_t>(message.raw(), 8),
      .tokens = ends ? message.data<std::int32_t>() : nullptr};
  if (!stream.device().is_cpu()) {
    if constexpr (kBuiltWithCuda) {
      return check_launch("sample_step", stream, sample_step_cuda(stream.cuda_handle(), arguments));
    }
  }
  stream.parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) RowStep(arguments, row).run();
  });
}

}  // namespace tandem
