#pragma once
// The product of 16 rows of weights with up to 16 tokens, by a block of eight warps.
//
// Weights are read once, straight into the registers that mma.m16n8k16 takes as its A; nothing is staged. A warp takes
// columns in steps of 32: lane 4g + t holds eight columns of rows g and g + 8, and of x for token g. Which eight is the
// format's choice, the same for w and x, since a sum does not mind the order of its columns: eight neighbours in plain
// rows (16 bytes), two quads in quantised ones (quads.h). Two groups of steps take turns, so that the reads of one are
// under way while the other is multiplied.
//
// Warps share the columns of a row, and their sums are added in shared memory in a fixed order. A result depends
// neither on the number of tokens nor on the other rows.

#include "device/cuda/launch.cuh"
#include "device/cuda/memory.cuh"
#include "kernels/dequantise/quads.h"
#include "kernels/instructions.cuh"

namespace tandem {

constexpr int kTileRows = 16;
constexpr int kTileWarps = 8;
constexpr int kTileThreads = 32 * kTileWarps;
constexpr int kTokensOfTile = 8;                               // of one mma
static_assert(kTileThreads == kTileRows * kTokensOfTile * 2);  // a thread for each result of two

/// Without tensor cores for T: each lane gathers what its four sums need. Not inlined, since it is long and rare.
template <class T>
__device__ __attribute__((noinline)) float4 multiply_add_plain(float4 sum, uint4 a, uint2 b) {
  const int lane = static_cast<int>(threadIdx.x % 32), row = lane / 4, token = lane % 4 * 2;
  const auto value = [](std::uint32_t pair, int i) {
    const auto bits = static_cast<unsigned short>(pair >> (16 * i));
    if constexpr (std::is_same_v<T, __half>) {
      return __half2float(__ushort_as_half(bits));
    } else {
      return __uint_as_float(std::uint32_t{bits} << 16);
    }
  };
#pragma unroll 1
  for (int k = 0; k < 8; ++k) {  // columns 2k and 2k + 1
    const std::uint32_t low = __shfl_sync(0xffffffffu, k < 4 ? a.x : a.z, 4 * row + k % 4);
    const std::uint32_t high = __shfl_sync(0xffffffffu, k < 4 ? a.y : a.w, 4 * row + k % 4);
    const std::uint32_t x0 = __shfl_sync(0xffffffffu, k < 4 ? b.x : b.y, 4 * token + k % 4);
    const std::uint32_t x1 = __shfl_sync(0xffffffffu, k < 4 ? b.x : b.y, 4 * token + 4 + k % 4);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum.x += value(low, i) * value(x0, i);
      sum.y += value(low, i) * value(x1, i);
      sum.z += value(high, i) * value(x0, i);
      sum.w += value(high, i) * value(x1, i);
    }
  }
  return sum;
}

/// sum [16 rows, 8 tokens] += a [16 rows, 16 columns] * b [16 columns, 8 tokens]; as fragments of mma().
template <class T>
__device__ void multiply_add(float (&sum)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  const float4 result = multiply_add_plain<T>({sum[0], sum[1], sum[2], sum[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]});
  sum[0] = result.x;
  sum[1] = result.y;
  sum[2] = result.z;
  sum[3] = result.w;
#else
  mma<T>(sum, a, b[0], b[1]);
#endif
}

/// Rows of T.
template <class T>
struct PlainSteps {
  static constexpr int kRun = 2;  // steps of a warp side by side: a line of 128 bytes
  template <int kTokenTiles>
  static constexpr int kGroup = kTokenTiles == 1 ? 4 : 2;

  struct Raw {
    uint4 row[2];
  };
  __device__ static Raw load(const std::uint8_t* row0, const std::uint8_t* row1, unsigned step, int t, unsigned cols) {
    const unsigned col = step * kStepCols + 8 * t;
    const std::size_t at = std::size_t{col} * sizeof(T);
    return {cuda::load16_once(row0 + at, col < cols), cuda::load16_once(row1 + at, col < cols)};
  }
  __device__ static uint4 load_x(const T* x, unsigned step, int t, unsigned cols) {
    const unsigned col = step * kStepCols + 8 * t;
    return cuda::load16_or_zeros(x + col, x != nullptr && col < cols);
  }
  template <int kTokenTiles>
  __device__ static void multiply(float (&sums)[kTokenTiles][4], const Raw& raw, const uint4 (&x)[kTokenTiles],
                                  unsigned, int) {
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile) {
      multiply_add<T>(sums[tile], {raw.row[0].x, raw.row[1].x, raw.row[0].y, raw.row[1].y}, {x[tile].x, x[tile].y});
      multiply_add<T>(sums[tile], {raw.row[0].z, raw.row[1].z, raw.row[0].w, raw.row[1].w}, {x[tile].z, x[tile].w});
    }
  }
};

