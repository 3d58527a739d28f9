#include "cli/interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"

namespace tandem::cli {
namespace {

constexpr std::chrono::milliseconds kGrace{900};

}  // namespace

struct InterruptThread::Impl {
  std::mutex mutex;
  std::function<void()> action;
  std::atomic<bool> interrupted{false};
  std::atomic<bool> terminated{false};
  std::atomic<bool> stop{false};
  std::atomic<bool> end_program{true};
  std::atomic<bool> finishing{false};
  std::thread thread;

  void wait_for_signals(const sigset_t& signals) {
    const int interrupted_status = exit_status(ErrorKind::kCancelled);
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
    while (!stop.load()) {
      const timespec poll{0, 50'000'000};
      const int signal = sigtimedwait(&signals, nullptr, &poll);
      const bool may_end = end_program.load() || terminated.load();
      if (std::chrono::steady_clock::now() > deadline && may_end && !finishing.load()) _exit(interrupted_status);
      if (signal < 0) continue;
      const bool again = signal == SIGTERM ? terminated.exchange(true) : interrupted.load() && may_end;
      interrupted.store(true);
      if (again) _exit(interrupted_status);
      deadline = std::chrono::steady_clock::now() + kGrace;
      const std::lock_guard lock(mutex);
      if (action) action();
    }
  }
};

InterruptThread::InterruptThread() : impl_(std::make_unique<Impl>()) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  impl_->thread = std::thread([this, signals] { impl_->wait_for_signals(signals); });
}

InterruptThread::~InterruptThread() {
  impl_->stop.store(true);
  impl_->thread.join();
}

void InterruptThread::set_action(std::function<void()> on_interrupt) {
  const std::lock_guard lock(impl_->mutex);
  impl_->action = std::move(on_interrupt);
}

bool InterruptThread::interrupted() const {
  return impl_->interrupted.load();
}
bool InterruptThread::terminated() const {
  return impl_->terminated.load();
}
void InterruptThread::clear() {
  impl_->interrupted.store(false);
}
void InterruptThread::leave_time_to_finish() {
  impl_->finishing.store(true);
}
void InterruptThread::end_program_on_interrupt(bool end) {
  impl_->end_program.store(end);
}

}  // namespace tandem::cli
