#pragma once
// tokenizer.json, the file format of Hugging Face tokenizers. There is no written specification; field names and
// meanings are those of the library's versions 0.19 to 0.23 (github.com/huggingface/tokenizers), against which the
// golden tests compare.

#include <string_view>

#include "tokenizer/tokenizer_parts.h"

namespace tandem {

/// Parses the text of a tokenizer.json; `file` is named in errors (kBadFile, kUnsupported). BOS, EOS and chat template
/// are not part of this format and stay empty. Truncation and padding settings are ignored: they are about batches of
/// training data.
TokenizerParts parse_tokenizer_json(std::string_view text, std::string_view file);

}  // namespace tandem
