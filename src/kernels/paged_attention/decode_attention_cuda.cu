// A unit, one query with up to 8 heads that share a kv head, reads each key and value once. Its visible keys are cut in
// splits that do not depend on the batch (attention_plan.h); the 8 warps of a block share a split in tiles of 16 keys,
// and the blocks of a unit share its splits. What waits here is memory, so a warp asks for all the keys and values of a
// tile at once, straight to registers in the layout of the tensor cores: a lane's 16 bytes are 8 neighbouring channels,
// which stand for whatever columns of the product the instruction wants of that lane, the same in q and k. The last
// block of a unit to finish joins the partial results, in the order of the splits.
#include <cmath>

#include "device/cuda/launch.cuh"
#include "kernels/paged_attention/attention_device.cuh"

namespace tandem {
namespace {

constexpr int kBlockDims = 64;               // channels that 8 lanes hold in 16 bytes each
constexpr int kHeadStride = kBlockDims + 2;  // of results in shared memory: two lanes a bank, not eight

struct Query {
  int sequence;
  int position;  // below 0: it has no context, or belongs to no sequence
};

// All lanes of a warp call it. Where no sequence is empty, that of a query has no larger number than the query.
__device__ Query find_query(const PagedAttentionCuda& p, int query) {
  const int lane = static_cast<int>(threadIdx.x % 32), num_groups = (static_cast<int>(p.num_sequences) + 31) / 32;
  int group = min(query / 32, num_groups - 1);
  for (int tries = 0; tries < num_groups; ++tries, group = group > 0 ? group - 1 : num_groups - 1) {
    const int i = group * 32 + lane;
    int begin = 0, end = 0, context = 0;
    if (i < p.num_sequences) {
      begin = p.query_begin[i];
      end = p.query_begin[i + 1];
      context = p.context_len[i];
    }
    const unsigned here = __ballot_sync(0xffffffffu, begin <= query && query < end);
    if (here != 0) {
      const int at = __ffs(static_cast<int>(here)) - 1;
      return {group * 32 + at, __shfl_sync(0xffffffffu, context - end, at) + query};
    }
  }
  return {0, -1};
}

struct UnitHeads {
  std::int64_t begin;  // query heads here
  int count;
  std::int64_t kv_head;
};

// A warp's share of a split: attends to 16 keys at a time, then gives its maxima, sums and weighted values.
// With tensor cores: scores are keys by heads, weighted values channels by heads, so a lane's columns are the heads 2c
// and 2c + 1 in both.
template <class T, int kBlocks>
class TensorCoreWarp {
 public:
  // All warps work with the same queries: in shared memory they take no registers. A __syncthreads() must follow.
  using SharedQueries = uint4[2 * kBlocks][32];
  __device__ void load_queries(const PagedAttentionCuda& p, std::int64_t query, const UnitHeads& heads,
                               SharedQueries& queries) {
    queries_ = queries;
    if (threadIdx.x >= 2 * kBlocks * 32) return;
    const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, i = static_cast<int>(threadIdx.x / 32);
    const int dim = (4 * i + lane % 4) * 8;
    const T* from = static_cast<const T*>(p.q) + (query * p.q_heads + heads.begin + g) * p.head_dim + dim;
    queries[i][lane] = g < heads.count && dim < p.head_dim ? *reinterpret_cast<const uint4*>(from) : uint4{};
  }

  __device__ void clear() {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      max_[h] = -INFINITY;
      sum_[h] = 0;
    }
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
#pragma unroll
      for (int i = 0; i < 4; ++i) weighted_[b][i][0] = weighted_[b][i][1] = weighted_[b][i][2] = weighted_[b][i][3] = 0;
    }
  }

