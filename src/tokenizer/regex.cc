#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "base/quote.h"
#include "tokenizer/other_tokenizer_hint.h"

namespace tandem {
namespace {

// A pattern of a known tokenizer takes a few steps a byte. The constant lets long runs backtrack once.
constexpr std::uint32_t kMatchSteps = 1'000'000;
constexpr std::uint32_t kMatchStepsPerByte = 16;
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;

/// Oniguruma's and Rust's meaning of \s, \S, \w spelled in properties, because PCRE2 10.42 counts U+180E as space and
/// leaves marks out of \w. Refuses what PCRE2 would silently read as something else.
std::string translate(std::string_view pattern, std::string_view origin) {
  const auto refuse = [&](std::string_view construct) {
    fail_with_hint(
        ErrorKind::kUnsupported,
        format("{}: regular expression {} uses {}, which is not supported", origin, quote(pattern), construct),
        kOtherTokenizerHint);
  };
  static constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
  std::string result;
  bool in_class = false;
  std::size_t class_start = 0;  // index of the first member: a ']' there is a member itself
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      switch (escaped) {
        case 's':
          result += R"(\p{White_Space})";
          break;
        case 'S':
          result += R"(\P{White_Space})";
          break;
        case 'w':
          result.append(in_class ? "" : "[").append(kWord).append(in_class ? "" : "]");
          break;
        case 'W':
          if (in_class) refuse("\\W inside a character class");
          result.append("[^").append(kWord).append("]");
          break;
        case 'b':
        case 'B':
        case 'h':
        case 'H':
        case 'K':
        case 'C':
        case 'Q':
        case 'E':
          refuse(std::string("\\") + escaped);
          break;
        default:
          result += c;
          result += escaped;
      }
      continue;
    }
    if (!in_class && c == '[') {
      in_class = true;
      class_start = i + 1 + (i + 1 < pattern.size() && pattern[i + 1] == '^');
    } else if (in_class && c == ']' && i != class_start) {
      in_class = false;
    } else if (in_class && c == '[') {
      refuse("a class inside a character class");
    } else if (in_class && c == '&' && pattern.substr(i).starts_with("&&")) {
      refuse("&& inside a character class");
    } else if (!in_class && c == '(' && (pattern.substr(i).starts_with("(*") || pattern.substr(i).starts_with("(?C"))) {
      refuse("a PCRE2 verb or callout");
    }
    result += c;
  }
  return result;
}

struct Deleter {
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
};

/// What a search writes to: one of each a thread, reused.
struct Scratch {
  std::unique_ptr<pcre2_match_context, Deleter> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_match_data, Deleter> data{pcre2_match_data_create(1, nullptr)};
};

std::string message_of(int error) {
  char text[256];
  pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof text);
  return text;
}

}  // namespace

struct Regex::Code {
  std::unique_ptr<pcre2_code, Deleter> code;
  bool jit = false;
  std::string origin;
};

Regex::Regex(std::string_view pattern, std::string_view origin) {
  const std::string translated = translate(pattern, origin);
  const std::unique_ptr<pcre2_compile_context, Deleter> context(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  std::size_t offset = 0;
  auto code = std::make_shared<Code>();
  code->origin = origin;
  // ^ and $ match at lines in the reference engine too.
  code->code.reset(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE, &error,
                    &offset, context.get()));
  if (!code->code) {
    fail(ErrorKind::kBadFile, "{}: regular expression {} does not compile: {} (at byte {} of {})", origin,
         quote(pattern), message_of(error), offset, quote(translated));
  }
  code->jit = pcre2_jit_compile(code->code.get(), PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(code);
}

std::optional<TextRange> Regex::find(std::string_view text, std::size_t from) const {
  thread_local const Scratch scratch;
  const std::size_t steps = kMatchSteps + kMatchStepsPerByte * (text.size() - from);
  pcre2_set_match_limit(scratch.context.get(), static_cast<std::uint32_t>(std::min<std::size_t>(steps, 0xFFFFFFFF)));
  pcre2_set_heap_limit(scratch.context.get(), kHeapLimitKiB);
  const auto search = [&](auto* match, std::uint32_t options) {
    return match(code_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, options,
                 scratch.data.get(), scratch.context.get());
  };
  int result = code_->jit ? search(pcre2_jit_match, 0) : PCRE2_ERROR_JIT_STACKLIMIT;
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = search(pcre2_match, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    fail(ErrorKind::kBadFile, "{}: regular expression gives up at byte {} of a text of {} bytes: {}", code_->origin,
         from, text.size(), message_of(result));
  }
  const std::size_t* bounds = pcre2_get_ovector_pointer(scratch.data.get());
  return TextRange{bounds[0], bounds[1]};
}

bool starts_with_white_space(std::string_view text) {
  static const Regex regex(R"(\A\s)", "white space");
  return regex.find(text, 0).has_value();
}

bool starts_with_word_character(std::string_view text) {
  static const Regex regex(R"(\A[\w\p{Join_Control}])", "word character");
  return regex.find(text, 0).has_value();
}

}  // namespace tandem
