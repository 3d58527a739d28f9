// Flash attention over pages. A block takes 128 rows of one sequence, or 64, a row being a query with one of the query
// heads that share a kv head; each of its warps owns 16 rows and keeps their weighted values in registers. Keys and
// values come to shared memory in tiles, the next one while one is used. Tiles begin at multiples of their length, so
// the bits of a row do not depend on which rows share its block.
#include <cmath>

#include "device/cuda/launch.cuh"
#include "device/cuda/memory.cuh"
#include "kernels/paged_attention/attention_device.cuh"

namespace tandem {
namespace {

// For heads of at most kDim channels. Shared memory stays below the 99 KB of sm_86.
template <int kDim>
struct Layout {
  static constexpr int kWarps = kDim > 128 ? 4 : 8;
  static constexpr int kRows = 16 * kWarps;
  static constexpr int kKeys = kDim > 128 ? 32 : 64;  // of a tile
  static constexpr int kChunks = kDim / 8;            // of 16 bytes, a key
  static constexpr int kTileChunks = kKeys * kChunks;
  static constexpr int kQueryChunks = kWarps * kDim / 16 * 32;  // as a lane holds them: 16 bytes for 16 channels
  // Two tiles of keys and two of values, then the queries.
  static constexpr std::size_t kSharedBytes = (4 * kTileChunks + kQueryChunks) * sizeof(uint4);
  // Where a chunk of a key lies: eight keys in a row put the same chunk into different banks.
  __device__ static int place(int key, int chunk) { return key * kChunks + (chunk ^ (key % 8)); }
};

struct RowTile {
  int sequence;
  int query_begin;     // of the sequence, in q
  int num_queries;     // of the sequence; 0: there is no such tile
  int first_row;       // of the tile, among the rows of the sequence
  int first_position;  // of the sequence's first query
};

// The tiles of all sequences are numbered through, those of a sequence from its end: they see most keys, and are best
// begun first. All lanes of a warp call it.
template <int kRows>
__device__ RowTile find_tile(const PagedAttentionCuda& p, int num_heads, int index) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int first = 0; first < p.num_sequences; first += 32) {
    const int i = first + lane;
    int begin = 0, queries = 0, before = 0;
    if (i < p.num_sequences) {
      begin = p.query_begin[i];
      queries = p.query_begin[i + 1] - begin;
      before = p.context_len[i] - queries;
    }
    const int tiles = (queries * num_heads + kRows - 1) / kRows;
    int last = tiles;  // of this sequence and those before
#pragma unroll
    for (int lanes = 1; lanes < 32; lanes *= 2) {
      const int others = __shfl_up_sync(0xffffffffu, last, lanes);
      if (lane >= lanes) last += others;
    }
    const unsigned here = __ballot_sync(0xffffffffu, index < last);
    if (here != 0) {
      const int at = __ffs(static_cast<int>(here)) - 1;
      return {first + at, __shfl_sync(0xffffffffu, begin, at), __shfl_sync(0xffffffffu, queries, at),
              (__shfl_sync(0xffffffffu, last, at) - 1 - index) * kRows, __shfl_sync(0xffffffffu, before, at)};
    }
    index -= __shfl_sync(0xffffffffu, last, 31);
  }
  return {};
}

