#include "model/config.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "model/arch.h"
#include "model/dummy_shapes.h"

namespace tandem {
namespace {

Json llama() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 160,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 384,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "hidden_act": "silu"})");
}

ModelConfig parse(const Json& json) {
  return parse_hf_config(json.dump(), "config.json");
}

// The kind and the message of the Error that `json` is refused with.
std::pair<ErrorKind, std::string> refusal(const Json& json) {
  try {
    parse(json);
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::kInternal, "accepted"};
}

TEST(Config, ReadsLlamaWithDefaults) {
  const ModelConfig config = parse(llama());
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.rope.rope_theta, 10000);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.sliding_window, (std::vector<std::int64_t>{0, 0}));
}

TEST(Config, OlderAndNewerRopeSpellingsMeanTheSame) {
  const Json scaling = {
      {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 128}};
  Json newer = llama();
  newer["rope_parameters"] = scaling;
  newer["rope_parameters"]["rope_type"] = "llama3";
  newer["rope_parameters"]["rope_theta"] = 500000.0;
  for (const char* key : {"type", "rope_type"}) {
    Json older = llama();
    older["rope_theta"] = 500000.0;
    older["rope_scaling"] = scaling;
    older["rope_scaling"][key] = "llama3";
    const RopeParameters a = parse(newer).rope;
    const RopeParameters b = parse(older).rope;
    EXPECT_EQ(b.type, RopeType::kLlama3);
    EXPECT_EQ(a.rope_theta, b.rope_theta);
    EXPECT_EQ(a.factor, b.factor);
    EXPECT_EQ(a.original_max_position_embeddings, b.original_max_position_embeddings);
  }
}

TEST(Config, RefusesByNameWhatItDoesNotCompute) {
  struct Change {
    const char* key;
    Json value;
    const char* said;
  };
  const Change changes[] = {
      {"architectures", Json::array({"BertModel"}), "architecture BertModel"},
      {"hidden_act", "relu", "hidden_act = \"relu\""},
      {"rope_scaling", {{"rope_type", "longrope"}, {"factor", 2.0}}, "rope_scaling: rope_type = \"longrope\""},
      {"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}, "rope_scaling: type = \"dynamic\""},
      {"quantization_config", {{"quant_method", "gptq"}}, "\"gptq\" (quantization_config)"},
      {"quantization_config", {{"quant_method", 4}}, "\"unknown\" (quantization_config)"},
      {"quantization_config", Json::object(), "\"unknown\" (quantization_config)"},
      {"quantization_config", "gptq", "\"unknown\" (quantization_config)"},
      {"layer_types", Json::array({"full_attention", "chunked_attention"}), "layer_types[1] = \"chunked_attention\""},
      {"use_bidirectional_attention", true, "use_bidirectional_attention = true"},
      {"head_dim", 15, "head_dim 15"},
      {"head_dim", 512, "head_dim 512"},
  };
  for (const auto& [key, value, said] : changes) {
    Json json = llama();
    json[key] = value;
    const auto [kind, message] = refusal(json);
    EXPECT_EQ(kind, ErrorKind::kUnsupported) << key << ": " << message;
    EXPECT_TRUE(message.starts_with("config.json: ")) << message;
    EXPECT_NE(message.find(said), std::string::npos) << message;
  }
}

TEST(Config, RefusesImpossibleValues) {
  const std::pair<const char*, Json> changes[] = {
      {"hidden_size", -1},        {"hidden_size", "64"},
      {"num_attention_heads", 0}, {"num_key_value_heads", 3},
      {"num_hidden_layers", 1e9}, {"vocab_size", 0},
      {"sliding_window", -4},     {"layer_types", Json::array({"full_attention"})},
      {"rms_norm_eps", -1.0},     {"num_hidden_layers", 100000000},
  };
  for (const auto& [key, value] : changes) {
    Json json = llama();
    json[key] = value;
    EXPECT_EQ(refusal(json).first, ErrorKind::kBadFile) << key << " " << value << ": " << refusal(json).second;
  }
  for (const char* key : {"hidden_size", "vocab_size", "num_attention_heads", "architectures"}) {
    Json json = llama();
    json.erase(key);
    EXPECT_EQ(refusal(json).first, ErrorKind::kBadFile) << key;
    EXPECT_NE(refusal(json).second.find(key), std::string::npos) << refusal(json).second;
  }
}

