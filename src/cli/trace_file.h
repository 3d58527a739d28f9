#pragma once
// --trace FILE: records while a command runs, and writes the file when it is over, however it ended.

#include <functional>
#include <string>

#include "cli/interrupt.h"

namespace tandem::cli {

/// Runs `command` and returns its status; with a `path` that is not empty, traced. Throws kUnreadable, before the
/// command is run, where the file cannot be written. What the command throws is thrown after the file is written.
int run_traced(const std::string& path, InterruptThread& interrupt, const std::function<int()>& command);

}  // namespace tandem::cli
