#pragma once
// What happens to a text before it is split: Unicode normalisation (utf8proc), replacements, stripping.

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/pattern.h"

namespace tandem {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

struct ReplaceText {
  Pattern pattern;
  std::string content;
};
struct PrependText {
  std::string text;  ///< not added to an empty text
};
struct StripText {
  bool left;
  bool right;
};

/// Steps applied in order. Immutable; any thread.
class Normalizer {
 public:
  using Step = std::variant<UnicodeForm, ReplaceText, PrependText, StripText>;

  Normalizer() = default;
  explicit Normalizer(std::vector<Step> steps) : steps_(std::move(steps)) {}

  bool is_identity() const { return steps_.empty(); }
  /// `text` is valid UTF-8.
  std::string normalize(std::string_view text) const;

 private:
  std::vector<Step> steps_;
};

}  // namespace tandem
