// Qwen3: Llama's layer with a norm on each query and key head.
#include "model/arch/archs.h"
#include "model/arch/rows.h"

namespace tandem {

constexpr TensorRow kLayer[] = {
    rows::kAttentionNorm, rows::kWq, rows::kWk, rows::kWv,      rows::kBq,   rows::kBk, rows::kBv,  rows::kQNorm,
    rows::kKNorm,         rows::kWo, rows::kBo, rows::kMlpNorm, rows::kGate, rows::kUp, rows::kDown};
const Arch kQwen3 = {.hf_class = "Qwen3ForCausalLM",
                     .gguf_arch = "qwen3",
                     .layer_tensors = kLayer,
                     .defaults = {.num_key_value_heads = 32,
                                  .head_dim = 128,
                                  .max_position_embeddings = 32768,
                                  .sliding_window = 4096,
                                  .max_window_layers = 28},
                     .sliding_window = SlidingWindow::kFromMaxWindowLayers};

}  // namespace tandem
