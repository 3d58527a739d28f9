#pragma once
// The kernels that need an instruction set beyond the baseline, for row_kernels.cc.

#include "kernels/matmul/row_kernels.h"

namespace tandem {

#if defined(__x86_64__)
extern const RowKernels kRowKernelsAvx512Vnni;  ///< f, bw, vl, dq, vnni
extern const RowKernels kRowKernelsAvx512;      ///< f, bw, vl, dq
extern const RowKernels kRowKernelsAvx2;        ///< with fma and f16c
#endif

}  // namespace tandem
