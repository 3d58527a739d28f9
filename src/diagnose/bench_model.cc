#include "diagnose/bench_model.h"

#include <cblas.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>
#include <fstream>
#include <mutex>
#include <numeric>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "device/cpu/process_memory.h"
#include "diagnose/bench_model_counts.h"
#include "kernels/simd/isa.h"
#include "model/model_runtime.h"
#include "tandem/version.h"

#define TANDEM_SIMD_FILE "diagnose/sum_words_simd.inc"
#include "kernels/simd/for_each_isa.inc"

namespace tandem {
namespace {

bool read_by_decode(const TensorUse& use, bool tied) {
  return !use.is_vector() && (use.slot != Slot::kEmbedding || tied);
}

// Share of a layer's experts that one step of `batch` tokens reads, at most.
double expert_share(const ModelConfig& config, int batch) {
  return std::min(1.0,
                  static_cast<double>(config.num_experts_per_tok * batch) / static_cast<double>(config.num_experts));
}

// Sequences of made-up tokens, each with pages of its own.
class BenchSequences {
 public:
  BenchSequences(std::shared_ptr<Model> model, int count, std::int64_t length)
      : model_(std::move(model)),
        cache_(model_, count * ((length + Cache::kPageSize - 1) / Cache::kPageSize) * Cache::kPageSize),
        steps_(make_step_runner(*model_, cache_)) {
    const std::int64_t pages = cache_.max_num_tokens() / Cache::kPageSize / count;
    for (int sequence = 0; sequence < count; ++sequence) {
      std::vector<std::int32_t> table(static_cast<std::size_t>(pages));
      std::iota(table.begin(), table.end(), static_cast<std::int32_t>(sequence * pages));
      pages_.push_back(std::move(table));
    }
    for (std::int64_t i = 0; i < length; ++i) {
      const auto random = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {1, 0})[0];
      ids_.push_back(static_cast<std::int32_t>(random % static_cast<std::uint64_t>(model_->info().vocab_size)));
    }
  }

  // Tokens [begin, end) of every sequence, in steps as large as they may be. Seconds of all of them.
  double run(std::int64_t begin, std::int64_t end) {
    const auto start = Clock::now();
    const std::int64_t chunk =
        std::max<std::int64_t>(1, steps_->max_step_tokens() / static_cast<std::int64_t>(pages_.size()));
    while (begin < end) {
      const std::int64_t stop = std::min(end, begin + chunk);
      std::vector<SequenceStep> batch;
      for (const auto& pages : pages_) {
        batch.push_back({.token_ids = std::span(ids_).subspan(static_cast<std::size_t>(begin),
                                                              static_cast<std::size_t>(stop - begin)),
                         .num_cached = begin,
                         .pages = pages,
                         .logits = stop == end ? LogitsOf::kLastToken : LogitsOf::kNone});
      }
      steps_->step(batch);
      begin = stop;
    }
    return seconds_since(start);
  }

  std::uint64_t cache_bytes() const { return cache_.bytes(); }

 private:
  std::shared_ptr<Model> model_;
  Cache cache_;
  std::unique_ptr<StepRunner> steps_;
  std::vector<std::vector<std::int32_t>> pages_;
  std::vector<std::int32_t> ids_;
};

// Reads buffers of the weights' sizes with the ranks' threads, matrix after matrix, as decode does. Bytes/s.
class ReadBench {
 public:
  ReadBench(ModelRuntime& runtime, std::vector<RankReads> reads) : runtime_(runtime), reads_(std::move(reads)) {
    buffers_.resize(reads_.size());
    runtime_.team().run([&](RankContext& rank) {
      const auto index = static_cast<std::size_t>(rank.rank);
      buffers_[index] = Buffer(rank.stream.device(), reads_[index].total);
      auto* data = static_cast<std::byte*>(buffers_[index].data());
      rank.stream.parallel_for(static_cast<std::int64_t>(reads_[index].total), 4096,
                               [&](std::int64_t begin, std::int64_t end) {
                                 std::memset(data + begin, 1, static_cast<std::size_t>(end - begin));
                               });
    });
  }

  // Mean of `passes` over all the buffers.
  double run(int passes) {
    const auto start = Clock::now();
    for (int pass = 0; pass < passes; ++pass) read_all();
    std::size_t total = 0;
    for (const RankReads& reads : reads_) total += reads.total;
    return static_cast<double>(total) * passes / seconds_since(start);
  }

