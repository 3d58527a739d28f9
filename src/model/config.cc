#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "model/arch.h"

namespace tandem {
namespace {

// Reads one JSON object by key, remembers which keys were asked for, and names file, key and value in errors.
class ConfigReader {
 public:
  ConfigReader(const Json& object, std::string origin) : object_(object), origin_(std::move(origin)) {
    if (!object.is_object()) fail(ErrorKind::kBadFile, "{}: expected a JSON object", origin_);
  }

  /// nullptr when absent or null.
  const Json* find(const std::string& key) {
    seen_.insert(key);
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  /// Whether the key is there. The value null is a choice too: none, where an absent key may have a default.
  bool has(const std::string& key) const { return object_.contains(key); }

  std::int64_t integer(const std::string& key, std::optional<std::int64_t> fallback = std::nullopt) {
    const Json* value = find(key);
    if (value == nullptr) return required(key, fallback);
    if (!value->is_number_integer()) wrong(key, *value, "an integer");
    return value->get<std::int64_t>();
  }
  double number(const std::string& key, std::optional<double> fallback = std::nullopt) {
    const Json* value = find(key);
    if (value == nullptr) return required(key, fallback);
    if (!value->is_number()) wrong(key, *value, "a number");
    return value->get<double>();
  }
  bool boolean(const std::string& key, bool fallback) {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) wrong(key, *value, "true or false");
    return value->get<bool>();
  }
  std::string string(const std::string& key, std::optional<std::string> fallback = std::nullopt) {
    const Json* value = find(key);
    if (value == nullptr) return required(key, fallback);
    if (!value->is_string()) wrong(key, *value, "a string");
    return value->get<std::string>();
  }
  /// A number or a list of them.
  std::vector<std::int64_t> integers(const std::string& key) {
    const Json* value = find(key);
    if (value == nullptr) return {};
    const Json list = value->is_array() ? *value : Json::array({*value});
    std::vector<std::int64_t> result;
    for (const Json& item : list) {
      if (!item.is_number_integer()) wrong(key, *value, "an integer or a list of integers");
      result.push_back(item.get<std::int64_t>());
    }
    return result;
  }

  [[noreturn]] void unsupported(const std::string& key, std::string_view supported) {
    const Json* value = find(key);
    fail_with_hint(ErrorKind::kUnsupported,
                   format("{}: {} = {} is not supported", origin_, key, value == nullptr ? "absent" : value->dump()),
                   format("supported: {}", supported));
  }
  [[noreturn]] void bad(const std::string& message) { fail(ErrorKind::kBadFile, "{}: {}", origin_, message); }

  /// Keys that change nothing here, so that whatever is left over can be pointed out.
  void ignore(std::initializer_list<const char*> keys) { seen_.insert(keys.begin(), keys.end()); }
  void report_unknown_keys() const {
    for (const auto& item : object_.items()) {
      if (!seen_.contains(item.key())) {
        log(LogLevel::kWarn, Subsystem::kModel, "{}: {} is not known and was ignored", origin_, item.key());
      }
    }
  }
  const std::string& origin() const { return origin_; }

 private:
  template <class T>
  T required(const std::string& key, const std::optional<T>& fallback) {
    if (!fallback) fail(ErrorKind::kBadFile, "{}: {} is missing", origin_, key);
    return *fallback;
  }
  [[noreturn]] void wrong(const std::string& key, const Json& value, std::string_view wanted) {
    fail(ErrorKind::kBadFile, "{}: {} is {}, expected {}", origin_, key, value.dump().substr(0, 80), wanted);
  }

