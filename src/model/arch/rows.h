#pragma once
// Rows that several architectures share, so that a file in this folder shows only what is its own.

#include <array>

#include "model/arch.h"

namespace tandem::rows {

inline constexpr TensorRow kAttentionNorm = {Slot::kAttentionNorm, "input_layernorm.weight", "attn_norm.weight",
                                             "hidden"};
inline constexpr TensorRow kWq = {Slot::kWq, "self_attn.q_proj.weight", "attn_q.weight", "q hidden",
                                  Shard::kRowsByQueryHead};
inline constexpr TensorRow kWk = {Slot::kWk, "self_attn.k_proj.weight", "attn_k.weight", "kv hidden",
                                  Shard::kRowsByKvHead};
inline constexpr TensorRow kWv = {Slot::kWv, "self_attn.v_proj.weight", "attn_v.weight", "kv hidden",
                                  Shard::kRowsByKvHead};
inline constexpr TensorRow kBq = {Slot::kBq, "self_attn.q_proj.bias", "attn_q.bias",
                                  "q",       Shard::kRowsByQueryHead, Presence::kAttentionBias};
inline constexpr TensorRow kBk = {Slot::kBk, "self_attn.k_proj.bias", "attn_k.bias",
                                  "kv",      Shard::kRowsByKvHead,    Presence::kAttentionBias};
inline constexpr TensorRow kBv = {Slot::kBv, "self_attn.v_proj.bias", "attn_v.bias",
                                  "kv",      Shard::kRowsByKvHead,    Presence::kAttentionBias};
inline constexpr TensorRow kQNorm = {Slot::kQNorm, "self_attn.q_norm.weight", "attn_q_norm.weight", "head"};
inline constexpr TensorRow kKNorm = {Slot::kKNorm, "self_attn.k_norm.weight", "attn_k_norm.weight", "head"};
inline constexpr TensorRow kWo = {Slot::kWo, "self_attn.o_proj.weight", "attn_output.weight", "hidden q",
                                  Shard::kColsByQueryHead};
inline constexpr TensorRow kBo = {Slot::kBo, "self_attn.o_proj.bias", "attn_output.bias",
                                  "hidden",  Shard::kReplicated,      Presence::kAttentionOutBias};
inline constexpr TensorRow kMlpNorm = {Slot::kMlpNorm, "post_attention_layernorm.weight", "ffn_norm.weight", "hidden"};

// The dense MLP. kDenseLayer is every layer of a model without experts.
inline constexpr TensorRow kGate = {Slot::kGate,  "mlp.gate_proj.weight",     "ffn_gate.weight",
                                    "mlp hidden", Shard::kRowsByIntermediate, Presence::kDenseLayer};
inline constexpr TensorRow kUp = {Slot::kUp,    "mlp.up_proj.weight",       "ffn_up.weight",
                                  "mlp hidden", Shard::kRowsByIntermediate, Presence::kDenseLayer};
inline constexpr TensorRow kDown = {Slot::kDown,  "mlp.down_proj.weight",     "ffn_down.weight",
                                    "hidden mlp", Shard::kColsByIntermediate, Presence::kDenseLayer};
inline constexpr TensorRow kGateBias = {Slot::kGateBias, "mlp.gate_proj.bias",       "ffn_gate.bias",
                                        "mlp",           Shard::kRowsByIntermediate, Presence::kMlpBias};
inline constexpr TensorRow kUpBias = {Slot::kUpBias, "mlp.up_proj.bias",         "ffn_up.bias",
                                      "mlp",         Shard::kRowsByIntermediate, Presence::kMlpBias};
inline constexpr TensorRow kDownBias = {Slot::kDownBias, "mlp.down_proj.bias", "ffn_down.bias",
                                        "hidden",        Shard::kReplicated,   Presence::kMlpBias};

}  // namespace tandem::rows
