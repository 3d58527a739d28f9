#include "cli/chat.h"

#include <histedit.h>
#include <termios.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/log.h"
#include "cli/settings.h"

namespace tandem::cli {
namespace {

constexpr int kHistoryLines = 1000;

// Empty: none is kept.
std::string history_file() {
  const auto folder = user_folder([](const char* name) { return std::getenv(name); }, "XDG_STATE_HOME", ".local/state");
  return folder.empty() ? "" : (folder / "tandem" / "history").string();
}

// Ctrl-C on the input line: forget what was typed.
unsigned char clear_line(EditLine* line, int) {
  const LineInfo* info = el_line(line);
  el_cursor(line, static_cast<int>(info->lastchar - info->cursor));
  el_deletestr(line, static_cast<int>(info->lastchar - info->buffer));
  return CC_REDISPLAY;
}

}  // namespace

struct ChatPrompt::Impl {
  EditLine* line = nullptr;
  History* history = nullptr;
  HistEvent event{};
  std::string prompt;
  std::string history_path;
  bool history_saved = true;
  termios terminal{};

  // After each line: a program that is ended has no moment to do it.
  void save_history() {
    if (history_path.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(history_path).parent_path(), error);
    const bool saved = !error && ::history(history, &event, H_SAVE, history_path.c_str()) >= 0;
    if (!saved && history_saved) log(LogLevel::kWarn, Subsystem::kCli, "cannot save the history to {}", history_path);
    history_saved = saved;
  }

  static char* current_prompt(EditLine* edit_line) {
    void* self = nullptr;
    el_get(edit_line, EL_CLIENTDATA, &self);
    return static_cast<Impl*>(self)->prompt.data();
  }
};

ChatPrompt::ChatPrompt() : impl_(std::make_unique<Impl>()) {
  std::setlocale(LC_CTYPE, "");  // so that a character of several bytes is edited as one
  Impl& impl = *impl_;
  ::tcgetattr(STDIN_FILENO, &impl.terminal);
  impl.history_path = history_file();
  impl.history = history_init();
  history(impl.history, &impl.event, H_SETSIZE, kHistoryLines);
  history(impl.history, &impl.event, H_SETUNIQUE, 1);
  if (!impl.history_path.empty()) history(impl.history, &impl.event, H_LOAD, impl.history_path.c_str());
  impl.line = el_init("tandem", stdin, stdout, stderr);
  el_set(impl.line, EL_CLIENTDATA, &impl);
  el_set(impl.line, EL_PROMPT, &Impl::current_prompt);
  el_set(impl.line, EL_EDITOR, "emacs");
  el_set(impl.line, EL_HIST, history, impl.history);
  // While a line is edited Ctrl-C is a key, not a signal.
  el_set(impl.line, EL_SETTY, "-d", "-isig", nullptr);
  el_set(impl.line, EL_ADDFN, "tandem-clear-line", "forget the line", clear_line);
  el_set(impl.line, EL_BIND, "^C", "tandem-clear-line", nullptr);
  el_set(impl.line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

ChatPrompt::~ChatPrompt() {
  el_end(impl_->line);
  history_end(impl_->history);
}

std::optional<std::string> ChatPrompt::read_line(const std::string& prompt) {
  Impl& impl = *impl_;
  std::string text;
  impl.prompt = prompt;
  while (true) {
    int count = 0;
    const char* line = el_gets(impl.line, &count);
    if (line == nullptr || count <= 0) {
      std::fputc('\n', stdout);
      return std::nullopt;
    }
    std::string part(line, static_cast<std::size_t>(count));
    if (part.ends_with('\n')) part.pop_back();
    const bool more = part.ends_with('\\');
    if (more) part.back() = '\n';
    text += part;
    if (!more) break;
    impl.prompt = "| ";
  }
  if (!text.empty()) {
    history(impl.history, &impl.event, H_ENTER, text.c_str());
    impl.save_history();
  }
  return text;
}

void ChatPrompt::restore_terminal() const {
  ::tcsetattr(STDIN_FILENO, TCSANOW, &impl_->terminal);
}

}  // namespace tandem::cli