  const Json& object_;
  std::string origin_;
  std::set<std::string> seen_;
};

// Newest spelling: rope_parameters with everything in it. Older: rope_theta beside rope_scaling, whose type is called
// "type" or "rope_type".
RopeParameters read_rope(ConfigReader& config, const Arch& arch, std::int64_t max_position_embeddings) {
  RopeParameters rope;
  rope.rope_theta = config.number("rope_theta", arch.defaults.rope_theta);
  rope.partial_rotary_factor = config.number("partial_rotary_factor", 1.0);
  rope.original_max_position_embeddings = config.integer("original_max_position_embeddings", max_position_embeddings);
  const Json* newest = config.find("rope_parameters");
  const Json* older = config.find("rope_scaling");
  const Json* object = newest != nullptr ? newest : older;
  if (object == nullptr) return rope;

  const std::string key = newest != nullptr ? "rope_parameters" : "rope_scaling";
  ConfigReader reader(*object, format("{}: {}", config.origin(), key));
  rope.rope_theta = reader.number("rope_theta", rope.rope_theta);
  rope.partial_rotary_factor = reader.number("partial_rotary_factor", rope.partial_rotary_factor);
  const std::string type = reader.string("rope_type", reader.string("type", "default"));
  if (type == "default") {
    rope.type = RopeType::kDefault;
  } else if (type == "linear") {
    rope.type = RopeType::kLinear;
    rope.factor = reader.number("factor");
  } else if (type == "llama3") {
    rope.type = RopeType::kLlama3;
    rope.factor = reader.number("factor");
    rope.low_freq_factor = reader.number("low_freq_factor");
    rope.high_freq_factor = reader.number("high_freq_factor");
    rope.original_max_position_embeddings = reader.integer("original_max_position_embeddings");
    if (rope.high_freq_factor <= rope.low_freq_factor) reader.bad("high_freq_factor is not above low_freq_factor");
  } else if (type == "yarn") {
    rope.type = RopeType::kYarn;
    rope.original_max_position_embeddings =
        reader.integer("original_max_position_embeddings", rope.original_max_position_embeddings);
    rope.factor = reader.number(
        "factor", static_cast<double>(max_position_embeddings) /
                      static_cast<double>(std::max<std::int64_t>(rope.original_max_position_embeddings, 1)));
    rope.beta_fast = reader.number("beta_fast", rope.beta_fast);
    rope.beta_slow = reader.number("beta_slow", rope.beta_slow);
    rope.attention_factor = reader.number("attention_factor", 0.0);
    rope.mscale = reader.number("mscale", 0.0);
    rope.mscale_all_dim = reader.number("mscale_all_dim", 0.0);
    rope.truncate = reader.boolean("truncate", true);
  } else {
    reader.unsupported(reader.find("rope_type") != nullptr ? "rope_type" : "type", "default, linear, llama3, yarn");
  }
  reader.ignore({"original_max_position_embeddings", "finetuned"});
  reader.report_unknown_keys();
  if (!(rope.factor > 0) || !(rope.rope_theta > 0) || rope.original_max_position_embeddings <= 0) {
    reader.bad("factor, rope_theta and original_max_position_embeddings must be positive");
  }
  return rope;
}

HiddenAct read_activation(ConfigReader& config, const Arch& arch) {
  const std::string key = config.find("hidden_activation") != nullptr ? "hidden_activation" : "hidden_act";
  config.find("hidden_act");  // Gemma lists both; hidden_activation is the one its code reads
  if (config.find(key) == nullptr) return arch.defaults.hidden_act;
  const std::string name = config.string(key);
  if (name == "silu") return HiddenAct::kSilu;
  if (name == "gelu_pytorch_tanh") return HiddenAct::kGeluTanh;
  config.unsupported(key, "silu, gelu_pytorch_tanh");
}

// Which layers see only a window: layer_types says it where present; before it existed, a rule of the architecture did.
std::vector<std::int64_t> read_sliding_window(ConfigReader& config, const Arch& arch, std::int64_t num_layers,
                                              std::int64_t max_position_embeddings) {
  std::vector<std::int64_t> windows(static_cast<std::size_t>(num_layers), 0);
  std::int64_t window =
      config.integer("sliding_window", config.has("sliding_window") ? 0 : arch.defaults.sliding_window);
  const bool use = config.boolean("use_sliding_window", arch.sliding_window != SlidingWindow::kFromMaxWindowLayers);
  const std::int64_t max_window_layers = config.integer("max_window_layers", arch.defaults.max_window_layers);
  if (window < 0) config.bad(format("sliding_window is {}", window));
  window = std::min(window, max_position_embeddings);  // nothing lies further back, and it fits the kernels' int32
  if (const Json* types = config.find("layer_types")) {
    if (!types->is_array() || types->size() != windows.size()) {
      config.bad(format("layer_types must list {} layers", num_layers));
    }
    for (std::size_t layer = 0; layer < windows.size(); ++layer) {
      const Json& type = (*types)[layer];
      if (type == "sliding_attention") {
        if (window == 0) config.bad("layer_types has sliding_attention, but sliding_window is absent");
        windows[layer] = window;
      } else if (type != "full_attention") {
        fail(ErrorKind::kUnsupported, "{}: layer_types[{}] = {} is not supported", config.origin(), layer, type.dump());
      }
    }
    return windows;
  }
  if (!use || window == 0) return windows;
  for (std::int64_t layer = 0; layer < num_layers; ++layer) {
    bool slides = false;
    switch (arch.sliding_window) {
      case SlidingWindow::kNone:
        break;
      case SlidingWindow::kEveryLayer:
        slides = true;
        break;
      case SlidingWindow::kEvenLayers:
        slides = layer % 2 == 0;
        break;
      case SlidingWindow::kFromMaxWindowLayers:
        slides = layer >= max_window_layers;
        break;
    }
    if (slides) windows[static_cast<std::size_t>(layer)] = window;
  }
  return windows;
}

void read_experts(ConfigReader& config, const Arch& arch, ModelConfig& model) {
  model.num_experts = config.integer(config.find("num_local_experts") ? "num_local_experts" : "num_experts");
  config.find("num_experts");
  model.num_experts_per_tok = config.integer("num_experts_per_tok");
  const std::int64_t moe_default = arch.defaults.moe_intermediate_size;
  model.moe_intermediate_size =
      config.integer("moe_intermediate_size", moe_default > 0 ? moe_default : model.intermediate_size);
  model.norm_topk_prob = config.boolean("norm_topk_prob", arch.defaults.norm_topk_prob);
  const std::int64_t step = config.integer("decoder_sparse_step", 1);
  const std::vector<std::int64_t> dense = config.integers("mlp_only_layers");
  for (std::int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    const bool sparse =
        step > 0 && (layer + 1) % step == 0 && std::find(dense.begin(), dense.end(), layer) == dense.end();
    model.moe_layer.push_back(sparse);
  }
}

std::string architecture_of(ConfigReader& config) {
  config.find("model_type");
  const Json* list = config.find("architectures");
  if (list == nullptr || !list->is_array() || list->size() != 1 || !(*list)[0].is_string()) {
    config.bad("architectures must be a list of one name");
  }
  return (*list)[0].get<std::string>();
}

}  // namespace

ModelConfig parse_hf_config(std::string_view text, std::string_view origin) {
  const Json json = parse_json(text, origin);
  ConfigReader config(json, std::string(origin));
  ModelConfig model;
  model.architecture = architecture_of(config);
  const Arch& arch = find_arch(model.architecture, origin);
  if (const Json* quantization = config.find("quantization_config")) {
    const Json named = quantization->is_object() ? quantization->value("quant_method", Json()) : Json();
    const std::string method = named.is_string() ? named.get<std::string>() : "unknown";
    fail_with_hint(ErrorKind::kUnsupported,
                   format("{}: weights quantised by \"{}\" (quantization_config) are not supported", origin, method),
                   "use the model's bf16 or f16 safetensors, or a GGUF file");
  }

  model.hidden_size = config.integer("hidden_size");
  model.intermediate_size = config.integer("intermediate_size");
  model.num_hidden_layers = config.integer("num_hidden_layers");
  model.num_attention_heads = config.integer("num_attention_heads");
  const ConfigDefaults& defaults = arch.defaults;
  const auto or_default = [&](const char* key, std::int64_t if_absent, std::int64_t computed) {
    return config.integer(key, config.has(key) || if_absent == 0 ? computed : if_absent);
  };
  model.num_key_value_heads =
      or_default("num_key_value_heads", defaults.num_key_value_heads, model.num_attention_heads);
  if (model.num_hidden_layers < 1 || model.num_hidden_layers > 10000 || model.num_attention_heads < 1) {
    config.bad(
        format("num_hidden_layers {} and num_attention_heads {}", model.num_hidden_layers, model.num_attention_heads));
  }
  model.head_dim = or_default("head_dim", defaults.head_dim, model.hidden_size / model.num_attention_heads);
  model.vocab_size = config.integer("vocab_size");
  model.max_position_embeddings = config.integer("max_position_embeddings", defaults.max_position_embeddings);
  model.rms_norm_eps = config.number("rms_norm_eps", defaults.rms_norm_eps);
  model.hidden_act = read_activation(config, arch);
  model.rope = read_rope(config, arch, model.max_position_embeddings);
  model.tie_word_embeddings = config.boolean("tie_word_embeddings", arch.tied_by_default);
  model.attention_bias = arch.qkv_bias_always || config.boolean("attention_bias", false);
  model.attention_out_bias = !arch.qkv_bias_always && model.attention_bias;
  model.mlp_bias = config.boolean("mlp_bias", false);
  if (arch.post_norms) {
    const auto softcapping = [&](const char* key, double if_absent) {
      return config.number(key, config.has(key) ? 0.0 : if_absent);
    };
    model.query_pre_attn_scalar = config.number("query_pre_attn_scalar", defaults.query_pre_attn_scalar);
    model.attn_logit_softcapping = softcapping("attn_logit_softcapping", defaults.attn_logit_softcapping);
    model.final_logit_softcapping = softcapping("final_logit_softcapping", defaults.final_logit_softcapping);
  }
  model.norm_weight_offset = arch.norm_weight_offset;
  model.embedding_scale = arch.scale_embedding ? std::sqrt(static_cast<double>(model.hidden_size)) : 1.0;
  model.sliding_window = read_sliding_window(config, arch, model.num_hidden_layers, model.max_position_embeddings);
  if (arch.has_experts) read_experts(config, arch, model);

  if (config.boolean("use_bidirectional_attention", false)) config.unsupported("use_bidirectional_attention", "false");
  config.ignore({"_name_or_path",
                 "attention_dropout",
                 "auto_map",
                 "bos_token_id",
                 "cache_implementation",
                 "chunk_size_feed_forward",
                 "dtype",
                 "embd_pdrop",
                 "eos_token_id",
                 "id2label",
                 "initializer_range",
                 "label2id",
                 "name_or_path",
                 "output_attentions",
                 "output_hidden_states",
                 "output_router_logits",
                 "pad_token_id",
                 "pretraining_tp",
                 "resid_pdrop",
                 "return_dict",
                 "rope_interleaved",
                 "rope_theta",
                 "router_aux_loss_coef",
                 "router_jitter_noise",
                 "sliding_window_pattern",
                 "sliding_window_size",  // Gemma 2's files repeat sliding_window under this name
                 "torch_dtype",
                 "transformers.js_config",
                 "transformers_version",
                 "unk_token_id",
                 "use_cache"});
  config.report_unknown_keys();
  check_config(model, origin);
  return model;
}

void check_config(const ModelConfig& config, std::string_view origin) {
  const auto require = [&](bool holds, std::string_view what) {
    if (!holds) fail(ErrorKind::kBadFile, "{}: impossible shape: {}", origin, what);
  };
  constexpr std::int64_t kLimit = std::int64_t{1} << 31;
  const std::pair<std::string_view, std::int64_t> extents[] = {
      {"hidden_size", config.hidden_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
      {"num_key_value_heads", config.num_key_value_heads},
      {"head_dim", config.head_dim},
      {"vocab_size", config.vocab_size},
      {"max_position_embeddings", config.max_position_embeddings},
  };
  for (const auto& [name, extent] : extents) {
    require(extent > 0 && extent < kLimit, format("{} is {}", name, extent));
  }
  require(config.intermediate_size >= 0 && config.intermediate_size < kLimit,
          format("intermediate_size {}", config.intermediate_size));
  require(config.num_attention_heads % config.num_key_value_heads == 0,
          format("{} attention heads are not a multiple of {} KV heads", config.num_attention_heads,
                 config.num_key_value_heads));
  if (config.head_dim % 8 != 0 || config.head_dim < 16 || config.head_dim > 256) {
    fail(ErrorKind::kUnsupported, "{}: head_dim {} is not supported (multiples of 8 from 16 to 256 are)", origin,
         config.head_dim);
  }
  const std::pair<std::string_view, double> scales[] = {
      {"query_pre_attn_scalar", config.query_pre_attn_scalar},
      {"attn_logit_softcapping", config.attn_logit_softcapping},
      {"final_logit_softcapping", config.final_logit_softcapping},
  };
  for (const auto& [name, scale] : scales) {
    require(std::isfinite(scale) && scale >= 0, format("{} is {}", name, scale));
  }
  require(std::isfinite(config.rms_norm_eps) && config.rms_norm_eps >= 0,
          format("rms_norm_eps {}", config.rms_norm_eps));
  require(config.rope.partial_rotary_factor > 0 && config.rope.partial_rotary_factor <= 1,
          format("partial_rotary_factor {}", config.rope.partial_rotary_factor));
  require(config.sliding_window.size() == static_cast<std::size_t>(config.num_hidden_layers),
          "sliding_window per layer");
  for (const std::int64_t window : config.sliding_window) {
    require(window >= 0 && window <= config.max_position_embeddings, format("sliding_window is {}", window));
  }
  if (!config.moe_layer.empty()) {
    require(config.num_experts >= 1 && config.num_experts <= 65536 && config.num_experts_per_tok >= 1 &&
                config.num_experts_per_tok <= config.num_experts,
            format("{} of {} experts a token", config.num_experts_per_tok, config.num_experts));
    require(config.moe_intermediate_size > 0 && config.moe_intermediate_size < kLimit,
            format("moe_intermediate_size {}", config.moe_intermediate_size));
  }
  // The largest matrices: no real one comes near, and bytes and operations counted from them fit in 64 bits.
  constexpr std::int64_t kMostElements = std::int64_t{1} << 40;
  const auto require_matrix = [&](std::string_view keys, std::int64_t rows) {
    const auto elements = checked_mul(rows, config.hidden_size);
    require(elements && *elements <= kMostElements,
            format("{} give a matrix of {} rows, hidden_size {} columns", keys, rows, config.hidden_size));
  };
  require_matrix("vocab_size", config.vocab_size);
  require_matrix("num_attention_heads, num_key_value_heads and head_dim", config.q_dim() + 2 * config.kv_dim());
  require_matrix("intermediate_size", 2 * config.intermediate_size);
  if (!config.moe_layer.empty()) {
    require_matrix("num_experts and moe_intermediate_size", config.num_experts * config.moe_intermediate_size);
  }
}

GenerationDefaults read_generation_config(const std::filesystem::path& folder) {
  GenerationDefaults defaults;
  const std::filesystem::path path = folder / "generation_config.json";
  if (!file_exists(path)) return defaults;
  const Json json = read_json_file(path);
  ConfigReader reader(json, path.string());
  defaults.do_sample = reader.boolean("do_sample", false);
  defaults.temperature = reader.number("temperature", 1.0);
  // Hugging Face samples from the 50 likeliest unless told otherwise.
  defaults.top_k = static_cast<int>(std::clamp<std::int64_t>(reader.integer("top_k", 50), 0, 1 << 30));
  defaults.top_p = reader.number("top_p", 1.0);
  defaults.min_p = reader.number("min_p", 0.0);
  defaults.repetition_penalty = reader.number("repetition_penalty", 1.0);
  return defaults;
}

}  // namespace tandem
