#pragma once
// Who may touch memory of an emulated GPU: kernels and copies of that GPU, and those of others where it is mapped for
// them. Enforced by the processor's protection keys, where it has them, so that a stray access from the host ends the
// program as it would with a GPU. Elsewhere nothing is checked.

#include <cstddef>

namespace tandem::emulation {

inline constexpr int kMaxDevices = 8;

/// The calling host thread works for `device` from now on.
void take_rights_of(int device);
/// Everything, as copy engines have it, for a scope.
class AllRights {
 public:
  AllRights();
  ~AllRights();
  AllRights(const AllRights&) = delete;
  AllRights& operator=(const AllRights&) = delete;

 private:
  unsigned before_;
};

/// Whole pages that belong to `device`; to all devices if `for_peers`.
void protect(void* pages, std::size_t bytes, int device, bool for_peers);

}  // namespace tandem::emulation
