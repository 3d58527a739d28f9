#include "diagnose/model_plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "device/cpu/process_memory.h"
#include "model/model_runtime.h"

namespace tandem {
namespace {

constexpr int kMaxSequences = 4096;  // keeps the sums of bytes from overflow; past it a number is a slip

std::string megabytes(std::uint64_t bytes) {
  return format("{:.1f}", static_cast<double>(bytes) / 1e6);
}

std::string range_text(ShardRange range) {
  return range.size() == 0 ? "-" : format("{}-{}", range.begin, range.end - 1);
}

Json range_json(ShardRange range) {
  return Json::array({range.begin, range.end});
}

}  // namespace

ModelPlan plan_model(const ModelOptions& options) {
  const std::vector<Device> devices = parse_model_devices(options);
  const OpenedModel opened = open_model(options.model_dir);
  if (options.max_batch_size < 1 || options.max_batch_size > kMaxSequences) {
    fail(ErrorKind::kInvalidArgument, "max_batch_size is {}, expected 1 to {}", options.max_batch_size, kMaxSequences);
  }
  ModelPlan plan{.model = opened.name,
                 .architecture = opened.config.architecture,
                 .max_seq_len = choose_max_seq_len(opened, options.max_seq_len),
                 .max_batch_size = options.max_batch_size,
                 .available_bytes = available_memory()};
  plan.cache_tokens = (plan.max_seq_len + Cache::kPageSize - 1) / Cache::kPageSize * Cache::kPageSize;
  const std::vector<RankShard> shards = opened.shard_plan(static_cast<int>(devices.size()));
  for (std::size_t rank = 0; rank < devices.size(); ++rank) {
    const RankShard& shard = shards[rank];
    const std::int64_t cache_values = 2 * opened.config.num_hidden_layers * plan.cache_tokens * options.max_batch_size *
                                      shard.kv_heads.size() * opened.config.head_dim;
    plan.ranks.push_back({devices[rank], shard,
                          rank_bytes(opened.table, opened.config, opened.source->catalogue(), shard),
                          static_cast<std::uint64_t>(cache_values) * sizeof(float)});
    plan.needed_bytes += plan.ranks.back().weights.total() + plan.ranks.back().cache_bytes;
  }
  return plan;
}

std::string format_plan(const ModelPlan& plan) {
  std::string text = format("{} ({}), {} rank{}, {} sequence{} of {} tokens", plan.model, plan.architecture,
                            plan.ranks.size(), plan.ranks.size() == 1 ? "" : "s", plan.max_batch_size,
                            plan.max_batch_size == 1 ? "" : "s", plan.max_seq_len);
  if (plan.cache_tokens > plan.max_seq_len) {
    text += format("\nthe cache has whole pages of {} tokens: {} a sequence", Cache::kPageSize, plan.cache_tokens);
  }
  text += "\n\n";
  text += format("{:<5} {:<7} {:>8} {:>8} {:>13} {:>15} {:>11} {:>9} {:>9} {:>9} {:>9}\n", "rank", "device", "q heads",
                 "kv heads", "mlp channels", "vocabulary", "attention", "mlp", "embedding", "cache", "total MB");
  for (std::size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const RankPlan& part = plan.ranks[rank];
    const ShardRange mlp = part.shard.moe_intermediate.end > 0 ? part.shard.moe_intermediate : part.shard.intermediate;
    text += format("{:<5} {:<7} {:>8} {:>8} {:>13} {:>15} {:>11} {:>9} {:>9} {:>9} {:>9}\n", rank,
                   to_string(part.device), range_text(part.shard.query_heads), range_text(part.shard.kv_heads),
                   range_text(mlp), range_text(part.shard.vocab), megabytes(part.weights.attention),
                   megabytes(part.weights.mlp), megabytes(part.weights.embedding), megabytes(part.cache_bytes),
                   megabytes(part.weights.total() + part.cache_bytes));
  }
  text += format("\nneeds {} MB", megabytes(plan.needed_bytes));
  if (plan.available_bytes > 0) text += format(" of {} MB available", megabytes(plan.available_bytes));
  text += plan.fits()
              ? ": fits\n"
              : ": does not fit\nhint: a smaller --max-seq-len shrinks the cache; a quantised GGUF the weights\n";
  return text;
}

std::string plan_json(const ModelPlan& plan) {
  Json json = {{"model", plan.model},
               {"architecture", plan.architecture},
               {"max_seq_len", plan.max_seq_len},
               {"max_batch_size", plan.max_batch_size},
               {"cache_tokens", plan.cache_tokens},
               {"needed_bytes", plan.needed_bytes},
               {"available_bytes", plan.available_bytes},
               {"fits", plan.fits()},
               {"ranks", Json::array()}};
  for (const RankPlan& part : plan.ranks) {
    json["ranks"].push_back({{"device", to_string(part.device)},
                             {"query_heads", range_json(part.shard.query_heads)},
                             {"kv_heads", range_json(part.shard.kv_heads)},
                             {"intermediate", range_json(part.shard.intermediate)},
                             {"moe_intermediate", range_json(part.shard.moe_intermediate)},
                             {"vocab", range_json(part.shard.vocab)},
                             {"attention_bytes", part.weights.attention},
                             {"mlp_bytes", part.weights.mlp},
                             {"embedding_bytes", part.weights.embedding},
                             {"other_bytes", part.weights.other},
                             {"cache_bytes", part.cache_bytes}});
  }
  return json_text(json, 2);
}

}  // namespace tandem
