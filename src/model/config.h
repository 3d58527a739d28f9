#pragma once
// What a model is, whatever file said so. Fields keep the Hugging Face spelling.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

class GgufFile;
class TensorCatalogue;

enum class HiddenAct { kSilu, kGeluTanh };

enum class RopeType { kDefault, kLinear, kLlama3, kYarn };

/// Positions as angles. See model/rope.h for the formulas.
struct RopeParameters {
  RopeType type = RopeType::kDefault;
  double rope_theta = 10000;
  double partial_rotary_factor = 1;
  double factor = 1;                                  // linear, llama3, yarn
  double low_freq_factor = 1;                         // llama3
  double high_freq_factor = 4;                        // llama3
  double beta_fast = 32;                              // yarn
  double beta_slow = 1;                               // yarn
  bool truncate = true;                               // yarn
  double attention_factor = 0;                        // yarn; 0: from factor, mscale and mscale_all_dim
  double mscale = 0;                                  // yarn
  double mscale_all_dim = 0;                          // yarn
  std::int64_t original_max_position_embeddings = 0;  // llama3, yarn
};

struct ModelConfig {
  std::string architecture;  ///< Hugging Face class; a key of find_arch()
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  HiddenAct hidden_act = HiddenAct::kSilu;
  RopeParameters rope;
  bool rope_interleaved = false;  ///< pairs (2i, 2i+1), as llama GGUF files are permuted for, not (i, i + dim/2)
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool attention_out_bias = false;
  bool mlp_bias = false;
  double query_pre_attn_scalar = 0;    ///< attention scale is its power -1/2; 0: head_dim
  double attn_logit_softcapping = 0;   ///< 0: none
  double final_logit_softcapping = 0;  ///< 0: none
  double norm_weight_offset = 0;       ///< added to norm weights: 1 for Gemma's safetensors
  double embedding_scale = 1;
  std::vector<std::int64_t> sliding_window;  ///< a layer; 0: full attention
  std::int64_t num_experts = 0;
  std::int64_t num_experts_per_tok = 0;
  std::int64_t moe_intermediate_size = 0;
  bool norm_topk_prob = true;
  std::vector<bool> moe_layer;  ///< a layer; empty: none

  std::int64_t q_dim() const { return num_attention_heads * head_dim; }
  std::int64_t kv_dim() const { return num_key_value_heads * head_dim; }
  bool is_moe(std::int64_t layer) const { return !moe_layer.empty() && moe_layer[static_cast<std::size_t>(layer)]; }
};

/// config.json in the newest and the older spelling. Throws kBadFile for missing or impossible values and kUnsupported,
/// naming key and value, for what Tandem does not implement. `origin` is named in errors.
ModelConfig parse_hf_config(std::string_view json, std::string_view origin);

/// The metadata of a GGUF file. `catalogue` tells which optional tensors (biases, output) are there.
ModelConfig config_from_gguf(const GgufFile& file, const TensorCatalogue& catalogue);

/// Throws kBadFile unless the extents are consistent (heads divide, sizes positive, one value a layer).
void check_config(const ModelConfig& config, std::string_view origin);

/// Defaults for sampling from generation_config.json; what is absent there has Hugging Face's default. Ids that end a
/// text are the tokenizer's matter.
struct GenerationDefaults {
  bool do_sample = false;
  double temperature = 1;
  int top_k = 0;  ///< 0: off
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
};
GenerationDefaults read_generation_config(const std::filesystem::path& folder);

}  // namespace tandem
