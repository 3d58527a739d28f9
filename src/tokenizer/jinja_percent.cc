// The % operator of strings, on printf's pattern.

#include <cstdio>

#include "tokenizer/jinja_operators.h"
#include "tokenizer/jinja_text.h"

namespace tandem::jinja {
namespace {

struct Spec {
  std::string flags;
  int width = 0;
  int precision = -1;
};

constexpr int kMaxWidth = 1000;

class Formatter {
 public:
  Formatter(Runtime& runtime, std::string_view text, const Value& args) : runtime_(runtime), text_(text), args_(args) {
    if (args.is_sequence() && args.sequence().type == Sequence::Type::kTuple) tuple_ = &args.sequence().items;
  }

  std::string run() {
    while (at_ < text_.size()) {
      const std::size_t percent = std::min(text_.find('%', at_), text_.size());
      runtime_.append(out_, text_.substr(at_, percent - at_));
      at_ = percent + 1;
      if (percent < text_.size()) read_directive();
    }
    const std::size_t given = tuple_ ? tuple_->size() : (args_.is_dict() || args_.is_undefined() ? used_ : 1);
    if (used_ < given) raise("not all arguments were converted by '%'");
    return std::move(out_);
  }

 private:
  char take() {
    if (at_ == text_.size()) raise("incomplete format after '%'");
    return text_[at_++];
  }

  int read_number() {
    int number = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      number = number * 10 + (text_[at_++] - '0');
      if (number > kMaxWidth) raise("a width or precision after '%' is above {}", kMaxWidth);
    }
    return number;
  }

  const Value& next_argument() {
    if (named_) return *named_;
    if (!tuple_) {
      if (used_++ > 0) raise("not enough arguments for '%'");
      return args_;
    }
    if (used_ >= tuple_->size()) raise("not enough arguments for '%'");
    return (*tuple_)[used_++];
  }

  void read_directive() {
    named_ = nullptr;
    if (at_ < text_.size() && text_[at_] == '(') {
      const std::size_t end = text_.find(')', at_);
      if (end == text_.npos) raise("incomplete name after '%('");
      if (!args_.is_dict()) raise("'%(' needs a mapping");
      const std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
      named_ = find(args_.dict(), name);
      if (!named_) raise("'%({})' names no key", name);
      at_ = end + 1;
    }
    Spec spec;
    while (at_ < text_.size() && std::string_view("-+ 0#").find(text_[at_]) != std::string_view::npos) {
      if (spec.flags.find(text_[at_]) == spec.flags.npos) spec.flags += text_[at_];
      ++at_;
    }
    spec.width = read_number();
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      spec.precision = read_number();
    }
    const char kind = take();
    switch (kind) {
      case '%':
        return runtime_.append(out_, "%");
      case 's':
      case 'r':
        return put_text(kind, spec);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return put_integer(kind, spec);
      case 'f':
      case 'F':
      case 'e':
      case 'E':
      case 'g':
      case 'G':
        return put_float(kind, spec);
      default:
        raise("unsupported format character after '%': '{}'", std::string_view(&kind, 1));
    }
  }

  void put_text(char kind, const Spec& spec) {
    const Value& value = next_argument();
    std::string text;
    kind == 's' ? append_str(runtime_, text, value) : append_repr(runtime_, text, value);
    std::string_view shown = text;
    if (spec.precision >= 0) {
      std::size_t size = 0;
      for (int i = 0; i < spec.precision && size < text.size(); ++i) size += character_bytes(shown.substr(size));
      shown = shown.substr(0, size);
    }
    const std::size_t length = count_characters(shown);
    const std::string pad(static_cast<std::size_t>(spec.width) > length ? spec.width - length : 0, ' ');
    const bool left = spec.flags.find('-') != spec.flags.npos;
    runtime_.append(out_, left ? std::string(shown) + pad : pad + std::string(shown));
  }

  void put_integer(char kind, const Spec& spec) {
    const Value& value = next_argument();
    if (value.is_undefined()) raise_undefined(value);
    if (!value.is_number()) raise("'%{}' needs a number, not '{}'", std::string_view(&kind, 1), type_name(value));
    const double number = value.number();
    if (value.is<double>() && !(number > -0x1p63 && number < 0x1p63)) raise("a number for '%d' is out of range");
    const long long integer = value.is<double>() ? static_cast<long long>(number) : value.integer();
    // C prints negative numbers in bases 8 and 16 as unsigned; Python writes a sign.
    if (integer < 0 && kind != 'd' && kind != 'i' && kind != 'u')
      raise("'%{}' needs a number that is not negative", std::string_view(&kind, 1));
    put(spec, std::string("ll") + (kind == 'u' ? 'd' : kind), integer);
  }

  void put_float(char kind, const Spec& spec) {
    const Value& value = next_argument();
    if (value.is_undefined()) raise_undefined(value);
    if (!value.is_number()) raise("'%{}' needs a number, not '{}'", std::string_view(&kind, 1), type_name(value));
    put(spec, std::string(1, kind), value.number());
  }

  void put(const Spec& spec, const std::string& conversion, auto number) {
    std::string pattern = "%" + spec.flags + (spec.width > 0 ? std::to_string(spec.width) : "");
    if (spec.precision >= 0) pattern += "." + std::to_string(spec.precision);
    pattern += conversion;
    char buffer[2 * kMaxWidth + 512];  // %f of the largest double has 309 digits before the point
    const int size = std::snprintf(buffer, sizeof buffer, pattern.c_str(), number);
    runtime_.append(out_, {buffer, static_cast<std::size_t>(size)});
  }

  Runtime& runtime_;
  std::string_view text_;
  const Value& args_;
  const std::vector<Value>* tuple_ = nullptr;
  const Value* named_ = nullptr;
  std::size_t at_ = 0;
  std::size_t used_ = 0;
  std::string out_;
};

}  // namespace

std::string format_percent(Runtime& runtime, std::string_view text, const Value& args) {
  return Formatter(runtime, text, args).run();
}

}  // namespace tandem::jinja
