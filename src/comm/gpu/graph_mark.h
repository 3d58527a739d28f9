#pragma once

#include <cstdint>

namespace tandem {

/// Queues the addition of 1 to a word of pinned host memory that no other stream writes: recorded into a graph, it
/// counts on the host how often the GPU has come to this place, which an event does not. Returns a cudaError_t.
int launch_graph_mark(void* stream, std::uint32_t* word);

}  // namespace tandem
