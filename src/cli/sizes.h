#pragma once
// Sizes of messages as flags name them.

#include <cstdint>
#include <string>
#include <vector>

namespace tandem::cli {

/// "1K:256M": in steps of four, the end included. "4K,64K". Throws kInvalidArgument for what is neither.
std::vector<std::int64_t> parse_sizes(const std::string& text);

}  // namespace tandem::cli
