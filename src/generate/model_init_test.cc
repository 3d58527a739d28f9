#include "tandem/model_init.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tandem/generator.h"

namespace tandem {
namespace {

const std::string kModel = std::string(TANDEM_SOURCE_DIR) + "/tests/golden/gguf/llama-f16/model.gguf";

/// What init_from_dict says against `dict`: message and hint.
std::string refusal(const std::string& dict) {
  try {
    model_init::init_from_dict(dict);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
    return format("{}\n{}", error.what(), error.hint());
  }
  return "accepted";
}

TEST(ModelInit, AllKeysOfTheGuideAreTaken) {
  auto [model, cache, tokenizer] = model_init::init_from_dict(format(
      R"({{"model_dir": "{}", "devices": ["cpu:0", "cpu:1"], "tp_backend": "cpu", "max_batch_size": 3,
           "max_seq_len": 64, "cache": 700, "shbuf_size": 8388608}})",
      kModel));
  EXPECT_EQ(model->info().tp_size, 2);
  EXPECT_EQ(model->info().backend, "cpu");
  EXPECT_EQ(model->info().max_batch_size, 3);
  EXPECT_EQ(model->info().max_seq_len, 64);
  EXPECT_EQ(cache->max_num_tokens(), 768);
  Generator generator(model, cache, tokenizer);
  generator.enqueue({.input_ids = tokenizer->encode("Hello"), .max_new_tokens = 2, .ignore_eos = true});
  EXPECT_EQ(generator.run_to_completion().at(0).new_tokens, 2);
  generator.close();
  model->unload();
}

TEST(ModelInit, AModelAloneGetsDefaults) {
  const auto loaded = model_init::init_from_dict(format(R"({{"model_dir": "{}", "cache": true}})", kModel));
  EXPECT_EQ(loaded.model->info().tp_size, 1);
  EXPECT_GE(loaded.cache->max_num_tokens(), loaded.model->info().max_seq_len);
}

TEST(ModelInit, RandomWeightsGetATokenizer) {
  const std::string config = std::string(TANDEM_SOURCE_DIR) + "/tests/golden/models/llama/config.json";
  const auto loaded = model_init::init_from_dict(format(R"({{"model_dir": "dummy:{}"}})", config));
  EXPECT_EQ(loaded.tokenizer->vocab_size(), loaded.model->info().vocab_size);
}

TEST(ModelInit, AnUnknownKeyIsRefusedWithTheNearest) {
  EXPECT_EQ(refusal(R"({"model_dir": "x", "max_sequence_len": 8})"),
            "init_from_dict: there is no key \"max_sequence_len\"\ndid you mean \"max_seq_len\"?");
  EXPECT_NE(refusal(R"({"colour": "blue"})").find("there are: model_dir, devices"), std::string::npos);
}

TEST(ModelInit, WrongValuesAreRefusedByName) {
  const std::pair<std::string, std::string> cases[] = {
      {R"("max_batch_size": 0)", "max_batch_size is 0"},
      {R"("max_batch_size": 4294967297)", "max_batch_size is 4294967297"},
      {R"("max_seq_len": -1)", "max_seq_len is -1"},
      {R"("max_seq_len": 18446744073709551615)", "max_seq_len is 18446744073709551615"},
      {R"("max_seq_len": 2.5)", "max_seq_len is 2.5"},
      {R"("cache": false)", "cache is false"},
      {R"("shbuf_size": "16M")", "shbuf_size is \"16M\""},
      {R"("shbuf_size": 4096)", "shbuf_size is 4096 bytes, and 1 rank needs "},
      {R"("tp_backend": 1)", "tp_backend is 1"},
      {R"("devices": "0,1")", "devices is \"0,1\""},
      {R"("devices": [-1])", "devices is [-1]"},
  };
  for (const auto& [member, expected] : cases) {
    EXPECT_NE(refusal(format(R"({{"model_dir": "{}", {}}})", kModel, member)).find(expected), std::string::npos)
        << refusal(format(R"({{"model_dir": "{}", {}}})", kModel, member));
  }
  EXPECT_NE(refusal("[]").find("a JSON object"), std::string::npos);
  EXPECT_NE(refusal("{}").find("model_dir is missing"), std::string::npos);
}

TEST(ModelInit, ACacheThatNoMachineHoldsIsRefused) {
  try {
    model_init::init_from_dict(format(R"({{"model_dir": "{}", "cache": 9223372036854775807}})", kModel));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument) << error.what();
  }
}

TEST(ModelInit, TextThatIsNoJsonIsNamedByByte) {
  try {
    model_init::init_from_dict("{\"model_dir\": ");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
    EXPECT_NE(std::string(error.what()).find("init_from_dict: broken JSON at byte"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tandem
