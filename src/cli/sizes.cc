#include "cli/sizes.h"

#include <algorithm>

#include "base/error.h"
#include "cli/settings.h"

namespace tandem::cli {
namespace {

std::int64_t parse_size(const std::string& text) {
  if (const auto bytes = parse_bytes(text); bytes && *bytes > 0) return *bytes;
  fail_with_hint(ErrorKind::kInvalidArgument, format("\"{}\" is no size", text),
                 "sizes are bytes, with K, M or G for 2^10, 2^20, 2^30: 1K:256M, or 4K,64K,1M");
}

}  // namespace

std::vector<std::int64_t> parse_sizes(const std::string& text) {
  std::vector<std::int64_t> sizes;
  if (const std::size_t colon = text.find(':'); colon != text.npos) {
    const std::int64_t last = parse_size(text.substr(colon + 1));
    std::int64_t size = parse_size(text.substr(0, colon));
    if (size > last) {
      fail_with_hint(ErrorKind::kInvalidArgument, format("sizes \"{}\" begin above their end", text),
                     "the smaller one comes first: 1K:256M");
    }
    for (; size <= last / 4; size *= 4) sizes.push_back(size);
    if (size != last) sizes.push_back(size);
    sizes.push_back(last);
    return sizes;
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    sizes.push_back(parse_size(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return sizes;
}

}  // namespace tandem::cli
