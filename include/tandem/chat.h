#pragma once
// Conversations.

#include <string>
#include <vector>

namespace tandem {

class Tokenizer;

/// A message as chat templates see it. Both fields are UTF-8.
struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant", "tool" or what else the model's template knows
  std::string content;
};

/// The conversation as the model wants to see it, by its own chat template. Encode it without adding special tokens:
/// the template has written them. Throws kUnsupported for a model without a template, kInvalidArgument when the
/// template refuses the messages (their order of roles, say), kBadFile when it is broken.
std::string apply_chat_template(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt = true);

}  // namespace tandem
