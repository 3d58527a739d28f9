// Any bytes as tokenizer.json: parsing must end with a tokenizer or an Error, and a tokenizer must handle text.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "tandem/error.h"
#include "tandem/tokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tandem;
  try {
    const auto tokenizer = std::make_shared<const Tokenizer>(
        parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "tokenizer.json"));
    fuzz::use_tokenizer(tokenizer);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
  }
  return 0;
}
