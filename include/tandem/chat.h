#pragma once
// One message of a conversation.

#include <string>

namespace tandem {

/// A message as chat templates see it. Both fields are UTF-8.
struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant", "tool" or what else the model's template knows
  std::string content;
};

}  // namespace tandem