  // `row` of lane i is the row of the tile's key i, below 0: there is none. The first key is there.
  __device__ void attend(const PagedAttentionCuda& p, std::int64_t kv_head, int row) {
    const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, c = lane % 4;
    const std::int64_t stride = p.kv_heads * p.head_dim;
    const int key_row[2] = {__shfl_sync(0xffffffffu, row, g), __shfl_sync(0xffffffffu, row, g + 8)};
    const int value_row[4] = {__shfl_sync(0xffffffffu, row, 2 * c), __shfl_sync(0xffffffffu, row, 2 * c + 1),
                              __shfl_sync(0xffffffffu, row, 2 * c + 8), __shfl_sync(0xffffffffu, row, 2 * c + 9)};
    const T* keys = static_cast<const T*>(p.k_pages) + kv_head * p.head_dim;
    const T* values = static_cast<const T*>(p.v_pages) + kv_head * p.head_dim;
    uint4 key[2 * kBlocks][2], value[kBlocks][4];
#pragma unroll
    for (int i = 0; i < 2 * kBlocks; ++i) {
      const int dim = (4 * i + c) * 8;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        key[i][j] = uint4{};
        if (key_row[j] >= 0 && dim < p.head_dim) {
          key[i][j] = *reinterpret_cast<const uint4*>(keys + key_row[j] * stride + dim);
        }
      }
    }
    const auto load_values = [&] {
#pragma unroll
      for (int b = 0; b < kBlocks; ++b) {
        const int dim = b * kBlockDims + 8 * g;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          value[b][j] = uint4{};
          if (value_row[j] >= 0 && dim < p.head_dim) {
            value[b][j] = *reinterpret_cast<const uint4*>(values + value_row[j] * stride + dim);
          }
        }
      }
    };
    if (kBlocks <= 2) load_values();  // else registers do not hold both

    float even[4] = {}, odd[4] = {};  // two chains of products wait half as long as one
#pragma unroll
    for (int i = 0; i < 2 * kBlocks; ++i) {
      const uint4 query = queries_[i][lane];  // head g, channels of lane c
      mma<T>(even, {key[i][0].x, key[i][1].x, key[i][0].y, key[i][1].y}, query.x, query.y);
      mma<T>(odd, {key[i][0].z, key[i][1].z, key[i][0].w, key[i][1].w}, query.z, query.w);
    }
    float score[2][2];  // keys g and g + 8 by heads 2c and 2c + 1
#pragma unroll
    for (int i = 0; i < 4; ++i) score[i / 2][i % 2] = even[i] + odd[i];
    to_scores(p, reinterpret_cast<float(&)[4]>(score));
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (key_row[j] < 0) score[j][0] = score[j][1] = -INFINITY;
    }
    float decay[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float top = fmaxf(score[0][h], score[1][h]);
#pragma unroll
      for (int lanes = 4; lanes < 32; lanes *= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, lanes));
      top = fmaxf(top, max_[h]);
      decay[h] = exp2_approx(max_[h] - top);
      max_[h] = top;
      score[0][h] = exp2_approx(score[0][h] - top);
      score[1][h] = exp2_approx(score[1][h] - top);
      sum_[h] = sum_[h] * decay[h] + (score[0][h] + score[1][h]);
    }
    if (kBlocks > 2) load_values();
    const std::uint32_t share0 = transposed(packed<T>(score[0][0], score[0][1]));
    const std::uint32_t share1 = transposed(packed<T>(score[1][0], score[1][1]));
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      const std::uint32_t(&v)[4][4] = reinterpret_cast<const std::uint32_t(&)[4][4]>(value[b]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {  // rows g are channels 8g + 2i, rows g + 8 channels 8g + 2i + 1
        float(&sum)[4] = weighted_[b][i];
        sum[0] *= decay[0];
        sum[1] *= decay[1];
        sum[2] *= decay[0];
        sum[3] *= decay[1];
        mma<T>(sum,
               {__byte_perm(v[0][i], v[1][i], 0x5410), __byte_perm(v[0][i], v[1][i], 0x7632),
                __byte_perm(v[2][i], v[3][i], 0x5410), __byte_perm(v[2][i], v[3][i], 0x7632)},
               share0, share1);
      }
    }
  }

  // To [kHeadsOfUnit] each.
  __device__ void store_sums(float* max, float* sum) {
    const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, c = lane % 4;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float total = sum_[h];
#pragma unroll
      for (int lanes = 4; lanes < 32; lanes *= 2) total += __shfl_xor_sync(0xffffffffu, total, lanes);
      if (g == 0) {
        max[2 * c + h] = max_[h];
        sum[2 * c + h] = total;
      }
    }
  }

  // To [kHeadsOfUnit][kHeadStride], of heads below `num_heads` or a few more.
  __device__ void store_weighted(int block, int num_heads, float* to) const {
    const int lane = static_cast<int>(threadIdx.x % 32), g = lane / 4, c = lane % 4;
    if (2 * c >= num_heads) return;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      if (b != block) continue;  // registers have no index at run time
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          *reinterpret_cast<float2*>(to + (2 * c + h) * kHeadStride + 8 * g + 2 * i) =
              float2{weighted_[b][i][h], weighted_[b][i][2 + h]};
        }
      }
    }
  }

 private:
  const uint4 (*queries_)[32];
  float weighted_[kBlocks][4][4];
  float max_[2], sum_[2];  // sums of this lane's keys alone
};

