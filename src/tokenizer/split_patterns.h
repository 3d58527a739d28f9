#pragma once
// Splitting patterns that have a name elsewhere.

#include <string_view>

namespace tandem {

/// github.com/openai/gpt-2, encoder.py.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// tokenizer.json of Llama 3.
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// tokenizer.json of Qwen 2: as Llama 3, but digits one by one.
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// The pre-tokenizer called Whitespace: \w+|[^\w\s]+, where the \w of Rust's regex has the joiners that Oniguruma's
/// lacks.
inline constexpr std::string_view kWordPattern = R"([\w\p{Join_Control}]+|[^\w\s\p{Join_Control}]+)";

}  // namespace tandem
