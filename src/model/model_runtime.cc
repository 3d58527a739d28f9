#include "model/model_runtime.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/trace.h"
#include "comm/communicator.h"
#include "comm/device_list.h"
#include "comm/push/push_plan.h"
#include "model/rope.h"

namespace tandem {
namespace {

constexpr std::int64_t kDefaultMaxSeqLen = 4096;
// Long enough that a prompt's matrix products run at the rate of large ones, short enough that activations stay small.
constexpr std::int64_t kMaxStepTokens = 512, kMaxGpuStepTokens = 2048;
constexpr std::int64_t kMaxGpuLogits = 16;  // rows at a time, but no fewer than a batch has sequences

// Adds up what the ranks report and hands it on from whichever rank crosses a twentieth of a second first.
class ProgressSum {
 public:
  ProgressSum(std::function<void(const LoadProgress&)> report, std::uint64_t total)
      : report_(std::move(report)), total_(total) {}

  void add(std::size_t bytes) {
    done_.fetch_add(bytes, std::memory_order_relaxed);
    if (!report_) return;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || seconds_since(last_) < 0.05) return;
    last_ = Clock::now();
    report_({done_.load(std::memory_order_relaxed), total_});
  }
  void finish() {
    if (report_) report_({total_, total_});
  }

 private:
  std::function<void(const LoadProgress&)> report_;
  std::uint64_t total_;
  std::atomic<std::uint64_t> done_{0};
  std::mutex mutex_;
  Clock::time_point last_{};
};

constexpr TraceLabel kLoadSpan = {"load weights", "model"};
constexpr std::array<const char*, 3> kStepArguments = {"prefill_tokens", "decode_tokens", "sequences"};
constexpr TraceLabel kPrefillSpan = {"prefill", "step", kStepArguments};
constexpr TraceLabel kDecodeSpan = {"decode", "step", kStepArguments};
constexpr TraceLabel kMixedSpan = {"prefill and decode", "step", kStepArguments};

// What a step computes, for logs and traces.
struct StepTokens {
  std::int64_t prefill = 0;
  std::int64_t decode = 0;  // of sequences that go on by one token

  explicit StepTokens(std::span<const SequenceStep> sequences) {
    for (const SequenceStep& sequence : sequences) {
      const bool decodes = sequence.token_ids.size() == 1 && sequence.num_cached > 0;
      (decodes ? decode : prefill) += static_cast<std::int64_t>(sequence.token_ids.size());
    }
  }
  const TraceLabel& label() const { return decode == 0 ? kPrefillSpan : prefill == 0 ? kDecodeSpan : kMixedSpan; }
};

RopeFrequencies rope_of(const OpenedModel& opened) {
  RopeFrequencies rope = rope_frequencies(opened.config.rope, opened.config.head_dim);
  const std::vector<float>& factors = opened.rope_freq_factors;
  if (factors.empty()) return rope;
  if (factors.size() != rope.inv_freq.size()) {
    fail(ErrorKind::kBadFile, "{}: rope_freqs.weight has {} values, the rotary dimension asks for {}", opened.name,
         factors.size(), rope.inv_freq.size());
  }
  for (std::size_t i = 0; i < factors.size(); ++i) {
    if (!std::isfinite(factors[i]) || factors[i] <= 0) {
      fail(ErrorKind::kBadFile, "{}: rope_freqs.weight[{}] is {}, expected a number above 0", opened.name, i,
           factors[i]);
    }
    rope.inv_freq[i] /= factors[i];
  }
  return rope;
}

std::string choose_backend(const std::string& wanted, std::span<const Device> devices) {
  if (wanted != "auto") return wanted;
  const std::vector<std::string> available = get_available_backends(devices);
  TANDEM_CHECK(!available.empty(), "no back-end for {} devices", devices.size());
  log(LogLevel::kInfo, Subsystem::kComm, "{} ranks on {}: {} is the back-end that serves them", devices.size(),
      to_string(devices[0]), available[0]);
  return available[0];
}

}  // namespace

