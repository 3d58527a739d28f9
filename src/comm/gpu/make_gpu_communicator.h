#pragma once

#include <memory>
#include <string_view>

#include "comm/communicator.h"

namespace tandem {

/// make_communicator for GPUs and a name that it knows, but "cpu".
std::unique_ptr<Communicator> make_gpu_communicator(std::string_view backend, const Group& group, int rank);

}  // namespace tandem
