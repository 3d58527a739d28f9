#include "device/cpu/start_thread.h"

#include <system_error>
#include <utility>

#include "base/error.h"

namespace tandem {

std::jthread start_thread(std::string_view what, std::function<void()> body) {
  try {
    return std::jthread(std::move(body));
  } catch (const std::system_error& error) {
    fail_with_hint(ErrorKind::kOutOfMemory, format("cannot start {}: {}", what, error.what()),
                   "use fewer threads, or raise the limits on threads and memory (ulimit -u, ulimit -v)");
  }
}

}  // namespace tandem
