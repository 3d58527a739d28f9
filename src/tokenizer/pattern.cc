#include "tokenizer/pattern.h"

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace tandem {

std::optional<TextRange> Pattern::find(std::string_view text, std::size_t from) const {
  if (const auto* literal = std::get_if<std::string>(&what_)) {
    const std::size_t at = literal->empty() ? std::string_view::npos : text.find(*literal, from);
    if (at == std::string_view::npos) return std::nullopt;
    return TextRange{at, at + literal->size()};
  }
  while (true) {
    const auto found = std::get<Regex>(what_).find(text, from);
    if (!found || found->end > found->begin) return found;
    if (found->begin == text.size()) return std::nullopt;
    from = found->begin + utf8_length(text.substr(found->begin));
  }
}

std::string Pattern::replace_all(std::string_view text, std::string_view replacement) const {
  std::string result;
  std::size_t copied = 0;
  while (const auto found = find(text, copied)) {
    result.append(text, copied, found->begin - copied).append(replacement);
    copied = found->end;
    if (result.size() > kMaxTextBytes) {
      fail(ErrorKind::kInvalidArgument, "text grows past {} bytes when normalised", kMaxTextBytes);
    }
  }
  return result.append(text, copied);
}

}  // namespace tandem
