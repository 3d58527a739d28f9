// Whole forward passes against reference logits and greedy continuations (tests/golden/README.md), at several world
// sizes, in both spellings of the config, from safetensors and from GGUF.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/model_runtime.h"
#include "weights/safetensors/safetensors.h"

namespace tandem {
namespace {

namespace fs = std::filesystem;

// Absolute, on logits of magnitude 1 to 20: the bound the project promises. f32 rounding stays near 1e-5.
constexpr float kTolerance = 1e-3f;

fs::path golden_folder() {
  return fs::path(TANDEM_SOURCE_DIR) / "tests" / "golden";
}

struct Golden {
  explicit Golden(const fs::path& path) : file(path) {
    for (const TensorEntry& entry : parse_safetensors(file.bytes(), path).entries) entries[entry.name] = entry;
  }
  std::vector<std::int32_t> ids(const std::string& name, std::int64_t row) const {
    const TensorEntry& entry = entries.at(name);
    const auto* values = reinterpret_cast<const std::int32_t*>(entry.data) + row * entry.shape[1];
    return {values, values + entry.shape[1]};
  }
  const float* logits(std::int64_t row) const {
    const TensorEntry& entry = entries.at("logits");
    return reinterpret_cast<const float*>(entry.data) + row * entry.shape[1] * entry.shape[2];
  }
  std::int64_t num_prompts() const { return entries.at("input_ids").shape[0]; }

  MappedFile file;
  std::map<std::string, TensorEntry> entries;
};

std::int32_t argmax(const float* values, std::int64_t count) {
  return static_cast<std::int32_t>(std::max_element(values, values + count) - values);
}

struct Loaded {
  explicit Loaded(const std::string& model_dir, int world_size)
      : model(Model::load({.model_dir = model_dir, .tp_size = world_size, .threads = 2})),
        cache(model, 512),
        steps(make_step_runner(*model, cache)) {}
  std::shared_ptr<Model> model;
  Cache cache;
  std::unique_ptr<StepRunner> steps;
};

void check_logits(Loaded& loaded, const Golden& golden, const std::string& what) {
  const std::vector<std::int32_t> pages = {1};  // not page 0: a page table that is ignored would be seen
  for (std::int64_t prompt = 0; prompt < golden.num_prompts(); ++prompt) {
    const std::vector<std::int32_t> ids = golden.ids("input_ids", prompt);
    const SequenceStep sequence{.token_ids = ids, .pages = pages, .logits = LogitsOf::kEveryToken};
    const ConstTensor logits = loaded.steps->step({&sequence, 1});
    ASSERT_EQ(logits.num_elements(), golden.entries.at("logits").shape.num_elements() / golden.num_prompts()) << what;
    const float* expected = golden.logits(prompt);
    const float* actual = logits.data<float>();
    float worst = 0;
    std::int64_t worst_index = 0;
    for (std::int64_t i = 0; i < logits.num_elements(); ++i) {
      const float error = std::abs(actual[i] - expected[i]);
      // No comparison with a NaN holds: as the worst error it would be replaced by the next element.
      ASSERT_TRUE(std::isfinite(error)) << what << ": prompt " << prompt << ", token " << i / logits.size(1)
                                        << ", vocabulary " << i % logits.size(1) << ": " << actual[i] << " instead of "
                                        << expected[i];
      if (error > worst) {
        worst = error;
        worst_index = i;
      }
    }
    EXPECT_LE(worst, kTolerance) << what << ": prompt " << prompt << ", token " << worst_index / logits.size(1)
                                 << ", vocabulary " << worst_index % logits.size(1) << ": " << actual[worst_index]
                                 << " instead of " << expected[worst_index];
  }
}

void check_greedy(Loaded& loaded, const Golden& golden, const std::string& what) {
  constexpr std::size_t kPrompt = 16;
  const std::vector<std::int32_t> expected = golden.ids("greedy_ids", 0);
  std::vector<std::int32_t> ids(expected.begin(), expected.begin() + kPrompt);
  const std::vector<std::int32_t> pages = {0};
  std::int64_t cached = 0;
  while (ids.size() < expected.size()) {
    const SequenceStep sequence{
        .token_ids = std::span(ids).subspan(static_cast<std::size_t>(cached)), .num_cached = cached, .pages = pages};
    const ConstTensor logits = loaded.steps->step({&sequence, 1});
    cached = static_cast<std::int64_t>(ids.size());
    ids.push_back(argmax(logits.data<float>(), logits.size(1)));
  }
  EXPECT_EQ(ids, expected) << what;
}

void check_model(const std::string& model, const fs::path& golden_file) {
  const Golden golden(golden_file);
  for (const int world_size : {1, 2, 3, 4, 6}) {
    const std::string what = format("{} at world size {}", model, world_size);
    Loaded loaded(model, world_size);
    check_logits(loaded, golden, what);
    check_greedy(loaded, golden, what);
  }
}

std::vector<std::string> folders(const std::string& kind) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(golden_folder() / kind)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class GoldenSafetensors : public testing::TestWithParam<std::string> {};

TEST_P(GoldenSafetensors, LogitsAndGreedyTokensMatchTheReference) {
  const fs::path folder = golden_folder() / "models" / GetParam();
  check_model(folder, folder / "golden.safetensors");
}

TEST_P(GoldenSafetensors, OlderConfigSpellingGivesTheSame) {
  const fs::path folder = golden_folder() / "models" / GetParam();
  const fs::path copy = fs::path(testing::TempDir()) / format("tandem-older-{}-{}", GetParam(), getpid());
  fs::create_directories(copy);
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".safetensors") || name.ends_with("index.json")) fs::create_symlink(entry.path(), copy / name);
  }
  fs::copy_file(folder / "config.older.json", copy / "config.json");
  {
    const Golden golden(folder / "golden.safetensors");
    Loaded loaded(copy, 2);
    check_logits(loaded, golden, copy);
  }
  fs::remove_all(copy);
}

