#pragma once
// Data on stdout and in files: what could not be written is an error, not a shorter file and status 0.

#include <string>
#include <string_view>

namespace tandem::cli {

/// Writes and flushes. Throws kUnreadable with the system's reason.
void write_stdout(std::string_view text);

/// The file's whole content, whatever was there. Throws kUnreadable with the system's reason.
void write_file(const std::string& path, std::string_view text);

}  // namespace tandem::cli
