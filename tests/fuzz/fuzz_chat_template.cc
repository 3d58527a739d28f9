// The input is a template, rendered for a fixed conversation. Only tandem::Error may come out.

#include <cstddef>
#include <cstdint>
#include <string>

#include "tandem/error.h"
#include "tokenizer/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const tandem::ChatTemplateInput kInput = [] {
    tandem::ChatTemplateInput input;
    input.messages = {{"system", " Antworte kurz: \xc3\xbc\xf0\x9f\x98\x80 "}, {"user", "What is 2 + 2?\n<think>\xff"}};
    input.bos_token = "<s>";
    input.eos_token = "</s>";
    input.variables_json = R"({"tools": [{"name": "f", "arguments": {"x": 1.5, "y": [true, null, -7]}}], "n": 3})";
    input.now = std::tm{};
    // Small, so that an input takes milliseconds even with sanitizers.
    input.limits = {.max_text_bytes = 1 << 16, .max_memory_bytes = 1 << 21, .max_steps = 20000};
    return input;
  }();
  try {
    tandem::ChatTemplate(std::string(reinterpret_cast<const char*>(data), size), "fuzz").render(kInput);
  } catch (const tandem::Error& error) {
    if (error.kind() == tandem::ErrorKind::kInternal) __builtin_trap();
  }
  return 0;
}
