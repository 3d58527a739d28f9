#pragma once
// An architecture as a table: which tensors it has, under which names and shapes, and how each is split over ranks.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace tandem {

/// The place of a tensor in the forward pass.
enum class Slot {
  kEmbedding,
  kFinalNorm,
  kOutput,  // once a model
  kAttentionNorm,
  kWq,
  kWk,
  kWv,
  kBq,
  kBk,
  kBv,
  kQNorm,
  kKNorm,
  kWo,
  kBo,  // once a layer
  kPostAttentionNorm,
  kMlpNorm,
  kGate,
  kUp,
  kDown,
  kGateBias,
  kUpBias,
  kDownBias,
  kPostMlpNorm,
  kRouter,
  kExpertGate,
  kExpertUp,
  kExpertDown,
};

/// What a rank holds of a tensor.
enum class Shard {
  kReplicated,
  kRowsByVocab,
  kRowsByQueryHead,
  kRowsByKvHead,
  kColsByQueryHead,
  kRowsByIntermediate,
  kColsByIntermediate,
  kRowsByMoeIntermediate,
  kColsByMoeIntermediate,
};

/// When a row of the table applies.
enum class Presence { kAlways, kUnlessTied, kAttentionBias, kAttentionOutBias, kMlpBias, kDenseLayer, kMoeLayer };

/// One tensor. Names are given without the layer's prefix; "{e}" stands for an expert's number.
struct TensorRow {
  Slot slot;
  std::string_view name;       ///< in safetensors
  std::string_view gguf_name;  ///< in GGUF; empty: as parts of other rows
  /// Extents by name: hidden, vocab, head, q, kv, qkv, mlp, mlp2 (gate and up), experts, moe.
  std::string_view shape;
  Shard shard = Shard::kReplicated;
  Presence presence = Presence::kAlways;
  std::string_view first_row = {};  ///< where this slot starts in a fused tensor: a sum such as "q+kv"
};

enum class SlidingWindow { kNone, kEveryLayer, kEvenLayers, kFromMaxWindowLayers };

/// What keys mean that config.json does not have: the defaults of the architecture's configuration class in Hugging
/// Face's transformers, whose files leave out what equals them.
struct ConfigDefaults {
  std::int64_t num_key_value_heads = 0;  ///< 0: num_attention_heads
  std::int64_t head_dim = 0;             ///< 0: hidden_size / num_attention_heads
  std::int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  HiddenAct hidden_act = HiddenAct::kSilu;
  double rope_theta = 10000;
  std::int64_t sliding_window = 0;  ///< 0: none
  std::int64_t max_window_layers = 0;
  double query_pre_attn_scalar = 0;        ///< 0: head_dim
  double attn_logit_softcapping = 0;       ///< 0: none
  double final_logit_softcapping = 0;      ///< 0: none
  std::int64_t moe_intermediate_size = 0;  ///< 0: intermediate_size
  bool norm_topk_prob = false;
};

struct Arch {
  std::string_view hf_class;
  std::string_view gguf_arch;
  std::span<const TensorRow> layer_tensors;
  ConfigDefaults defaults = {};
  SlidingWindow sliding_window = SlidingWindow::kNone;  ///< where layer_types does not say
  bool tied_by_default = false;
  bool qkv_bias_always = false;
  bool has_experts = false;       ///< the config must describe experts
  bool post_norms = false;        ///< norms after attention and MLP, soft caps
  bool scale_embedding = false;   ///< by sqrt(hidden_size)
  double norm_weight_offset = 0;  ///< of the safetensors; GGUF files have it added
};

/// The tensors that every architecture has once.
std::span<const TensorRow> model_tensors();

/// By Hugging Face class. Throws kUnsupported naming `origin` and the architectures there are.
const Arch& find_arch(std::string_view hf_class, std::string_view origin);
/// All architectures.
std::span<const Arch* const> all_archs();

}  // namespace tandem
