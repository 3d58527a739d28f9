#pragma once
// What a Tokenizer is made of. The readers of tokenizer.json, model folders and GGUF files fill it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tandem/tokenizer.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_model.h"
#include "tokenizer/decoder.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/vocabulary.h"

namespace tandem {

struct TokenizerParts {
  Vocabulary vocabulary;  // added tokens included
  AddedTokens added_tokens;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool byte_level = false;  // words are spelled as in byte_level.h before the model sees them
  BpeModel model;
  Decoder decoder;
  std::vector<std::int32_t> prefix_ids;  // put before a text by add_special_tokens
  std::vector<std::int32_t> suffix_ids;  // and behind it
  std::optional<std::int32_t> bos_token_id;
  std::vector<std::int32_t> eos_token_ids;
  std::string chat_template;
};

/// Lets words be shorter where that cannot change the ids: texts of metaspace models are one word otherwise, and
/// merging them costs ten times as much. To be called once, when everything else is filled in.
void cut_words_where_safe(TokenizerParts& parts);

}  // namespace tandem
