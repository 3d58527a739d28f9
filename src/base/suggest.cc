#include "base/suggest.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/format.h"

namespace tandem {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string suggest(std::string_view given, std::span<const std::string_view> known) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, given.size() / 3) + 1;
  std::string all, with_it;
  const auto add = [](std::string& names, std::string_view name) {
    names += format("{}{}", names.empty() ? "" : ", ", name);
  };
  for (const std::string_view name : known) {
    add(all, name);
    if (given.size() >= 3 && name.find(given) != name.npos) add(with_it, name);
    if (const std::size_t distance = edit_distance(given, name); distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  if (!best.empty()) return format("did you mean \"{}\"?", best);
  return format("there are: {}", with_it.empty() ? all : with_it);
}

}  // namespace tandem