 private:
  void read_all() {
    const auto sum_words = TANDEM_PICK_ISA(sum_words);
    runtime_.team().run([&](RankContext& rank) {
      const RankReads& reads = reads_[static_cast<std::size_t>(rank.rank)];
      const auto* data = static_cast<const std::byte*>(buffers_[static_cast<std::size_t>(rank.rank)].data());
      const std::int64_t threads = rank.stream.num_threads();
      rank.stream.parallel_for(threads, 1, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t thread = first; thread < last; ++thread) {
          std::uint64_t sum = 0;
          std::size_t offset = 0;
          for (const std::size_t bytes : reads.bytes) {
            const std::size_t words = bytes / sizeof(std::uint64_t) / static_cast<std::size_t>(threads);
            const auto* base = reinterpret_cast<const std::uint64_t*>(data + offset / 8 * 8);
            sum += sum_words(base + static_cast<std::size_t>(thread) * words, words);
            offset += bytes;
          }
          sink_.fetch_add(sum, std::memory_order_relaxed);  // so that the reads are not optimised away
        }
      });
    });
  }

  ModelRuntime& runtime_;
  std::vector<RankReads> reads_;
  std::vector<Buffer> buffers_;
  std::atomic<std::uint64_t> sink_{0};
};

// f32 products of 768 x 768 x 768 in every thread of every rank at once.
class GemmBench {
 public:
  explicit GemmBench(ModelRuntime& runtime) : runtime_(runtime) {
    matrices_.resize(static_cast<std::size_t>(runtime.world_size()));
    runtime_.team().run([&](RankContext& rank) {
      auto& mine = matrices_[static_cast<std::size_t>(rank.rank)];
      mine.resize(static_cast<std::size_t>(rank.stream.num_threads()));
      for_each_thread(rank, [&](std::size_t thread) { mine[thread].assign(3 * kElements, 0.5f); });
    });
  }

  // Flop/s of all threads; the slowest rank's time counts.
  double run() {
    double slowest = 0;
    std::int64_t products = 0;
    std::mutex mutex;
    runtime_.team().run([&](RankContext& rank) {
      auto& mine = matrices_[static_cast<std::size_t>(rank.rank)];
      rank.comm.barrier();
      const auto start = Clock::now();
      for_each_thread(rank, [&](std::size_t thread) {
        float* const a = mine[thread].data();
        for (int repeat = 0; repeat < kRepeats; ++repeat) {
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, kSize, kSize, kSize, 1.0f, a, kSize, a + kElements,
                      kSize, 0.0f, a + 2 * kElements, kSize);
        }
      });
      const double seconds = seconds_since(start);
      const std::lock_guard lock(mutex);
      slowest = std::max(slowest, seconds);
      products += kRepeats * rank.stream.num_threads();
    });
    return 2.0 * kSize * kSize * kSize * static_cast<double>(products) / slowest;
  }

 private:
  static constexpr int kSize = 768;
  static constexpr std::size_t kElements = kSize * kSize;
  static constexpr int kRepeats = 4;

  template <class Body>
  static void for_each_thread(const RankContext& rank, const Body& body) {
    rank.stream.parallel_for(rank.stream.num_threads(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t thread = begin; thread < end; ++thread) body(static_cast<std::size_t>(thread));
    });
  }

  ModelRuntime& runtime_;
  std::vector<std::vector<std::vector<float>>> matrices_;  // of each rank's threads: a, b and c
};

Json samples_json(const Samples& samples, const char* unit) {
  return {{"unit", unit}, {"samples", samples.values}, {"median", samples.median()}, {"spread", samples.spread()}};
}

}  // namespace

