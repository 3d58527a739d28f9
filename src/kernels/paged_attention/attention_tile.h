#pragma once
// The inner part of CPU attention: some query rows against one tile of keys. Private to paged_attention.

#include <cstdint>

namespace tandem {

/// Keys are taken in tiles that start at multiples of this position. Each (row, tile) is computed on its own, and the
/// results are joined in order of tiles, whoever computed them: that is what makes results independent of batch and
/// threads. 128: the packed keys of a tile (32 KiB at head_dim 64) stay in the second-level cache.
inline constexpr int kTileKeys = 128;

/// One (query, head) and the keys of the tile that it sees: [begin, end), relative to the tile.
struct AttentionRow {
  const float* query;
  int begin;
  int end;
};

/// Scores of unnormalised softmax over a set of keys: weights e^(score - max), their sum, and the sum of weighted
/// values.
struct AttentionTile {
  const AttentionRow* rows;  ///< ordered so that neighbours see nearly the same keys
  std::int64_t num_rows;
  const float* const* keys;  ///< [kTileKeys], valid where some row sees the key
  const float* const* values;
  std::int64_t head_dim;
  float scale;
  float softcap;
  float* packed_keys;  ///< scratch, kTileKeys * head_dim
  float* max;          ///< out [num_rows]; lowest float for a row that sees nothing
  float* sum;          ///< out [num_rows]
  float* weighted;     ///< out [num_rows, head_dim]
};

}  // namespace tandem