/// Four bytes, less an offset, as two pairs of T: whole numbers up to 256, so exact.
template <class T>
__device__ uint2 whole_numbers(std::uint32_t bytes, int offset) {
  const float base = 8388608.0f + static_cast<float>(offset);  // 0x4b000000 | n is 2^23 + n
  float values[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) values[i] = __uint_as_float(__byte_perm(bytes, 0x4b000000u, 0x7440 + i)) - base;
  if constexpr (std::is_same_v<T, __half>) {
    const __half2 pairs[] = {__floats2half2_rn(values[0], values[1]), __floats2half2_rn(values[2], values[3])};
    return {*reinterpret_cast<const std::uint32_t*>(&pairs[0]), *reinterpret_cast<const std::uint32_t*>(&pairs[1])};
  } else {
    const __nv_bfloat162 pairs[] = {__floats2bfloat162_rn(values[0], values[1]),
                                    __floats2bfloat162_rn(values[2], values[3])};
    return {*reinterpret_cast<const std::uint32_t*>(&pairs[0]), *reinterpret_cast<const std::uint32_t*>(&pairs[1])};
  }
}

/// Rows of quantised blocks: whole numbers are multiplied, their sums scaled in f32, so that no weight is rounded.
template <class T, DType kType>
struct QuadSteps {
  static constexpr int kRun = 8;  // a warp takes all that lies in the lines it reads: 256 columns
  template <int kTokenTiles>
  static constexpr int kGroup = kTokenTiles == 1 && kType < DType::kQ4_K ? 2 : 1;  // as registers allow
  static constexpr bool kTwoScales = kType == DType::kQ6_K;
  static constexpr bool kHasMin =
      kType == DType::kQ4_1 || kType == DType::kQ5_1 || kType == DType::kQ4_K || kType == DType::kQ5_K;
  static constexpr std::uint32_t kOnes = std::is_same_v<T, __half> ? 0x3c003c00u : 0x3f803f80u;

  struct Raw {
    RawQuads row[2];
  };
  __device__ static Raw load(const std::uint8_t* row0, const std::uint8_t* row1, unsigned step, int t, unsigned cols) {
    if (step * kStepCols >= cols) return {};
    return {load_quads<kType>(row0, step, t), load_quads<kType>(row1, step, t)};
  }
  __device__ static uint4 load_x(const T* x, unsigned step, int t, unsigned cols) {
    const unsigned col = step * kStepCols;
    return cuda::load8_8_or_zeros(x + col + quad_col(t, 0, 0), x + col + quad_col(t, 1, 0), x != nullptr && col < cols);
  }
  template <int kTokenTiles>
  __device__ static void multiply(float (&sums)[kTokenTiles][4], const Raw& raw, const uint4 (&x)[kTokenTiles],
                                  unsigned step, int t) {
    const Quads quads[2] = {unpack_quads<kType>(raw.row[0], step, t), unpack_quads<kType>(raw.row[1], step, t)};
    uint2 w[2][2];
#pragma unroll
    for (int row = 0; row < 2; ++row) {
#pragma unroll
      for (int h = 0; h < 2; ++h) w[row][h] = whole_numbers<T>(quads[row].bytes[h], quad_offset(kType));
    }
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile) {
      float part[4] = {0, 0, 0, 0};
      multiply_add<T>(part, {w[0][0].x, w[1][0].x, w[0][0].y, w[1][0].y}, {x[tile].x, x[tile].y});
      if constexpr (kTwoScales) {
        add_scaled(sums[tile], part, quads[0].scale[0], quads[1].scale[0]);
#pragma unroll
        for (float& value : part) value = 0;
      }
      multiply_add<T>(part, {w[0][1].x, w[1][1].x, w[0][1].y, w[1][1].y}, {x[tile].z, x[tile].w});
      add_scaled(sums[tile], part, quads[0].scale[1], quads[1].scale[1]);
      if constexpr (kHasMin) {
        float of_x[4] = {0, 0, 0, 0};
        multiply_add<T>(of_x, {kOnes, kOnes, kOnes, kOnes}, {x[tile].x, x[tile].y});
        multiply_add<T>(of_x, {kOnes, kOnes, kOnes, kOnes}, {x[tile].z, x[tile].w});
        add_scaled(sums[tile], of_x, -quads[0].min, -quads[1].min);
      }
    }
  }
  __device__ static void add_scaled(float (&sum)[4], const float (&part)[4], float scale0, float scale1) {
    sum[0] += scale0 * part[0];
    sum[1] += scale0 * part[1];
    sum[2] += scale1 * part[2];
    sum[3] += scale1 * part[3];
  }
};

