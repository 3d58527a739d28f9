#pragma once
// The tokenizer inside a GGUF file. Keys `tokenizer.ggml.*` as in the GGUF specification (ggml/docs/gguf.md); how each
// `tokenizer.ggml.pre` splits is taken from llama.cpp's src/llama-vocab.cpp.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/tokenizer.h"

namespace tandem {

class GgufFile;

/// Values of `tokenizer.ggml.token_type`.
enum class GgufTokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

/// The keys of a file, unchecked; a key that is absent is empty.
struct GgufTokenizerData {
  std::string model;                      ///< "gpt2": byte-level merges; "llama": SentencePiece pieces with scores
  std::string pre;                        ///< splitting rule of "gpt2"
  std::vector<std::string> tokens;        ///< by id
  std::vector<float> scores;              ///< by id; needed by "llama"
  std::vector<std::int32_t> token_types;  ///< by id; empty: all normal
  std::vector<std::string> merges;        ///< "left right", in order of rank; needed by "gpt2"
  std::optional<std::int64_t> bos_token_id;
  std::optional<std::int64_t> eos_token_id;
  std::optional<std::int64_t> unknown_token_id;
  std::optional<std::int64_t> eot_token_id;
  std::optional<std::int64_t> eom_token_id;
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<bool> add_space_prefix;  ///< of "llama"
  std::string chat_template;
};

/// Builds the tokenizer; `file` is named in errors (kBadFile, kUnsupported). A text of "qwen2" is put into NFC first,
/// as the model's own tokenizer.json has it (llama.cpp does not).
std::shared_ptr<const Tokenizer> make_gguf_tokenizer(const GgufTokenizerData& data, std::string_view file);

/// The keys of an open file. Throws kBadFile when one has the wrong type, or the vocabulary is missing.
GgufTokenizerData read_gguf_tokenizer(const GgufFile& file);

}  // namespace tandem
