// What the golden cases do not reach: folders and their files, options, streams, hostile input.

#include "tandem/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "tandem/error.h"
#include "tokenizer/gguf_tokenizer.h"
#include "tokenizer/regex.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

/// A tokenizer.json of single letters a to e, the merges ab and abc, and two special tokens.
Json small_json() {
  return Json::parse(R"({
    "added_tokens": [{"id": 7, "content": "<s>", "special": true}, {"id": 8, "content": "</s>", "special": true}],
    "normalizer": null, "pre_tokenizer": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "ab": 5, "abc": 6},
              "merges": [["a", "b"], ["ab", "c"]]}})");
}

std::shared_ptr<const Tokenizer> make(const Json& json) {
  return std::make_shared<const Tokenizer>(parse_tokenizer_json(json.dump(), "tokenizer.json"));
}

/// The error of `call`; fails the test when there is none.
Error error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorKind::kInternal, "none");
}

/// The error of small_json() with the value at a JSON pointer replaced.
Error error_with(const std::string& pointer, const std::string& value) {
  Json json = small_json();
  json[Json::json_pointer(pointer)] = Json::parse(value);
  return error_of([&] { make(json); });
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "tokenizer_test.XXXXXX").string();
    path_ = mkdtemp(name.data());
    write("tokenizer.json", small_json().dump());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path_ / name) << text; }
  std::shared_ptr<const Tokenizer> load() const { return Tokenizer::from_folder(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Tokenizer, MergesByRankAndDropsUnknownCharacters) {
  const auto tokenizer = make(small_json());
  EXPECT_THAT(tokenizer->encode("abcabxd<s>e"), ElementsAre(6, 5, 3, 7, 4));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre());
  EXPECT_EQ(tokenizer->vocab_size(), 9);
  EXPECT_EQ(tokenizer->id_to_piece(6), "abc");
  EXPECT_EQ(tokenizer->piece_to_id("</s>"), 8);
  EXPECT_EQ(tokenizer->piece_to_id("zz"), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(7));
  EXPECT_FALSE(tokenizer->is_special(6));
  EXPECT_FALSE(tokenizer->is_special(-1));
  EXPECT_EQ(error_of([&] { tokenizer->id_to_piece(9); }).kind(), ErrorKind::kInvalidArgument);
}

TEST(Tokenizer, RefusesIdsSoSparseThatAFewPiecesWouldTakeGigabytes) {
  Json json = small_json();
  json["added_tokens"] = Json::array();
  json["model"]["vocab"]["x"] = 65536;  // as many unused ids as a small vocabulary may have
  EXPECT_EQ(make(json)->vocab_size(), 65537);
  json["model"]["vocab"]["y"] = 65536 + 65536;
  const Error error = error_of([&] { make(json); });
  EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("piece \"y\" has id 131072, but there are only 9 ids"));
  json["model"]["vocab"].erase("y");
  json["added_tokens"] = {{{"id", 65536 + 65536}, {"content", "<s>"}}};
  EXPECT_THAT(error_of([&] { make(json); }).what(), HasSubstr("cannot have id 131072"));
}

TEST(Tokenizer, OfRandomWeightsNeedsTheSizeOfTheVocabulary) {
  EXPECT_EQ(Tokenizer::load("dummy:llama-3.2-1b", 300)->vocab_size(), 300);
  const Error error = error_of([] { Tokenizer::load("dummy:llama-3.2-1b"); });
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
  EXPECT_THAT(error.hint(), HasSubstr("vocab_size"));
  const Error too_large = error_of([] { Tokenizer::load("dummy:llama-3.2-1b", (std::int64_t{1} << 32) + 300); });
  EXPECT_EQ(too_large.kind(), ErrorKind::kInvalidArgument);
  EXPECT_THAT(too_large.what(), HasSubstr("vocab_size is 4294967596"));
}

TEST(Tokenizer, AddsBosOnceAndOnlyWhereThereIsOne) {
  const Folder folder;
  EXPECT_THAT(folder.load()->encode("ab", {.add_bos = true}), ElementsAre(5));
  folder.write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>"})");
  const auto tokenizer = folder.load();
  EXPECT_THAT(tokenizer->encode("ab", {.add_bos = true}), ElementsAre(7, 5));
  EXPECT_THAT(tokenizer->encode("<s>ab", {.add_bos = true}), ElementsAre(7, 5));
  EXPECT_THAT(tokenizer->encode("", {.add_bos = true}), ElementsAre(7));
  EXPECT_THAT(tokenizer->encode("ab", {.add_special_tokens = true}), ElementsAre(5));
}

