// Tokenizers by the name of their model, and conversations in the words of its template.
#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "tandem/chat.h"
#include "tandem/tokenizer.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/gguf_tokenizer.h"
#include "weights/gguf/gguf_file.h"
#include "weights/weight_source.h"

namespace tandem {

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::string& model, std::int64_t vocab_size) {
  if (model.starts_with(kDummyPrefix)) {
    constexpr std::int64_t kMaxVocabSize = std::numeric_limits<std::int32_t>::max();
    if (vocab_size > kMaxVocabSize) {
      fail_with_hint(ErrorKind::kInvalidArgument, format("{}: vocab_size is {}", model, vocab_size),
                     format("expected at most {}: a token's id has 32 bits", kMaxVocabSize));
    }
    if (vocab_size > 0) return dummy(static_cast<std::int32_t>(vocab_size));
    fail_with_hint(ErrorKind::kInvalidArgument, format("{} has no tokenizer of its own", model),
                   "give the vocab_size of the model, for a made-up one");
  }
  const std::filesystem::path path(model);
  if (folder_exists(path)) return from_folder(path);
  const GgufFile file(path);
  return make_gguf_tokenizer(read_gguf_tokenizer(file), model);
}

std::shared_ptr<const Tokenizer> Tokenizer::dummy(std::int32_t vocab_size) {
  GgufTokenizerData data{.model = "gpt2", .pre = "gpt-2"};
  for (std::int32_t id = 0; id < std::max(vocab_size, 256); ++id) {
    const char byte = static_cast<char>(id);
    data.tokens.push_back(id < 256 ? bytes_to_characters({&byte, 1}) : format("{}w{}", bytes_to_characters(" "), id));
  }
  return make_gguf_tokenizer(data, "dummy");
}

std::string apply_chat_template(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) {
  if (tokenizer.chat_template().empty()) {
    fail_with_hint(ErrorKind::kUnsupported, "the model has no chat template", "give the text as it is (--raw)");
  }
  ChatTemplateInput input{.messages = messages, .add_generation_prompt = add_generation_prompt};
  if (tokenizer.bos_token_id()) input.bos_token = tokenizer.id_to_piece(*tokenizer.bos_token_id());
  if (!tokenizer.eos_token_ids().empty()) input.eos_token = tokenizer.id_to_piece(tokenizer.eos_token_ids().front());
  return ChatTemplate(tokenizer.chat_template(), "chat template").render(input);
}

}  // namespace tandem
