#include "weights/tensor_catalogue.h"

#include <algorithm>

#include "base/error.h"
#include "base/quote.h"
#include "base/suggest.h"

namespace tandem {
namespace {

constexpr std::size_t kMaxSuggestions = 3;
constexpr std::size_t kMaxComparedLength = 256;  // the comparison is quadratic in the length of a name

/// The entries whose names are nearest to `name`, a quarter of it off at most.
std::vector<std::string_view> near_misses(std::string_view name, const std::vector<TensorEntry>& entries) {
  const std::size_t limit = 1 + name.size() / 4;
  std::vector<std::pair<std::size_t, std::string_view>> found;
  for (const TensorEntry& entry : entries) {
    const std::size_t longer = std::max(entry.name.size(), name.size());
    if (longer > kMaxComparedLength || longer - std::min(entry.name.size(), name.size()) > limit) continue;
    const std::size_t distance = edit_distance(name, entry.name);
    if (distance <= limit) found.emplace_back(distance, entry.name);
  }
  std::sort(found.begin(), found.end());
  found.resize(std::min(found.size(), kMaxSuggestions));
  std::vector<std::string_view> names;
  for (const auto& [distance, candidate] : found) names.push_back(candidate);
  return names;
}

}  // namespace

TensorCatalogue::TensorCatalogue(std::string origin, std::vector<TensorEntry> entries,
                                 std::vector<UnusableTensor> unusable)
    : origin_(std::move(origin)), entries_(std::move(entries)), unusable_(std::move(unusable)) {
  std::sort(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::sort(unusable_.begin(), unusable_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::vector<std::string_view> names;
  names.reserve(entries_.size() + unusable_.size());
  for (const TensorEntry& entry : entries_) {
    names.push_back(entry.name);
    total_bytes_ += entry.bytes;
  }
  for (const UnusableTensor& tensor : unusable_) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) fail(ErrorKind::kBadFile, "{}: two tensors are named {}", origin_, quote(*twice));
}

const TensorEntry* TensorCatalogue::find(std::string_view name) const {
  const auto before = [](const auto& tensor, std::string_view wanted) { return tensor.name < wanted; };
  const auto entry = std::lower_bound(entries_.begin(), entries_.end(), name, before);
  if (entry != entries_.end() && entry->name == name) return &*entry;
  const auto tensor = std::lower_bound(unusable_.begin(), unusable_.end(), name, before);
  if (tensor != unusable_.end() && tensor->name == name) {
    fail_with_hint(ErrorKind::kUnsupported, format("{}: tensor {} {}", origin_, quote(name), tensor->reason),
                   "use a checkpoint in bf16, f16 or f32, or a GGUF file");
  }
  return nullptr;
}

const TensorEntry& TensorCatalogue::at(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return *entry;
  std::string hint;
  for (std::string_view candidate : near_misses(name, entries_)) {
    hint += (hint.empty() ? "the most similar names are " : ", ") + quote(candidate);
  }
  if (hint.empty()) hint = format("none of its {} tensors has a similar name", entries_.size());
  fail_with_hint(ErrorKind::kBadFile, format("{}: there is no tensor {}", origin_, quote(name)), hint);
}

}  // namespace tandem
