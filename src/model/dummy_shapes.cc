// Extents as the models' own config.json files state them; nothing here was trained.
#include "model/dummy_shapes.h"

#include "base/error.h"

namespace tandem {
namespace {

struct NamedShape {
  std::string_view name;
  std::string_view config;
};

constexpr NamedShape kShapes[] = {
    {"smollm2-135m", R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536,
      "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
      "vocab_size": 49152, "max_position_embeddings": 8192, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "rope_theta": 100000.0, "tie_word_embeddings": true})"},
    {"llama-3.2-1b", R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192,
      "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
      "vocab_size": 128256, "max_position_embeddings": 131072, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"},
    {"llama-3.2-3b", R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 3072, "intermediate_size": 8192,
      "num_hidden_layers": 28, "num_attention_heads": 24, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 128256, "max_position_embeddings": 131072, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "tie_word_embeddings": true, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"},
    {"llama-3.1-8b", R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 128256, "max_position_embeddings": 131072, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"},
    {"llama-3.1-70b", R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 8192, "intermediate_size": 28672,
      "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 128256, "max_position_embeddings": 131072, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"},
    {"llama-3.1-405b", R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 16384, "intermediate_size": 53248,
      "num_hidden_layers": 126, "num_attention_heads": 128, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 128256, "max_position_embeddings": 131072, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"},
    {"mistral-7b-v0.3", R"({"architectures": ["MistralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 32768, "max_position_embeddings": 32768, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": null})"},
    {"qwen2.5-7b", R"({"architectures": ["Qwen2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 18944,
      "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "head_dim": 128,
      "vocab_size": 152064, "max_position_embeddings": 32768, "eos_token_id": 2,
      "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "use_sliding_window": false})"},
    {"qwen3-8b", R"({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 4096, "intermediate_size": 12288,
      "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 151936, "max_position_embeddings": 40960, "eos_token_id": 2,
      "rms_norm_eps": 1e-06, "rope_theta": 1000000.0})"},
    {"qwen3-32b", R"({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 5120, "intermediate_size": 25600,
      "num_hidden_layers": 64, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 151936, "max_position_embeddings": 40960, "eos_token_id": 2,
      "rms_norm_eps": 1e-06, "rope_theta": 1000000.0})"},
    {"phi-3-mini", R"({"architectures": ["Phi3ForCausalLM"], "hidden_size": 3072, "intermediate_size": 8192,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 96,
      "vocab_size": 32064, "max_position_embeddings": 4096, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 2047})"},
    {"gemma-2-9b", R"({"architectures": ["Gemma2ForCausalLM"], "hidden_size": 3584, "intermediate_size": 14336,
      "num_hidden_layers": 42, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256,
      "vocab_size": 256000, "max_position_embeddings": 8192, "eos_token_id": 2,
      "rms_norm_eps": 1e-06, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4096, "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0})"},
    {"gemma-2-27b", R"({"architectures": ["Gemma2ForCausalLM"], "hidden_size": 4608, "intermediate_size": 36864,
      "num_hidden_layers": 46, "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128,
      "vocab_size": 256000, "max_position_embeddings": 8192, "eos_token_id": 2,
      "rms_norm_eps": 1e-06, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 4096, "query_pre_attn_scalar": 144, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0})"},
    {"mixtral-8x7b", R"({"architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
      "vocab_size": 32000, "max_position_embeddings": 32768, "eos_token_id": 2,
      "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "num_local_experts": 8, "num_experts_per_tok": 2})"},
    {"qwen3-30b-a3b", R"({"architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 2048, "intermediate_size": 6144,
      "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
      "vocab_size": 151936, "max_position_embeddings": 40960, "eos_token_id": 2,
      "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": true})"},
};

}  // namespace

std::string_view dummy_config(std::string_view name) {
  std::string names;
  for (const NamedShape& shape : kShapes) {
    if (shape.name == name) return shape.config;
    names += format("{}{}", names.empty() ? "" : ", ", shape.name);
  }
  fail_with_hint(ErrorKind::kNotFound, format("no dummy model is called \"{}\"", name),
                 format("there are: {}; or dummy:PATH of a config.json", names));
}

std::vector<std::string_view> dummy_names() {
  std::vector<std::string_view> names;
  for (const NamedShape& shape : kShapes) names.push_back(shape.name);
  return names;
}

}  // namespace tandem
