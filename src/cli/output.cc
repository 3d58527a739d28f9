#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "base/error.h"

namespace tandem::cli {

void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  fail_with_hint(ErrorKind::kUnreadable, format("cannot write to stdout: {}", std::strerror(errno)),
                 "is the disk full, or the pipe closed?");
}

void write_file(const std::string& path, std::string_view text) {
  std::ofstream file(path);
  if (!(file << text) || !file.flush()) fail(ErrorKind::kUnreadable, "cannot write {}: {}", path, std::strerror(errno));
}

}  // namespace tandem::cli
