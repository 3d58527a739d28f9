#pragma once
// Names out of files, made fit for an error message.

#include <string>
#include <string_view>

namespace tandem {

/// `name` in double quotes, control characters replaced and the middle of long names left out: what a file holds must
/// not be able to flood or steer the terminal.
std::string quote(std::string_view name);

}  // namespace tandem