std::int64_t choose_max_seq_len(const OpenedModel& opened, std::int64_t asked) {
  const std::int64_t limit = opened.config.max_position_embeddings;
  if (asked > limit) {
    fail_with_hint(
        ErrorKind::kInvalidArgument,
        format("max_seq_len {} is more than the {} positions that {} was made for", asked, limit, opened.name),
        format("use --max-seq-len {} or less", limit));
  }
  return asked > 0 ? asked : std::min(limit, kDefaultMaxSeqLen);
}

std::vector<Device> parse_model_devices(const ModelOptions& options) {
  std::vector<Device> devices = parse_devices(options.devices, options.tp_size);
  for (const Device& device : devices) {
    if (device.is_cpu()) continue;
    // What they run through is there, and has run on no GPU yet.
    fail_with_hint(ErrorKind::kUnsupported, format("models do not run on {} yet, on CPUs only", to_string(device)),
                   "use --devices cpu, or leave --devices out");
  }
  return devices;
}

ModelRuntime::ModelRuntime(OpenedModel opened, const ModelOptions& options) : opened_(std::move(opened)) {
  const ModelConfig& config = opened_.config;
  devices_ = parse_model_devices(options);
  const int world_size = static_cast<int>(devices_.size());
  const bool on_cpu = devices_.front().is_cpu();
  if (options.max_batch_size < 1 || options.max_seq_len < 0 || options.threads < 0 || !(options.timeout_s > 0) ||
      options.shbuf_size < 0) {
    fail(ErrorKind::kInvalidArgument, "max_batch_size {}, max_seq_len {}, threads {}, timeout_s {}, shbuf_size {}",
         options.max_batch_size, options.max_seq_len, options.threads, options.timeout_s, options.shbuf_size);
  }
  if (options.threads > kMaxThreads) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("threads is {}, at most {} are possible", options.threads, kMaxThreads),
                   "0 means one a core");
  }
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (options.shbuf_size > 0) check_inbox_bytes("shbuf_size", options.shbuf_size, world_size);
  plan_ = opened_.shard_plan(world_size);
  info_ = {.name = opened_.name,
           .architecture = config.architecture,
           .backend = on_cpu ? choose_backend(options.tp_backend, devices_) : options.tp_backend,
           .tp_size = world_size,
           .threads_per_rank = std::max(1, threads / world_size),
           .vocab_size = config.vocab_size,
           .max_seq_len = choose_max_seq_len(opened_, options.max_seq_len),
           .max_batch_size = options.max_batch_size};
  for (const TensorEntry& entry : opened_.source->catalogue().entries()) {
    info_.num_parameters += static_cast<std::uint64_t>(entry.shape.num_elements());
  }
  if (options.shbuf_size > 0 && info_.backend == "cpu") {
    log(LogLevel::kInfo, Subsystem::kComm, "shbuf_size {} has no effect: CPU ranks share one address space",
        options.shbuf_size);
  }
  activations_ = activation_dtype(opened_.table, opened_.source->catalogue(), devices_.front());
  max_step_tokens_ = std::max<std::int64_t>(
      std::min(on_cpu ? kMaxStepTokens : kMaxGpuStepTokens, info_.max_seq_len * options.max_batch_size),
      options.max_batch_size);
  max_logits_ = on_cpu ? max_step_tokens_
                       : std::min(max_step_tokens_, std::max<std::int64_t>(kMaxGpuLogits, options.max_batch_size));
  if constexpr (kBuiltWithCuda) {
    // What a model before this one had; inboxes cannot be made of it else.
    for (const Device& device : devices_) {
      if (!device.is_cpu()) cuda::return_unused(device.index);
    }
  }
  const double timeout_s = std::min(options.timeout_s, 86400.0);
  team_ = std::make_unique<RankTeam>(
      RankTeamOptions{.world_size = world_size,
                      .threads_per_rank = on_cpu ? info_.threads_per_rank : 1,
                      .backend = info_.backend,
                      .devices = on_cpu ? std::vector<Device>{} : devices_,
                      .timeout = std::chrono::nanoseconds(static_cast<std::int64_t>(timeout_s * 1e9)),
                      .inbox_bytes = options.shbuf_size});
  load(options);
}

