#pragma once
// The list of architectures: one file each. A new one adds a file and a line here and in arch.cc.

#include "model/arch.h"

namespace tandem {

extern const Arch kLlama;
extern const Arch kMistral;
extern const Arch kQwen2;
extern const Arch kQwen3;
extern const Arch kPhi3;
extern const Arch kGemma2;
extern const Arch kMixtral;
extern const Arch kQwen3Moe;

}  // namespace tandem
