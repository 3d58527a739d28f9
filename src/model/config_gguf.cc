// Metadata keys as llama.cpp's converter writes them (gguf-py's constants.py lists the names).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/quote.h"
#include "model/arch.h"
#include "model/config.h"
#include "weights/gguf/gguf_file.h"
#include "weights/tensor_catalogue.h"

namespace tandem {
namespace {

// Reads "<arch>.<key>".
class Metadata {
 public:
  Metadata(const GgufFile& file, std::string_view arch) : file_(file), prefix_(format("{}.", arch)) {}

  std::int64_t integer(std::string_view key) const {
    return file_.require(&GgufFile::find_i64, prefix_ + std::string(key));
  }
  std::int64_t integer(std::string_view key, std::int64_t fallback) const {
    return file_.find_i64(prefix_ + std::string(key)).value_or(fallback);
  }
  double number(std::string_view key, double fallback) const {
    const auto value = file_.find_f32(prefix_ + std::string(key));
    return value ? static_cast<double>(*value) : fallback;
  }
  std::optional<std::string_view> string(std::string_view key) const {
    return file_.find_string(prefix_ + std::string(key));
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

const Arch& arch_of(const GgufFile& file, std::string_view name, bool has_experts) {
  if (name == "llama" && has_experts) return find_arch("MixtralForCausalLM", file.origin());
  std::string names;
  for (const Arch* arch : all_archs()) {
    if (arch->gguf_arch.empty()) continue;
    if (arch->gguf_arch == name) return *arch;
    names += format("{}{}", names.empty() ? "" : ", ", arch->gguf_arch);
  }
  fail_with_hint(ErrorKind::kUnsupported,
                 format("{}: general.architecture {} is not supported", file.origin(), quote(name)),
                 format("supported: {}", names));
}

RopeParameters rope_of(const GgufFile& file, const Metadata& metadata, const ModelConfig& config) {
  RopeParameters rope;
  rope.rope_theta = metadata.number("rope.freq_base", 10000.0);
  rope.partial_rotary_factor = static_cast<double>(metadata.integer("rope.dimension_count", config.head_dim)) /
                               static_cast<double>(config.head_dim);
  rope.original_max_position_embeddings =
      metadata.integer("rope.scaling.original_context_length", config.max_position_embeddings);
  rope.factor = metadata.number("rope.scaling.factor", 1.0);
  const std::string_view type = metadata.string("rope.scaling.type").value_or("none");
  if (type == "linear") {
    rope.type = RopeType::kLinear;
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    // llama.cpp multiplies 0.1 ln(factor) + 1 by this; 1 when absent.
    const double factor = metadata.number("rope.scaling.attn_factor", 1.0);
    if (factor != 1.0) rope.attention_factor = factor * (0.1 * std::log(rope.factor) + 1.0);
  } else if (type != "none") {
    fail_with_hint(ErrorKind::kUnsupported,
                   format("{}: rope.scaling.type {} is not supported", file.origin(), quote(type)),
                   "supported: none, linear, yarn, and llama3 as a rope_freqs tensor");
  }
  if (!(rope.factor > 0) || !(rope.rope_theta > 0) || rope.original_max_position_embeddings <= 0) {
    fail(ErrorKind::kBadFile, "{}: rope.freq_base {} and rope.scaling.factor {} must be positive", file.origin(),
         rope.rope_theta, rope.factor);
  }
  return rope;
}

}  // namespace

ModelConfig config_from_gguf(const GgufFile& file, const TensorCatalogue& catalogue) {
  const std::string_view name = file.require(&GgufFile::find_string, "general.architecture");
  const Metadata metadata(file, name);
  const std::int64_t num_experts = metadata.integer("expert_count", 0);
  const Arch& arch = arch_of(file, name, num_experts > 0);

  ModelConfig config;
  config.architecture = arch.hf_class;
  config.hidden_size = metadata.integer("embedding_length");
  config.intermediate_size = metadata.integer("feed_forward_length");
  config.num_hidden_layers = metadata.integer("block_count");
  config.num_attention_heads = metadata.integer("attention.head_count");
  config.num_key_value_heads = metadata.integer("attention.head_count_kv", config.num_attention_heads);
  if (config.num_hidden_layers < 1 || config.num_hidden_layers > 10000 || config.num_attention_heads < 1) {
    fail(ErrorKind::kBadFile, "{}: {}.block_count is {} and {}.attention.head_count is {}", file.origin(), name,
         config.num_hidden_layers, name, config.num_attention_heads);
  }
  config.head_dim = metadata.integer("attention.key_length", config.hidden_size / config.num_attention_heads);
  if (const std::int64_t value_length = metadata.integer("attention.value_length", config.head_dim);
      value_length != config.head_dim) {
    fail(ErrorKind::kUnsupported, "{}: attention.value_length {} differs from attention.key_length {}", file.origin(),
         value_length, config.head_dim);
  }
  const TensorEntry& embedding = catalogue.at("token_embd.weight");
  config.vocab_size = embedding.shape.num_dims() == 2 ? embedding.shape[0] : 0;
  config.max_position_embeddings = metadata.integer("context_length", 2048);
  config.rms_norm_eps = metadata.number("attention.layer_norm_rms_epsilon", 1e-6);
  config.hidden_act = arch.defaults.hidden_act;  // the files do not say
  if (config.head_dim < 1) fail(ErrorKind::kBadFile, "{}: head size {}", file.origin(), config.head_dim);
  config.rope = rope_of(file, metadata, config);
  config.rope_interleaved = name == "llama";  // Llama, Mistral and Mixtral
  config.tie_word_embeddings = catalogue.find("output.weight") == nullptr;
  config.attention_bias = catalogue.find("blk.0.attn_q.bias") != nullptr || arch.qkv_bias_always;
  config.attention_out_bias = catalogue.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = catalogue.find("blk.0.ffn_down.bias") != nullptr;
  if (arch.post_norms) {
    config.attn_logit_softcapping = metadata.number("attn_logit_softcapping", arch.defaults.attn_logit_softcapping);
    config.final_logit_softcapping = metadata.number("final_logit_softcapping", arch.defaults.final_logit_softcapping);
    // The files do not carry query_pre_attn_scalar. It is head_dim in all published models but the one of 46 layers.
    if (const double scale = metadata.number("attention.scale", 0.0); scale > 0) {
      config.query_pre_attn_scalar = 1 / (scale * scale);
    } else if (config.num_hidden_layers == 46) {
      config.query_pre_attn_scalar = static_cast<double>(config.hidden_size / config.num_attention_heads);
    }
  }
  config.embedding_scale = arch.scale_embedding ? std::sqrt(static_cast<double>(config.hidden_size)) : 1.0;
  const std::int64_t window = std::min(metadata.integer("attention.sliding_window", arch.defaults.sliding_window),
                                       config.max_position_embeddings);
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const bool slides = arch.sliding_window == SlidingWindow::kEveryLayer ||
                        (arch.sliding_window == SlidingWindow::kEvenLayers && layer % 2 == 0);
    config.sliding_window.push_back(slides ? window : 0);
  }
  if (arch.has_experts) {
    config.num_experts = num_experts;
    config.num_experts_per_tok = metadata.integer("expert_used_count");
    config.moe_intermediate_size = metadata.integer("expert_feed_forward_length", config.intermediate_size);
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      config.moe_layer.push_back(catalogue.find(format("blk.{}.ffn_gate_inp.weight", layer)) != nullptr);
    }
  }
  check_config(config, file.origin());
  return config;
}

}  // namespace tandem
