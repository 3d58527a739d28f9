#pragma once
// Files of the user's: looking at them without mistaking one that cannot be looked at for one that is not there, and
// writing them whole or not at all.

#include <filesystem>
#include <string>
#include <string_view>

namespace tandem {

/// Whether something is there (a file, a folder; the end of a link). Throws kUnreadable when the system cannot tell: a
/// folder that may not be entered, links in a circle, a name that is too long.
bool file_exists(const std::filesystem::path& path);
/// The same for a folder.
bool folder_exists(const std::filesystem::path& path);

/// The whole file. Throws as MappedFile does.
std::string read_text_file(const std::filesystem::path& path);

/// A file that appears under its name when it is complete: until commit() there is only a temporary one beside it,
/// which goes where there is no commit. Throws kUnreadable with the system's reason.
class NewFile {
 public:
  /// What `path` leads to may be there, if it is a plain file; commit() replaces it.
  explicit NewFile(const std::filesystem::path& path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::string_view text);
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
};

}  // namespace tandem