// Without: a lane holds 8 channels of all heads.
template <class T>
class PlainWarp {
 public:
  struct SharedQueries {};
  __device__ void load_queries(const PagedAttentionCuda& p, std::int64_t query, const UnitHeads& heads,
                               SharedQueries&) {
    const T* from = static_cast<const T*>(p.q) + (query * p.q_heads + heads.begin) * p.head_dim;
#pragma unroll
    for (int h = 0; h < kHeadsOfUnit; ++h) load(query_[h], from + h * p.head_dim, p, h < heads.count);
    num_heads_ = heads.count;
  }

  __device__ void clear() {
#pragma unroll
    for (int h = 0; h < kHeadsOfUnit; ++h) {
      max_[h] = -INFINITY;
      sum_[h] = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i) weighted_[h][i] = 0;
    }
  }

  __device__ void attend(const PagedAttentionCuda& p, std::int64_t kv_head, int row) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const std::int64_t stride = p.kv_heads * p.head_dim, head = kv_head * p.head_dim;
    float share[kHeadsOfUnit];  // of the key of this lane
#pragma unroll
    for (int h = 0; h < kHeadsOfUnit; ++h) share[h] = 0;
#pragma unroll 2
    for (int j = 0; j < kDecodeTileKeys; ++j) {
      const int key_row = __shfl_sync(0xffffffffu, row, j);
      float key[8];
      load(key, static_cast<const T*>(p.k_pages) + key_row * stride + head, p, key_row >= 0);
#pragma unroll
      for (int h = 0; h < kHeadsOfUnit; ++h) {
        if (h >= num_heads_) continue;
        float dot = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) dot += query_[h][i] * key[i];
        dot = warp_sum(dot);
        if (lane == j && key_row >= 0) share[h] = dot;
      }
    }
    to_scores(p, share);
    if (lane >= kDecodeTileKeys || row < 0) {  // which a softcap has made finite
#pragma unroll
      for (int h = 0; h < kHeadsOfUnit; ++h) share[h] = -INFINITY;
    }
#pragma unroll
    for (int h = 0; h < kHeadsOfUnit; ++h) {
      const float top = fmaxf(max_[h], warp_max(share[h])), decay = exp2_approx(max_[h] - top);
      max_[h] = top;
      share[h] = exp2_approx(share[h] - top);
      sum_[h] = sum_[h] * decay + share[h];
#pragma unroll
      for (int i = 0; i < 8; ++i) weighted_[h][i] *= decay;
    }
