// Qwen2: Llama's layer with biases on query, key and value.
#include "model/arch/archs.h"
#include "model/arch/rows.h"

namespace tandem {

constexpr TensorRow kLayer[] = {
    rows::kAttentionNorm, rows::kWq,   rows::kWk, rows::kWv,  rows::kBq, rows::kBk, rows::kBv, rows::kWo,
    rows::kMlpNorm,       rows::kGate, rows::kUp, rows::kDown};
const Arch kQwen2 = {.hf_class = "Qwen2ForCausalLM",
                     .gguf_arch = "qwen2",
                     .layer_tensors = kLayer,
                     .defaults = {.num_key_value_heads = 32,
                                  .max_position_embeddings = 32768,
                                  .sliding_window = 4096,
                                  .max_window_layers = 28},
                     .sliding_window = SlidingWindow::kFromMaxWindowLayers,
                     .qkv_bias_always = true};

}  // namespace tandem