TEST(Tokenizer, NamesTheOffsetOfInvalidUtf8) {
  const auto tokenizer = make(small_json());
  for (const auto& [text, offset] : std::vector<std::pair<std::string, int>>{{"ab\xFFz", 2},
                                                                             {"\xC3", 0},
                                                                             {"aé\xC3", 3},
                                                                             {"\xED\xA0\x80", 0},
                                                                             {"\xC0\xAF", 0},
                                                                             {"a\xF4\x90\x80\x80", 1}}) {
    const Error error = error_of([&, one = text] { tokenizer->encode(one); });
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("at offset " + std::to_string(offset)));
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(Tokenizer, ReadsSpecialTokensOfTheFilesAround) {
  const Folder folder;
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "chat_template": "inline"})");
  folder.write("generation_config.json", R"({"eos_token_id": [6, 8, 5]})");
  folder.write("config.json", R"({"eos_token_id": 4, "bos_token_id": 3})");
  auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->bos_token_id(), 7);
  EXPECT_THAT(tokenizer->eos_token_ids(), ElementsAre(8, 6, 5));
  EXPECT_EQ(tokenizer->chat_template(), "inline");
  EXPECT_THAT(tokenizer->encode("ab", {.add_special_tokens = true}), ElementsAre(7, 5));

  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "r"},
                                                             {"name": "default", "template": "d"}]})");
  folder.write("generation_config.json", R"({"eos_token_id": null})");
  tokenizer = folder.load();
  EXPECT_EQ(tokenizer->bos_token_id(), std::nullopt);
  EXPECT_THAT(tokenizer->eos_token_ids(), ElementsAre(4));
  EXPECT_EQ(tokenizer->chat_template(), "d");

  folder.write("chat_template.jinja", "from a file");
  std::filesystem::remove(folder.path() / "tokenizer_config.json");
  tokenizer = folder.load();
  EXPECT_EQ(tokenizer->bos_token_id(), 3);
  EXPECT_EQ(tokenizer->chat_template(), "from a file");
}

TEST(Tokenizer, RefusesBadFilesAroundByName) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"generation_config.json", R"({"eos_token_id": [1, 9]})",
       "eos_token_id[1]: expected an id of tokenizer.json, found 9"},
      {"generation_config.json", R"({"eos_token_id": "x"})", "expected an integer, found \"x\""},
      {"config.json", R"({"eos_token_id": -1})", "found -1"},
      {"config.json", R"([])", "expected an object"},
      {"tokenizer_config.json", R"({"bos_token": "<no>"})", "bos_token: expected a token of tokenizer.json"},
      {"tokenizer_config.json", R"({"eos_token": {"id": 3}})", "\"content\" is missing"},
      {"tokenizer_config.json", R"({"chat_template": 3})", "chat_template: expected a list, found 3"},
      {"tokenizer_config.json", R"({"chat_template": []})", "chat_template"},
      {"tokenizer_config.json", "{", "broken JSON"},
      {"chat_template.jinja", "ab\xFF", "not valid UTF-8 at byte 2"},
      {"tokenizer.json", "{\"model\"", "broken JSON at byte"},
  };
  for (const auto& [name, text, message] : cases) {
    const Folder folder;
    folder.write(name, text);
    const Error error = error_of([&] { folder.load(); });
    EXPECT_EQ(error.kind(), ErrorKind::kBadFile) << text;
    EXPECT_THAT(error.what(), HasSubstr(name));
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
  const Folder folder;
  std::filesystem::remove(folder.path() / "tokenizer.json");
  EXPECT_EQ(error_of([&] { folder.load(); }).kind(), ErrorKind::kNotFound);
}

