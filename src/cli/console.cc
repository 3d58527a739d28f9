#include "cli/console.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/clock.h"
#include "base/format.h"
#include "base/log.h"
#include "base/quote.h"

namespace tandem::cli {
namespace {

constexpr int kBarWidth = 24;

double now_s() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

bool is_terminal(int file) {
  const char* term = std::getenv("TERM");
  return ::isatty(file) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

bool use_colour() {
  return stderr_is_terminal() && std::getenv("NO_COLOR") == nullptr;
}

void write_stderr(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace

bool stderr_is_terminal() {
  return is_terminal(STDERR_FILENO);
}

bool stdout_takes_colour() {
  return is_terminal(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr;
}

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), start_s_(now_s()) {}

ProgressBar::~ProgressBar() {
  if (drawn_) write_stderr("\r\x1b[K");
}

void ProgressBar::update(const LoadProgress& progress) {
  if (!stderr_is_terminal() || progress.bytes_total == 0) return;
  drawn_ = true;
  const double share = static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total);
  const int filled = static_cast<int>(share * kBarWidth);
  const double seconds = now_s() - start_s_;
  const auto rate = static_cast<std::uint64_t>(seconds > 0 ? static_cast<double>(progress.bytes_done) / seconds : 0);
  write_stderr(format("\r\x1b[K{} [{}{}] {:3.0f} %  {} of {}, {}/s", label_,
                      std::string(static_cast<std::size_t>(filled), '#'),
                      std::string(static_cast<std::size_t>(kBarWidth - filled), '.'), share * 100,
                      format_bytes(progress.bytes_done), format_bytes(progress.bytes_total), format_bytes(rate)));
}

StatusLine::~StatusLine() {
  if (drawn_) write_stderr("\r\x1b[K");
}

void StatusLine::show(std::string_view text) {
  if (!stderr_is_terminal()) return;
  drawn_ = true;
  write_stderr(format("\r\x1b[K{} ...", text));
}

void print_error(const Error& error) {
  const bool colour = use_colour();
  write_stderr(format("{}error[{}]:{} {}\n", colour ? "\x1b[1;31m" : "", to_string(error.kind()),
                      colour ? "\x1b[0m" : "", printable(error.what())));
  if (!error.hint().empty()) write_stderr(format("hint: {}\n", printable(error.hint())));
}

void print_recent_log(ErrorKind kind) {
  if (kind != ErrorKind::kTimeout && kind != ErrorKind::kPeerLost && kind != ErrorKind::kInternal) return;
  const std::vector<std::string> lines = recent_log_lines();
  if (lines.empty()) return;
  std::string text = format("the last {} lines of the log:\n", lines.size());
  for (const std::string& line : lines) text += "  " + line + "\n";
  write_stderr(text);
}

std::string format_bytes(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 1e9) return format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return format("{:.1f} MB", value / 1e6);
  if (value >= 1e3) return format("{:.1f} kB", value / 1e3);
  return format("{} B", bytes);
}

}  // namespace tandem::cli
