#pragma once
// "Did you mean ...?"

#include <span>
#include <string>
#include <string_view>

namespace tandem {

/// Levenshtein's distance: insertions, deletions and replacements of bytes that turn one text into the other.
/// Quadratic.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// "did you mean \"X\"?" for the nearest of `known` by edit distance; when none is near, a list of those that contain
/// `given`, or of all.
std::string suggest(std::string_view given, std::span<const std::string_view> known);

}  // namespace tandem
