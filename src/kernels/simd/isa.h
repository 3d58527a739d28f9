#pragma once
// Which instruction set a CPU kernel runs on, chosen when the program runs; see for_each_isa.inc.

namespace tandem {

enum class Isa { kBaseline, kAvx2, kAvx512 };

/// The best instruction set that this processor has and this build was compiled for, at most the limit below.
Isa cpu_isa();

/// Lowers cpu_isa() for the whole process, so that a test reaches every variant. Not while kernels run.
void limit_isa_for_test(Isa limit);

template <class Function>
Function* pick_isa(Function* baseline, [[maybe_unused]] Function* avx2, [[maybe_unused]] Function* avx512) {
  switch (cpu_isa()) {
    case Isa::kAvx512:
      return avx512;
    case Isa::kAvx2:
      return avx2;
    default:
      return baseline;
  }
}

}  // namespace tandem

// GCC compiles one file for several instruction sets by `#pragma GCC target`; clang does not know it, and other
// architectures have their vectors in the baseline.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define TANDEM_X86_VARIANTS 1
/// The variant of tandem::<isa>::function for this processor.
#define TANDEM_PICK_ISA(function) \
  ::tandem::pick_isa(&::tandem::baseline::function, &::tandem::avx2::function, &::tandem::avx512::function)
#else
#define TANDEM_X86_VARIANTS 0
#define TANDEM_PICK_ISA(function) (&::tandem::baseline::function)
#endif