ModelRuntime::~ModelRuntime() = default;

void ModelRuntime::revive() {
  if (!team_->aborted()) return;
  for (Rank& rank : ranks_) rank.graphs.clear();  // they hold calls of the communicators that go
  team_->rebuild();
}

void ModelRuntime::load(const ModelOptions& options) {
  for (const RankShard& shard : plan_) {
    info_.weight_bytes += rank_bytes(opened_.table, opened_.config, opened_.source->catalogue(), shard).total();
  }
  ProgressSum progress(options.on_progress, info_.weight_bytes);
  const RopeFrequencies rope = rope_of(opened_);
  ranks_.resize(plan_.size());
  team_->run([&](RankContext& rank) {
    const TraceSpan span(kLoadSpan);
    const auto index = static_cast<std::size_t>(rank.rank);
    const bool on_cpu = rank.stream.device().is_cpu();
    std::optional<Stream> reader;
    if (!on_cpu) {
      check_memory(rank.stream.device(), index);
      reader.emplace(Stream::cpu(info_.threads_per_rank, rank.rank, info_.threads_per_rank * (rank.world_size - 1)));
    }
    RankWeights weights = load_rank_weights(rank.stream, on_cpu ? rank.stream : *reader, *opened_.source, opened_.table,
                                            opened_.config, plan_[index], activations_, [&](std::size_t bytes) {
                                              progress.add(bytes);
                                              if (rank.comm.group().aborted()) rank.comm.group().throw_cause();
                                            });
    ranks_[index].forward =
        std::make_unique<RankForward>(opened_.config, plan_[index], std::move(weights), rope, rank.stream, activations_,
                                      StepLimits{.tokens = max_step_tokens_, .logits = max_logits_});
    const std::int64_t pages = (info_.max_seq_len + Cache::kPageSize - 1) / Cache::kPageSize;
    ranks_[index].inputs =
        StepInputs(rank.stream.device(), 4 * max_step_tokens_ + info_.max_batch_size * (pages + 2) + 1);
    log(LogLevel::kDebug, Subsystem::kModel, "{}: weights are loaded", opened_.name);
    if (rank.rank == 0) info_.backend = rank.comm.backend();
  });
  const auto row_bytes = static_cast<std::size_t>(info_.vocab_size) * sizeof(float);
  gathered_ = Buffer(devices_.front(), static_cast<std::size_t>(max_logits_) * row_bytes);
  if constexpr (kBuiltWithCuda) {
    if (!devices_.front().is_cpu()) pinned_ = cuda::PinnedBuffer(gathered_.bytes());
  }
  logits_ = Buffer(Device{}, static_cast<std::size_t>(max_step_tokens_) * row_bytes);
  progress.finish();
}

void ModelRuntime::check_memory(Device device, std::size_t rank) const {
  if constexpr (kBuiltWithCuda) {
    const std::size_t needed =
        gpu_weight_bytes(*opened_.source, opened_.table, opened_.config, plan_[rank], activations_);
    const std::size_t free = cuda::free_bytes(device.index);
    if (needed <= free) return;
    fail_with_hint(ErrorKind::kOutOfMemory,
                   format("{}: the weights of rank {} need {} MB on {}, {} MB are free", opened_.name, rank,
                          needed / 1'000'000, to_string(device), free / 1'000'000),
                   "use more GPUs (--tp), end what else takes memory there, or take a quantised GGUF");
  }
}

