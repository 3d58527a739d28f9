// The guide's snippets in C++, and what they promise: a test a row, named after it. rows.py points here.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "comm/communicator.h"
#include "comm/rank_team.h"
#include "diagnose/model_plan.h"
#include "tandem/generator.h"
#include "tandem/model_init.h"

namespace tandem {
namespace {

const std::string kModel = std::string(TANDEM_SOURCE_DIR) + "/tests/golden/gguf/llama-f16/model.gguf";
const std::string kConfig = std::string(TANDEM_SOURCE_DIR) + "/tests/golden/models/llama/config.json";

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return format("{}\n{}", error.what(), error.hint());
  }
  return "not refused";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::ptrdiff_t num_threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

/// Of this process, bytes.
std::int64_t resident_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6)) << 10;
  }
  ADD_FAILURE() << "/proc/self/status has no VmRSS";
  return 0;
}

/// Files of shared memory that this process has mapped.
std::string shared_memory() {
  std::ifstream file("/proc/self/maps");
  std::string found;
  for (std::string line; std::getline(file, line);) {
    if (contains(line, "/dev/shm/") || contains(line, "/SYSV") || contains(line, "/memfd:")) found += line + "\n";
  }
  return found;
}

/// Two ranks of a tiny model.
struct Two {
  std::shared_ptr<Model> model = Model::load({.model_dir = kModel, .tp_size = 2, .threads = 2});
  std::shared_ptr<Cache> cache = std::make_shared<Cache>(model);
  std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::load(kModel);
  Generator generator{model, cache, tokenizer};

  Job job(std::string_view text, int max_new_tokens) const {
    return {
        .input_ids = tokenizer->encode(text), .max_new_tokens = max_new_tokens, .temperature = 0, .ignore_eos = true};
  }
};

TEST(Guide, G9EveryRankIsToldTheSameAndNothingIsLeft) {
  const std::ptrdiff_t before = num_threads();
  {
    const Group group({.world_size = 3});
    std::set<std::string> told;
    for (int rank = 0; rank < 3; ++rank) {
      told.insert(refusal([&] { make_communicator("p2p", group, rank); }));
    }
    ASSERT_EQ(told.size(), 1u);
    EXPECT_TRUE(contains(*told.begin(), "\"p2p\"")) << *told.begin();
    EXPECT_TRUE(contains(*told.begin(), "cpu")) << *told.begin();
  }
  EXPECT_TRUE(contains(refusal([] { RankTeam team({.world_size = 3, .backend = "p2p"}); }), "\"p2p\""));
  EXPECT_EQ(num_threads(), before);
  EXPECT_EQ(shared_memory(), "");
}

TEST(Guide, G35LoadIsOneCall) {
  const auto model = Model::load({.model_dir = kModel});
  EXPECT_EQ(model->info().architecture, "LlamaForCausalLM");
  EXPECT_GT(model->info().num_parameters, 0u);
  EXPECT_GT(model->info().weight_bytes, 0u);
}

TEST(Guide, G36NamingABackendNeedsNoOtherSwitch) {
  const auto model = Model::load({.model_dir = kModel, .tp_backend = "cpu", .devices = {"cpu:0", "cpu:1", "cpu:2"}});
  EXPECT_EQ(model->info().tp_size, 3);
  EXPECT_EQ(model->info().backend, "cpu");
}

TEST(Guide, G38MaxBatchSizeIsTakenAndPlanned) {
  const auto cache_bytes = [](int max_batch_size) {
    const ModelPlan plan = plan_model({.model_dir = kModel, .tp_size = 2, .max_batch_size = max_batch_size});
    return plan.ranks.at(0).cache_bytes + plan.ranks.at(1).cache_bytes;
  };
  EXPECT_EQ(cache_bytes(3), 3 * cache_bytes(1));
  const auto model = Model::load({.model_dir = kModel, .tp_size = 2, .max_batch_size = 3});
  EXPECT_EQ(model->info().max_batch_size, 3);
  EXPECT_EQ(Cache(model).bytes(), cache_bytes(3));
}