TEST(TokenizerJson, RefusesFilesThatContradictThemselves) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"/model", "null", "\"model\" is missing"},
      {"/model", "3", "model: expected an object, found 3"},
      {"/model/vocab", "{}", "needs the piece \"a\""},
      {"/model/vocab", "[]", "model.vocab: expected an object"},
      {"/model/vocab/a", "-1", "piece \"a\" is -1"},
      {"/model/vocab/a", "1.5", "piece \"a\" is 1.5"},
      {"/model/vocab/a", "18446744073709551615", "piece \"a\" is 18446744073709551615"},
      {"/model/vocab/a", "2000000000", "piece \"a\" has id 2000000000"},
      {"/model/vocab/a", "1", "both have id 1"},
      {"/model/vocab/a", "\"0\"", "expected an integer"},
      {"/model/merges", "[[\"a\", \"z\"]]", "merges[0]: \"a\" + \"z\" needs the piece \"z\""},
      {"/model/merges", "[\"a b\", \"a c\"]", "merges[1]: \"a\" + \"c\" needs the piece \"ac\""},
      {"/model/merges", "[\"ab\"]", "merges[0]: expected two pieces and a space between"},
      {"/model/merges", "[[\"a\"]]", "merges[0]: expected a pair"},
      {"/model/merges", "{}", "model.merges: expected a list"},
      {"/model/unk_token", "\"?\"", "unk_token: expected a piece"},
      {"/model/fuse_unk", "1", "fuse_unk: expected true or false"},
      {"/added_tokens/0/id", "3", "\"<s>\" cannot have id 3"},
      {"/added_tokens/0/id", "-3", "\"<s>\" cannot have id -3"},
      {"/added_tokens/0/id", "99999999999", "\"<s>\" cannot have id 99999999999"},
      {"/added_tokens/0/content", "\"a\"", "\"a\" has id 0 already"},
      {"/added_tokens/0/content", "\"\"", "not empty"},
      {"/added_tokens/0/special", "[]", "added_tokens[0].special: expected true or false"},
      {"/normalizer", "{}", "normalizer: \"type\" is missing"},
      {"/normalizer", R"({"type": "Prepend", "prepend": 1})", "normalizer.prepend: expected a string"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"})",
       "does not compile"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {}, "behavior": "Isolated"})", "\"Regex\" is missing"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "ab"})", "expected one character"},
      {"/decoder", R"({"type": "Strip", "content": "", "start": 9, "stop": 0})", "expected one character"},
      {"/decoder", R"({"type": "Strip", "content": "a", "start": -1, "stop": 0})", "a number from 0"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": []})", "holds the text"},
      {"/post_processor",
       R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {}})",
       "\"x\" is missing"},
      {"/post_processor", R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}],
                              "special_tokens": {"x": {"ids": [77]}}})",
       "expected an id of the vocabulary, found 77"},
  };
  for (const auto& [pointer, value, message] : cases) {
    const Error error = error_with(pointer, value);
    EXPECT_EQ(error.kind(), ErrorKind::kBadFile) << pointer << " " << value << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr("tokenizer.json")) << pointer;
    EXPECT_THAT(error.what(), HasSubstr(message)) << pointer;
  }
  const Error empty = error_of([] { parse_tokenizer_json(R"({"model": {"vocab": {}, "merges": []}})", "f"); });
  EXPECT_THAT(empty.what(), HasSubstr("vocabulary is empty"));
}

TEST(TokenizerJson, RefusesWhatItDoesNotDoByName) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"/model/type", "\"Unigram\"", "model.type: \"Unigram\" is not supported"},
      {"/model/dropout", "0.1", "model.dropout: 0.1"},
      {"/model/continuing_subword_prefix", "\"##\"", "continuing_subword_prefix: \"##\""},
      {"/model/end_of_word_suffix", "\"</w>\"", "end_of_word_suffix: \"</w>\""},
      {"/normalizer", R"({"type": "Lowercase"})", "normalizer.type: \"Lowercase\""},
      {"/normalizer", R"({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Precompiled"}]})",
       "normalizer.normalizers[1].type: \"Precompiled\""},
      {"/pre_tokenizer", R"({"type": "UnicodeScripts"})", "pre_tokenizer.type: \"UnicodeScripts\""},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"String": " "}, "behavior": "Odd"})", "behavior: \"Odd\""},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "[a&&[^b]]"}, "behavior": "Isolated"})", "&&"},
      {"/pre_tokenizer", R"({"type": "Split", "pattern": {"Regex": "\\h+"}, "behavior": "Isolated"})", "uses \\h"},
      {"/pre_tokenizer", R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})",
       "prepend_scheme: \"last\""},
      {"/pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})",
       "nothing may follow ByteLevel"},
      {"/decoder", R"({"type": "WordPiece"})", "decoder.type: \"WordPiece\""},
      {"/decoder", R"({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})", "ByteFallback"},
      {"/post_processor", R"({"type": "BertProcessing"})", "post_processor.type: \"BertProcessing\""},
  };
  for (const auto& [pointer, value, message] : cases) {
    const Error error = error_with(pointer, value);
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << pointer << " " << value << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message)) << pointer;
  }
}

