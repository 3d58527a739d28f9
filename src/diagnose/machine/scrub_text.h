#pragma once
// Texts without what names a machine or a person.

#include <string>
#include <string_view>

namespace tandem {

/// "h0123cdef", the same for the same: it begins with what no hexadecimal number has, so that nobody takes it for the
/// beginning of a UUID.
std::string short_hash(std::string_view text);
bool is_short_hash(std::string_view text);

/// UUIDs of GPUs, and the beginnings of such, by their short hashes: "GPU-h0123cdef".
std::string without_uuids(std::string_view text);

/// Without UUIDs, serial numbers, people's folders, user@host, addresses of the internet, keys. A text that went
/// through it stays as it is. What a text names without any sign of it, it cannot find.
std::string scrubbed(std::string_view text);

}  // namespace tandem
