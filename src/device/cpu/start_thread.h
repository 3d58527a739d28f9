#pragma once
// A thread, or an Error that says which one the system refused.

#include <functional>
#include <string_view>
#include <thread>

namespace tandem {

/// Throws kOutOfMemory, with a hint, when the system refuses a thread: "cannot start `what`: ...". A caller that keeps
/// threads in a vector reserves it first, so that no started thread is lost on the way into it.
std::jthread start_thread(std::string_view what, std::function<void()> body);

}  // namespace tandem
