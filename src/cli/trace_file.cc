#include "cli/trace_file.h"

#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "base/trace.h"
#include "cli/console.h"

namespace tandem::cli {
namespace {

void write_file(const std::string& path, InterruptThread& interrupt) {
  stop_trace();
  interrupt.leave_time_to_finish();
  NewFile file(path);
  const TraceCounts counts = write_trace([&](std::string_view text) { file.write(text); });
  file.commit();
  std::fprintf(stderr, "%s",
               format("trace of {} spans in {}; open it with https://ui.perfetto.dev\n", counts.spans, path).c_str());
  if (counts.dropped == 0) return;
  std::fprintf(stderr, "%s",
               format("trace: {} older spans were dropped; {} a thread are kept, of {} threads at most\n",
                      counts.dropped, kTraceSpansPerThread, kMaxTraceThreads)
                   .c_str());
}

}  // namespace

int run_traced(const std::string& path, InterruptThread& interrupt, const std::function<int()>& command) {
  if (path.empty()) return command();
  (void)NewFile(path);
  start_trace();
  int status = 0;
  try {
    status = command();
  } catch (...) {
    // The command's own error is the one to report at the end.
    try {
      write_file(path, interrupt);
    } catch (const Error& error) {
      print_error(error);
    }
    throw;
  }
  write_file(path, interrupt);
  return status;
}

}  // namespace tandem::cli
