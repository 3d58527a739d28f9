#include "tokenizer/gguf_tokenizer.h"
#include "weights/gguf/gguf_file.h"

namespace tandem {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::vector<std::string> copies(const std::vector<std::string_view>& texts) {
  return {texts.begin(), texts.end()};
}

}  // namespace

GgufTokenizerData read_gguf_tokenizer(const GgufFile& file) {
  const auto key = [](std::string_view name) { return std::string(kPrefix).append(name); };
  const auto text = [&](std::string_view name) { return std::string(file.find_string(name).value_or("")); };
  GgufTokenizerData data;
  data.model = file.require(&GgufFile::find_string, key("model"));
  data.pre = text(key("pre"));
  data.tokens = copies(file.require(&GgufFile::find_strings, key("tokens")));
  data.scores = file.find_f32s(key("scores")).value_or(std::vector<float>());
  data.token_types = file.find_i32s(key("token_type")).value_or(std::vector<std::int32_t>());
  data.merges = copies(file.find_strings(key("merges")).value_or(std::vector<std::string_view>()));
  data.bos_token_id = file.find_i64(key("bos_token_id"));
  data.eos_token_id = file.find_i64(key("eos_token_id"));
  data.unknown_token_id = file.find_i64(key("unknown_token_id"));
  data.eot_token_id = file.find_i64(key("eot_token_id"));
  data.eom_token_id = file.find_i64(key("eom_token_id"));
  data.add_bos_token = file.find_bool(key("add_bos_token"));
  data.add_eos_token = file.find_bool(key("add_eos_token"));
  data.add_space_prefix = file.find_bool(key("add_space_prefix"));
  data.chat_template = text("tokenizer.chat_template");
  return data;
}

}  // namespace tandem
