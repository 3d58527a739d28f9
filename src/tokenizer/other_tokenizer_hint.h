#pragma once
// What to do about tokenizer files that ask for something we do not have.

namespace tandem {

inline constexpr const char* kOtherTokenizerHint =
    "use another model, or the GGUF file of this one, which holds a tokenizer of its own";

}  // namespace tandem
