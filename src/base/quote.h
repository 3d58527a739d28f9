#pragma once
// Text out of files, made fit for a terminal: what a file holds must not be able to flood or steer it.

#include <string>
#include <string_view>

namespace tandem {

/// `name` in double quotes, control characters and bytes that are no UTF-8 replaced by '?', the middle of long names
/// left out.
std::string quote(std::string_view name);

/// `text` with '?' for control characters but line breaks and tabs, C1 controls (U+0080 to U+009F) included, and for
/// bytes that are no UTF-8, which a terminal may take for them.
std::string printable(std::string_view text);

}  // namespace tandem
