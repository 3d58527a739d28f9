// Work is cut in items: a run of queries of one sequence with all the query heads here that share a kv head, so that a
// tile of keys, once packed, serves as many rows as possible. A prefill has many items, and each is done whole by one
// thread. A decode step has few, but with many tiles each: then the unit is one tile of one item, and the tiles'
// results are joined afterwards. Both ways do the same arithmetic in the same order.
#include "kernels/paged_attention/paged_attention.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/activations.h"
#include "kernels/paged_attention/attention_plan.h"
#include "kernels/paged_attention/attention_tile.h"
#include "kernels/paged_attention/paged_attention_cuda.h"
#include "kernels/simd/isa.h"

#define TANDEM_SIMD_FILE "kernels/paged_attention/attention_tile_simd.inc"
#include "kernels/simd/for_each_isa.inc"

namespace tandem {
namespace {

constexpr std::int64_t kRowsPerItem = 96;  // packing a tile costs about as much as the scores of 8 rows
constexpr int kMaxLanes = 16;

struct Problem {
  float* out;
  const float* q;
  const float* k;
  const float* v;
  const std::int32_t* query_begin;
  const std::int32_t* context_len;
  const std::int32_t* page_table;
  std::int64_t num_sequences, max_pages, num_pages, page_size, q_heads, kv_heads, head_dim, out_cols;
  const PagedAttentionArgs* args;
};

struct Item {
  std::int64_t sequence, kv_head;
  std::int64_t head_begin, head_end;    // query heads here
  std::int64_t query_begin, query_end;  // rows of q
  std::int64_t first_position;          // of query_begin
  std::int64_t tile_begin, tile_end;
  std::int64_t first_partial;  // place of its first (tile, row) among the partial results

