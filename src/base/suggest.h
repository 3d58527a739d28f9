#pragma once
// "Did you mean ...?"

#include <span>
#include <string>
#include <string_view>

namespace tandem {

/// "did you mean \"X\"?" for the nearest of `known` by edit distance, or a list of all when none is near.
std::string suggest(std::string_view given, std::span<const std::string_view> known);

}  // namespace tandem
