// Every case of tests/golden/tokenizers: a tokenizer.json beside a cases.json made by the reference library.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "tandem/tokenizer.h"

namespace tandem {
namespace {

const std::filesystem::path kRoot = std::filesystem::path(TANDEM_SOURCE_DIR) / "tests/golden/tokenizers";

std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot)) {
    if (exists(entry.path() / "tokenizer.json")) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class GoldenTokenizer : public testing::TestWithParam<std::string> {
 protected:
  const std::shared_ptr<const Tokenizer> tokenizer_ = Tokenizer::from_folder(kRoot / GetParam());
  const Json cases_ = read_json_file(kRoot / GetParam() / "cases.json");
};

TEST_P(GoldenTokenizer, EncodesAndDecodesEveryCaseExactly) {
  ASSERT_FALSE(cases_.empty());
  for (const Json& one : cases_) {
    const auto text = one.at("text").get<std::string>();
    const auto wanted = one.at("ids").get<std::vector<std::int32_t>>();
    EXPECT_EQ(tokenizer_->encode(text), wanted) << text;
    EXPECT_EQ(tokenizer_->decode(wanted, {.skip_special_tokens = false}), one.at("decoded").get<std::string>()) << text;
    if (one.contains("ids_with_special")) {
      EXPECT_EQ(tokenizer_->encode(text, {.add_special_tokens = true}),
                one.at("ids_with_special").get<std::vector<std::int32_t>>())
          << text;
    }
    if (one.contains("ids_without_parsing")) {
      EXPECT_EQ(tokenizer_->encode(text, {.parse_special_tokens = false}),
                one.at("ids_without_parsing").get<std::vector<std::int32_t>>())
          << text;
    }
    if (one.contains("decoded_without_special")) {
      EXPECT_EQ(tokenizer_->decode(wanted), one.at("decoded_without_special").get<std::string>()) << text;
    }
  }
}

TEST_P(GoldenTokenizer, StreamsWhatItDecodes) {
  for (const Json& one : cases_) {
    const auto ids = one.at("ids").get<std::vector<std::int32_t>>();
    for (const bool skip : {false, true}) {
      StreamDecoder stream(tokenizer_, {.skip_special_tokens = skip});
      std::string text;
      for (const std::int32_t id : ids) text += stream.push(id);
      text += stream.flush();
      EXPECT_EQ(text, tokenizer_->decode(ids, {.skip_special_tokens = skip})) << one.at("text");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenTokenizer, testing::ValuesIn(kinds()), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace tandem