template <class T, int kDim>
__global__ void __launch_bounds__(Layout<kDim>::kWarps * 32, 1) prefill_kernel(const PagedAttentionCuda p) {
  using Tile = Layout<kDim>;
  constexpr int kKeys = Tile::kKeys, kThreads = Tile::kWarps * 32;
  uint4* const shared_tiles = cuda::dynamic_shared<uint4>();
  __shared__ int shared_rows[2][kKeys];  // of the cache; below 0: the key is not read
  cuda::let_next_kernel_start();
  cuda::wait_for_kernels_before();
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32, g = lane / 4, c = lane % 4;
  const int kv_head = static_cast<int>(blockIdx.y);
  const HeadRange heads = heads_of_kv(kv_head, p.q_heads, p.group_size, p.first_query_head, p.first_kv_head);
  if (heads.count == 0) return;
  const RowTile rows = find_tile<Tile::kRows>(p, heads.count, static_cast<int>(blockIdx.x));
  if (rows.num_queries == 0) return;
  const int num_rows = rows.num_queries * heads.count, head_dim = p.head_dim;
  const int last_row = min(num_rows, rows.first_row + Tile::kRows) - 1;
  const int first_position = rows.first_position + rows.first_row / heads.count;  // of the tile's rows
  const int last_position = rows.first_position + last_row / heads.count;
  const int key_begin = first_visible_key(first_position, p.sliding_window), key_end = last_position + 1;
  const int tile_begin = key_begin / kKeys, tile_end = (max(key_end, 0) + kKeys - 1) / kKeys;

  // The rows g and g + 8 of the warp.
  const int warp_row = rows.first_row + warp * 16;
  const bool has_rows = warp_row < num_rows;
  const auto row_of_lane = [&](int j) { return min(warp_row + g + 8 * j, num_rows - 1); };  // surplus ones too
  const auto query_of = [&](int row) { return std::int64_t{rows.query_begin} + row / heads.count; };
  const auto head_of = [&](int row) { return heads.begin + row % heads.count; };
  const int position[2] = {rows.first_position + row_of_lane(0) / heads.count,
                           rows.first_position + row_of_lane(1) / heads.count};
  // Each lane writes and reads its own.
  uint4* queries = shared_tiles + 4 * Tile::kTileChunks + warp * (kDim / 16) * 32 + lane;
  for (int k = 0; 16 * k < head_dim; ++k) {
    std::uint32_t word[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = row_of_lane(i % 2), dim = 16 * k + 2 * c + 8 * (i / 2);
      const T* from = static_cast<const T*>(p.q) + (query_of(row) * p.q_heads + head_of(row)) * head_dim + dim;
      word[i] = dim < head_dim ? *reinterpret_cast<const std::uint32_t*>(from) : 0;
    }
    queries[32 * k] = uint4{word[0], word[1], word[2], word[3]};
  }

  const auto row_of_thread = [&](int tile) {
    const int key = tile * kKeys + thread;
    return thread < kKeys && key_begin <= key && key < key_end ? row_of_key(p, rows.sequence, key) : -1;
  };
  const auto keys_of = [&](int tile) { return shared_tiles + tile % 2 * 2 * Tile::kTileChunks; };
  const auto start_tile = [&](int tile) {
    uint4* keys = keys_of(tile);
    uint4* values = keys + Tile::kTileChunks;
    const int chunks = (head_dim + 15) / 16 * 2;  // zeros fill the last step of 16 channels
#pragma unroll 4
    for (int i = 0; i < Tile::kTileChunks / kThreads; ++i) {
      const int at = i * kThreads + thread, key = at / Tile::kChunks, chunk = at % Tile::kChunks;
      if (chunk >= chunks) continue;
      const int row = shared_rows[tile % 2][key];
      const bool is_read = row >= 0 && chunk * 8 < head_dim;
      const std::int64_t from = is_read ? (row * p.kv_heads + kv_head) * head_dim + chunk * 8 : 0;
      start_copy16(keys + Tile::place(key, chunk), static_cast<const T*>(p.k_pages) + from, is_read);
      start_copy16(values + Tile::place(key, chunk), static_cast<const T*>(p.v_pages) + from, is_read);
    }
  };

  float weighted[kDim / 8][4] = {};  // 8 channels: rows g and g + 8, channels 2c and 2c + 1
  float max[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  if (tile_begin < tile_end) {
    if (thread < kKeys) shared_rows[tile_begin % 2][thread] = row_of_thread(tile_begin);
    __syncthreads();
    start_tile(tile_begin);
  }
  int next_row = row_of_thread(tile_begin + 1);
  for (int tile = tile_begin; tile < tile_end; ++tile) {
    if (thread < kKeys) shared_rows[(tile + 1) % 2][thread] = next_row;
    next_row = row_of_thread(tile + 2);
    wait_for_copies();
    __syncthreads();  // the tile is there, the rows of the next are, and nobody uses the tile before
    if (tile + 1 < tile_end) start_tile(tile + 1);
    if (!has_rows) continue;
    const uint4* keys = keys_of(tile);
    const uint4* values = keys + Tile::kTileChunks;

    float score[kKeys / 8][4] = {};  // 8 keys: rows g and g + 8, keys 2c and 2c + 1
#pragma unroll
    for (int k = 0; k < kDim / 16; ++k) {
      if (16 * k >= head_dim) continue;
      const uint4 query_words = queries[32 * k];
      const std::uint32_t a[4] = {query_words.x, query_words.y, query_words.z, query_words.w};
#pragma unroll
      for (int n = 0; n < kKeys / 16; ++n) {
        std::uint32_t b[4];
        load_matrices(b, keys + Tile::place(16 * n + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
        mma<T>(score[2 * n], a, b[0], b[1]);
        mma<T>(score[2 * n + 1], a, b[2], b[3]);
      }
    }
    // Whether every row sees every key of the tile, and all of them were read.
    const int first_key = tile * kKeys;
    const bool sees_all =
        first_key + kKeys - 1 <= first_position && first_key >= first_visible_key(last_position, p.sliding_window);
    to_scores(p, reinterpret_cast<float(&)[kKeys / 2]>(score));
    if (!sees_all) {
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int begin = first_visible_key(position[j], p.sliding_window) - first_key - 2 * c;
        const int end = position[j] + 1 - first_key - 2 * c;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            if (8 * n + i < begin || 8 * n + i >= end) score[n][2 * j + i] = -INFINITY;
          }
        }
      }
    }
    float decay[2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float top = max[j];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) top = fmaxf(top, fmaxf(score[n][2 * j], score[n][2 * j + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
      const float base = top == -INFINITY ? 0.0f : top;  // the row has seen no key yet
      decay[j] = exp2_approx(max[j] - base);
      max[j] = top;
      sum[j] *= decay[j];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        score[n][2 * j] = exp2_approx(score[n][2 * j] - base);
        score[n][2 * j + 1] = exp2_approx(score[n][2 * j + 1] - base);
        sum[j] += score[n][2 * j] + score[n][2 * j + 1];
      }
    }
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) weighted[n][i] *= decay[i / 2];
    }
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      const std::uint32_t share[4] = {
          packed<T>(score[2 * k][0], score[2 * k][1]), packed<T>(score[2 * k][2], score[2 * k][3]),
          packed<T>(score[2 * k + 1][0], score[2 * k + 1][1]), packed<T>(score[2 * k + 1][2], score[2 * k + 1][3])};
#pragma unroll
      for (int n = 0; n < kDim / 16; ++n) {
        if (16 * n >= head_dim) continue;
        std::uint32_t b[4];
        load_matrices_transposed(b, values + Tile::place(16 * k + lane % 16, 2 * n + lane / 16));
        mma<T>(weighted[2 * n], share, b[0], b[1]);
        mma<T>(weighted[2 * n + 1], share, b[2], b[3]);
      }
    }
  }
  if (!has_rows) return;
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    float total = sum[j] + __shfl_xor_sync(0xffffffffu, sum[j], 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    if (warp_row + g + 8 * j >= num_rows) continue;
    const float scale = total == 0 ? 0.0f : 1.0f / total;  // 0: a query without context
    const int row = row_of_lane(j);
    T* to = static_cast<T*>(p.out) + query_of(row) * p.out_cols + p.out_col_begin + head_of(row) * head_dim;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      if (8 * n >= head_dim) continue;
      to[8 * n + 2 * c] = rounded<T>(weighted[n][2 * j] * scale);
      to[8 * n + 2 * c + 1] = rounded<T>(weighted[n][2 * j + 1] * scale);
    }
  }
}

