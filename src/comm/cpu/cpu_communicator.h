#pragma once
// Back-end "cpu": ranks are threads of this process. Sums in f32 in rank order, rounded once.

#include <memory>

#include "comm/communicator.h"

namespace tandem {

/// Throws kInvalidArgument for a rank outside the group or one that has a communicator in it already.
std::unique_ptr<Communicator> make_cpu_communicator(const Group& group, int rank);

}  // namespace tandem
