#include <limits>

#include "kernels/cuda_testing.h"
#include "kernels/sample/sample_testing.h"

namespace tandem {
namespace {

TEST(SampleShardedCuda, DrawsTheTokenOfTheCpuTwin) {
  const CudaRig rig;
  const Stream cpu = Stream::cpu(2);
  const std::vector<SamplingParams> all = sampling_cases();
  const std::int64_t n = static_cast<std::int64_t>(all.size());
  for (const std::int64_t vocabulary : {1, 13, 300, 5000, 40007}) {
    const std::vector<float> logits = logits_with_ties(n, vocabulary, 7);
    std::vector<std::int32_t> history;
    for (std::int64_t i = 0; i < n * 4; ++i) history.push_back(static_cast<std::int32_t>(i / 2 * 31 % vocabulary));
    for (std::uint64_t counter = 0; counter < 2; ++counter) {
      std::vector<SampleRow> rows;
      for (const SamplingParams& params : all) {
        rows.push_back(sample_row(params, counter, static_cast<std::int32_t>(rows.size() % 5)));
      }
      const std::vector<std::int32_t> expected = ShardedDraw(cpu)(rows, logits, history, 1);
      // The same arithmetic, so the same token.
      for (const int world_size : {1, 2, 3, 5, 8}) {
        EXPECT_EQ(ShardedDraw(rig.stream())(rows, logits, history, world_size), expected)
            << vocabulary << " tokens, " << world_size << " ranks";
      }
    }
  }
}

TEST(SampleShardedCuda, WeightsThatAddUpBeyond32BitsKeepTheirSum) {
  const CudaRig rig;
  const Stream cpu = Stream::cpu(2);
  // Most tokens of one bin, each of a weight near 1, so that sums carry; then the flattest distribution there is.
  std::vector<float> logits = random_values(2 * 100000, 5, 0.01f);
  std::fill(logits.begin() + 100000, logits.end(), -3.0f);
  for (std::uint64_t counter = 0; counter < 5; ++counter) {
    const std::vector<SampleRow> rows(2, sample_row({.top_p = 0.6f, .seed = 9}, counter, 0));
    EXPECT_EQ(ShardedDraw(rig.stream())(rows, logits, {}, 2), ShardedDraw(cpu)(rows, logits, {}, 2));
  }
}

TEST(SampleShardedCuda, NamesTheFirstLogitThatIsNotFinite) {
  const CudaRig rig;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits(4000, 1.0f);
    logits[1997] = logits[1998] = bad;
    for (const SamplingParams& params :
         {SamplingParams{.temperature = 0}, SamplingParams{.top_k = 5, .top_p = 0.9f, .min_p = 0.1f}}) {
      const std::vector<SampleRow> rows(2, sample_row(params, 0, 0));
      for (const int world_size : {1, 3}) {
        const std::vector<std::int32_t> tokens = ShardedDraw(rig.stream())(rows, logits, {}, world_size);
        EXPECT_EQ(tokens[0], -1998);
        EXPECT_GE(tokens[1], 0);
      }
    }
  }
}

// All steps of one rank, whose messages are what is gathered, in one graph that draws again with other parameters.
TEST(SampleShardedCuda, AGraphDrawsWithTheParametersOfItsLaunch) {
  const CudaRig rig;
  void* queue = rig.stream().cuda_handle();
  const std::int64_t vocabulary = 5000;
  const std::vector<float> logits = random_values(vocabulary, 3, 4.0f);
  const OwnedTensor on_gpu = rig.upload(logits, DType::kF32, {1, vocabulary});
  const OwnedTensor row(rig.device(), DType::kU8, {1, sizeof(SampleRow)}), tokens = rig.unwritten(DType::kI32, {1});
  const auto bytes = static_cast<std::int64_t>(sample_scratch_bytes(1, vocabulary));
  const OwnedTensor scratch(rig.device(), DType::kU8, {bytes}), history(rig.device(), DType::kI32, {1, 0});
  const SampleShard shard{.logits = on_gpu.tensor,
                          .vocabulary = vocabulary,
                          .rows = row.tensor,
                          .history = history.tensor,
                          .scratch = scratch.tensor};
  const SamplingParams params{.temperature = 1.5f, .top_k = 500, .top_p = 0.9f, .min_p = 0.001f, .seed = 5};
  const std::vector<SampleRow> first{sample_row(params, 0, 0)};
  std::vector<OwnedTensor> messages;
  for (const SampleStep step : sample_steps(first, vocabulary)) {
    messages.push_back(rig.unwritten(DType::kI32, sample_message_shape(step, 1)));
  }
  const cuda::Graph graph(0, queue, [&] {
    SampleStep previous = SampleStep::kStart;
    ConstTensor gathered;
    std::size_t i = 0;
    for (const SampleStep next : sample_steps(first, vocabulary)) {
      const Tensor message = next == SampleStep::kEnd ? tokens.tensor : messages[i++].tensor;
      sample_step(rig.stream(), shard, previous, gathered, next, message);
      if (next != SampleStep::kEnd) gathered = message.reshape({1, 1, message.size(1)});
      previous = next;
    }
  });
  for (std::uint64_t counter = 0; counter < 20; ++counter) {
    const std::vector<SampleRow> rows{sample_row(params, counter, 0)};
    cuda::copy(queue, row.tensor.raw(), rows.data(), sizeof(SampleRow));
    graph.launch(queue);
    EXPECT_EQ(rig.download_as<std::int32_t>(tokens.tensor), ShardedDraw(Stream::cpu(1))(rows, logits, {}, 1));
  }
}

}  // namespace
}  // namespace tandem