TEST(Guide, G39MaxSeqLenBecomesWholePages) {
  const auto model = Model::load({.model_dir = kModel, .max_seq_len = 300});
  EXPECT_EQ(model->info().max_seq_len, 300);
  EXPECT_EQ(Cache(model).max_num_tokens(), 512);
  EXPECT_EQ(Cache(model, 513).max_num_tokens(), 768);
}

TEST(Guide, G50RanksShareMemoryWithoutSegments) {
  Two two;
  two.generator.enqueue(two.job("Hello", 3));
  EXPECT_EQ(two.generator.run_to_completion().at(0).new_tokens, 3);
  EXPECT_EQ(shared_memory(), "");
}

TEST(Guide, G55BatchLengthAndCacheAreKnobs) {
  const auto bytes = [](int max_batch_size, std::int64_t max_seq_len, std::int64_t tokens) {
    const auto model = Model::load({.model_dir = kModel, .max_batch_size = max_batch_size, .max_seq_len = max_seq_len});
    return Cache(model, tokens).bytes();
  };
  const std::uint64_t page = bytes(1, 256, 0);
  EXPECT_EQ(bytes(2, 256, 0), 2 * page);
  EXPECT_EQ(bytes(1, 512, 0), 2 * page);
  EXPECT_EQ(bytes(4, 512, 768), 3 * page);
}

TEST(Guide, G56UnloadGivesMemoryBack) {
  constexpr std::int64_t kRounds = 12;
  std::uint64_t loaded_bytes = 0;
  const auto round = [&] {
    auto [model, cache, tokenizer] = model_init::init_from_dict(format(
        R"({{"model_dir": "dummy:{}", "devices": ["cpu:0", "cpu:1"], "max_seq_len": 256, "cache": 32768}})", kConfig));
    Generator generator(model, cache, tokenizer);
    generator.enqueue({.input_ids = {5, 6, 7}, .max_new_tokens = 2, .ignore_eos = true});
    generator.run_to_completion();
    generator.close();
    loaded_bytes = model->info().weight_bytes + cache->bytes();
    model->unload();
  };
  round();  // what the C library keeps
  round();
  const std::int64_t before = resident_bytes();
  for (std::int64_t i = 0; i < kRounds; ++i) round();
  const std::int64_t growth = resident_bytes() - before;
  EXPECT_LT(growth, static_cast<std::int64_t>(loaded_bytes)) << kRounds << " rounds of " << loaded_bytes << " bytes";
}

TEST(Guide, G59ShbufSizeIsChecked) {
  EXPECT_NO_THROW(Model::load({.model_dir = kModel, .tp_size = 2, .shbuf_size = 8388608}));
  const std::string message = refusal([] { Model::load({.model_dir = kModel, .tp_size = 2, .shbuf_size = 4096}); });
  EXPECT_TRUE(contains(message, "shbuf_size is 4096 bytes, and 2 ranks need ")) << message;
}

TEST(Guide, G72AGeneratorIsMadeOfModelCacheAndTokenizer) {
  const auto loaded = model_init::init_from_dict(format(R"({{"model_dir": "{}"}})", kModel));
  Generator generator(loaded.model, loaded.cache, loaded.tokenizer);
  EXPECT_EQ(generator.num_remaining_jobs(), 0);
  EXPECT_NE(refusal([&] { Generator(loaded.model, loaded.cache, nullptr); }), "not refused");
}

TEST(Guide, G73EncodeGivesAPlainListOfIds) {
  const auto tokenizer = Tokenizer::load(kModel);
  const std::vector<std::int32_t> plain = tokenizer->encode("Hello world. Hello world.");
  EXPECT_GT(plain.size(), 3u);
  EXPECT_EQ(tokenizer->decode(plain), "Hello world. Hello world.");
  std::vector<std::int32_t> with_bos = tokenizer->encode("Hello world. Hello world.", {.add_bos = true});
  ASSERT_TRUE(tokenizer->bos_token_id().has_value());
  EXPECT_EQ(with_bos.front(), *tokenizer->bos_token_id());
  with_bos.erase(with_bos.begin());
  EXPECT_EQ(with_bos, plain);
}

