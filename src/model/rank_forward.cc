#include "model/rank_forward.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/trace.h"
#include "comm/communicator.h"
#include "device/cuda/runtime.h"
#include "kernels/add/add.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gated_activation/gated_activation.h"
#include "kernels/matmul/matmul.h"
#include "kernels/moe/moe_combine.h"
#include "kernels/moe/moe_matmul.h"
#include "kernels/moe/moe_route.h"
#include "kernels/paged_attention/paged_attention.h"
#include "kernels/qk_norm_rope_append/qk_norm_rope_append.h"
#include "kernels/rms_norm/rms_norm.h"
#include "kernels/softcap/softcap.h"

namespace tandem {
namespace {

constexpr TraceLabel kEmbeddingSpan = {"embedding", "model"};
constexpr TraceLabel kLayerSpan = {"layer", "model", {"layer"}};
constexpr TraceLabel kAttentionSpan = {"attention", "model", {"layer"}};
constexpr TraceLabel kMlpSpan = {"mlp", "model", {"layer"}};
constexpr TraceLabel kExpertsSpan = {"experts", "model", {"layer"}};
constexpr TraceLabel kLogitsSpan = {"logits", "model", {"rows"}};

// The same memory with fewer elements, in another shape.
Tensor view(Tensor tensor, Shape shape) {
  TANDEM_CHECK(shape.num_elements() <= tensor.num_elements(), "{} as {}", to_string(tensor.shape()), to_string(shape));
  return {tensor.raw(), tensor.dtype(), shape, tensor.device()};
}

ConstMatrix as_matrix(ConstTensor tensor) {
  return {tensor.raw(),   tensor.dtype(), tensor.size(0), tensor.size(1), dtype_bytes(tensor.dtype(), tensor.size(1)),
          tensor.device()};
}

// Hands out tensors one behind the other: first counting, then, over a buffer, for real.
class Arena {
 public:
  explicit Arena(const Buffer* buffer) : buffer_(buffer) {}
  Tensor take(DType dtype, Shape shape) {
    const std::size_t offset =
        std::exchange(used_, used_ + (dtype_bytes(dtype, shape.num_elements()) + 255) / 256 * 256);
    return buffer_ == nullptr ? Tensor{} : buffer_->tensor(dtype, shape, offset);
  }
  std::size_t used() const { return used_; }

