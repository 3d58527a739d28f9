#pragma once
// For the fuzzers of tokenizers: text through one that the parser let through.

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "tandem/tokenizer.h"

namespace tandem::fuzz {

inline void use_tokenizer(const std::shared_ptr<const Tokenizer>& tokenizer) {
  for (const std::string_view text : {"Hello, <s>world  12 \u00e9e\u0301 \u65e5\u672c\n\n'll <mask> x", "",
                                      " \u2581aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    const auto ids = tokenizer->encode(text, {.add_special_tokens = true, .add_bos = true});
    StreamDecoder stream(tokenizer, {.skip_special_tokens = false});
    std::string streamed;
    for (const std::int32_t id : ids) streamed += stream.push(id);
    streamed += stream.flush();
    if (streamed != tokenizer->decode(ids, {.skip_special_tokens = false})) std::abort();
  }
}

}  // namespace tandem::fuzz