  std::int64_t num_heads() const { return head_end - head_begin; }
  std::int64_t num_rows() const { return (query_end - query_begin) * num_heads(); }
};

struct Unit {
  std::int64_t item, tile;
};

// Scratch of one thread for one item.
struct Workspace {
  std::vector<AttentionRow> rows;
  std::vector<float> packed_keys, max, sum, weighted, tile_max, tile_sum, tile_weighted;
  const float* keys[kTileKeys];
  const float* values[kTileKeys];
};

void reserve(std::vector<float>& scratch, std::int64_t count) {
  if (scratch.size() < static_cast<std::size_t>(count)) scratch.resize(static_cast<std::size_t>(count));
}

std::int64_t first_visible(const Problem& p, std::int64_t position) {
  const std::int64_t window = p.args->sliding_window;
  return window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0;
}

// Rows in order of position, then head: neighbours see nearly the same keys. Results go to max, sum and weighted.
void attend(const Problem& p, const Item& item, std::int64_t tile_index, Workspace& work, float* max, float* sum,
            float* weighted) {
  const std::int64_t origin = tile_index * kTileKeys;
  const auto in_tile = [&](std::int64_t position) {
    return static_cast<int>(std::clamp<std::int64_t>(position - origin, 0, kTileKeys));
  };
  work.rows.clear();
  for (std::int64_t t = item.query_begin; t < item.query_end; ++t) {
    const std::int64_t position = item.first_position + (t - item.query_begin);
    const int begin = in_tile(first_visible(p, position)), end = in_tile(position + 1);
    for (std::int64_t h = item.head_begin; h < item.head_end; ++h) {
      work.rows.push_back({p.q + (t * p.q_heads + h) * p.head_dim, begin, end});
    }
  }
  const int begin = work.rows.front().begin, end = work.rows.back().end;
  // Pointers to the keys and values of [begin, end); the whole vectors around them need pointers that may be read.
  const std::int32_t* pages = p.page_table + item.sequence * p.max_pages;
  for (std::int64_t j = begin; j < end;) {
    const std::int64_t page = (origin + j) / p.page_size, offset = (origin + j) % p.page_size;
    std::int64_t at = ((pages[page] * p.page_size + offset) * p.kv_heads + item.kv_head) * p.head_dim;
    const std::int64_t page_end = std::min<std::int64_t>(end, j + p.page_size - offset);
    for (; j < page_end; ++j, at += p.kv_heads * p.head_dim) {
      work.keys[j] = p.k + at;
      work.values[j] = p.v + at;
    }
  }
  std::fill(work.keys + begin / kMaxLanes * kMaxLanes, work.keys + begin, work.keys[begin]);
  std::fill(work.keys + end, work.keys + (end + kMaxLanes - 1) / kMaxLanes * kMaxLanes, work.keys[begin]);
  reserve(work.packed_keys, kTileKeys * p.head_dim);
  const AttentionTile tile{.rows = work.rows.data(),
                           .num_rows = item.num_rows(),
                           .keys = work.keys,
                           .values = work.values,
                           .head_dim = p.head_dim,
                           .scale = p.args->scale,
                           .softcap = p.args->softcap,
                           .packed_keys = work.packed_keys.data(),
                           .max = max,
                           .sum = sum,
                           .weighted = weighted};
  TANDEM_PICK_ISA(attend_tile)(tile, begin, end);
}

void write_row(const Problem& p, const Item& item, std::int64_t row, float sum, const float* weighted) {
  const std::int64_t t = item.query_begin + row / item.num_heads(), h = item.head_begin + row % item.num_heads();
  float* to = p.out + t * p.out_cols + p.args->out_col_begin + h * p.head_dim;
  TANDEM_PICK_ISA(divide_row)(to, weighted, sum, p.head_dim);
}

void attend_item(const Problem& p, const Item& item, Workspace& work) {
  const std::int64_t rows = item.num_rows();
  reserve(work.tile_max, rows);
  reserve(work.tile_sum, rows);
  reserve(work.tile_weighted, rows * p.head_dim);
  work.max.assign(static_cast<std::size_t>(rows), std::numeric_limits<float>::lowest());
  work.sum.assign(static_cast<std::size_t>(rows), 0.0f);
  work.weighted.assign(static_cast<std::size_t>(rows * p.head_dim), 0.0f);
  const auto join_tile = TANDEM_PICK_ISA(join_tile);
  for (std::int64_t tile = item.tile_begin; tile < item.tile_end; ++tile) {
    attend(p, item, tile, work, work.tile_max.data(), work.tile_sum.data(), work.tile_weighted.data());
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::size_t at = static_cast<std::size_t>(row);
      join_tile(&work.max[at], &work.sum[at], work.weighted.data() + row * p.head_dim, work.tile_max[at],
                work.tile_sum[at], work.tile_weighted.data() + row * p.head_dim, p.head_dim);
    }
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    write_row(p, item, row, work.sum[static_cast<std::size_t>(row)], work.weighted.data() + row * p.head_dim);
  }
}

// body(index) for every index below count, taken one by one: the units' costs differ a lot.
template <class Body>
void for_each_unit(const Stream& stream, std::int64_t count, bool worth_threads, const Body& body) {
  std::atomic<std::int64_t> next{0};
  const std::int64_t workers = worth_threads ? std::min<std::int64_t>(stream.num_threads(), count) : 1;
  stream.parallel_for(workers, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t worker = begin; worker < end; ++worker) {
      for (std::int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i);
    }
  });
}

Workspace& this_threads_workspace() {
  thread_local Workspace work;
  return work;
}

void make_items(const Problem& p, std::vector<Item>& items) {
  const PagedAttentionArgs& args = *p.args;
  items.clear();
  std::int64_t partials = 0;
  for (std::int64_t s = 0; s < p.num_sequences; ++s) {
    const std::int64_t begin = p.query_begin[s], end = p.query_begin[s + 1];
    const std::int64_t before = p.context_len[s] - (end - begin);
    for (std::int64_t kv = 0; kv < p.kv_heads; ++kv) {
      const std::int64_t group_begin = (args.first_kv_head + kv) * args.group_size - args.first_query_head;
      const std::int64_t head_begin = std::max<std::int64_t>(0, group_begin);
      const std::int64_t head_end = std::min(p.q_heads, group_begin + args.group_size);
      if (head_begin >= head_end) continue;
      const std::int64_t step = std::max<std::int64_t>(1, kRowsPerItem / (head_end - head_begin));
      for (std::int64_t last = end; last > begin; last -= step) {  // the longest first: they bound the end of the run
        const std::int64_t first = std::max(begin, last - step);
        const std::int64_t first_position = before + (first - begin), last_position = before + (last - 1 - begin);
        Item item{.sequence = s,
                  .kv_head = kv,
                  .head_begin = head_begin,
                  .head_end = head_end,
                  .query_begin = first,
                  .query_end = last,
                  .first_position = first_position,
                  .tile_begin = first_visible(p, first_position) / kTileKeys,
                  .tile_end = last_position / kTileKeys + 1,
                  .first_partial = partials};
        partials += item.num_rows() * (item.tile_end - item.tile_begin);
        items.push_back(item);
      }
    }
  }
}

