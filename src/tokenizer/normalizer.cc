#include "tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

int options_of(UnicodeForm form) {
  switch (form) {
    case UnicodeForm::kNfc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case UnicodeForm::kNfd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case UnicodeForm::kNfkc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case UnicodeForm::kNfkd:
      break;
  }
  return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
}

struct Free {
  void operator()(utf8proc_uint8_t* p) const { std::free(p); }
};

std::string apply(UnicodeForm form, std::string text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (std::all_of(text.begin(), text.end(), is_ascii)) return text;
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &raw, static_cast<utf8proc_option_t>(options_of(form)));
  const std::unique_ptr<utf8proc_uint8_t, Free> owned(raw);
  if (size < 0) {
    fail(ErrorKind::kInvalidArgument, "text of {} bytes cannot be normalised: {}", text.size(), utf8proc_errmsg(size));
  }
  return {reinterpret_cast<const char*>(raw), static_cast<std::size_t>(size)};
}

std::string apply(const ReplaceText& step, std::string text) {
  return step.pattern.replace_all(text, step.content);
}

std::string apply(const PrependText& step, std::string text) {
  return text.empty() ? text : step.text + text;
}

std::string apply(const StripText& step, std::string text) {
  std::string_view rest = text;
  while (step.left && !rest.empty() && starts_with_white_space(rest)) rest.remove_prefix(utf8_length(rest));
  while (step.right && !rest.empty()) {
    const std::string_view last = rest.substr(last_character(rest));
    if (!starts_with_white_space(last)) break;
    rest.remove_suffix(last.size());
  }
  return std::string(rest);
}

}  // namespace

std::string Normalizer::normalize(std::string_view text) const {
  std::string result(text);
  for (const Step& step : steps_) {
    result = std::visit([&](const auto& one) { return apply(one, std::move(result)); }, step);
  }
  return result;
}

}  // namespace tandem
