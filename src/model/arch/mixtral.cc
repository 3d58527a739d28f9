// Mixtral: Mistral's attention; each token goes through the best few of many MLPs. Its GGUF files call themselves
// llama.
#include "model/arch/archs.h"
#include "model/arch/rows.h"

namespace tandem {

constexpr TensorRow kLayer[] = {
    rows::kAttentionNorm,
    rows::kWq,
    rows::kWk,
    rows::kWv,
    rows::kWo,
    rows::kMlpNorm,
    {.slot = Slot::kRouter,
     .name = "block_sparse_moe.gate.weight",
     .gguf_name = "ffn_gate_inp.weight",
     .shape = "experts hidden",
     .presence = Presence::kMoeLayer},
    {.slot = Slot::kExpertGate,
     .name = "block_sparse_moe.experts.{e}.w1.weight",
     .gguf_name = "ffn_gate_exps.weight",
     .shape = "moe hidden",
     .shard = Shard::kRowsByMoeIntermediate,
     .presence = Presence::kMoeLayer},
    {.slot = Slot::kExpertUp,
     .name = "block_sparse_moe.experts.{e}.w3.weight",
     .gguf_name = "ffn_up_exps.weight",
     .shape = "moe hidden",
     .shard = Shard::kRowsByMoeIntermediate,
     .presence = Presence::kMoeLayer},
    {.slot = Slot::kExpertDown,
     .name = "block_sparse_moe.experts.{e}.w2.weight",
     .gguf_name = "ffn_down_exps.weight",
     .shape = "hidden moe",
     .shard = Shard::kColsByMoeIntermediate,
     .presence = Presence::kMoeLayer},
};
const Arch kMixtral = {.hf_class = "MixtralForCausalLM",
                       .gguf_arch = "",
                       .layer_tensors = kLayer,
                       .defaults = {.num_key_value_heads = 8,
                                    .max_position_embeddings = 131072,
                                    .rms_norm_eps = 1e-5,
                                    .rope_theta = 1e6,
                                    .norm_topk_prob = true},  // always: it has no such key
                       .sliding_window = SlidingWindow::kEveryLayer,
                       .has_experts = true};

}  // namespace tandem