// The keys that every class has to be told.
Json minimal(const char* architecture, int num_attention_heads) {
  return {{"architectures", {architecture}}, {"hidden_size", 16 * num_attention_heads},    {"intermediate_size", 160},
          {"num_hidden_layers", 2},          {"num_attention_heads", num_attention_heads}, {"vocab_size", 384}};
}

TEST(Config, AbsentKeysHaveTheDefaultsOfTheArchitecturesClass) {
  const ModelConfig llama = parse(minimal("LlamaForCausalLM", 8));
  EXPECT_EQ(llama.num_key_value_heads, 8);
  EXPECT_EQ(llama.head_dim, 16);
  EXPECT_EQ(llama.max_position_embeddings, 2048);
  EXPECT_EQ(llama.rms_norm_eps, 1e-6);

  const ModelConfig mistral = parse(minimal("MistralForCausalLM", 16));
  EXPECT_EQ(mistral.num_key_value_heads, 8);
  EXPECT_EQ(mistral.max_position_embeddings, 131072);
  EXPECT_EQ(mistral.sliding_window, (std::vector<std::int64_t>{4096, 4096}));

  const ModelConfig qwen2 = parse(minimal("Qwen2ForCausalLM", 32));
  EXPECT_EQ(qwen2.num_key_value_heads, 32);
  EXPECT_EQ(qwen2.max_position_embeddings, 32768);
  EXPECT_EQ(qwen2.sliding_window, (std::vector<std::int64_t>{0, 0}));

  const ModelConfig qwen3 = parse(minimal("Qwen3ForCausalLM", 32));
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_EQ(qwen3.num_key_value_heads, 32);

  const ModelConfig phi3 = parse(minimal("Phi3ForCausalLM", 8));
  EXPECT_EQ(phi3.num_key_value_heads, 8);
  EXPECT_EQ(phi3.max_position_embeddings, 4096);
  EXPECT_EQ(phi3.rms_norm_eps, 1e-5);

  const ModelConfig gemma = parse(minimal("Gemma2ForCausalLM", 8));
  EXPECT_EQ(gemma.num_key_value_heads, 4);
  EXPECT_EQ(gemma.head_dim, 256);
  EXPECT_EQ(gemma.max_position_embeddings, 8192);
  EXPECT_EQ(gemma.hidden_act, HiddenAct::kGeluTanh);
  EXPECT_EQ(gemma.query_pre_attn_scalar, 256);
  EXPECT_EQ(gemma.attn_logit_softcapping, 50);
  EXPECT_EQ(gemma.final_logit_softcapping, 30);
  EXPECT_EQ(gemma.sliding_window, (std::vector<std::int64_t>{4096, 0}));
  EXPECT_TRUE(gemma.tie_word_embeddings);

  Json experts = minimal("MixtralForCausalLM", 16);
  experts["num_local_experts"] = 4;
  experts["num_experts_per_tok"] = 2;
  const ModelConfig mixtral = parse(experts);
  EXPECT_EQ(mixtral.num_key_value_heads, 8);
  EXPECT_EQ(mixtral.rope.rope_theta, 1e6);
  EXPECT_EQ(mixtral.rms_norm_eps, 1e-5);
  EXPECT_EQ(mixtral.moe_intermediate_size, 160);
  EXPECT_TRUE(mixtral.norm_topk_prob);
  EXPECT_EQ(mixtral.sliding_window, (std::vector<std::int64_t>{0, 0}));
  experts["architectures"] = {"Qwen3MoeForCausalLM"};
  const ModelConfig qwen3_moe = parse(experts);
  EXPECT_EQ(qwen3_moe.num_key_value_heads, 4);
  EXPECT_EQ(qwen3_moe.moe_intermediate_size, 768);
  EXPECT_FALSE(qwen3_moe.norm_topk_prob);
}

