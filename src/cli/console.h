#pragma once
// What people see on stderr: progress, notes, errors. Data goes to stdout and is not this file's business.

#include <cstdint>
#include <string>
#include <string_view>

#include "tandem/error.h"
#include "tandem/model.h"

namespace tandem::cli {

/// Whether stderr is a terminal that takes control sequences: TERM=dumb does not. NO_COLOR is about colours only.
bool stderr_is_terminal();

/// Whether stdout is one that takes colours: NO_COLOR is not set.
bool stdout_takes_colour();

/// A bar on a terminal, redrawn in place; nothing elsewhere. One thread at a time.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ~ProgressBar();  ///< removes the bar
  void update(const LoadProgress& progress);

 private:
  std::string label_;
  bool drawn_ = false;
  double start_s_;
};

/// What is being done, on a terminal; nothing elsewhere. One thread at a time.
class StatusLine {
 public:
  ~StatusLine();  ///< removes it
  void show(std::string_view text);

 private:
  bool drawn_ = false;
};

/// "error[bad-file]: ..." and "hint: ..." on stderr, without what could steer the terminal: messages quote files of
/// others.
void print_error(const Error& error);

/// The last lines of the log on stderr, those too that --log-level holds back, where an error of this kind leaves one
/// asking what went before it: a timeout, a lost rank, a mistake of ours.
void print_recent_log(ErrorKind kind);

/// "1.23 GB", "456.7 MB", "890 B"; powers of ten.
std::string format_bytes(std::uint64_t bytes);

}  // namespace tandem::cli
