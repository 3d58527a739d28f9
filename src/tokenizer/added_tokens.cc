#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace tandem {
namespace {

bool ends_with_word_character(std::string_view text) {
  return !text.empty() && starts_with_word_character(text.substr(last_character(text)));
}

}  // namespace

std::int32_t StringMatcher::child(std::int32_t node, unsigned char byte) const {
  const auto& children = nodes_[node].children;
  const auto found = std::lower_bound(children.begin(), children.end(), std::pair(byte, std::int32_t{0}));
  return found != children.end() && found->first == byte ? found->second : -1;
}

void StringMatcher::add(std::string_view text, std::int32_t index) {
  if (text.empty()) return;
  std::int32_t node = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    std::int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      auto& children = nodes_[node].children;
      const std::pair entry(byte, next);
      children.insert(std::lower_bound(children.begin(), children.end(), entry), entry);
      nodes_.emplace_back();
    }
    node = next;
  }
  if (nodes_[node].index < 0) nodes_[node].index = index;
  starts_[static_cast<unsigned char>(text.front())] = true;
}

std::optional<StringMatcher::Match> StringMatcher::find(std::string_view text, std::size_t from) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (!starts_[static_cast<unsigned char>(text[begin])]) continue;
    std::optional<Match> longest;
    std::int32_t node = 0;
    for (std::size_t at = begin; at < text.size(); ++at) {
      node = child(node, static_cast<unsigned char>(text[at]));
      if (node < 0) break;
      if (nodes_[node].index >= 0) longest = Match{{begin, at + 1}, nodes_[node].index};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const std::vector<std::string>& normalized_contents)
    : tokens_(std::move(tokens)) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    const std::string& sought = token.normalized ? normalized_contents[i] : token.content;
    matchers_[token.normalized].add(sought, static_cast<std::int32_t>(i));
    meanings_[token.id] = {token.special, sought};
  }
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool normalized, bool parse_special) const {
  std::vector<Part> parts;
  std::size_t done = 0;  // text up to here is in `parts`
  std::size_t from = 0;
  while (const auto match = matchers_[normalized].find(text, from)) {
    const AddedToken& token = tokens_[match->index];
    auto [begin, end] = match->range;
    from = end;
    if (token.special && !parse_special) continue;
    if (token.single_word && (ends_with_word_character(text.substr(0, begin)) ||
                              (end < text.size() && starts_with_word_character(text.substr(end))))) {
      continue;
    }
    while (token.lstrip && begin > done) {
      const std::size_t last = last_character(text.substr(0, begin));
      if (!starts_with_white_space(text.substr(last))) break;
      begin = last;
    }
    while (token.rstrip && end < text.size() && starts_with_white_space(text.substr(end))) {
      end += utf8_length(text.substr(end));
    }
    if (begin > done) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), token.id});
    done = std::max(done, end);
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

bool AddedTokens::is_special(std::int32_t id) const {
  const auto found = meanings_.find(id);
  return found != meanings_.end() && found->second.special;
}

const std::string* AddedTokens::decoded(std::int32_t id) const {
  const auto found = meanings_.find(id);
  return found == meanings_.end() ? nullptr : &found->second.decoded;
}

}  // namespace tandem