TEST(Regex, GivesUpOnPatternsThatNeverEnd) {
  const Regex regex(R"((a+)+b|(a|aa)+c)", "file: pattern");
  const Error error = error_of([&] { regex.find(std::string(5000, 'a'), 0); });
  EXPECT_EQ(error.kind(), ErrorKind::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("file: pattern"));
}

TEST(Regex, ReadsEscapesAsTheReferenceEnginesDo) {
  const auto matches = [](const char* pattern, const char* text) {
    return Regex(std::string("\\A(?:") + pattern + ")\\z", "test").find(text, 0).has_value();
  };
  EXPECT_FALSE(matches(R"(\s)", "\u180e"));
  EXPECT_TRUE(matches(R"(\S)", "\u180e"));
  EXPECT_TRUE(matches(R"([^\s])", "\u180e"));
  EXPECT_TRUE(matches(R"([\S])", "\u180e"));
  EXPECT_TRUE(matches(R"(\s)", "\u0085"));
  EXPECT_TRUE(matches(R"(\\s)", "\\s"));
  EXPECT_TRUE(matches(R"([]\s]+)", "] "));
  EXPECT_TRUE(matches(R"(\w+)", "e\u0301_٣"));
  EXPECT_FALSE(matches(R"(\w)", "½"));
  EXPECT_TRUE(matches(R"(\W)", "½"));
  EXPECT_TRUE(matches(R"((?i:'s))", "'\u017f"));
}

TEST(StreamDecoder, NeverEmitsHalfACharacterAndAgreesWithDecode) {
  // Every byte is a piece of its own: random ids are random bytes, mostly not UTF-8.
  Json vocab;
  for (int byte = 0; byte < 256; ++byte)
    vocab[(std::stringstream() << "<0x" << std::uppercase << std::hex << byte / 16 << byte % 16 << ">").str()] = byte;
  vocab["▁x"] = 256;
  const Json byte_fallback = {{"model", {{"vocab", vocab}, {"merges", Json::array()}}},
                              {"decoder", Json::parse(R"({"type": "Sequence", "decoders": [
                                 {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                                 {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})")}};
  const std::filesystem::path golden = std::filesystem::path(TANDEM_SOURCE_DIR) / "tests/golden/tokenizers";
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (const auto& tokenizer : {make(byte_fallback), Tokenizer::from_folder(golden / "bytelevel-llama3")}) {
    for (int round = 0; round < 300; ++round) {
      Ids ids(random() % 20);
      const auto valid = tokenizer->vocab_size() == 257 ? Ids() : tokenizer->encode("é😀 日本");
      for (std::int32_t& id : ids) {
        id = valid.empty() || random() % 2 ? static_cast<std::int32_t>(random() % 257) : valid[random() % valid.size()];
      }
      StreamDecoder stream(tokenizer);
      std::string text;
      for (const std::int32_t id : ids) {
        const std::string part = stream.push(id);
        EXPECT_EQ(find_invalid_utf8(part), std::nullopt);
        text += part;
      }
      text += stream.flush();
      EXPECT_EQ(text, tokenizer->decode(ids));
    }
  }
}

TEST(StreamDecoder, HoldsACharacterUntilItIsComplete) {
  const std::filesystem::path golden = std::filesystem::path(TANDEM_SOURCE_DIR) / "tests/golden/tokenizers";
  const auto tokenizer = Tokenizer::from_folder(golden / "bytelevel-gpt2");
  const Ids ids = tokenizer->encode("\U00010384");  // a script that is not in the training text: one id a byte
  ASSERT_EQ(ids.size(), 4u);
  StreamDecoder stream(tokenizer);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(stream.push(ids[i]), "");
  EXPECT_EQ(stream.push(ids[3]), "\U00010384");
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.flush(), "\uFFFD");
  EXPECT_EQ(stream.flush(), "");
}

TEST(Tokenizer, MergesLongWordsInReasonableTime) {
  Json json = small_json();
  json["model"]["vocab"] = {{"a", 0}};
  json["model"]["merges"] = Json::array();
  json["added_tokens"] = Json::array();
  std::string piece = "a";
  for (int id = 1; id < 12; ++id) {
    json["model"]["merges"].push_back({piece, piece});
    piece += piece;
    json["model"]["vocab"][piece] = id;
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(make(json)->encode(std::string(1 << 20, 'a')), Ids(512, 11));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(Tokenizer, IsSafeFromSeveralThreads) {
  const std::filesystem::path golden = std::filesystem::path(TANDEM_SOURCE_DIR) / "tests/golden/tokenizers";
  const auto tokenizer = Tokenizer::from_folder(golden / "bytelevel-qwen2");
  const std::string text = "Größe 12 naïve <|im_start|> 日本語\n\n  x";
  const Ids wanted = tokenizer->encode(text);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) EXPECT_EQ(tokenizer->encode(text), wanted);
      EXPECT_EQ(tokenizer->decode(wanted, {.skip_special_tokens = false}), text);
    });
  }
}

