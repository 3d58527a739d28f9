#pragma once

#include <memory>
#include <span>

#include "comm/communicator.h"

namespace tandem {

/// Back-end "p2p": ranks push into their peers' GPU memory. Throws kUnsupported where they cannot.
std::unique_ptr<Communicator> make_p2p_communicator(const Group& group, int rank);

/// Whether each GPU can map the others' memory, as the driver claims.
bool p2p_can_serve(std::span<const Device> devices);

/// Back-end "native": the same protocols through pinned host memory; needs no peer access.
std::unique_ptr<Communicator> make_native_communicator(const Group& group, int rank);

}  // namespace tandem
