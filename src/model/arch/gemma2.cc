// Gemma 2: norms before and after attention and MLP, weights stored as distance from 1; soft caps; every other layer
// sees only a window; embeddings scaled by sqrt(hidden_size) and tied to the output.
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
    rows::kWo,
    rows::kBo,
    {.slot = Slot::kPostAttentionNorm,
     .name = "post_attention_layernorm.weight",
     .gguf_name = "post_attention_norm.weight",
     .shape = "hidden"},
    {.slot = Slot::kMlpNorm,
     .name = "pre_feedforward_layernorm.weight",
     .gguf_name = "ffn_norm.weight",
     .shape = "hidden"},
    rows::kGate,
    rows::kUp,
    rows::kDown,
    {.slot = Slot::kPostMlpNorm,
     .name = "post_feedforward_layernorm.weight",
     .gguf_name = "post_ffw_norm.weight",
     .shape = "hidden"},
};
const Arch kGemma2 = {.hf_class = "Gemma2ForCausalLM",
                      .gguf_arch = "gemma2",
                      .layer_tensors = kLayer,
                      .defaults = {.num_key_value_heads = 4,
                                   .head_dim = 256,
                                   .max_position_embeddings = 8192,
                                   .hidden_act = HiddenAct::kGeluTanh,
                                   .sliding_window = 4096,
                                   .query_pre_attn_scalar = 256,
                                   .attn_logit_softcapping = 50,
                                   .final_logit_softcapping = 30},
                      .sliding_window = SlidingWindow::kEvenLayers,
                      .tied_by_default = true,
                      .post_norms = true,
                      .scale_embedding = true,
                      .norm_weight_offset = 1};

}  // namespace tandem
