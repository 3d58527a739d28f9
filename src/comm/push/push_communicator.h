#pragma once

#include <memory>

#include "comm/communicator.h"

namespace tandem {

/// Back-end "p2p": ranks push into their peers' GPU memory. Throws kUnsupported where they cannot.
std::unique_ptr<Communicator> make_p2p_communicator(const Group& group, int rank);

/// Back-end "native": the same protocols through pinned host memory; needs no peer access.
std::unique_ptr<Communicator> make_native_communicator(const Group& group, int rank);

}  // namespace tandem
