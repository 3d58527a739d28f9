#include "kernels/sample/sample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "base/random.h"
#include "kernels/simd/isa.h"

#define TANDEM_SIMD_FILE "kernels/sample/sample_simd.inc"
#include "kernels/simd/for_each_isa.inc"

namespace tandem {
namespace {

struct Candidate {
  std::int32_t id;
  float logit;
  float weight;
};

bool less_likely(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit < b.logit : a.id > b.id;
}

void check_logits(const float* logits, std::int64_t count) {
  if (TANDEM_PICK_ISA(all_finite)(logits, count)) return;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(logits[i])) fail(ErrorKind::kInternal, "sample: logit {} of {} is {}", i, count, logits[i]);
  }
}

void penalise(float* logits, std::int64_t count, std::span<const std::int32_t> history, float penalty) {
  // A token is penalised once, however often it occurred.
  thread_local std::vector<std::int32_t> ids;
  ids.assign(history.begin(), history.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (std::int32_t id : ids) {
    if (id < 0 || id >= count) fail(ErrorKind::kInvalidArgument, "sample: token {} of a vocabulary of {}", id, count);
    const float penalised = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
    constexpr float kMost = std::numeric_limits<float>::max();
    logits[id] =
        std::clamp(penalised, -kMost, kMost);  // an extreme penalty makes no infinity, whose differences are NaN
  }
}

// The k-th largest of the logits. A heap of the k largest so far is rarely touched once it has warmed up.
float kth_largest(const float* logits, std::int64_t count, std::int64_t k) {
  thread_local std::vector<float> heap;
  heap.assign(logits, logits + k);
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  for (std::int64_t i = k; i < count; ++i) {
    if (logits[i] <= heap.front()) continue;
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.back() = logits[i];
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  }
  return heap.front();
}

// e^((logit - largest) / temperature) of every candidate. Divided after the difference, no logit overflows to the
// infinity that the largest one is: the largest weighs 1 at any temperature.
void weigh(std::vector<Candidate>& candidates, float largest, float temperature) {
  thread_local std::vector<float> weights;
  weights.resize(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) weights[i] = (candidates[i].logit - largest) / temperature;
  TANDEM_PICK_ISA(exp_row)(weights.data(), static_cast<std::int64_t>(weights.size()));
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].weight = weights[i];
}

double total_weight(const std::vector<Candidate>& candidates) {
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  return total;
}

void drop_below(std::vector<Candidate>& candidates, double floor) {
  const auto too_low = [floor](const Candidate& c) { return c.weight < floor; };
  candidates.erase(std::remove_if(candidates.begin(), candidates.end(), too_low), candidates.end());
}

// Leaves the shortest prefix of the candidates, most likely first, whose probability reaches top_p.
void keep_top_p(std::vector<Candidate>& candidates, double top_p) {
  const double total = total_weight(candidates);
  // Of n tokens, those below (1 - top_p) / n of the total have less than 1 - top_p together: all of them go, unsorted.
  drop_below(candidates, (1 - top_p) / static_cast<double>(candidates.size()) * total * (1 - 1e-6));
  // A heap, for few of many are kept; what leaves it gathers at the end.
  auto heap_end = candidates.end();
  std::make_heap(candidates.begin(), heap_end, less_likely);
  double before = 0;
  do {
    std::pop_heap(candidates.begin(), heap_end, less_likely);
    before += (--heap_end)->weight;
  } while (heap_end != candidates.begin() && before < top_p * total);
  candidates.erase(candidates.begin(), heap_end);
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

std::int32_t draw(const std::vector<Candidate>& candidates, std::uint64_t seed, std::uint64_t counter) {
  const double target = static_cast<double>(draw_bits(seed, counter)) * 0x1p-53 * total_weight(candidates);
  double before = 0;
  for (const Candidate& c : candidates) {
    before += c.weight;
    if (target < before) return c.id;
  }
  return candidates.back().id;  // only where the product above was rounded up to the total
}

}  // namespace

std::uint64_t draw_bits(std::uint64_t seed, std::uint64_t counter) {
  constexpr std::uint32_t kPurpose = 0x73616d70;  // "samp": draws for other purposes use other words
  const auto words =
      philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), kPurpose, 0},
             {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return (std::uint64_t{words[0]} << 32 | words[1]) >> 11;
}

void check_sampling_params(const SamplingParams& params) {
  const auto check = [](bool good, const char* name, double value, const char* expected) {
    if (good) return;
    fail_with_hint(ErrorKind::kInvalidArgument, format("{} is {}", name, value), format("expected {}", expected));
  };
  check(std::isfinite(params.temperature) && params.temperature >= 0, "temperature", params.temperature,
        "0 (greedy) or more");
  check(params.top_k >= 0, "top_k", params.top_k, "0 (all) or more");
  check(params.top_p > 0 && params.top_p <= 1, "top_p", params.top_p, "more than 0, at most 1");
  check(params.min_p >= 0 && params.min_p <= 1, "min_p", params.min_p, "0 to 1");
  check(std::isfinite(params.repetition_penalty) && params.repetition_penalty > 0, "repetition_penalty",
        params.repetition_penalty, "more than 0");
}

std::int32_t sample(const Stream& stream, Tensor logits, std::span<const std::int32_t> history,
                    const SamplingParams& params, std::uint64_t counter) {
  check_sampling_params(params);
  check_dtype("sample: logits", logits, DType::kF32);
  TANDEM_CHECK(stream.device().is_cpu(), "sample on {}", to_string(stream.device()));
  TANDEM_CHECK(logits.num_dims() == 1 && logits.size(0) > 0, "sample: logits {}", to_string(logits.shape()));
  float* values = logits.data<float>();
  const std::int64_t count = logits.size(0);
  check_logits(values, count);
  if (params.repetition_penalty != 1.0f) penalise(values, count, history, params.repetition_penalty);
  if (params.temperature == 0.0f) return static_cast<std::int32_t>(std::max_element(values, values + count) - values);

  const float largest = *std::max_element(values, values + count);
  float least = std::numeric_limits<float>::lowest();
  if (params.top_k > 0 && params.top_k < count) least = kth_largest(values, count, params.top_k);
  thread_local std::vector<Candidate> candidates;
  candidates.clear();
  for (std::int64_t i = 0; i < count; ++i) {
    if (values[i] >= least) candidates.push_back({static_cast<std::int32_t>(i), values[i], 0.0f});
  }
  weigh(candidates, largest, params.temperature);
  if (params.top_p < 1.0f) keep_top_p(candidates, static_cast<double>(params.top_p));
  if (params.min_p > 0.0f) drop_below(candidates, static_cast<double>(params.min_p));  // the likeliest weighs 1
  return draw(candidates, params.seed, counter);
}

}  // namespace tandem