// Every tile of every item on its own, then the joining.
void attend_by_tiles(const Stream& stream, const Problem& p, const std::vector<Item>& items) {
  thread_local std::vector<Unit> unit_scratch;
  thread_local std::vector<float> max_scratch, sum_scratch, weighted_scratch;
  unit_scratch.clear();
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (std::int64_t tile = items[i].tile_begin; tile < items[i].tile_end; ++tile) {
      unit_scratch.push_back({static_cast<std::int64_t>(i), tile});
    }
  }
  const Item& last = items.back();
  const std::int64_t partials = last.first_partial + last.num_rows() * (last.tile_end - last.tile_begin);
  reserve(max_scratch, partials);
  reserve(sum_scratch, partials);
  reserve(weighted_scratch, partials * p.head_dim);
  // Other threads see this thread's scratch through these.
  const Unit* units = unit_scratch.data();
  float* max = max_scratch.data();
  float* sum = sum_scratch.data();
  float* weighted = weighted_scratch.data();
  for_each_unit(stream, static_cast<std::int64_t>(unit_scratch.size()), true, [&](std::int64_t i) {
    const Item& item = items[static_cast<std::size_t>(units[i].item)];
    const std::int64_t place = item.first_partial + (units[i].tile - item.tile_begin) * item.num_rows();
    attend(p, item, units[i].tile, this_threads_workspace(), max + place, sum + place, weighted + place * p.head_dim);
  });
  const auto join_tile = TANDEM_PICK_ISA(join_tile);
  for_each_unit(
      stream, static_cast<std::int64_t>(items.size()), partials * p.head_dim > (1 << 16), [&](std::int64_t i) {
        const Item& item = items[static_cast<std::size_t>(i)];
        float joint[256];
        for (std::int64_t row = 0; row < item.num_rows(); ++row) {
          float row_max = std::numeric_limits<float>::lowest(), row_sum = 0.0f;
          std::fill(joint, joint + p.head_dim, 0.0f);
          for (std::int64_t tile = item.tile_begin; tile < item.tile_end; ++tile) {
            const std::int64_t place = item.first_partial + (tile - item.tile_begin) * item.num_rows() + row;
            join_tile(&row_max, &row_sum, joint, max[place], sum[place], weighted + place * p.head_dim, p.head_dim);
          }
          write_row(p, item, row, row_sum, joint);
        }
      });
}

