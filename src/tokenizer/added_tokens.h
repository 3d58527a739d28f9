#pragma once
// Tokens that are found in the text as a whole, before it is normalised and split: special tokens and others.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/pattern.h"

namespace tandem {

/// The names are those of tokenizer.json.
struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< matches only where no word character touches it
  bool lstrip = false;       ///< takes the white space on its left with it
  bool rstrip = false;
  bool normalized = false;  ///< searched in the normalised text, by its normalised content
  bool special = false;
};

/// Finds the longest of many strings at the leftmost place.
class StringMatcher {
 public:
  /// `index` is given back by find(). An empty string is not added; of equal strings the first stays.
  void add(std::string_view text, std::int32_t index);

  struct Match {
    TextRange range;
    std::int32_t index;
  };
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::int32_t>> children;  // sorted by byte
    std::int32_t index = -1;
  };
  std::int32_t child(std::int32_t node, unsigned char byte) const;

  std::vector<Node> nodes_{1};
  std::array<bool, 256> starts_{};  // first bytes of the strings
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// `normalized_contents[i]` is the content of tokens[i] as the model's normalizer leaves it.
  AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& normalized_contents);

  /// A stretch of text, or a token found in it (id >= 0).
  struct Part {
    std::string_view text;
    std::int32_t id;
  };
  /// Cuts `text` at the tokens whose `normalized` is as given. With `parse_special` false, special ones are not found.
  /// Parts without id are not empty.
  std::vector<Part> split(std::string_view text, bool normalized, bool parse_special) const;

  bool is_special(std::int32_t id) const;
  /// What an added token decodes to: its normalised content if it is a normalised one. Null for other ids.
  const std::string* decoded(std::int32_t id) const;

 private:
  std::vector<AddedToken> tokens_;
  StringMatcher matchers_[2];  // of those not normalised, and those that are
  struct Meaning {
    bool special;
    std::string decoded;
  };
  std::unordered_map<std::int32_t, Meaning> meanings_;  // by id
};

}  // namespace tandem
