// Qwen3-MoE: Qwen3's attention; experts in the layers that decoder_sparse_step and mlp_only_layers leave.
#include "model/arch/archs.h"
#include "model/arch/rows.h"

namespace tandem {

constexpr TensorRow kLayer[] = {
    rows::kAttentionNorm,
    rows::kWq,
    rows::kWk,
    rows::kWv,
    rows::kBq,
    rows::kBk,
    rows::kBv,
    rows::kQNorm,
    rows::kKNorm,
    rows::kWo,
    rows::kBo,
    rows::kMlpNorm,
    rows::kGate,
    rows::kUp,
    rows::kDown,
    {.slot = Slot::kRouter,
     .name = "mlp.gate.weight",
     .gguf_name = "ffn_gate_inp.weight",
     .shape = "experts hidden",
     .presence = Presence::kMoeLayer},
    {.slot = Slot::kExpertGate,
     .name = "mlp.experts.{e}.gate_proj.weight",
     .gguf_name = "ffn_gate_exps.weight",
     .shape = "moe hidden",
     .shard = Shard::kRowsByMoeIntermediate,
     .presence = Presence::kMoeLayer},
    {.slot = Slot::kExpertUp,
     .name = "mlp.experts.{e}.up_proj.weight",
     .gguf_name = "ffn_up_exps.weight",
     .shape = "moe hidden",
     .shard = Shard::kRowsByMoeIntermediate,
     .presence = Presence::kMoeLayer},
    {.slot = Slot::kExpertDown,
     .name = "mlp.experts.{e}.down_proj.weight",
     .gguf_name = "ffn_down_exps.weight",
     .shape = "hidden moe",
     .shard = Shard::kColsByMoeIntermediate,
     .presence = Presence::kMoeLayer},
};
const Arch kQwen3Moe = {.hf_class = "Qwen3MoeForCausalLM",
                        .gguf_arch = "qwen3moe",
                        .layer_tensors = kLayer,
                        .defaults = {.num_key_value_heads = 4,
                                     .max_position_embeddings = 32768,
                                     .sliding_window = 4096,
                                     .moe_intermediate_size = 768},
                        .sliding_window = SlidingWindow::kFromMaxWindowLayers,
                        .has_experts = true};

}  // namespace tandem