// What every device relies on.
void check_shapes(const Stream& stream, Tensor out, ConstTensor q, ConstTensor k_pages, ConstTensor v_pages,
                  const PagedAttentionArgs& args) {
  check_activations("paged_attention: out", stream, out);
  check_dtype("paged_attention: q", q, out.dtype());
  check_dtype("paged_attention: k_pages", k_pages, out.dtype());
  check_dtype("paged_attention: v_pages", v_pages, out.dtype());
  check_dtype("paged_attention: query_begin", args.query_begin, DType::kI32);
  check_dtype("paged_attention: context_len", args.context_len, DType::kI32);
  check_dtype("paged_attention: page_table", args.page_table, DType::kI32);
  TANDEM_CHECK(q.num_dims() == 3 && k_pages.num_dims() == 4 && out.num_dims() == 2 && args.page_table.num_dims() == 2,
               "paged_attention: q {}, k_pages {}, out {}, page_table {}", to_string(q.shape()),
               to_string(k_pages.shape()), to_string(out.shape()), to_string(args.page_table.shape()));
  const std::int64_t num_queries = q.size(0), q_heads = q.size(1), head_dim = q.size(2), kv_heads = k_pages.size(2);
  const std::int64_t num_sequences = args.page_table.size(0);
  TANDEM_CHECK(head_dim % 8 == 0 && 16 <= head_dim && head_dim <= 256, "paged_attention: head_dim {}", head_dim);
  check_shape("paged_attention: k_pages", k_pages, {k_pages.size(0), k_pages.size(1), kv_heads, head_dim});
  check_shape("paged_attention: v_pages", v_pages, k_pages.shape());
  check_shape("paged_attention: out", out, {num_queries, out.size(1)});
  check_shape("paged_attention: query_begin", args.query_begin, {num_sequences + 1});
  check_shape("paged_attention: context_len", args.context_len, {num_sequences});
  TANDEM_CHECK(0 <= args.out_col_begin && args.out_col_begin + q_heads * head_dim <= out.size(1),
               "paged_attention: {} heads of {} from column {} of {}", q_heads, head_dim, args.out_col_begin,
               out.size(1));
  TANDEM_CHECK(args.group_size >= 1 && args.sliding_window >= 0 && args.softcap >= 0,
               "paged_attention: group_size {}, sliding_window {}, softcap {}", args.group_size, args.sliding_window,
               args.softcap);
  if (q_heads > 0) {
    const std::int64_t first = args.first_query_head / args.group_size - args.first_kv_head;
    const std::int64_t last = (args.first_query_head + q_heads - 1) / args.group_size - args.first_kv_head;
    TANDEM_CHECK(args.first_query_head >= 0 && 0 <= first && last < kv_heads,
                 "paged_attention: query heads {} to {} of groups of {} read kv heads {} to {} of {}",
                 args.first_query_head, args.first_query_head + q_heads, args.group_size, first, last, kv_heads);
  }
}

void attend_on_gpu(const Stream& stream, Tensor out, ConstTensor q, ConstTensor k_pages, ConstTensor v_pages,
                   const PagedAttentionArgs& args) {
  const std::int64_t num_queries = q.size(0), q_heads = q.size(1), head_dim = q.size(2), kv_heads = k_pages.size(2);
  const std::size_t needed = paged_attention_scratch_bytes(num_queries, q_heads, kv_heads, head_dim, args.group_size);
  TANDEM_CHECK(args.scratch.raw() != nullptr && args.scratch.bytes() >= needed,
               "paged_attention: {} bytes of scratch, {} are needed", args.scratch.bytes(), needed);
  for (const void* data : {q.raw(), k_pages.raw(), v_pages.raw(), ConstTensor(args.scratch).raw()}) {
    TANDEM_CHECK(reinterpret_cast<std::uintptr_t>(data) % 16 == 0, "paged_attention: a tensor at {}", data);
  }
  TANDEM_CHECK(k_pages.size(0) * k_pages.size(1) <= std::numeric_limits<std::int32_t>::max(),
               "paged_attention: {} pages of {}", k_pages.size(0), k_pages.size(1));
  if (num_queries == 0) return;
  constexpr float kLog2E = 1.4426950408889634f;
  if constexpr (kBuiltWithCuda) {
    check_launch(
        "paged_attention", stream,
        paged_attention_cuda(stream.cuda_handle(), out.dtype(),
                             {.out = out.raw(),
                              .q = q.raw(),
                              .k_pages = k_pages.raw(),
                              .v_pages = v_pages.raw(),
                              .query_begin = args.query_begin.data<std::int32_t>(),
                              .context_len = args.context_len.data<std::int32_t>(),
                              .page_table = args.page_table.data<std::int32_t>(),
                              .scratch = args.scratch.raw(),
                              .num_queries = num_queries,
                              .num_sequences = args.page_table.size(0),
                              .max_pages = args.page_table.size(1),
                              .page_size = k_pages.size(1),
                              .q_heads = q_heads,
                              .kv_heads = kv_heads,
                              .out_cols = out.size(1),
                              .out_col_begin = args.out_col_begin,
                              .group_size = args.group_size,
                              .first_query_head = args.first_query_head,
                              .first_kv_head = args.first_kv_head,
                              .head_dim = static_cast<int>(head_dim),
                              .sliding_window = args.sliding_window,
                              .score_scale = args.softcap > 0 ? args.scale / args.softcap : args.scale * kLog2E,
                              .score_cap = args.softcap * kLog2E}));
  }
}

