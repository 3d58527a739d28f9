#pragma once
// Shapes of published models by name, for random weights.

#include <string>
#include <string_view>
#include <vector>

namespace tandem {

/// config.json text of a named shape. Throws kNotFound listing the names.
std::string_view dummy_config(std::string_view name);
std::vector<std::string_view> dummy_names();

}  // namespace tandem
