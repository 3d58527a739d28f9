#pragma once
// Xid messages of NVIDIA's driver, those that matter here (docs.nvidia.com/deploy/xid-errors).

#include <string_view>

namespace tandem {

struct Xid {
  int code;
  bool of_program;  ///< usually a fault of a program, not of the machine
  std::string_view meaning;
};

inline constexpr Xid kXids[] = {
    {13, true, "a kernel faulted: an index out of range, or an instruction that is none"},
    {31, true, "a program used an address that it does not own"},
    {43, true, "a program's channel was stopped after a fault of that program"},
    {48, false, "memory error of two bits, which ECC cannot correct: the GPU needs a reset"},
    {62, false, "the GPU's own controller halted: power, heat, or a defect"},
    {63, false, "a row of memory is to be remapped"},
    {64, false, "a row of memory could not be remapped: the GPU needs a reset, perhaps replacement"},
    {74, false, "error of an NVLink: bridge, cable, or the GPU at its other end"},
    {79, false, "the GPU has fallen off the bus"},
    {94, false, "memory error that ECC cannot correct, contained in one program"},
    {95, false, "memory error that ECC cannot correct, not contained: the GPU needs a reset"},
    {119, false, "the GPU's system processor does not answer: reset the GPU, try another driver"},
};

}  // namespace tandem
