#include "diagnose/machine/scrub_text.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/format.h"
#include "diagnose/machine/system_files.h"

namespace tandem {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_word(char c) {
  return is_letter(c) || is_digit(c) || c == '_';
}
// Of words such as "GPU-0123", "a@b.c", "fe80::1", "0000:17:00.0"; those in other alphabets too.
bool is_of_token(char c) {
  return is_word(c) || static_cast<unsigned char>(c) >= 0x80 ||
         std::string_view(".:@+-").find(c) != std::string_view::npos;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool ends_with_any(std::string_view text, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) {
    return text.size() >= end.size() &&
           std::equal(end.begin(), end.end(), text.end() - static_cast<std::ptrdiff_t>(end.size()),
                      [](char a, char b) { return a == lower(b); });
  });
}

// 8-4-4-4-12 hexadecimal digits
bool starts_with_uuid(std::string_view text) {
  constexpr std::size_t kLength = 36;
  if (text.size() < kLength) return false;
  for (std::size_t i = 0; i < kLength; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !is_hex(text[i])) return false;
  }
  return true;
}

// Of the system, the same on every machine.
bool is_common_path(std::string_view path) {
  constexpr std::array<std::string_view, 10> kCommon = {"/dev/", "/proc/",   "/sys/",           "/etc/",
                                                        "/lib",  "/usr/lib", "/usr/local/cuda", "/usr/local/lib",
                                                        "/run/", "/var/log/"};
  return path.find("/../") == path.npos &&
         std::any_of(kCommon.begin(), kCommon.end(), [&](auto common) { return path.starts_with(common); });
}

bool starts_path(std::string_view text, std::size_t at) {
  const char next = at + 1 < text.size() ? text[at + 1] : ' ';
  const bool begins = (text[at] == '/' && next != ' ') || (text[at] == '~' && (next == '/' || is_letter(next)));
  return begins && (at == 0 || !(is_word(text[at - 1]) || text[at - 1] == '.' || text[at - 1] == ')'));
}

// IPv4, with a port or without; IPv6, which has more colons than a PCI address.
bool is_internet_address(std::string_view token) {
  const std::vector<std::string_view> parts = split(token.substr(0, token.find(':')), '.');
  const bool v4 = parts.size() == 4 && std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
                    return part.size() <= 3 && number<unsigned>(part).value_or(256) < 256;
                  });
  const bool hex = std::all_of(token.begin(), token.end(), [](char c) { return is_hex(c) || c == ':' || c == '.'; });
  const bool v6 = hex && (token.find("::") != token.npos || std::count(token.begin(), token.end(), ':') >= 4);
  return v4 || v6;
}

class Scrubber {
 public:
  explicit Scrubber(std::string_view text) : text_(text) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (starts_path(text_, at_)) {
        path();
      } else if (is_of_token(text_[at_])) {
        token();
      } else {
        result_ += text_[at_++];
      }
    }
    return std::move(result_);
  }

 private:
  // Folders of people may have spaces in their names: such a path ends where those who write of paths end one.
  void path() {
    const std::size_t end = std::min(text_.size(), text_.find_first_of(" \t:,;\"')", at_));
    if (const std::string_view common = text_.substr(at_, end - at_); is_common_path(common)) {
      result_ += without_uuids(common);
      at_ = end;
      return;
    }
    result_ += "(path)";
    at_ = std::min(text_.size(), text_.find_first_of(":,;\"')", at_));
  }

  void token() {
    std::size_t end = at_;
    while (end < text_.size() && is_of_token(text_[end])) ++end;
    std::string_view token = text_.substr(at_, end - at_);
    const std::size_t colon = token.find(':');
    if (is_key(token.substr(0, colon)) && (colon != token.npos || text_.substr(end).starts_with('='))) {
      end = at_ + (colon != token.npos ? colon : token.size()) + 1;
      result_ += text_.substr(at_, end - at_);
      while (end < text_.size() && text_[end] == ' ') result_ += text_[end++];
      result_ += "(set)";
      at_ = std::min(text_.size(), text_.find_first_of(" \t,;", end));
      return;
    }
    at_ = end;
    const std::size_t length = token.find_last_not_of(".:") + 1;  // the end of a sentence
    const std::string_view rest = token.substr(length);
    token = token.substr(0, length);
    const bool numbered = std::any_of(token.begin(), token.end(), is_digit);
    if (const std::size_t sign = token.find('@'); sign != token.npos && sign > 0 && sign + 1 < token.size()) {
      result_ += "(name)";
    } else if (after_serial_ && numbered) {
      result_ += is_short_hash(token) ? std::string(token) : short_hash(token);
    } else if (is_internet_address(token)) {
      result_ += "(address)";
    } else {
      result_ += without_uuids(token);
    }
    after_serial_ = ends_with_any(token, {"serial"}) || (after_serial_ && ends_with_any(token, {"number", "no"}));
    result_ += rest;
  }

  static bool is_key(std::string_view token) {
    return ends_with_any(token, {"key", "token", "secret", "password", "passwd"});
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool after_serial_ = false;
  std::string result_;
};

}  // namespace

// FNV-1a of 64 bits, folded.
std::string short_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(lower(c))) * 0x100000001b3;
  return format("h{:08x}", static_cast<std::uint32_t>(hash ^ hash >> 32));
}

bool is_short_hash(std::string_view text) {
  return text.size() == 9 && text[0] == 'h' && std::all_of(text.begin() + 1, text.end(), is_hex);
}

std::string without_uuids(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (starts_with_uuid(rest)) {
      result += short_hash(rest.substr(0, 36));
      at += 36;
    } else if ((rest.starts_with("GPU-") || rest.starts_with("MIG-")) && rest.size() > 4 && is_hex(rest[4])) {
      std::size_t end = 4;
      if (!starts_with_uuid(rest.substr(4))) {
        while (end < rest.size() && (is_hex(rest[end]) || rest[end] == '-')) ++end;
      }
      result += rest.substr(0, 4);
      if (end > 4) result += short_hash(rest.substr(4, end - 4));
      at += end;
    } else {
      result += text[at++];
    }
  }
  return result;
}

std::string scrubbed(std::string_view text) {
  return Scrubber(text).run();
}

}  // namespace tandem
