// Any bytes as tokenizer.json: parsing must end with a tokenizer or an Error, and a tokenizer must handle text.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "tandem/error.h"
#include "tandem/tokenizer.h"
#include "tokenizer/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tandem;
  try {
    const auto tokenizer = std::make_shared<const Tokenizer>(
        parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "tokenizer.json"));
    for (const std::string_view text : {"Hello, <s>world  12 \u00e9e\u0301 \u65e5\u672c\n\n'll <mask> x", "",
                                        " \u2581aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
      const auto ids = tokenizer->encode(text, {.add_special_tokens = true, .add_bos = true});
      StreamDecoder stream(tokenizer, {.skip_special_tokens = false});
      std::string streamed;
      for (const std::int32_t id : ids) streamed += stream.push(id);
      streamed += stream.flush();
      if (streamed != tokenizer->decode(ids, {.skip_special_tokens = false})) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
  }
  return 0;
}
