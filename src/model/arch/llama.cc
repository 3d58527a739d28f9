// Llama 1 to 3: RMSNorm, rotary positions, grouped-query attention, gated SiLU MLP; biases where the config asks.
#include "model/arch/archs.h"
#include "model/arch/rows.h"

namespace tandem {

constexpr TensorRow kLayer[] = {rows::kAttentionNorm,
                                rows::kWq,
                                rows::kWk,
                                rows::kWv,
                                rows::kBq,
                                rows::kBk,
                                rows::kBv,
                                rows::kWo,
                                rows::kBo,
                                rows::kMlpNorm,
                                rows::kGate,
                                rows::kUp,
                                rows::kDown,
                                rows::kGateBias,
                                rows::kUpBias,
                                rows::kDownBias};
const Arch kLlama = {.hf_class = "LlamaForCausalLM", .gguf_arch = "llama", .layer_tensors = kLayer};

}  // namespace tandem
