#pragma once
// Ctrl-C and SIGTERM, taken by a thread of their own: no handler runs inside the ranks.

#include <functional>
#include <memory>
#include <utility>

namespace tandem::cli {

/// While it lives, SIGINT and SIGTERM run the InterruptAction of the moment on the thread that waits for them. Make it
/// before any other thread, so that all of them have the signals blocked. One at a time.
class InterruptThread {
 public:
  InterruptThread();
  ~InterruptThread();
  InterruptThread(const InterruptThread&) = delete;
  InterruptThread& operator=(const InterruptThread&) = delete;

  /// Whether a signal came since the last clear().
  bool interrupted() const;
  /// Whether a SIGTERM came, ever: the program is to end, whatever it does.
  bool terminated() const;
  void clear();
  /// Whether the program is ended hard (status 130) when it has not ended 900 ms after a Ctrl-C, or at the second one.
  /// On by default; a chat turns it off, since there Ctrl-C ends the answer only. After SIGTERM it is always on.
  void end_program_on_interrupt(bool end);
  /// The work is over and its files are being written: from now on only a second signal ends the program hard.
  void leave_time_to_finish();

 private:
  friend class InterruptAction;
  /// What to do from now on; empty: nothing but interrupted() and the deadline. Returns when an action that runs has
  /// ended.
  void set_action(std::function<void()> on_interrupt);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// An action for as long as this lives: what it uses may go once the scope is left, by an exception too.
class InterruptAction {
 public:
  InterruptAction(InterruptThread& thread, std::function<void()> on_interrupt) : thread_(thread) {
    thread_.set_action(std::move(on_interrupt));
  }
  ~InterruptAction() { thread_.set_action({}); }
  InterruptAction(const InterruptAction&) = delete;
  InterruptAction& operator=(const InterruptAction&) = delete;

 private:
  InterruptThread& thread_;
};

}  // namespace tandem::cli