TEST(Guide, G75AJobHasItsOwnSampling) {
  Two two;
  const auto with = [&](float temperature, std::uint64_t seed) {
    Job job = two.job("Hello", 12);
    job.temperature = temperature;
    job.seed = seed;
    two.generator.enqueue(job);
    return two.generator.run_to_completion().at(0).full_text;
  };
  EXPECT_EQ(with(0, 1), with(0, 2));
  EXPECT_NE(with(0.7f, 1), with(0.7f, 2));
  EXPECT_EQ(with(0.7f, 1), with(0.7f, 1));
  EXPECT_TRUE(contains(refusal([&] { with(-1, 1); }), "temperature"));
}

TEST(Guide, G76EnqueueGivesASerial) {
  Two two;
  EXPECT_EQ(two.generator.enqueue(two.job("Hello", 1)), 1);
  EXPECT_EQ(two.generator.enqueue(two.job("world", 1)), 2);
  EXPECT_EQ(two.generator.num_remaining_jobs(), 2);
  const std::vector<Result> results = two.generator.run_to_completion();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[0].serial, 1);
  EXPECT_EQ(results[1].serial, 2);
}

TEST(Guide, G77IterateIsOneStepAndThereIsAWholeRun) {
  Two two;
  two.generator.enqueue(two.job("Hello", 5));
  std::string streamed;
  int num_steps = 0;
  for (; two.generator.num_remaining_jobs() > 0; ++num_steps) {
    for (const Result& result : two.generator.iterate()) streamed += result.text;
  }
  EXPECT_GE(num_steps, 5);
  EXPECT_TRUE(two.generator.iterate().empty());
  two.generator.enqueue(two.job("Hello", 5));
  const std::vector<Result> whole = two.generator.run_to_completion();
  ASSERT_EQ(whole.size(), 1u);
  EXPECT_TRUE(whole[0].eos);
  EXPECT_EQ(whole[0].full_text, streamed);
}

TEST(Guide, G78TheLastResultSumsUp) {
  Two two;
  two.generator.enqueue(two.job("Hello", 5));
  std::vector<std::int32_t> tokens;
  Result last;
  while (two.generator.num_remaining_jobs() > 0) {
    for (const Result& result : two.generator.iterate()) {
      EXPECT_FALSE(last.eos) << "a result after the last";
      tokens.insert(tokens.end(), result.token_ids.begin(), result.token_ids.end());
      last = result;
    }
  }
  EXPECT_TRUE(last.eos);
  EXPECT_EQ(last.eos_reason, EosReason::kMaxNewTokens);
  EXPECT_EQ(last.new_tokens, 5);
  EXPECT_EQ(tokens.size(), 5u);
  EXPECT_EQ(last.prompt_tokens, static_cast<int>(two.tokenizer->encode("Hello").size()));
}

TEST(Guide, G80CloseMayBeCalledTwice) {
  Two two;
  two.generator.enqueue(two.job("Hello", 50));
  two.generator.iterate();
  two.generator.close();
  two.generator.close();
  EXPECT_EQ(two.generator.num_remaining_jobs(), 0);
  EXPECT_NE(refusal([&] { two.generator.enqueue(two.job("Hello", 1)); }), "not refused");
}

TEST(Guide, G81UnloadEndsTheRanksEvenAfterAFault) {
  const std::ptrdiff_t before = num_threads();
  for (const bool fault : {false, true}) {
    Two two;
    EXPECT_GT(num_threads(), before);
    two.generator.enqueue(two.job("Hello", 50));
    two.generator.iterate();
    if (fault) {
      two.model->abort("a planted fault");
      EXPECT_TRUE(contains(refusal([&] { two.generator.iterate(); }), "a planted fault"));
    }
    two.generator.close();
    two.model->unload();
    two.model->unload();
    EXPECT_EQ(num_threads(), before) << fault;
    EXPECT_NE(refusal([&] { Cache(two.model, 256); }), "not refused");
  }
  EXPECT_EQ(shared_memory(), "");
}

}  // namespace
}  // namespace tandem
