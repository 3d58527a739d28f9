#pragma once
// Cuts a text into the words that byte-pair encoding handles one by one.

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/pattern.h"

namespace tandem {

/// What becomes of the matches of a splitting pattern (the names of tokenizer.json).
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// Cuts at the matches of a pattern.
struct SplitStep {
  Pattern pattern;
  SplitBehavior behavior;
  bool invert;  ///< what does not match counts as match, and the reverse
};
/// Puts a space before every text that has none.
struct PrefixSpaceStep {};
/// Spaces become `replacement`, which is put before a text too, and starts a word.
struct MetaspaceStep {
  enum class Prepend { kAlways, kFirst, kNever };
  std::string replacement;
  Prepend prepend;
  bool split;
};
/// Cuts before every run of `mark`. Only for speed: where no piece reaches across such a place, shorter words merge to
/// the same ids (see BpeModel).
struct CutBeforeRunStep {
  std::string mark;
};

class PreTokenizer {
 public:
  using Step = std::variant<SplitStep, PrefixSpaceStep, MetaspaceStep, CutBeforeRunStep>;

  struct Word {
    std::string_view text;
    bool at_start;  ///< begins where the whole text begins
  };
  /// Owns the texts that steps rewrite; Words point into it.
  using Arena = std::deque<std::string>;

  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<Step> steps) : steps_(std::move(steps)) {}
  void append(Step step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }

  /// The words of `text`, none of them empty. They point into `text` and `arena`.
  std::vector<Word> split(Word text, Arena& arena) const;

 private:
  std::vector<Step> steps_;
};

}  // namespace tandem