#pragma unroll 2
    for (int j = 0; j < kDecodeTileKeys; ++j) {
      const int value_row = __shfl_sync(0xffffffffu, row, j);
      float value[8];
      load(value, static_cast<const T*>(p.v_pages) + value_row * stride + head, p, value_row >= 0);
#pragma unroll
      for (int h = 0; h < kHeadsOfUnit; ++h) {
        if (h >= num_heads_) continue;
        const float weight = __shfl_sync(0xffffffffu, share[h], j);
#pragma unroll
        for (int i = 0; i < 8; ++i) weighted_[h][i] += weight * value[i];
      }
    }
  }

  __device__ void store_sums(float* max, float* sum) {
#pragma unroll
    for (int h = 0; h < kHeadsOfUnit; ++h) {
      const float total = warp_sum(sum_[h]);
      if (threadIdx.x % 32 == 0) {
        max[h] = max_[h];
        sum[h] = total;
      }
    }
  }

  __device__ void store_weighted(int block, int num_heads, float* to) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (lane / 8 != block) return;
#pragma unroll
    for (int h = 0; h < kHeadsOfUnit; ++h) {
      if (h >= num_heads) continue;
#pragma unroll
      for (int i = 0; i < 8; ++i) to[h * kHeadStride + lane % 8 * 8 + i] = weighted_[h][i];
    }
  }

 private:
  // This lane's channels of a head; zeros where there are none or `is_there` is false.
  __device__ static void load(float (&to)[8], const T* head, const PagedAttentionCuda& p, bool is_there) {
    const int dim = static_cast<int>(threadIdx.x % 32) * 8;
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = 0;
    if (!is_there || dim >= p.head_dim) return;
    constexpr int kCount = Elements16<T>::kCount;
#pragma unroll
    for (int i = 0; i < 8; i += kCount) {
      const Elements16<T> elements = load16(head + dim + i);
#pragma unroll
      for (int j = 0; j < kCount; ++j) to[i + j] = as_float(elements.values[j]);
    }
  }

  float query_[kHeadsOfUnit][8], weighted_[kHeadsOfUnit][8];
  float max_[kHeadsOfUnit], sum_[kHeadsOfUnit];
  int num_heads_;
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
template <class T, int kBlocks>
using DecodeWarp = PlainWarp<T>;
#else
template <class T, int kBlocks>
using DecodeWarp = std::conditional_t<std::is_same_v<T, float>, PlainWarp<T>, TensorCoreWarp<T, kBlocks>>;
#endif

// The blocks of one query fill a large GPU twice, so two at once spare it a second round, where registers allow.
template <class T, int kBlocks>
constexpr int kBlocksAtOnce = std::is_same_v<DecodeWarp<T, kBlocks>, PlainWarp<T>> || kBlocks > 2 ? 1 : 2;

// One head's result over some keys; a lane holds the channels 2 lane and 2 lane + 1 of each block.
template <int kBlocks>
struct Partial {
  float max, sum;
  float2 weighted[kBlocks];
};

// Where it lies in scratch meanwhile.
struct PartialPlace {
  float* weighted;
  float2* max_and_sum;
};

// `all` takes in the keys that follow its own. The same instructions whoever joins, hence the same bits.
template <int kBlocks>
__device__ void join(Partial<kBlocks>& all, const Partial<kBlocks>& next) {
  const float top = fmaxf(all.max, next.max);
  const float decay = exp2_approx(all.max - top), share = exp2_approx(next.max - top);
  all.max = top;
  all.sum = __fmaf_rn(all.sum, decay, __fmul_rn(next.sum, share));
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
    all.weighted[b].x = __fmaf_rn(all.weighted[b].x, decay, __fmul_rn(next.weighted[b].x, share));
    all.weighted[b].y = __fmaf_rn(all.weighted[b].y, decay, __fmul_rn(next.weighted[b].y, share));
  }
}