RankReads reads_of(const OpenedModel& opened, const RankShard& shard, int batch) {
  RankReads reads;
  const bool tied = opened.config.tie_word_embeddings;
  std::vector<std::size_t> last;  // the output matrix is read last
  for (const TensorUse& use : opened.table) {
    if (!read_by_decode(use, tied)) continue;
    const DType dtype = opened.source->catalogue().at(use.tensor_name(0)).dtype;
    const TensorPart part = tensor_part(use, opened.config, shard, dtype);
    double bytes = static_cast<double>(part.rows.size()) * static_cast<double>(dtype_bytes(dtype, part.cols.size()));
    if (use.num_experts > 0) bytes *= static_cast<double>(use.num_experts) * expert_share(opened.config, batch);
    (use.layer < 0 ? last : reads.bytes).push_back(static_cast<std::size_t>(bytes));
  }
  reads.bytes.insert(reads.bytes.end(), last.begin(), last.end());
  reads.total = std::accumulate(reads.bytes.begin(), reads.bytes.end(), std::size_t{0});
  return reads;
}

double flops_of(const OpenedModel& opened, std::int64_t tokens) {
  double flops = 0;
  for (const TensorUse& use : opened.table) {
    if (use.is_vector() || use.slot == Slot::kEmbedding) continue;
    const int last = use.shape.num_dims() - 1;
    const double rows = static_cast<double>(use.num_experts > 0 ? use.shape[last - 1] : use.num_rows);
    const double size = 2 * rows * static_cast<double>(use.shape[last]);
    const double times = use.num_experts > 0 ? static_cast<double>(opened.config.num_experts_per_tok) : 1.0;
    flops += size * (use.layer < 0 ? 1.0 : times * static_cast<double>(tokens));
  }
  if (opened.config.tie_word_embeddings) {
    flops += 2.0 * static_cast<double>(opened.config.vocab_size * opened.config.hidden_size);
  }
  return flops;
}

double median_share(double work, const Samples& seconds, const Samples& rates) {
  Samples shares;
  for (std::size_t i = 0; i < seconds.values.size(); ++i) {
    shares.values.push_back(work / seconds.values[i] / rates.values[i]);
  }
  return shares.median();
}

BenchModelResult bench_model(std::shared_ptr<Model> model, const BenchModelParameters& parameters,
                             const std::function<void(const std::string&)>& note) {
  ModelRuntime& runtime = model->runtime();
  const std::int64_t longest = std::max<std::int64_t>(parameters.prompt, parameters.context + parameters.tokens);
  if (longest > model->info().max_seq_len) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("{} tokens are needed, but sequences have {} at most", longest, model->info().max_seq_len),
                   "raise --max-seq-len, or lower --prompt, --context or --tokens");
  }
  BenchModelResult result;
  std::vector<RankReads> reads;
  for (const RankShard& shard : runtime.opened().shard_plan(runtime.world_size())) {
    reads.push_back(reads_of(runtime.opened(), shard, parameters.batch));
    result.decode_bytes += reads.back().total;
  }
  result.prefill_flops = flops_of(runtime.opened(), parameters.prompt);

  {  // warm-up; its cache is gone before there is another
    BenchSequences sequences(model, parameters.batch, parameters.context + parameters.tokens);
    sequences.run(0, parameters.context + 1);
    result.cache_bytes = sequences.cache_bytes();
  }
  {
    BenchSequences prompts(model, 1, parameters.prompt);
    prompts.run(0, parameters.prompt);                    // warm-up
    result.peak_resident_bytes = peak_resident_memory();  // the buffers of the comparisons are not the model's
    GemmBench gemm(runtime);
    gemm.run();
    for (int sample = 0; sample < parameters.samples; ++sample) {
      result.gemm_rate.values.push_back(gemm.run());
      result.prefill_s.values.push_back(prompts.run(0, parameters.prompt));
      note(format("prefill {}/{}: {:.0f} tokens/s", sample + 1, parameters.samples,
                  parameters.prompt / result.prefill_s.values.back()));
    }
  }
  BenchSequences sequences(model, parameters.batch, parameters.context + parameters.tokens);
  sequences.run(0, parameters.context);
  ReadBench read(runtime, std::move(reads));
  const int passes = std::max(1, parameters.tokens / 4);  // half as long as the steps, roughly, with those after them
  read.run(passes);
  for (int sample = 0; sample < parameters.samples; ++sample) {
    const double before = read.run(passes);
    double seconds = 0;
    for (int token = 0; token < parameters.tokens; ++token) {
      seconds += sequences.run(parameters.context + token, parameters.context + token + 1);
    }
    result.decode_step_s.values.push_back(seconds / parameters.tokens);
    result.read_bandwidth.values.push_back(2 / (1 / before + 1 / read.run(passes)));
    note(format("decode {}/{}: {:.1f} tokens/s", sample + 1, parameters.samples,
                parameters.batch / result.decode_step_s.values.back()));
  }
  result.decode_share =
      median_share(static_cast<double>(result.decode_bytes), result.decode_step_s, result.read_bandwidth);
  result.prefill_share = median_share(result.prefill_flops, result.prefill_s, result.gemm_rate);
  return result;
}