// And what the loops of the CPU rely on.
Problem check(Tensor out, ConstTensor q, ConstTensor k_pages, ConstTensor v_pages, const PagedAttentionArgs& args) {
  const std::int64_t num_queries = q.size(0), num_sequences = args.page_table.size(0);
  const Problem p{.out = out.data<float>(),
                  .q = q.data<float>(),
                  .k = k_pages.data<float>(),
                  .v = v_pages.data<float>(),
                  .query_begin = args.query_begin.data<std::int32_t>(),
                  .context_len = args.context_len.data<std::int32_t>(),
                  .page_table = args.page_table.data<std::int32_t>(),
                  .num_sequences = num_sequences,
                  .max_pages = args.page_table.size(1),
                  .num_pages = k_pages.size(0),
                  .page_size = k_pages.size(1),
                  .q_heads = q.size(1),
                  .kv_heads = k_pages.size(2),
                  .head_dim = q.size(2),
                  .out_cols = out.size(1),
                  .args = &args};
  TANDEM_CHECK(p.query_begin[0] == 0 && p.query_begin[num_sequences] == num_queries,
               "paged_attention: query_begin runs from {} to {} of {} queries", p.query_begin[0],
               p.query_begin[num_sequences], num_queries);
  for (std::int64_t s = 0; s < num_sequences; ++s) {
    const std::int64_t queries = p.query_begin[s + 1] - p.query_begin[s], context = p.context_len[s];
    TANDEM_CHECK(0 <= queries && queries <= context, "paged_attention: sequence {} has {} queries in a context of {}",
                 s, queries, context);
    if (queries == 0) continue;
    TANDEM_CHECK(context <= p.max_pages * p.page_size, "paged_attention: sequence {}: context of {} in {} pages of {}",
                 s, context, p.max_pages, p.page_size);
    for (std::int64_t i = first_visible(p, context - queries) / p.page_size; i * p.page_size < context; ++i) {
      const std::int32_t page = p.page_table[s * p.max_pages + i];
      TANDEM_CHECK(0 <= page && page < p.num_pages, "paged_attention: sequence {}: page {} is {} of {}", s, i, page,
                   p.num_pages);
    }
  }
  return p;
}

}  // namespace

std::size_t paged_attention_scratch_bytes(std::int64_t num_queries, std::int64_t q_heads, std::int64_t kv_heads,
                                          std::int64_t head_dim, std::int64_t group_size) {
  return attention_scratch_bytes(num_queries, q_heads, kv_heads, head_dim, group_size);
}

void paged_attention(const Stream& stream, Tensor out, ConstTensor q, ConstTensor k_pages, ConstTensor v_pages,
                     const PagedAttentionArgs& args) {
  check_shapes(stream, out, q, k_pages, v_pages, args);
  if (!stream.device().is_cpu()) return attend_on_gpu(stream, out, q, k_pages, v_pages, args);
  const Problem p = check(out, q, k_pages, v_pages, args);
  const std::int64_t used_cols = p.q_heads * p.head_dim;
  if (used_cols < p.out_cols) {
    for (std::int64_t t = 0; t < q.size(0); ++t) {
      float* row = p.out + t * p.out_cols;
      std::fill(row, row + args.out_col_begin, 0.0f);
      std::fill(row + args.out_col_begin + used_cols, row + p.out_cols, 0.0f);
    }
  }
  thread_local std::vector<Item> item_scratch;
  make_items(p, item_scratch);
  const std::vector<Item>& items = item_scratch;
  if (items.empty()) return;

  std::int64_t work = 0;  // multiply-adds
  std::int64_t longest = 0;
  for (const Item& item : items) {
    work += 2 * item.num_rows() * (item.tile_end - item.tile_begin) * kTileKeys * p.head_dim;
    longest = std::max(longest, item.tile_end - item.tile_begin);
  }
  const bool worth_threads = stream.num_threads() > 1 && work > (1 << 17);  // about 10 us
  if (worth_threads && longest > 1 && static_cast<std::int64_t>(items.size()) < 4 * stream.num_threads()) {
    return attend_by_tiles(stream, p, items);
  }
  for_each_unit(stream, static_cast<std::int64_t>(items.size()), worth_threads,
                [&](std::int64_t i) { attend_item(p, items[static_cast<std::size_t>(i)], this_threads_workspace()); });
}

}  // namespace tandem
