#include "memory_rights.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace tandem::emulation {
namespace {

#if defined(__x86_64__)
unsigned read_rights() {
  unsigned rights, high;
  asm volatile("rdpkru" : "=a"(rights), "=d"(high) : "c"(0));
  return rights;
}
void write_rights(unsigned rights) {
  asm volatile("wrpkru" ::"a"(rights), "c"(0), "d"(0) : "memory");
}
#else
unsigned read_rights() {
  return 0;
}
void write_rights(unsigned) {}
#endif

struct sigaction before_us;

void explain(int signal, siginfo_t* info, void* context) {
  if (info->si_code == SEGV_PKUERR) {
    constexpr char kText[] =
        "emulated GPU: memory of a GPU is touched by the host, or by a GPU for which it is not mapped\n";
    (void)!write(STDERR_FILENO, kText, sizeof(kText) - 1);
  }
  sigaction(signal, &before_us, nullptr);
  if ((before_us.sa_flags & SA_SIGINFO) != 0 && before_us.sa_sigaction != nullptr) {
    before_us.sa_sigaction(signal, info, context);
  }
}

/// A key a device, and one for what peers share.
struct Keys {
  bool are_there = false;
  std::array<int, kMaxDevices + 1> keys{};

  Keys() {
#if defined(__x86_64__)
    for (int& key : keys) {
      key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
      if (key < 0) return;
    }
    are_there = true;
    struct sigaction action{};
    action.sa_sigaction = explain;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_us);
#endif
  }
  unsigned denial(int index) const { return 3u << (2 * keys[static_cast<std::size_t>(index)]); }
  unsigned all_denials() const {
    unsigned bits = 0;
    for (int i = 0; i <= kMaxDevices; ++i) bits |= denial(i);
    return bits;
  }
};

const Keys& keys() {
  static const Keys all;
  return all;
}

}  // namespace

void take_rights_of(int device) {
  if (!keys().are_there) return;
  const unsigned denied = keys().all_denials() & ~keys().denial(device) & ~keys().denial(kMaxDevices);
  write_rights((read_rights() & ~keys().all_denials()) | denied);
}

AllRights::AllRights() : before_(keys().are_there ? read_rights() : 0) {
  if (keys().are_there) write_rights(before_ & ~keys().all_denials());
}

AllRights::~AllRights() {
  if (keys().are_there) write_rights(before_);
}

void protect(void* pages, std::size_t bytes, int device, bool for_peers) {
  if (!keys().are_there) return;
  const auto index = static_cast<std::size_t>(for_peers ? kMaxDevices : device);
  pkey_mprotect(pages, bytes, PROT_READ | PROT_WRITE, keys().keys[index]);
}

}  // namespace tandem::emulation
