#pragma once
// The input line of a chat: editing, history kept between runs, Ctrl-C that clears the line.

#include <memory>
#include <optional>
#include <string>

namespace tandem::cli {

/// One at a time, on a terminal.
class ChatPrompt {
 public:
  ChatPrompt();
  ~ChatPrompt();
  ChatPrompt(const ChatPrompt&) = delete;
  ChatPrompt& operator=(const ChatPrompt&) = delete;

  /// A line without its newline; nullopt at end of input (Ctrl-D). A backslash at its end asks for one more line.
  std::optional<std::string> read_line(const std::string& prompt);

  /// Gives the terminal the mode it had before, for a program that ends while a line is read. Any thread.
  void restore_terminal() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::cli