/// The weights of a tile: rows from `first_row` on; those past the end repeat the last one and are dropped.
struct TileRows {
  const std::uint8_t* w;
  std::size_t row_stride;
  std::int64_t rows, cols, first_row;

  __device__ const std::uint8_t* row(int i) const { return w + min(first_row + i, rows - 1) * row_stride; }
};

/// Calls store(row, token, sum) once for each row and each token below 8 * kTokenTiles, rows past the end left out.
/// x_of(token) is where the token's x begins, or null: it counts as zeros. All threads of the block call it.
/// kWeightsFirst: nothing before has waited for earlier kernels; the first weights are asked for, then it waits.
template <class T, class Steps, int kTokenTiles, bool kWeightsFirst, class XOf, class Store>
__device__ void multiply_tile(const TileRows& tile, const XOf& x_of, const Store& store) {
  constexpr int kRun = Steps::kRun, kGroup = Steps::template kGroup<kTokenTiles>;
  constexpr int kTokens = kTokensOfTile * kTokenTiles, kRowsPadded = kTileRows + 4;  // no two lanes in one bank
  __shared__ float warp_sums[kTileWarps][kTokens][kRowsPadded];
  const unsigned warp = threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int g = lane / 4, t = lane % 4;
  const std::uint8_t* row0 = tile.row(g);
  const std::uint8_t* row1 = tile.row(g + 8);
  // A warp's steps: runs of kRun, of which the warps take turns.
  const auto step_at = [warp](unsigned i) -> unsigned { return (i / kRun * kTileWarps + warp) * kRun + i % kRun; };
  const auto cols = static_cast<unsigned>(tile.cols);
  const unsigned runs = (cols + kRun * kStepCols - 1) / (kRun * kStepCols);
  const unsigned num_steps = runs > warp ? (runs - warp + kTileWarps - 1) / kTileWarps * kRun : 0;

  typename Steps::Raw raw[2][kGroup];
  uint4 x[2][kGroup][kTokenTiles];
  const T* x_tokens[kTokenTiles];
  const auto load = [&](int half, unsigned i) {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) raw[half][k] = Steps::load(row0, row1, step_at(i + k), t, cols);
  };
  const auto load_x = [&](int half, unsigned i) {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) {
#pragma unroll
      for (int n = 0; n < kTokenTiles; ++n) {
        x[half][k][n] = Steps::load_x(x_tokens[n], step_at(i + k), t, cols);
      }
    }
  };
  load(0, 0);
  load(1, kGroup);
  if constexpr (kWeightsFirst) cuda::wait_for_kernels_before();
#pragma unroll
  for (int n = 0; n < kTokenTiles; ++n) x_tokens[n] = x_of(kTokensOfTile * n + g);
  load_x(0, 0);
  load_x(1, kGroup);

  float sums[kTokenTiles][4] = {};
  for (unsigned i = 0; i < num_steps; i += 2 * kGroup) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const unsigned begin = i + half * kGroup;
#pragma unroll
      for (int k = 0; k < kGroup; ++k) {
        Steps::template multiply<kTokenTiles>(sums, raw[half][k], x[half][k], step_at(begin + k), t);
      }
      load(half, begin + 2 * kGroup);
      load_x(half, begin + 2 * kGroup);
    }
  }

#pragma unroll
  for (int n = 0; n < kTokenTiles; ++n) {
    float(*to)[kRowsPadded] = &warp_sums[warp][kTokensOfTile * n + 2 * t];
    to[0][g] = sums[n][0];
    to[1][g] = sums[n][1];
    to[0][g + 8] = sums[n][2];
    to[1][g + 8] = sums[n][3];
  }
  __syncthreads();
  const int row = static_cast<int>(threadIdx.x) % kTileRows, token = static_cast<int>(threadIdx.x) / kTileRows;
  if (token < kTokens && tile.first_row + row < tile.rows) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kTileWarps; ++i) sum += warp_sums[i][token][row];
    store(tile.first_row + row, token, sum);
  }
}

/// dispatch_steps(x_dtype, w_dtype, [&]<class T, class Steps>() { return launch(...); }): for what row_tile_takes.
template <class Body>
cudaError_t dispatch_steps(DType x_dtype, DType w_dtype, const Body& body) {
  const auto of_activation = [&]<class T>() {
    if (w_dtype == x_dtype) return body.template operator()<T, PlainSteps<T>>();
    return dispatch_quantised(
        w_dtype, [&]<DType kType>() { return body.template operator()<T, QuadSteps<T, kType>>(); },
        cudaErrorInvalidValue);
  };
  return x_dtype == DType::kF16 ? of_activation.template operator()<__half>()
                                : of_activation.template operator()<__nv_bfloat16>();
}

}  // namespace tandem
