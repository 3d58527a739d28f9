// GGUF tokenizers against the reference libraries: keys in a gguf.json, and whole files of tests/golden/gguf.

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "tokenizer/gguf_tokenizer.h"
#include "weights/gguf/gguf_file.h"

namespace tandem {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(TANDEM_SOURCE_DIR) / "tests/golden";

template <class T>
std::optional<T> optional_of(const Json& json, const char* key) {
  return json.contains(key) ? std::optional(json.at(key).get<T>()) : std::nullopt;
}

GgufTokenizerData read_keys(const Json& json) {
  GgufTokenizerData data;
  data.model = json.at("model");
  data.tokens = json.at("tokens").get<std::vector<std::string>>();
  data.scores = json.value("scores", std::vector<float>());
  data.token_types = json.at("token_type").get<std::vector<std::int32_t>>();
  data.merges = json.value("merges", std::vector<std::string>());
  data.bos_token_id = optional_of<std::int64_t>(json, "bos_token_id");
  data.eos_token_id = optional_of<std::int64_t>(json, "eos_token_id");
  data.unknown_token_id = optional_of<std::int64_t>(json, "unknown_token_id");
  return data;
}

void expect_cases(const Tokenizer& tokenizer, const Json& cases, EncodeOptions options, const std::string& name) {
  ASSERT_FALSE(cases.empty()) << name;
  for (const Json& one : cases) {
    const auto text = one.at("text").get<std::string>();
    EXPECT_EQ(tokenizer.encode(text, options), one.at("ids").get<std::vector<std::int32_t>>()) << name << ": " << text;
  }
}

TEST(GgufGolden, EveryKindOfKeysEncodesExactly) {
  for (const std::string name : {"gguf-gpt2", "gguf-llama"}) {
    const std::filesystem::path folder = kGolden / "tokenizers" / name;
    GgufTokenizerData data = read_keys(read_json_file(folder / "gguf.json"));
    const Json by_pre = read_json_file(folder / "cases.json");
    for (const auto& [pre, cases] : by_pre.items()) {
      data.pre = pre;
      expect_cases(*make_gguf_tokenizer(data, name), cases, {}, name + " " + pre);
    }
  }
}

TEST(GgufGolden, EveryFileEncodesExactlyAndComesBack) {
  for (const std::string name : {"llama-f16", "qwen2", "llama-q8_0"}) {
    const GgufFile file(kGolden / "gguf" / name / "model.gguf");
    const auto tokenizer = make_gguf_tokenizer(read_gguf_tokenizer(file), file.origin());
    const Json cases = read_json_file(kGolden / "gguf" / name / "tokenizer_cases.json");
    // These references take special tokens in a text as text.
    const EncodeOptions plain{.parse_special_tokens = false};
    expect_cases(*tokenizer, cases, plain, name);
    for (const Json& one : cases) {
      const auto text = one.at("text").get<std::string>();
      if (text.find("\u2581") != text.npos) continue;  // comes back as a space
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, plain)), text) << name;
    }
  }
}

}  // namespace
}  // namespace tandem