std::vector<std::unique_ptr<KvCache>> ModelRuntime::make_caches(std::int64_t num_pages, std::int64_t page_size) {
  std::vector<std::unique_ptr<KvCache>> caches(plan_.size());
  const std::uint64_t serial = ++num_caches_made_;
  team_->run([&](RankContext& rank) {
    const auto index = static_cast<std::size_t>(rank.rank);
    const KvCacheShape shape{.num_pages = num_pages,
                             .page_size = page_size,
                             .num_layers = static_cast<int>(opened_.config.num_hidden_layers),
                             .num_kv_heads = plan_[index].kv_heads.size(),
                             .head_dim = opened_.config.head_dim};
    caches[index] = std::make_unique<KvCache>(rank.stream.device(), activations_, shape, serial);
  });
  return caches;
}

StepBatch ModelRuntime::make_batch(std::span<const SequenceStep> sequences, std::int64_t page_size) const {
  StepBatch batch;
  std::size_t max_pages = 0;
  for (const SequenceStep& sequence : sequences) max_pages = std::max(max_pages, sequence.pages.size());
  // On GPUs the shapes of all steps of so many sequences are the same, so that they can be replayed.
  if (!devices_.front().is_cpu()) {
    max_pages = std::max(max_pages, static_cast<std::size_t>((info_.max_seq_len + page_size - 1) / page_size));
  }
  batch.query_begin.push_back(0);
  for (const SequenceStep& sequence : sequences) {
    const auto count = static_cast<std::int64_t>(sequence.token_ids.size());
    TANDEM_CHECK(count > 0, "a sequence without tokens");
    TANDEM_CHECK(sequence.num_cached >= 0 &&
                     sequence.num_cached + count <= static_cast<std::int64_t>(sequence.pages.size()) * page_size,
                 "{} + {} tokens in {} pages", sequence.num_cached, count, sequence.pages.size());
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int32_t id = sequence.token_ids[static_cast<std::size_t>(i)];
      TANDEM_CHECK(id >= 0 && id < info_.vocab_size, "token id {}", id);
      const std::int64_t position = sequence.num_cached + i;
      const std::int32_t page = sequence.pages[static_cast<std::size_t>(position / page_size)];
      const bool last = i + 1 == count;
      if (sequence.logits == LogitsOf::kEveryToken || (sequence.logits == LogitsOf::kLastToken && last)) {
        batch.logits_tokens.push_back(static_cast<std::int32_t>(batch.token_ids.size()));
      }
      batch.token_ids.push_back(id);
      batch.positions.push_back(static_cast<std::int32_t>(position));
      batch.slots.push_back(static_cast<std::int32_t>(page * page_size + position % page_size));
    }
    batch.query_begin.push_back(static_cast<std::int32_t>(batch.token_ids.size()));
    batch.context_len.push_back(static_cast<std::int32_t>(sequence.num_cached + count));
    batch.page_table.insert(batch.page_table.end(), sequence.pages.begin(), sequence.pages.end());
    batch.page_table.resize(batch.context_len.size() * max_pages, 0);
  }
  TANDEM_CHECK(batch.num_tokens() <= max_step_tokens_, "{} tokens in a step of {}", batch.num_tokens(),
               max_step_tokens_);
  return batch;
}

void ModelRuntime::queue_logits(RankContext& context, const Tensor& part) {
  const std::int64_t rows = part.size(0);
  std::vector<std::int64_t> counts;
  for (const RankShard& shard : plan_) counts.push_back(rows * shard.vocab.size());
  const Tensor gathered = gathered_.tensor(DType::kF32, {rows * info_.vocab_size});
  context.comm.gather(context.stream, gathered, part.reshape({part.num_elements()}), counts, 0);
  if constexpr (kBuiltWithCuda) {
    if (context.rank == 0 && !context.stream.device().is_cpu()) {
      cuda::copy(context.stream.cuda_handle(), pinned_.data(), gathered.raw(), gathered.bytes());
    }
  }
}

