// libFuzzer target: one safetensors file. Anything but an Error, or an Error that blames ourselves, is a finding.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "load_everything.h"
#include "weights/safetensors/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tandem;
  try {
    SafetensorsFile file = parse_safetensors({reinterpret_cast<const std::byte*>(data), size}, "fuzz.safetensors");
    fuzz::load_everything(TensorCatalogue("fuzz", std::move(file.entries), std::move(file.unusable)));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
  }
  return 0;
}
