#pragma once
// Ctrl-C and SIGTERM, taken by a thread of their own: no handler runs inside the ranks.

#include <functional>
#include <memory>

namespace tandem::cli {

/// While it lives, SIGINT and SIGTERM call `on_interrupt` on the thread that waits for them. Make it before any other
/// thread, so that all of them have the signals blocked. One at a time.
class InterruptThread {
 public:
  InterruptThread();
  ~InterruptThread();
  InterruptThread(const InterruptThread&) = delete;
  InterruptThread& operator=(const InterruptThread&) = delete;

  /// What to do from now on; empty: nothing but interrupted() and the deadline. Returns what was set before.
  std::function<void()> set_action(std::function<void()> on_interrupt);
  /// Whether a signal came since the last clear().
  bool interrupted() const;
  void clear();
  /// Whether the program is ended hard (status 130) when it has not ended 900 ms after a signal, or at the second one.
  /// On by default; a chat turns it off, since there a signal ends the answer only.
  void end_program_on_interrupt(bool end);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::cli
