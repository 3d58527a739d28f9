#include "tokenizer/jinja_lexer.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/format.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

using Type = Token::Type;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool continues_name(char c) {
  return starts_name(c) || is_digit(c);
}
bool is_ascii_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string with_plain_newlines(std::string_view source) {
  std::string result;
  result.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      result += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      result += source[i];
    }
  }
  if (!result.empty() && result.back() == '\n') result.pop_back();
  return result;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const std::size_t tag = find_tag();
      if (tag == source_.npos) {
        add(Type::kData, source_.substr(at_), at_);
        at_ = source_.size();
        break;
      }
      read_tag(tag);
    }
    add(Type::kEnd, "", source_.size());
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::size_t offset, std::string message) {
    throw SyntaxError{position(offset), std::move(message)};
  }

  /// Offsets are asked for in rising order but for the places of errors.
  Position position(std::size_t offset) {
    if (offset < counted_) counted_ = line_start_ = 0, line_ = 1;
    for (; counted_ < offset; ++counted_) {
      if (source_[counted_] == '\n') ++line_, line_start_ = counted_ + 1;
    }
    return {line_, static_cast<int>(offset - line_start_) + 1};
  }

  void add(Type type, std::string_view text, std::size_t offset) {
    if (type == Type::kData && text.empty()) return;
    tokens_.push_back({type, std::string(text), position(offset)});
  }

  bool next_is(std::string_view text) const { return source_.substr(at_).starts_with(text); }

  /// Offset of the next "{{", "{%" or "{#".
  std::size_t find_tag() const {
    for (std::size_t i = source_.find('{', at_); i != source_.npos; i = source_.find('{', i + 1)) {
      if (i + 1 < source_.size() && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) return i;
    }
    return source_.npos;
  }

  /// The data before a tag that opens with `sign` ("-", "+" or 0), stripped as the sign and lstrip_blocks ask.
  std::string_view data_before(std::size_t tag, char sign, bool is_output) const {
    std::string_view data = source_.substr(at_, tag - at_);
    if (sign == '-') return strip_right(data);
    if (sign == '+' || is_output) return data;
    const std::size_t newline = data.rfind('\n');
    const std::size_t line = newline == data.npos ? 0 : newline + 1;
    const bool at_line_start = newline != data.npos || at_line_start_;
    return at_line_start && strip_left(data.substr(line)).empty() ? data.substr(0, line) : data;
  }

  char sign_at(std::size_t offset) const {
    return offset < source_.size() && (source_[offset] == '-' || source_[offset] == '+') ? source_[offset] : '\0';
  }

  void skip_space() { at_ += source_.size() - at_ - strip_left(source_.substr(at_)).size(); }

  /// Past the end of a tag, `closing` long, which stands at `at_`: after "-" all white space goes, without "+" one
  /// newline.
  void leave_tag(char sign, std::size_t closing, bool trim_newline) {
    at_ += closing + (sign != '\0');
    if (sign == '-') {
      skip_space();
    } else if (sign == '\0' && trim_newline && next_is("\n")) {
      ++at_;
    }
    at_line_start_ = source_[at_ - 1] == '\n';
  }

  void read_tag(std::size_t tag) {
    const char kind = source_[tag + 1];
    const char sign = sign_at(tag + 2);
    const std::size_t body = tag + 2 + (sign != '\0');
    add(Type::kData, data_before(tag, sign, kind == '{'), at_);
    at_ = body;
    if (kind == '#') return read_comment(tag);
    if (kind == '%' && read_raw(tag)) return;
    const bool is_output = kind == '{';
    add(is_output ? Type::kOutputBegin : Type::kBlockBegin, source_.substr(tag, 2), tag);
    read_code(tag, is_output);
  }

  void read_comment(std::size_t tag) {
    const std::size_t end = source_.find("#}", at_);
    if (end == source_.npos) fail(tag, "this comment is not closed with '#}'");
    const char sign = end > at_ ? sign_at(end - 1) : '\0';
    at_ = end - (sign != '\0');
    leave_tag(sign, 2, true);
  }

  /// Reads "raw %} ... {% endraw %}" if it stands here.
  bool read_raw(std::size_t tag) {
    std::size_t i = at_;
    while (i < source_.size() && is_ascii_space(source_[i])) ++i;
    if (!source_.substr(i).starts_with("raw")) return false;
    i += 3;
    while (i < source_.size() && is_ascii_space(source_[i])) ++i;
    const bool strips = i < source_.size() && source_[i] == '-';
    if (!source_.substr(i + strips).starts_with("%}")) return false;
    at_ = i;
    leave_tag(strips ? '-' : '\0', 2, false);
    for (std::size_t end = source_.find("{%", at_); end != source_.npos; end = source_.find("{%", end + 1)) {
      const char open_sign = sign_at(end + 2);
      std::size_t j = end + 2 + (open_sign != '\0');
      while (j < source_.size() && is_ascii_space(source_[j])) ++j;
      if (!source_.substr(j).starts_with("endraw")) continue;
      j += 6;
      while (j < source_.size() && is_ascii_space(source_[j])) ++j;
      const char close_sign = sign_at(j);
      if (!source_.substr(std::min(source_.size(), j + (close_sign != '\0'))).starts_with("%}")) continue;
      add(Type::kData, data_before(end, open_sign, false), at_);
      at_ = j;
      leave_tag(close_sign, 2, true);
      return true;
    }
    fail(tag, "expected '{% endraw %}' for this '{% raw %}', found the end of the template");
  }

  void read_code(std::size_t tag, bool is_output) {
    const std::string_view close = is_output ? "}}" : "%}";
    std::vector<char> open;  // brackets
    while (true) {
      skip_space();
      if (at_ == source_.size()) fail(tag, format("expected '{}' for this '{}'", close, source_.substr(tag, 2)));
      if (open.empty()) {
        const char sign = sign_at(at_);
        // "+" before "}}" is no sign but an operator.
        const bool is_sign = sign == '-' || (sign == '+' && !is_output);
        if (source_.substr(at_ + is_sign).starts_with(close)) {
          add(is_output ? Type::kOutputEnd : Type::kBlockEnd, close, at_);
          return leave_tag(is_sign ? sign : '\0', 2, !is_output);
        }
      }
      const char c = source_[at_];
      if (starts_name(c)) {
        const std::size_t begin = at_;
        while (at_ < source_.size() && continues_name(source_[at_])) ++at_;
        add(Type::kName, source_.substr(begin, at_ - begin), begin);
      } else if (is_digit(c)) {
        read_number();
      } else if (c == '\'' || c == '"') {
        read_text();
      } else {
        read_operator(open);
      }
    }
  }

  void read_operator(std::vector<char>& open) {
    static constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                      "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                      ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!next_is(op)) continue;
      if (op == "(" || op == "[" || op == "{") open.push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
      if (op == ")" || op == "]" || op == "}") {
        if (open.empty()) fail(at_, format("unexpected '{}'", op));
        if (open.back() != op[0]) fail(at_, format("unexpected '{}', expected '{}'", op, open.back()));
        open.pop_back();
      }
      add(Type::kOperator, op, at_);
      at_ += op.size();
      return;
    }
    fail(at_, format("unexpected character '{}'", source_.substr(at_, 1)));
  }

  /// Digits of the base with single "_" between them, appended to `digits`.
  void read_digits(std::string& digits, auto is_base_digit) {
    while (at_ < source_.size()) {
      const bool gap = source_[at_] == '_' && at_ + 1 < source_.size() && is_base_digit(source_[at_ + 1]);
      if (!gap && !is_base_digit(source_[at_])) return;
      if (!gap) digits += source_[at_];
      ++at_;
    }
  }

  void read_number() {
    const std::size_t begin = at_;
    std::string digits;
    const char base =
        at_ + 2 < source_.size() && source_[at_] == '0' ? static_cast<char>(source_[at_ + 1] | 0x20) : ' ';
    if (base == 'x' || base == 'o' || base == 'b') {
      const auto is_base_digit = [&](char c) {
        return base == 'b'
                   ? c == '0' || c == '1'
                   : (base == 'o' ? c >= '0' && c <= '7' : is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'));
      };
      if (is_base_digit(source_[at_ + 2])) {
        digits = {'0', base};
        at_ += 2;
        read_digits(digits, is_base_digit);
        return add(Type::kInteger, digits, begin);
      }
    }
    read_digits(digits, is_digit);
    bool is_float = false;
    // After a dot a number is an index: in "x.0.1" there is no 0.1.
    const bool after_dot = !tokens_.empty() && tokens_.back().is_operator(".");
    if (!after_dot && next_is(".") && at_ + 1 < source_.size() && is_digit(source_[at_ + 1])) {
      is_float = true;
      digits += '.';
      ++at_;
      read_digits(digits, is_digit);
    }
    if (!after_dot && (next_is("e") || next_is("E"))) {
      const std::size_t sign = at_ + 1 < source_.size() && (source_[at_ + 1] == '-' || source_[at_ + 1] == '+');
      if (at_ + 1 + sign < source_.size() && is_digit(source_[at_ + 1 + sign])) {
        is_float = true;
        digits += source_.substr(at_, 1 + sign);
        at_ += 1 + sign;
        read_digits(digits, is_digit);
      }
    }
    if (!is_float && digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of('0') != digits.npos) {
      fail(begin, format("an integer must not begin with 0: {}", digits));
    }
    add(is_float ? Type::kFloat : Type::kInteger, digits, begin);
  }

  void read_text() {
    const std::size_t begin = at_;
    const char quote = source_[at_++];
    std::string text;
    while (true) {
      if (at_ == source_.size()) fail(begin, "this string is not closed");
      const char c = source_[at_++];
      if (c == quote) break;
      if (c == '\\') {
        if (at_ == source_.size()) fail(begin, "this string is not closed");
        read_escape(text);
      } else {
        text += c;
      }
    }
    add(Type::kText, text, begin);
  }

  /// What follows a backslash, as in a Python string.
  void read_escape(std::string& text) {
    static constexpr std::string_view kNames = "abfnrtv\\'\"";
    static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
    const char c = source_[at_++];
    if (c == '\n') return;
    if (const std::size_t i = kNames.find(c); i != kNames.npos) {
      text += kValues[i];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      append_code_point(text, read_code_point(c == 'x' ? 2 : (c == 'u' ? 4 : 8)));
    } else if (c >= '0' && c <= '7') {
      std::uint32_t code = static_cast<std::uint32_t>(c - '0');
      for (int more = 0; more < 2 && at_ < source_.size() && source_[at_] >= '0' && source_[at_] <= '7'; ++more) {
        code = code * 8 + static_cast<std::uint32_t>(source_[at_++] - '0');
      }
      append_code_point(text, code);
    } else {
      text += '\\';
      text += c;
    }
  }

  std::uint32_t read_code_point(std::size_t num_digits) {
    std::uint32_t code = 0;
    for (std::size_t i = 0; i < num_digits; ++i) {
      const char c = at_ < source_.size() ? source_[at_] : '\0';
      const char lower = static_cast<char>(c | 0x20);
      if (!is_digit(c) && (lower < 'a' || lower > 'f')) fail(at_, format("expected {} hexadecimal digits", num_digits));
      code = code * 16 + static_cast<std::uint32_t>(is_digit(c) ? c - '0' : lower - 'a' + 10);
      ++at_;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) fail(at_ - num_digits, "this escape is no character");
    return code;
  }

  std::string_view source_;
  std::size_t at_ = 0;
  bool at_line_start_ = true;  ///< the last tag ended with a newline, or there was none yet
  std::vector<Token> tokens_;
  std::size_t counted_ = 0;  ///< position() has counted the lines up to here
  std::size_t line_start_ = 0;
  int line_ = 1;
};

}  // namespace

std::string describe(const Token& token) {
  switch (token.type) {
    case Type::kData:
      return "text";
    case Type::kName:
      return format("the name '{}'", token.text);
    case Type::kText:
      return "a string";
    case Type::kInteger:
    case Type::kFloat:
      return format("the number {}", token.text);
    case Type::kEnd:
      return "the end of the template";
    default:
      return format("'{}'", token.text);
  }
}

std::vector<Token> tokenize(std::string_view source) {
  const std::string text = with_plain_newlines(source);
  return Lexer(text).run();
}

}  // namespace tandem::jinja