TEST(Config, NullTurnsOffWhatAnAbsentKeyLeavesOn) {
  Json json = minimal("Gemma2ForCausalLM", 8);
  for (const char* key :
       {"sliding_window", "attn_logit_softcapping", "final_logit_softcapping", "head_dim", "num_key_value_heads"}) {
    json[key] = nullptr;
  }
  const ModelConfig config = parse(json);
  EXPECT_EQ(config.sliding_window, (std::vector<std::int64_t>{0, 0}));
  EXPECT_EQ(config.attn_logit_softcapping, 0);
  EXPECT_EQ(config.final_logit_softcapping, 0);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.num_key_value_heads, 8);
}

TEST(Config, RefusesImpossibleScalesAndShapesByName) {
  const std::pair<const char*, Json> changes[] = {
      {"attn_logit_softcapping", -1.0},
      {"final_logit_softcapping", -30.0},
      {"query_pre_attn_scalar", -256.0},
      {"sliding_window", -1},
      {"intermediate_size", std::int64_t{1} << 30},
      {"num_attention_heads", std::int64_t{1} << 30},
  };
  for (const auto& [key, value] : changes) {
    Json json = minimal("Gemma2ForCausalLM", 8);
    json["hidden_size"] = 1 << 20;
    json[key] = value;
    const auto [kind, message] = refusal(json);
    EXPECT_EQ(kind, ErrorKind::kBadFile) << key << ": " << message;
    EXPECT_NE(message.find(key), std::string::npos) << message;
  }
  ModelConfig config = parse(llama());
  config.sliding_window[1] = -4;
  EXPECT_THROW(check_config(config, "model.gguf"), Error);
}

TEST(Config, AWindowBeyondTheLastPositionIsTheWholeContext) {
  Json json = llama();
  json["architectures"] = {"MistralForCausalLM"};
  json["sliding_window"] = std::int64_t{1} << 40;
  EXPECT_EQ(parse(json).sliding_window, (std::vector<std::int64_t>{512, 512}));
}

TEST(Config, SlidingWindowFollowsTheArchitectureWhereLayersAreNotListed) {
  Json mistral = llama();
  mistral["architectures"] = {"MistralForCausalLM"};
  mistral["sliding_window"] = 24;
  EXPECT_EQ(parse(mistral).sliding_window, (std::vector<std::int64_t>{24, 24}));
  Json gemma = llama();
  gemma["architectures"] = {"Gemma2ForCausalLM"};
  gemma["hidden_act"] = "gelu_pytorch_tanh";
  gemma["sliding_window"] = 24;
  EXPECT_EQ(parse(gemma).sliding_window, (std::vector<std::int64_t>{24, 0}));
  Json qwen = llama();
  qwen["architectures"] = {"Qwen2ForCausalLM"};
  qwen["sliding_window"] = 24;
  qwen["max_window_layers"] = 1;
  EXPECT_EQ(parse(qwen).sliding_window, (std::vector<std::int64_t>{0, 0}));
  qwen["use_sliding_window"] = true;
  EXPECT_EQ(parse(qwen).sliding_window, (std::vector<std::int64_t>{0, 24}));
}

TEST(Config, EveryDummyShapeIsValid) {
  for (const std::string_view name : dummy_names()) {
    const ModelConfig config = parse_hf_config(dummy_config(name), name);
    EXPECT_GT(config.hidden_size, 0) << name;
  }
  EXPECT_THROW(dummy_config("llama-9"), Error);
}

TEST(Arch, EveryArchitectureIsFoundByItsClass) {
  for (const Arch* arch : all_archs()) EXPECT_EQ(&find_arch(arch->hf_class, "test"), arch);
}

}  // namespace
}  // namespace tandem
