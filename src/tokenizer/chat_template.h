#pragma once
// A model's chat template: the Jinja text of tokenizer_config.json, chat_template.jinja or a GGUF, compiled once and
// rendered for a conversation as Hugging Face's apply_chat_template does (trim_blocks, lstrip_blocks, loop controls,
// the generation tag, its own tojson; jinja2's immutable sandbox). Templates are hostile input: output, work, memory
// and recursion are bounded.

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tandem/chat.h"

namespace tandem {

namespace jinja {
struct Template;
}

/// Bounds of one rendering. Past any of them render() throws kBadFile.
struct ChatTemplateLimits {
  std::size_t max_text_bytes = std::size_t{16} << 20;     ///< the output, and any one string made on the way
  std::size_t max_memory_bytes = std::size_t{512} << 20;  ///< all values ever made, freed ones included
  std::uint64_t max_steps = 10'000'000;                   ///< nodes evaluated and elements visited
};

/// What a template is rendered with.
struct ChatTemplateInput {
  std::vector<ChatMessage> messages;
  bool add_generation_prompt = true;
  std::string bos_token;  ///< as text; an empty one is undefined in the template, as with Hugging Face
  std::string eos_token;
  /// A JSON object of further variables (tools, enable_thinking, ...); empty for none. They replace those above:
  /// "messages" may be given here when a message has more than role and content. `tools` and `documents` are none
  /// unless given. Integers beyond 64 bits become floats.
  std::string variables_json;
  std::optional<std::tm> now;  ///< local time for strftime_now; the system's when absent
  ChatTemplateLimits limits;
};

/// Immutable; render() may be called from several threads at once.
class ChatTemplate {
 public:
  /// Compiles `source`; `origin` (a path, or file and key) is named in errors. Throws kBadFile with line and column for
  /// what is no Jinja, and kUnsupported for tags of Jinja that chat templates do not use (include, extends, ...).
  ChatTemplate(std::string source, std::string origin);

  /// Throws kInvalidArgument with the template's own message when it calls raise_exception, or when variables_json is
  /// not a JSON object; kBadFile with line and column when the template fails otherwise.
  std::string render(const ChatTemplateInput& input) const;

 private:
  std::string origin_;
  std::shared_ptr<const jinja::Template> template_;
};

}  // namespace tandem
