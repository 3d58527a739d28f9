#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/format.h"
#include "diagnose/bench_model_counts.h"
#include "diagnose/model_plan.h"
#include "tandem/model.h"

namespace tandem {
namespace {

// Two layers of 64 channels: 4 query heads and 2 KV heads of 16, an MLP of 160, a vocabulary of 384; bf16.
class TinyShape {
 public:
  TinyShape(const std::string& architecture, const std::string& more) {
    std::ofstream(path_) << format(
        R"({{"architectures": ["{}"], "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 384, "max_position_embeddings": 512{}}})",
        architecture, more);
  }
  ~TinyShape() { std::filesystem::remove(path_); }
  TinyShape(const TinyShape&) = delete;
  TinyShape& operator=(const TinyShape&) = delete;
  std::string name() const { return "dummy:" + path_; }

 private:
  std::string path_ = testing::TempDir() + "tandem_diagnose_test_" + std::to_string(::getpid()) + ".json";
};

constexpr std::size_t kAttention = 2 * (64 * 64) + 2 * (32 * 64);  // q, o; k, v
constexpr std::size_t kMlpMatrix = 160 * 64;                       // gate, up and down
constexpr std::size_t kRouter = 4 * 64;                            // of four experts
constexpr std::size_t kVocabulary = 384 * 64;
constexpr std::size_t kBytes = 2;

std::size_t total_of(const OpenedModel& opened, int world_size, int rank, int batch) {
  const RankReads reads = reads_of(opened, opened.shard_plan(world_size)[static_cast<std::size_t>(rank)], batch);
  std::size_t sum = 0;
  for (const std::size_t bytes : reads.bytes) sum += bytes;
  EXPECT_EQ(sum, reads.total);
  return reads.total;
}

TEST(BenchModelCounts, ADecodeStepReadsEveryMatrixOnce) {
  constexpr std::size_t kTotal = kBytes * (2 * (kAttention + 3 * kMlpMatrix) + kVocabulary);
  for (const char* tied : {"true", "false"}) {  // the embedding as output, or an output beside it that is looked up in
    const TinyShape shape("LlamaForCausalLM", format(R"(, "tie_word_embeddings": {})", tied));
    const OpenedModel opened = open_model(shape.name());
    for (const int batch : {1, 5}) {
      EXPECT_EQ(total_of(opened, 1, 0, batch), kTotal);
      EXPECT_EQ(total_of(opened, 2, 0, batch), kTotal / 2);
      EXPECT_EQ(total_of(opened, 2, 1, batch), kTotal / 2);
    }
    const RankReads reads = reads_of(opened, opened.shard_plan(1)[0], 1);
    EXPECT_EQ(reads.bytes.front(), 64 * 64 * kBytes);     // q of the first layer
    EXPECT_EQ(reads.bytes.back(), kVocabulary * kBytes);  // the output comes last
    EXPECT_EQ(flops_of(opened, 10), 2.0 * (10 * 2 * (kAttention + 3 * kMlpMatrix) + kVocabulary));
  }
}

TEST(BenchModelCounts, OfExpertsTheOnesThatAreUsed) {
  const TinyShape shape("MixtralForCausalLM", R"(, "num_local_experts": 4, "num_experts_per_tok": 2)");
  const OpenedModel opened = open_model(shape.name());
  const auto bytes = [](std::size_t experts) {
    return kBytes * (2 * (kAttention + kRouter + experts * 3 * kMlpMatrix) + kVocabulary);
  };
  EXPECT_EQ(total_of(opened, 1, 0, 1), bytes(2));
  EXPECT_EQ(total_of(opened, 1, 0, 2), bytes(4));
  EXPECT_EQ(total_of(opened, 1, 0, 3), bytes(4));
  for (const int rank : {0, 1}) {  // half of everything but the router, which both have
    EXPECT_EQ(total_of(opened, 2, rank, 1), (bytes(2) + kBytes * 2 * kRouter) / 2);
  }
  EXPECT_EQ(flops_of(opened, 10), 2.0 * (10 * 2 * (kAttention + kRouter + 2 * 3 * kMlpMatrix) + kVocabulary));
}

TEST(Samples, MedianAndSpread) {
  EXPECT_EQ(Samples{}.median(), 0);
  EXPECT_EQ(Samples{}.spread(), 0);
  EXPECT_EQ((Samples{{4, 1, 2}}.median()), 2);
  EXPECT_EQ((Samples{{4, 1, 2, 3}}.median()), 2.5);
  EXPECT_EQ((Samples{{4, 1, 2}}.spread()), 1.5);
  // Shares 12, 1 and 2; of the medians it would be 3.
  EXPECT_EQ((median_share(12, {{1, 2, 3}}, {{1, 6, 2}})), 2);
}

TEST(ModelPlan, CountsTheBytesThatLoadingTakes) {
  const TinyShape llama("LlamaForCausalLM", "");
  for (const int tp_size : {1, 2, 3}) {  // KV heads are copied where ranks outnumber them
    const ModelOptions options{
        .model_dir = llama.name(), .tp_size = tp_size, .max_batch_size = 3, .max_seq_len = 300, .threads = 1};
    const ModelPlan plan = plan_model(options);
    std::uint64_t weight_bytes = 0, cache_bytes = 0;
    for (const RankPlan& rank : plan.ranks) {
      weight_bytes += rank.weights.total();
      cache_bytes += rank.cache_bytes;
    }
    const auto model = Model::load(options);
    EXPECT_EQ(weight_bytes, model->info().weight_bytes);
    EXPECT_EQ(cache_bytes, Cache(model).bytes());
    EXPECT_EQ(plan.needed_bytes, weight_bytes + cache_bytes);
    if (tp_size == 2) {  // k and v, layers, heads, tokens, head_dim
      EXPECT_EQ(cache_bytes, 2u * 2 * 2 * (2 * 256 * 3) * 16 * sizeof(float));
    }
  }
}

}  // namespace
}  // namespace tandem