GgufTokenizerData small_gguf() {
  return {.model = "gpt2",
          .pre = "gpt-2",
          .tokens = {"a", "b", "ab", "<s>", "<|im_end|>", "tool"},
          .token_types = {1, 1, 1, 3, 3, 4},
          .merges = {"a b"},
          .bos_token_id = 3};
}

TEST(GgufTokenizer, ReadsSpecialTokensAndFlags) {
  GgufTokenizerData data = small_gguf();
  auto tokenizer = make_gguf_tokenizer(data, "f.gguf");
  EXPECT_THAT(tokenizer->encode("abtool<s>b", {.add_special_tokens = true}), ElementsAre(2, 5, 3, 1));
  EXPECT_THAT(tokenizer->eos_token_ids(), ElementsAre(4));
  EXPECT_FALSE(tokenizer->is_special(5));
  data.eos_token_id = 2;
  data.eot_token_id = 4;
  data.add_bos_token = true;
  data.add_eos_token = true;
  tokenizer = make_gguf_tokenizer(data, "f.gguf");
  EXPECT_THAT(tokenizer->encode("ab", {.add_special_tokens = true}), ElementsAre(3, 2, 2));
  EXPECT_THAT(tokenizer->eos_token_ids(), ElementsAre(2, 4));
}

TEST(GgufTokenizer, RefusesBadKeysByName) {
  using Edit = std::function<void(GgufTokenizerData&)>;
  const std::vector<std::tuple<Edit, ErrorKind, std::string>> cases = {
      {[](auto& d) { d.model = "bert"; }, ErrorKind::kUnsupported, "tokenizer.ggml.model: \"bert\""},
      {[](auto& d) { d.pre = "falcon"; }, ErrorKind::kUnsupported,
       "\"falcon\" is not supported\nsupported: default, gpt-2"},
      {[](auto& d) { d.tokens.clear(); }, ErrorKind::kBadFile, "vocabulary is empty"},
      {[](auto& d) { d.tokens[1] = "a"; }, ErrorKind::kBadFile, "tokens[1]: \"a\" has id 0 already"},
      {[](auto& d) { d.tokens[1] = "\xFF"; }, ErrorKind::kBadFile, "tokens[1] is not valid UTF-8"},
      {[](auto& d) { d.token_types.pop_back(); }, ErrorKind::kBadFile, "token_type has 5 entries for 6 tokens"},
      {[](auto& d) { d.token_types[2] = 9; }, ErrorKind::kBadFile, "token_type[2] is 9"},
      {[](auto& d) { d.merges[0] = "a z"; }, ErrorKind::kBadFile, "merges[0]: \"a z\""},
      {[](auto& d) { d.merges[0] = "ab"; }, ErrorKind::kBadFile, "merges[0]: \"ab\""},
      {[](auto& d) { d.bos_token_id = 6; }, ErrorKind::kBadFile, "bos_token_id: 6"},
      {[](auto& d) { d.eot_token_id = -1; }, ErrorKind::kBadFile, "eot_token_id: -1"},
      {[](auto& d) { d.model = "llama"; }, ErrorKind::kBadFile, "scores has 0 entries"},
      {[](auto& d) { d.model = "llama", d.scores.assign(6, NAN); }, ErrorKind::kBadFile, "scores[0] is not a number"},
      {[](auto& d) { d.model = "llama", d.scores.assign(6, 0), d.tokens[0] = std::string(600, 'x'); },
       ErrorKind::kUnsupported, "tokens[0] has 600 bytes"},
  };
  for (const auto& [edit, kind, message] : cases) {
    GgufTokenizerData data = small_gguf();
    edit(data);
    const Error error = error_of([&] { make_gguf_tokenizer(data, "f.gguf"); });
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("f.gguf"));
    EXPECT_THAT(std::string(error.what()) + "\n" + error.hint(), HasSubstr(message));
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace
}  // namespace tandem
