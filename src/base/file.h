#pragma once
// Looking at files of the user's without mistaking one that cannot be looked at for one that is not there.

#include <filesystem>
#include <string>

namespace tandem {

/// Whether something is there (a file, a folder; the end of a link). Throws kUnreadable when the system cannot tell: a
/// folder that may not be entered, links in a circle, a name that is too long.
bool file_exists(const std::filesystem::path& path);
/// The same for a folder.
bool folder_exists(const std::filesystem::path& path);

/// The whole file. Throws as MappedFile does.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace tandem
