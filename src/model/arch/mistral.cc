// Mistral: Llama's layer; early versions see only a sliding window. Its GGUF files call themselves llama.
#include "model/arch/archs.h"
#include "model/arch/rows.h"

namespace tandem {

constexpr TensorRow kLayer[] = {rows::kAttentionNorm, rows::kWq,   rows::kWk, rows::kWv,  rows::kWo,
                                rows::kMlpNorm,       rows::kGate, rows::kUp, rows::kDown};
const Arch kMistral = {
    .hf_class = "MistralForCausalLM",
    .gguf_arch = "",
    .layer_tensors = kLayer,
    .defaults = {.num_key_value_heads = 8, .max_position_embeddings = 131072, .sliding_window = 4096},
    .sliding_window = SlidingWindow::kEveryLayer};

}  // namespace tandem
