// OpenBLAS keeps a table of work buffers. Debian builds its serial library without locks around that table, so two
// threads that call a GEMM at once can be given the same buffer: one wrong product in some ten thousand. The linker
// sends the library's own calls for a buffer through here (--wrap, cmake/TandemDependencies.cmake).
#include <mutex>

extern "C" {

void* __real_blas_memory_alloc(int kind);
void __real_blas_memory_free(void* buffer);
void* __wrap_blas_memory_alloc(int kind);
void __wrap_blas_memory_free(void* buffer);

}  // extern "C"

namespace {

std::mutex& table_mutex() {
  static std::mutex& mutex = *new std::mutex;  // never destroyed: the library frees buffers while the process exits
  return mutex;
}

}  // namespace

void* __wrap_blas_memory_alloc(int kind) {
  const std::lock_guard lock(table_mutex());
  return __real_blas_memory_alloc(kind);
}

void __wrap_blas_memory_free(void* buffer) {
  const std::lock_guard lock(table_mutex());
  __real_blas_memory_free(buffer);
}
