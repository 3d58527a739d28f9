// Phi-3: Llama's layer with query, key and value in one tensor, and gate and up in another.
#include "model/arch/archs.h"
#include "model/arch/rows.h"

namespace tandem {

constexpr std::string_view kQkv = "self_attn.qkv_proj.weight";
constexpr std::string_view kGateUp = "mlp.gate_up_proj.weight";
constexpr TensorRow kLayer[] = {
    rows::kAttentionNorm,
    {.slot = Slot::kWq,
     .name = kQkv,
     .gguf_name = "attn_qkv.weight",
     .shape = "qkv hidden",
     .shard = Shard::kRowsByQueryHead},
    {.slot = Slot::kWk,
     .name = kQkv,
     .gguf_name = "attn_qkv.weight",
     .shape = "qkv hidden",
     .shard = Shard::kRowsByKvHead,
     .first_row = "q"},
    {.slot = Slot::kWv,
     .name = kQkv,
     .gguf_name = "attn_qkv.weight",
     .shape = "qkv hidden",
     .shard = Shard::kRowsByKvHead,
     .first_row = "q+kv"},
    rows::kWo,
    rows::kMlpNorm,
    {.slot = Slot::kGate,
     .name = kGateUp,
     .gguf_name = "ffn_up.weight",
     .shape = "mlp2 hidden",
     .shard = Shard::kRowsByIntermediate,
     .presence = Presence::kDenseLayer},
    {.slot = Slot::kUp,
     .name = kGateUp,
     .gguf_name = "ffn_up.weight",
     .shape = "mlp2 hidden",
     .shard = Shard::kRowsByIntermediate,
     .presence = Presence::kDenseLayer,
     .first_row = "mlp"},
    rows::kDown,
};
const Arch kPhi3 = {.hf_class = "Phi3ForCausalLM",
                    .gguf_arch = "phi3",
                    .layer_tensors = kLayer,
                    .defaults = {.max_position_embeddings = 4096, .rms_norm_eps = 1e-5},
                    .sliding_window = SlidingWindow::kEveryLayer};

}  // namespace tandem