 private:
  const Buffer* buffer_;
  std::size_t used_ = 0;
};

void fill_zero(const Stream& stream, const Tensor& tensor) {
  if constexpr (kBuiltWithCuda) {
    if (stream.device().is_cpu() || tensor.bytes() == 0) return;
    const std::vector<std::byte> zeros(tensor.bytes());
    cuda::copy(stream.cuda_handle(), tensor.raw(), zeros.data(), zeros.size());
    stream.synchronize();
  }
}

Activation activation_of(HiddenAct act) {
  return act == HiddenAct::kSilu ? Activation::kSilu : Activation::kGeluTanh;
}

}  // namespace

RankForward::RankForward(const ModelConfig& config, const RankShard& shard, RankWeights weights,
                         const RopeFrequencies& rope, const Stream& stream, DType activations, StepLimits limits)
    : config_(config),
      shard_(shard),
      weights_(std::move(weights)),
      limits_(limits),
      inv_freq_(stream.device(), DType::kF32, {static_cast<std::int64_t>(rope.inv_freq.size())}),
      attention_scaling_(rope.attention_scaling) {
  if (stream.device().is_cpu()) {
    std::copy(rope.inv_freq.begin(), rope.inv_freq.end(), inv_freq_.tensor.data<float>());
  } else if constexpr (kBuiltWithCuda) {
    cuda::copy(stream.cuda_handle(), inv_freq_.tensor.raw(), rope.inv_freq.data(), inv_freq_.tensor.bytes());
    stream.synchronize();
  }
  std::int64_t attended_cols = 0;
  for (const SlotWeights& layer : weights_.layers) {
    attended_cols = std::max(attended_cols, layer.matrix(Slot::kWo).cols);
  }
  workspace_ = Buffer(stream.device(), lay_out(nullptr, activations, limits, attended_cols));
  lay_out(&workspace_, activations, limits, attended_cols);
  fill_zero(stream, attention_scratch_);
  prepare_matmul(stream);
}

std::size_t RankForward::lay_out(const Buffer* workspace, DType activations, StepLimits limits,
                                 std::int64_t attended_cols) {
  Arena arena(workspace);
  const std::int64_t tokens = limits.tokens;
  const std::int64_t picks = tokens * config_.num_experts_per_tok;
  const std::int64_t mlp_elements =
      std::max(tokens * shard_.intermediate.size(), picks * shard_.moe_intermediate.size());
  residual_ = arena.take(activations, {tokens, config_.hidden_size});
  normed_ = arena.take(activations, {tokens, config_.hidden_size});
  branch_ = arena.take(activations, {tokens, config_.hidden_size});
  q_ = arena.take(activations, {tokens, shard_.query_heads.size() * config_.head_dim});
  k_ = arena.take(activations, {tokens, shard_.kv_heads.size() * config_.head_dim});
  v_ = arena.take(activations, {tokens, shard_.kv_heads.size() * config_.head_dim});
  attended_ = arena.take(activations, {tokens, attended_cols});
  gate_ = arena.take(activations, {mlp_elements});
  up_ = arena.take(activations, {mlp_elements});
  if (picks > 0) {
    router_logits_ = arena.take(DType::kF32, {tokens, config_.num_experts});
    expert_ids_ = arena.take(DType::kI32, {tokens, config_.num_experts_per_tok});
    expert_weights_ = arena.take(DType::kF32, {tokens, config_.num_experts_per_tok});
    expert_out_ = arena.take(activations, {picks, config_.hidden_size});
  }
  logits_ = arena.take(DType::kF32, {limits.logits, shard_.vocab.size()});
  std::size_t scratch_bytes = 0;
  const auto count = [&](const SlotWeights& weights) {
    for (const LoadedMatrix& matrix : weights.matrices) {
      scratch_bytes =
          std::max(scratch_bytes, matmul_scratch_bytes(inv_freq_.tensor.device(), activations, tokens, matrix.matrix));
    }
  };
  count(weights_.model);
  for (const SlotWeights& layer : weights_.layers) count(layer);
  scratch_ = arena.take(DType::kU8, {static_cast<std::int64_t>(scratch_bytes)});
  std::size_t attention_bytes = 0;
  if (!inv_freq_.tensor.device().is_cpu()) {
    attention_bytes =
        paged_attention_scratch_bytes(tokens, shard_.query_heads.size(), shard_.kv_heads.size(), config_.head_dim,
                                      config_.num_attention_heads / config_.num_key_value_heads);
  }
  attention_scratch_ = arena.take(DType::kU8, {static_cast<std::int64_t>(attention_bytes)});
  return arena.used();
}

void RankForward::forward(RankContext& rank, KvCache& cache, const StepTensors& batch,
                          const std::function<void(std::int64_t, const Tensor&)>& on_logits) {
  const Stream& stream = rank.stream;
  const std::int64_t n = batch.token_ids.size(0);
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  const auto norm_offset = static_cast<float>(config_.norm_weight_offset);
  const Tensor residual = residual_.slice(0, n);
  const Tensor normed = normed_.slice(0, n);

  const ConstMatrix& table = weights_.model.matrix(Slot::kEmbedding);
  {
    const TraceSpan span(kEmbeddingSpan);
    embedding(stream, residual, table, shard_.vocab.begin, batch.token_ids,
              static_cast<float>(config_.embedding_scale));
    rank.comm.all_reduce(stream, residual);
  }

  const auto num_layers = static_cast<std::size_t>(config_.num_hidden_layers);
  rms_norm(stream, normed, residual, weights_.layers.front().vector(Slot::kAttentionNorm), eps, norm_offset);
  for (std::size_t l = 0; l < num_layers; ++l) {
    const SlotWeights& weights = weights_.layers[l];
    const auto layer = static_cast<int>(l);
    const TraceSpan span(kLayerSpan, layer);
    {
      const TraceSpan attention_span(kAttentionSpan, layer);
      attention(rank, cache, batch, layer, normed);
    }
    add_branch(rank, weights, Slot::kPostAttentionNorm, weights, Slot::kMlpNorm, n);
    {
      const bool moe = config_.is_moe(layer);
      const TraceSpan mlp_span(moe ? kExpertsSpan : kMlpSpan, layer);
      moe ? experts(rank, weights, normed) : mlp(rank, weights, normed);
    }
    const bool last = l + 1 == num_layers;
    add_branch(rank, weights, Slot::kPostMlpNorm, last ? weights_.model : weights_.layers[l + 1],
               last ? Slot::kFinalNorm : Slot::kAttentionNorm, n);
  }

  const std::int64_t num_rows = batch.logits_tokens.size(0);
  const ConstMatrix& output = config_.tie_word_embeddings ? table : weights_.model.matrix(Slot::kOutput);
  for (std::int64_t first = 0; first < num_rows; first += limits_.logits) {
    const std::int64_t count = std::min(limits_.logits, num_rows - first);
    const Tensor rows = branch_.slice(0, count);
    const Tensor logits = logits_.slice(0, count);
    {
      const TraceSpan span(kLogitsSpan, count);
      // Picking rows is a look-up in a table.
      embedding(stream, rows, as_matrix(normed), 0, batch.logits_tokens.slice(first, first + count), 1.0f);
      matmul(stream, logits, rows, output, {}, scratch_);
      if (config_.final_logit_softcapping > 0) {
        softcap(stream, logits, static_cast<float>(config_.final_logit_softcapping));
      }
    }
    on_logits(first, logits);
  }
}

void RankForward::attention(RankContext& rank, KvCache& cache, const StepTensors& batch, int layer, ConstTensor input) {
  const Stream& stream = rank.stream;
  const SlotWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
  const std::int64_t n = batch.token_ids.size(0);
  const std::int64_t q_heads = shard_.query_heads.size();
  const std::int64_t kv_heads = shard_.kv_heads.size();
  const std::int64_t head_dim = config_.head_dim;

  const MatmulPart parts[] = {{q_.slice(0, n), weights.matrix(Slot::kWq), weights.vector(Slot::kBq)},
                              {k_.slice(0, n), weights.matrix(Slot::kWk), weights.vector(Slot::kBk)},
                              {v_.slice(0, n), weights.matrix(Slot::kWv), weights.vector(Slot::kBv)}};
  matmul(stream, input, parts, scratch_);
  const Tensor q = view(q_, {n, q_heads, head_dim});
  const Tensor k = view(k_, {n, kv_heads, head_dim});
  const Tensor v = view(v_, {n, kv_heads, head_dim});
  qk_norm_rope_append(stream, cache.keys(layer), cache.values(layer), q, k, v,
                      {.q_weight = weights.vector(Slot::kQNorm),
                       .k_weight = weights.vector(Slot::kKNorm),
                       .eps = static_cast<float>(config_.rms_norm_eps),
                       .positions = batch.positions,
                       .inv_freq = inv_freq_.tensor,
                       .attention_scaling = attention_scaling_,
                       .style = config_.rope_interleaved ? RopeStyle::kInterleaved : RopeStyle::kNeox,
                       .slots = batch.slots});

  const ConstMatrix& wo = weights.matrix(Slot::kWo);
  const Tensor attended = view(attended_, {n, wo.cols});
  const double scalar =
      config_.query_pre_attn_scalar > 0 ? config_.query_pre_attn_scalar : static_cast<double>(head_dim);
  paged_attention(stream, attended, q, cache.keys(layer), cache.values(layer),
                  {.query_begin = batch.query_begin,
                   .context_len = batch.context_len,
                   .page_table = batch.page_table,
                   .scale = static_cast<float>(1 / std::sqrt(scalar)),
                   .softcap = static_cast<float>(config_.attn_logit_softcapping),
                   .sliding_window = static_cast<std::int32_t>(config_.sliding_window[static_cast<std::size_t>(layer)]),
                   .group_size = config_.num_attention_heads / config_.num_key_value_heads,
                   .first_query_head = shard_.query_heads.begin,
                   .first_kv_head = shard_.kv_heads.begin,
                   .out_col_begin = weights.attention_col_pad,
                   .scratch = attention_scratch_});
  const ConstTensor bias = rank.rank == 0 ? weights.vector(Slot::kBo) : ConstTensor{};
  matmul(stream, branch_.slice(0, n), attended, wo, bias, scratch_);
}

void RankForward::mlp(RankContext& rank, const SlotWeights& weights, ConstTensor input) {
  const Stream& stream = rank.stream;
  const std::int64_t n = input.size(0);
  const Tensor gate = view(gate_, {n, shard_.intermediate.size()});
  const Tensor up = view(up_, {n, shard_.intermediate.size()});
  const MatmulPart parts[] = {{gate, weights.matrix(Slot::kGate), weights.vector(Slot::kGateBias)},
                              {up, weights.matrix(Slot::kUp), weights.vector(Slot::kUpBias)}};
  matmul(stream, input, parts, scratch_);
  gated_activation(stream, gate, gate, up, activation_of(config_.hidden_act));
  // Every rank's sum is added up, so the bias may enter one of them only.
  const ConstTensor bias = rank.rank == 0 ? weights.vector(Slot::kDownBias) : ConstTensor{};
  matmul(stream, branch_.slice(0, n), gate, weights.matrix(Slot::kDown), bias, scratch_);
}

void RankForward::experts(RankContext& rank, const SlotWeights& weights, ConstTensor input) {
  const Stream& stream = rank.stream;
  const std::int64_t n = input.size(0);
  const std::int64_t picks = n * config_.num_experts_per_tok;
  const Tensor router_logits = router_logits_.slice(0, n);
  const Tensor ids = expert_ids_.slice(0, n);
  const Tensor shares = expert_weights_.slice(0, n);
  matmul(stream, router_logits, input, weights.matrix(Slot::kRouter), {}, scratch_);
  moe_route(stream, ids, shares, router_logits, config_.norm_topk_prob);

  const Tensor gate = view(gate_, {picks, shard_.moe_intermediate.size()});
  const Tensor up = view(up_, {picks, shard_.moe_intermediate.size()});
  const Tensor out = expert_out_.slice(0, picks);
  moe_matmul(stream, gate, input, weights.expert_views(Slot::kExpertGate), ids);
  moe_matmul(stream, up, input, weights.expert_views(Slot::kExpertUp), ids);
  gated_activation(stream, gate, gate, up, activation_of(config_.hidden_act));
  moe_matmul(stream, out, gate, weights.expert_views(Slot::kExpertDown), ids);
  moe_combine(stream, branch_.slice(0, n), out, shares);
}

void RankForward::add_branch(RankContext& rank, const SlotWeights& weights, Slot post_norm, const SlotWeights& next,
                             Slot next_norm, std::int64_t num_tokens) {
  const Tensor branch = branch_.slice(0, num_tokens);
  const Tensor residual = residual_.slice(0, num_tokens);
  const Tensor normed = normed_.slice(0, num_tokens);
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  const auto offset = static_cast<float>(config_.norm_weight_offset);
  const bool fused = !rank.stream.device().is_cpu() && !weights.has_vector(post_norm);
  if (fused) {
    return rank.comm.all_reduce_add_rms_norm(rank.stream, normed, residual, branch, next.norm(next_norm), eps);
  }
  rank.comm.all_reduce(rank.stream, branch);
  if (weights.has_vector(post_norm)) {
    rms_norm(rank.stream, branch, branch, weights.vector(post_norm), eps, offset);
  }
  add(rank.stream, residual, branch);
  rms_norm(rank.stream, normed, residual, next.vector(next_norm), eps, offset);
}

}  // namespace tandem