template <class T, int kBlocks>
__global__ void __launch_bounds__(kDecodeWarps * 32, kBlocksAtOnce<T, kBlocks>)
    decode_kernel(const PagedAttentionCuda p) {
  __shared__ float shared_max[kDecodeWarps][kHeadsOfUnit], shared_sum[kDecodeWarps][kHeadsOfUnit];
  __shared__ __align__(16) float shared_weighted[kDecodeWarps][kHeadsOfUnit * kHeadStride];
  __shared__ typename DecodeWarp<T, kBlocks>::SharedQueries shared_queries;
  __shared__ Partial<kBlocks> shared_all[kDecodeWarps * 32];  // each thread's own: registers are scarce in the loop
  __shared__ bool is_last;
  cuda::let_next_kernel_start();
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const unsigned chunks = chunks_of_kv(p.q_heads, p.group_size), units = static_cast<unsigned>(p.kv_heads) * chunks;
  const unsigned query = blockIdx.x / units, unit = blockIdx.x % units, kv_head = unit / chunks;
  const HeadRange group = heads_of_kv(kv_head, p.q_heads, p.group_size, p.first_query_head, p.first_kv_head);
  const int before = static_cast<int>(unit % chunks) * kHeadsOfUnit;
  const UnitHeads heads{group.begin + before, min(kHeadsOfUnit, group.count - before), kv_head};
  cuda::wait_for_kernels_before();
  if (heads.count <= 0) return;
  const Query at = find_query(p, static_cast<int>(query));
  const auto out_of_warp = [&] {
    return static_cast<T*>(p.out) + std::int64_t{query} * p.out_cols + p.out_col_begin +
           (heads.begin + warp) * p.head_dim;
  };
  if (at.position < 0) {
    if (blockIdx.y > 0 || warp >= heads.count) return;
    T* out = out_of_warp();
    for (int dim = lane; dim < p.head_dim; dim += 32) out[dim] = rounded<T>(0.0f);
    return;
  }
  const int begin = first_visible_key(at.position, p.sliding_window), end = at.position + 1;
  const int splits_bound = max_splits(units);
  const Splits splits = split_keys(end - begin, splits_bound);
  const int blocks = min(static_cast<int>(gridDim.y), splits.count);
  if (static_cast<int>(blockIdx.y) >= blocks) return;

  // Of head `warp`.
  const auto partial_place = [&](int split) {
    auto* weighted = reinterpret_cast<float*>(static_cast<char*>(p.scratch) + kCounterBytes);
    auto* sums = reinterpret_cast<float2*>(weighted + p.num_queries * p.q_heads * splits_bound * p.head_dim);
    const std::int64_t place = (query * p.q_heads + heads.begin + warp) * splits_bound + split;
    return PartialPlace{weighted + place * p.head_dim, sums + place};
  };

  DecodeWarp<T, kBlocks> state;
  state.load_queries(p, query, heads, shared_queries);
  shared_all[threadIdx.x] = {-INFINITY, 0, {}};
  for (int split = static_cast<int>(blockIdx.y); split < splits.count; split += blocks) {
    const int split_begin = begin + split * splits.keys, split_end = min(end, split_begin + splits.keys);
    const auto row_of_lane = [&](int tile) {
      const int position = tile + lane;
      return lane < kDecodeTileKeys && position < split_end ? row_of_key(p, at.sequence, position) : -1;
    };
    state.clear();
    constexpr int kStep = kDecodeWarps * kDecodeTileKeys;
    int tile = split_begin + warp * kDecodeTileKeys;
    int row = row_of_lane(tile);
    if (split == static_cast<int>(blockIdx.y)) __syncthreads();  // the queries are there
    for (; tile < split_end; tile += kStep) {
      const int next_row = row_of_lane(tile + kStep);  // asked for before the wait for keys
      state.attend(p, heads.kv_head, row);
      row = next_row;
    }

    // Head `warp` of all warps that had keys, a block of channels at a time.
    const int workers = min(kDecodeWarps, static_cast<int>(ceil_div(split_end - split_begin, kDecodeTileKeys)));
    Partial<kBlocks> partial;
    float share[kDecodeWarps];
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      __syncthreads();  // what was stored before is read
      if (warp < workers) {
        if (b == 0) state.store_sums(shared_max[warp], shared_sum[warp]);
        state.store_weighted(b, heads.count, shared_weighted[warp]);
      }
      __syncthreads();
      if (warp >= heads.count) continue;
      if (b == 0) {
        partial.max = -INFINITY;
        partial.sum = 0;
#pragma unroll
        for (int w = 0; w < kDecodeWarps; ++w) {
          if (w < workers) partial.max = fmaxf(partial.max, shared_max[w][warp]);
        }
#pragma unroll
        for (int w = 0; w < kDecodeWarps; ++w) {
          share[w] = w < workers ? exp2_approx(shared_max[w][warp] - partial.max) : 0.0f;
          if (w < workers) partial.sum += shared_sum[w][warp] * share[w];
        }
      }
      partial.weighted[b] = float2{0, 0};
#pragma unroll
      for (int w = 0; w < kDecodeWarps; ++w) {
        if (w >= workers) continue;
        const float2 x = *reinterpret_cast<const float2*>(&shared_weighted[w][warp * kHeadStride + 2 * lane]);
        partial.weighted[b].x += x.x * share[w];
        partial.weighted[b].y += x.y * share[w];
      }
    }
    if (warp >= heads.count) continue;
    if (blocks == 1) {
      join(shared_all[threadIdx.x], partial);
      continue;
    }
    const PartialPlace place = partial_place(split);
    if (lane == 0) *place.max_and_sum = float2{partial.max, partial.sum};
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      const int dim = b * kBlockDims + 2 * lane;
      if (dim < p.head_dim) {
        *reinterpret_cast<float2*>(place.weighted + dim) = partial.weighted[b];
      }
    }
  }

  Partial<kBlocks> all = shared_all[threadIdx.x];
  if (blocks > 1) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned* counter = static_cast<unsigned*>(p.scratch) + blockIdx.x;
      is_last = atomicAdd(counter, 1u) == static_cast<unsigned>(blocks - 1);
      if (is_last) *counter = 0;  // for the launch after this
      __threadfence();
    }
    __syncthreads();
    if (!is_last || warp >= heads.count) return;
    constexpr int kAhead = kBlocks <= 2 ? 16 : 8;  // partial results asked for at once
    for (int first = 0; first < splits.count; first += kAhead) {
      Partial<kBlocks> next[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (first + i >= splits.count) continue;
        const PartialPlace place = partial_place(first + i);
        const float2 sums = __ldcg(place.max_and_sum);
        next[i].max = sums.x;
        next[i].sum = sums.y;
#pragma unroll
        for (int b = 0; b < kBlocks; ++b) {
          const int dim = b * kBlockDims + 2 * lane;
          next[i].weighted[b] = float2{0, 0};
          if (dim < p.head_dim) {
            next[i].weighted[b] = __ldcg(reinterpret_cast<const float2*>(place.weighted + dim));
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (first + i < splits.count) join(all, next[i]);
      }
    }
  }
  if (warp >= heads.count) return;
  T* out = out_of_warp();
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
    const int dim = b * kBlockDims + 2 * lane;
    if (dim < p.head_dim) {
      out[dim] = rounded<T>(all.weighted[b].x / all.sum);
      out[dim + 1] = rounded<T>(all.weighted[b].y / all.sum);
    }
  }
}

}  // namespace

int decode_attention_cuda(void* stream, DType dtype, const PagedAttentionCuda& args) {
  const std::int64_t units_each = units_of_query(args.q_heads, args.kv_heads, args.group_size);
  const std::int64_t units = args.num_queries * units_each;
  const cuda::Grid grid{
      .blocks = dim3(static_cast<unsigned>(units),
                     static_cast<unsigned>(blocks_of_unit(units, max_splits(static_cast<unsigned>(units_each))))),
      .threads = kDecodeWarps * 32};
  return dispatch_activation(dtype, [&]<class T>() {
    switch ((args.head_dim + kBlockDims - 1) / kBlockDims) {
      case 1:
        return cuda::launch(stream, grid, decode_kernel<T, 1>, args);
      case 2:
        return cuda::launch(stream, grid, decode_kernel<T, 2>, args);
      case 3:
        return cuda::launch(stream, grid, decode_kernel<T, 3>, args);
      default:
        return cuda::launch(stream, grid, decode_kernel<T, 4>, args);
    }
  });
}

}  // namespace tandem