void ModelRuntime::place_logits(std::int64_t first_row, std::int64_t rows) {
  const auto* source = static_cast<const float*>(pinned_.data() != nullptr ? pinned_.data() : gathered_.data());
  float* logits = static_cast<float*>(logits_.data()) + first_row * info_.vocab_size;
  // Shares lie one behind the other; rows of the vocabulary are wanted.
  for (const RankShard& shard : plan_) {
    const std::int64_t share = shard.vocab.size();
    for (std::int64_t row = 0; row < rows; ++row, source += share) {
      if (share > 0) {
        std::memcpy(logits + row * info_.vocab_size + shard.vocab.begin, source,
                    static_cast<std::size_t>(share) * sizeof(float));
      }
    }
  }
}

void ModelRuntime::run_rank(RankContext& context, KvCache& cache, const StepBatch& batch, bool decodes) {
  Rank& rank = ranks_[static_cast<std::size_t>(context.rank)];
  const StepTensors tensors = rank.inputs.place(context.stream, batch);
  const bool at_once = batch.num_logits() <= max_logits_;
  const auto forward = [&] {
    rank.forward->forward(context, cache, tensors, [&](std::int64_t first_row, const Tensor& part) {
      queue_logits(context, part);
      if (at_once) return;
      context.comm.synchronize(context.stream);
      if (context.rank == 0) place_logits(first_row, part.size(0));
      context.comm.barrier();  // the others' next rows go to the same place
    });
  };
  if (context.stream.device().is_cpu()) {
    forward();
    return context.stream.synchronize();
  }
  if (decodes && at_once) {
    replay(rank, context, {batch.num_sequences(), tensors.page_table.size(1), cache.serial()}, forward);
  } else {
    forward();
  }
  context.comm.synchronize(context.stream);
}

void ModelRuntime::replay(Rank& rank, const RankContext& context, const Replay& key,
                          const std::function<void()>& forward) {
  if constexpr (kBuiltWithCuda) {
    // Of another cache, which may be gone.
    std::erase_if(rank.graphs, [&](const auto& graph) { return graph.first.cache != key.cache; });
    const auto found = std::find_if(rank.graphs.begin(), rank.graphs.end(), [&](auto& g) { return g.first == key; });
    if (found == rank.graphs.end()) {
      forward();  // what a kernel does when it is first used cannot be recorded
      rank.graphs.emplace_back(key, std::nullopt);
      return;
    }
    void* stream = context.stream.cuda_handle();
    if (!found->second) found->second.emplace(context.stream.device().index, stream, forward);
    found->second->launch(stream);
  }
}

ConstTensor ModelRuntime::step(std::span<const std::unique_ptr<KvCache>> caches,
                               std::span<const SequenceStep> sequences) {
  const StepTokens tokens(sequences);
  const StepBatch batch = make_batch(sequences, caches[0]->shape().page_size);
  const std::int64_t rows = batch.num_logits();
  const bool decodes = tokens.prefill == 0 && rows == batch.num_sequences();
  log(LogLevel::kDebug, Subsystem::kModel, "step of {} tokens of prefill and {} of decode, {} sequences",
      tokens.prefill, tokens.decode, sequences.size());
  team_->run([&](RankContext& rank) {
    const TraceSpan span(tokens.label(), tokens.prefill, tokens.decode, batch.num_sequences());
    run_rank(rank, *caches[static_cast<std::size_t>(rank.rank)], batch, decodes);
  });
  const Shape shape{rows, info_.vocab_size};
  if (rows <= 1 || (world_size() == 1 && rows <= max_logits_)) {
    const void* there = pinned_.data() != nullptr ? pinned_.data() : gathered_.data();
    return {there, DType::kF32, shape, Device{}};
  }
  if (rows <= max_logits_) place_logits(0, rows);
  return logits_.tensor(DType::kF32, shape);
}

}  // namespace tandem
