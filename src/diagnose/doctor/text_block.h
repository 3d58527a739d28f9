#pragma once
// Text for terminals of 80 columns.

#include <algorithm>
#include <string>
#include <string_view>

#include "base/quote.h"

namespace tandem {

/// `text` in lines of 80 columns, the first after `first`, the others after as many spaces. Words are not cut.
inline std::string wrapped(std::string_view first, std::string_view text) {
  constexpr std::size_t kColumns = 80;
  const std::string clean = printable(text);
  std::string lines, line(first);
  const std::string indent(first.size(), ' ');
  bool empty = true;
  for (std::size_t begin = 0; begin < clean.size();) {
    const std::size_t end = std::min(clean.find_first_of(" \n", begin), clean.size());
    const std::size_t length = end - begin;
    if (!empty && line.size() + 1 + length > kColumns) {
      lines += line + "\n";
      line = indent;
      empty = true;
    }
    if (length > 0) {
      if (!empty) line += ' ';
      line += clean.substr(begin, length);
      empty = false;
    }
    begin = end + 1;
  }
  return lines + line + "\n";
}

}  // namespace tandem