INSTANTIATE_TEST_SUITE_P(, GoldenSafetensors, testing::ValuesIn(folders("models")), test_name);

class GoldenGguf : public testing::TestWithParam<std::string> {};

TEST_P(GoldenGguf, LogitsAndGreedyTokensMatchTheReference) {
  const fs::path folder = golden_folder() / "gguf" / GetParam();
  check_model(folder / "model.gguf", folder / "golden.safetensors");
}

INSTANTIATE_TEST_SUITE_P(, GoldenGguf, testing::ValuesIn(folders("gguf")), test_name);

// Splitting a prompt into steps, and sharing a step with other sequences, changes no logits.
TEST(GoldenBatch, SequencesShareAStepAndPagesWithoutDisturbingEachOther) {
  const fs::path folder = golden_folder() / "models" / "mistral-swa";
  const Golden golden(folder / "golden.safetensors");
  Loaded loaded(folder, 2);
  const std::vector<std::int32_t> first = golden.ids("input_ids", 0);
  const std::vector<std::int32_t> second = golden.ids("input_ids", 1);
  const std::vector<std::int32_t> page_a = {1};
  const std::vector<std::int32_t> page_b = {0};
  const std::int64_t vocab = loaded.model->info().vocab_size;
  for (const std::size_t cut : {1, 17, 47}) {
    const SequenceStep begin{.token_ids = std::span(first).first(cut), .pages = page_a, .logits = LogitsOf::kNone};
    loaded.steps->step({&begin, 1});
    const SequenceStep both[] = {
        {.token_ids = second, .pages = page_b, .logits = LogitsOf::kEveryToken},
        {.token_ids = std::span(first).subspan(cut), .num_cached = static_cast<std::int64_t>(cut), .pages = page_a}};
    const ConstTensor logits = loaded.steps->step(both);
    ASSERT_EQ(logits.size(0), 49);
    for (std::int64_t i = 0; i < vocab; ++i) {
      ASSERT_NEAR(logits.data<float>()[47 * vocab + i], golden.logits(1)[47 * vocab + i], kTolerance);
      ASSERT_NEAR(logits.data<float>()[48 * vocab + i], golden.logits(0)[47 * vocab + i], kTolerance);
    }
  }
}

}  // namespace
}  // namespace tandem