std::string format_bench(const Model& model, const BenchModelParameters& parameters, const BenchModelResult& result) {
  const ModelInfo& info = model.info();
  const double step = result.decode_step_s.median();
  const double prefill = result.prefill_s.median();
  std::string text =
      format("{} ({}), {} rank{} x {} thread{}, {}\n", info.name, info.architecture, info.tp_size,
             info.tp_size == 1 ? "" : "s", info.threads_per_rank, info.threads_per_rank == 1 ? "" : "s", info.backend);
  text +=
      format("decode   batch {}, context {}: {:.1f} tokens/s, {:.2f} ms a step (spread {:.0f} %)\n", parameters.batch,
             parameters.context, parameters.batch / step, step * 1e3, result.decode_step_s.spread() * 100);
  text += format(
      "         {:.1f} MB of weights a step = {:.2f} GB/s, {:.0f} % of the {:.2f} GB/s that reading them takes\n",
      static_cast<double>(result.decode_bytes) / 1e6, static_cast<double>(result.decode_bytes) / step / 1e9,
      result.decode_share * 100, result.read_bandwidth.median() / 1e9);
  text += format("prefill  {} tokens: {:.1f} tokens/s, {:.1f} ms (spread {:.0f} %)\n", parameters.prompt,
                 parameters.prompt / prefill, prefill * 1e3, result.prefill_s.spread() * 100);
  text += format(
      "         {:.1f} GFLOP of matrix products = {:.1f} GFLOP/s, {:.0f} % of the f32 GEMM rate {:.1f} GFLOP/s\n",
      result.prefill_flops / 1e9, result.prefill_flops / prefill / 1e9, result.prefill_share * 100,
      result.gemm_rate.median() / 1e9);
  text += format("memory   {:.1f} MB resident at peak; weights {:.1f} MB, cache {:.1f} MB\n",
                 static_cast<double>(result.peak_resident_bytes) / 1e6, static_cast<double>(info.weight_bytes) / 1e6,
                 static_cast<double>(result.cache_bytes) / 1e6);
  return text;
}

std::string bench_jsonl(const Model& model, const BenchModelParameters& parameters, const BenchModelResult& result,
                        const std::string& command) {
  const ModelInfo& info = model.info();
  const Json common = {{"command", command},
                       {"commit", std::string(commit())},
                       {"machine", machine_name()},
                       {"unix_time", static_cast<std::int64_t>(std::time(nullptr))},
                       {"model", info.name},
                       {"world_size", info.tp_size},
                       {"threads_per_rank", info.threads_per_rank},
                       {"backend", info.backend}};
  std::string lines;
  const auto add = [&](const char* name, Json record) {
    record.update(common);
    record["name"] = name;
    lines += json_text(record) + "\n";
  };
  Json decode = samples_json(result.decode_step_s, "s/step");
  decode.update({{"batch", parameters.batch},
                 {"context", parameters.context},
                 {"tokens_per_s", parameters.batch / result.decode_step_s.median()},
                 {"bytes_per_step", result.decode_bytes},
                 {"read_bandwidth", samples_json(result.read_bandwidth, "bytes/s")},
                 {"share_of_read_bandwidth", result.decode_share}});
  add("decode", std::move(decode));
  Json prefill = samples_json(result.prefill_s, "s/prompt");
  prefill.update({{"prompt", parameters.prompt},
                  {"tokens_per_s", parameters.prompt / result.prefill_s.median()},
                  {"flops", result.prefill_flops},
                  {"gemm_rate", samples_json(result.gemm_rate, "flop/s")},
                  {"share_of_gemm_rate", result.prefill_share}});
  add("prefill", std::move(prefill));
  add("memory", {{"peak_resident_bytes", result.peak_resident_bytes},
                 {"weight_bytes", info.weight_bytes},
                 {"cache_bytes", result.cache_bytes}});
  return lines;
}

}  // namespace tandem
