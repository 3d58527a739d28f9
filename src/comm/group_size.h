#pragma once

namespace tandem {

inline constexpr int kMaxWorldSize = 16;

}  // namespace tandem
