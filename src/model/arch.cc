#include "model/arch.h"

#include "base/error.h"
#include "model/arch/archs.h"

namespace tandem {

std::span<const TensorRow> model_tensors() {
  static constexpr TensorRow kRows[] = {
      {Slot::kEmbedding, "model.embed_tokens.weight", "token_embd.weight", "vocab hidden", Shard::kRowsByVocab},
      {Slot::kFinalNorm, "model.norm.weight", "output_norm.weight", "hidden"},
      {Slot::kOutput, "lm_head.weight", "output.weight", "vocab hidden", Shard::kRowsByVocab, Presence::kUnlessTied},
  };
  return kRows;
}

std::span<const Arch* const> all_archs() {
  static constexpr const Arch* kArchs[] = {&kLlama, &kMistral, &kQwen2,   &kQwen3,
                                           &kPhi3,  &kGemma2,  &kMixtral, &kQwen3Moe};
  return kArchs;
}

const Arch& find_arch(std::string_view hf_class, std::string_view origin) {
  std::string names;
  for (const Arch* arch : all_archs()) {
    if (arch->hf_class == hf_class) return *arch;
    names += format("{}{}", names.empty() ? "" : ", ", arch->hf_class);
  }
  fail_with_hint(ErrorKind::kUnsupported, format("{}: architecture {} is not supported", origin, hf_class),
                 format("supported: {}", names));
}

}  // namespace tandem