template <class T, int kDim>
cudaError_t launch_prefill(void* stream, const PagedAttentionCuda& args) {
  using Tile = Layout<kDim>;
  const cudaError_t error = cudaFuncSetAttribute(prefill_kernel<T, kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 static_cast<int>(Tile::kSharedBytes));
  if (error != cudaSuccess) return error;
  // Each sequence may have one tile that is not full.
  const std::int64_t rows = args.num_queries * max_heads_of_kv(args.q_heads, args.group_size);
  const std::int64_t tiles = rows / Tile::kRows + args.num_sequences;
  const cuda::Grid grid{.blocks = dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(args.kv_heads)),
                        .threads = Tile::kWarps * 32,
                        .shared_bytes = Tile::kSharedBytes};
  return cuda::launch(stream, grid, prefill_kernel<T, kDim>, args);
}

template <class T>
cudaError_t launch_prefill(void* stream, const PagedAttentionCuda& args) {
  if (args.head_dim <= 64) return launch_prefill<T, 64>(stream, args);
  if (args.head_dim <= 128) return launch_prefill<T, 128>(stream, args);
  return launch_prefill<T, 256>(stream, args);
}

}  // namespace

int prefill_attention_cuda(void* stream, DType dtype, const PagedAttentionCuda& args) {
  return dtype == DType::kF16 ? launch_prefill<__half>(stream, args) : launch_prefill<__nv_bfloat16>(stream, args);
}

}  // namespace tandem
