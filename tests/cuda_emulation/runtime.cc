// CUDA's runtime and the driver's functions for memory. A stream is a thread that runs what is queued, in order; a
// graph is a list of it. Memory of a GPU is pages of their own: what is behind an allocation cannot be touched, and
// what was not written reads as NaN.

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "grid.h"
#include "memory_rights.h"

using Task = std::function<void()>;
using Clock = std::chrono::steady_clock;

struct CUgraph_st {
  std::vector<Task> tasks;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Task>> tasks;
};
struct CUevent_st {
  std::mutex mutex;
  std::condition_variable changed;
  int pending = 0;
  Clock::time_point time{};
};

struct CUstream_st {
  explicit CUstream_st(int of_device) : device(of_device), thread([this] { work(); }) {}
  ~CUstream_st() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    changed.notify_all();
    thread.join();
  }
  void add(Task task) {
    {
      const std::lock_guard lock(mutex);
      tasks.push_back(std::move(task));
    }
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return is_idle(); });
  }
  bool is_idle() const { return tasks.empty() && !busy; }

  const int device;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Task> tasks;
  bool busy = false, ending = false;
  std::unique_ptr<CUgraph_st> capture;  // of the thread that uses the stream
  unsigned long long capture_id = 0;
  std::thread thread;

 private:
  void work() {
    tandem::emulation::take_rights_of(device);
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return ending || !tasks.empty(); });
      if (tasks.empty()) return;
      const Task task = std::move(tasks.front());
      tasks.pop_front();
      busy = true;
      lock.unlock();
      task();
      lock.lock();
      busy = false;
      changed.notify_all();
    }
  }
};

namespace tandem::emulation {
namespace {

constexpr std::size_t kDeviceBytes = std::size_t{8} << 30;
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kAlignment = 256;
constexpr std::size_t kSharedBytes = 48 * 1024, kMaxSharedBytes = 227 * 1024;
constexpr int kMultiprocessors = 4;

enum class Kind { kDevice, kPinned };
struct Allocation {
  std::size_t bytes;
  Kind kind;
  int device;
  void* pages;
  std::size_t mapped_bytes;
};

struct Machine {
  std::mutex mutex;
  std::map<std::uintptr_t, Allocation> allocations;
  std::vector<std::size_t> used;
  std::map<const void*, int> shared_limits;
  std::vector<CUstream_st*> streams;
  std::map<unsigned long long, std::pair<std::size_t, int>> handles;  // bytes, device
  unsigned long long last_handle = 0;
};

int num_devices() {
  static const int count = [] {
    const char* text = std::getenv("TANDEM_EMULATED_GPUS");
    return text == nullptr ? 2 : std::clamp(std::atoi(text), 0, kMaxDevices);
  }();
  return count;
}

Machine& machine() {
  static Machine* const all = [] {
    auto* made = new Machine;
    made->used.resize(kMaxDevices);
    return made;
  }();
  return *all;
}

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local int captures_here = 0;  // that this thread has begun

cudaError_t done(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

std::size_t whole_pages(std::size_t bytes) {
  return (bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
}

// Ends within kAlignment bytes of a page that nobody may touch.
cudaError_t allocate(void** data, std::size_t bytes, int device) {
  *data = nullptr;
  const std::size_t aligned = (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t usable = whole_pages(aligned), mapped = usable + kPageBytes;
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  if (all.used[static_cast<std::size_t>(device)] + usable > kDeviceBytes) return cudaErrorMemoryAllocation;
  void* pages = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return cudaErrorMemoryAllocation;
  mprotect(pages, usable, PROT_READ | PROT_WRITE);
  auto* begin = static_cast<std::byte*>(pages) + (usable - aligned);
  // NaNs, where that does not cost too much to fill.
  if (usable <= (std::size_t{64} << 20)) std::memset(pages, 0xff, usable);
  protect(pages, usable, device, false);
  all.used[static_cast<std::size_t>(device)] += usable;
  all.allocations[reinterpret_cast<std::uintptr_t>(begin)] = {aligned, Kind::kDevice, device, pages, mapped};
  *data = begin;
  return cudaSuccess;
}

cudaError_t release(void* data, Kind kind) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  const auto found = all.allocations.find(reinterpret_cast<std::uintptr_t>(data));
  if (found == all.allocations.end() || found->second.kind != kind) return cudaErrorInvalidValue;
  const Allocation allocation = found->second;
  all.allocations.erase(found);
  if (kind == Kind::kDevice) {
    all.used[static_cast<std::size_t>(allocation.device)] -= allocation.mapped_bytes - kPageBytes;
  }
  munmap(allocation.pages, allocation.mapped_bytes);
  return cudaSuccess;
}

bool is_known(const void* data) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  auto found = all.allocations.upper_bound(reinterpret_cast<std::uintptr_t>(data));
  if (found == all.allocations.begin()) return false;
  --found;
  return reinterpret_cast<std::uintptr_t>(data) < found->first + found->second.bytes;
}

CUstream_st* default_stream(int device) {
  static CUstream_st* streams[kMaxDevices] = {};
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  CUstream_st*& stream = streams[device];
  if (stream == nullptr) stream = new CUstream_st(device);
  return stream;
}

cudaError_t queue(cudaStream_t stream, Task task) {
  if (stream == nullptr) stream = default_stream(current_device);
  if (stream->capture != nullptr) {
    stream->capture->tasks.push_back(std::move(task));
  } else {
    stream->add(std::move(task));
  }
  return cudaSuccess;
}

// What may wait for, or change, the whole device is not allowed while this thread records a graph.
#define TANDEM_NOT_WHILE_RECORDING() \
  if (captures_here > 0) return done(cudaErrorStreamCaptureUnsupported)

}  // namespace

cudaError_t set_shared_limit(const void* kernel, cudaFuncAttribute attribute, int bytes) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || bytes < 0 ||
      static_cast<std::size_t>(bytes) > kMaxSharedBytes) {
    return done(cudaErrorInvalidValue);
  }
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  all.shared_limits[kernel] = bytes;
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body) {
  const auto product = [](const dim3& shape) { return std::uint64_t{shape.x} * shape.y * shape.z; };
  if (product(config.blockDim) == 0 || product(config.blockDim) > 1024 || product(config.gridDim) == 0 ||
      config.gridDim.x > 0x7fffffffu || config.gridDim.y > 65535 || config.gridDim.z > 65535) {
    return done(cudaErrorInvalidConfiguration);
  }
  std::size_t limit = kSharedBytes;
  {
    Machine& all = machine();
    const std::lock_guard lock(all.mutex);
    const auto found = all.shared_limits.find(kernel);
    if (found != all.shared_limits.end()) limit = std::max(limit, static_cast<std::size_t>(found->second));
  }
  if (config.dynamicSmemBytes > limit) return done(cudaErrorInvalidValue);
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    if (config.attrs[i].id == cudaLaunchAttributeClusterDimension) return done(cudaErrorNotSupported);  // not sm_90
  }
  const int device = config.stream == nullptr ? current_device : config.stream->device;
  if (device != current_device) return done(cudaErrorInvalidResourceHandle);
  const GridShape shape{config.gridDim, config.blockDim, config.dynamicSmemBytes, device};
  return done(queue(config.stream, [shape, body = std::move(body)] { run_grid(shape, body); }));
}

namespace {

CUresult memory_granularity(std::size_t* granularity, const CUmemAllocationProp*, CUmemAllocationGranularity_flags) {
  *granularity = std::size_t{2} << 20;
  return CUDA_SUCCESS;
}
CUresult memory_create(CUmemGenericAllocationHandle* handle, std::size_t bytes, const CUmemAllocationProp* properties,
                       unsigned long long) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  std::size_t& used = all.used[static_cast<std::size_t>(properties->location.id)];
  if (used + bytes > kDeviceBytes) return CUDA_ERROR_OUT_OF_MEMORY;
  used += bytes;
  *handle = ++all.last_handle;
  all.handles[*handle] = {bytes, properties->location.id};
  return CUDA_SUCCESS;
}
CUresult memory_reserve(CUdeviceptr* address, std::size_t bytes, std::size_t, CUdeviceptr, unsigned long long) {
  void* pages = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = reinterpret_cast<CUdeviceptr>(pages);
  return CUDA_SUCCESS;
}
CUresult memory_map(CUdeviceptr address, std::size_t bytes, std::size_t, CUmemGenericAllocationHandle handle,
                    unsigned long long) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  const auto found = all.handles.find(handle);
  if (found == all.handles.end() || found->second.first != bytes) return CUDA_ERROR_INVALID_VALUE;
  all.allocations[address] = {bytes, Kind::kDevice, found->second.second, reinterpret_cast<void*>(address), bytes};
  return CUDA_SUCCESS;
}
CUresult memory_set_access(CUdeviceptr address, std::size_t bytes, const CUmemAccessDesc* access, std::size_t count) {
  void* pages = reinterpret_cast<void*>(address);
  if (mprotect(pages, bytes, PROT_READ | PROT_WRITE) != 0) return CUDA_ERROR_INVALID_VALUE;
  protect(pages, bytes, access[0].location.id, count > 1);
  return CUDA_SUCCESS;
}
CUresult memory_unmap(CUdeviceptr address, std::size_t bytes) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  all.allocations.erase(address);
  mprotect(reinterpret_cast<void*>(address), bytes, PROT_NONE);
  return CUDA_SUCCESS;
}
CUresult memory_free_address(CUdeviceptr address, std::size_t bytes) {
  munmap(reinterpret_cast<void*>(address), bytes);
  return CUDA_SUCCESS;
}
CUresult memory_release(CUmemGenericAllocationHandle handle) {
  Machine& all = machine();
  const std::lock_guard lock(all.mutex);
  const auto found = all.handles.find(handle);
  if (found == all.handles.end()) return CUDA_ERROR_INVALID_VALUE;
  all.used[static_cast<std::size_t>(found->second.second)] -= found->second.first;
  all.handles.erase(found);
  return CUDA_SUCCESS;
}
CUresult error_name(CUresult error, const char** name) {
  *name = error == CUDA_SUCCESS               ? "CUDA_SUCCESS"
          : error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
                                              : "CUDA_ERROR_INVALID_VALUE";
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace tandem::emulation

using namespace tandem::emulation;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    default:
      return "error of an emulated GPU";
  }
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    default:
      return "cudaErrorUnknown";
  }
}
cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = num_devices();
  return *count > 0 ? cudaSuccess : done(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return num_devices() > 0 ? cudaSuccess : done(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= num_devices()) return done(cudaErrorInvalidDevice);
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= num_devices()) return done(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "Emulated GPU");
  std::memset(properties->uuid.bytes, 0xe0 + device, sizeof(properties->uuid.bytes));
  properties->totalGlobalMem = kDeviceBytes;
  properties->major = 8;
  properties->multiProcessorCount = kMultiprocessors;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? kMultiprocessors : 8;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  std::snprintf(text, static_cast<std::size_t>(bytes), "0000:E%d:00.0", device);
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  *can = device != peer;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  TANDEM_NOT_WHILE_RECORDING();
  std::vector<CUstream_st*> streams;
  {
    const std::lock_guard lock(machine().mutex);
    streams = machine().streams;
  }
  for (CUstream_st* stream : streams) {
    if (stream->device == current_device) stream->wait();
  }
  default_stream(current_device)->wait();
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  static const std::map<std::string, void*, std::less<>> functions = {
      {"cuMemGetAllocationGranularity", reinterpret_cast<void*>(memory_granularity)},
      {"cuMemCreate", reinterpret_cast<void*>(memory_create)},
      {"cuMemAddressReserve", reinterpret_cast<void*>(memory_reserve)},
      {"cuMemMap", reinterpret_cast<void*>(memory_map)},
      {"cuMemSetAccess", reinterpret_cast<void*>(memory_set_access)},
      {"cuMemUnmap", reinterpret_cast<void*>(memory_unmap)},
      {"cuMemAddressFree", reinterpret_cast<void*>(memory_free_address)},
      {"cuMemRelease", reinterpret_cast<void*>(memory_release)},
      {"cuGetErrorName", reinterpret_cast<void*>(error_name)},
  };
  const auto found = functions.find(name);
  *function = found == functions.end() ? nullptr : found->second;
  *result = found == functions.end() ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  TANDEM_NOT_WHILE_RECORDING();
  return done(allocate(data, bytes, current_device));
}
cudaError_t cudaFree(void* data) {
  TANDEM_NOT_WHILE_RECORDING();
  if (data == nullptr) return cudaSuccess;
  cudaDeviceSynchronize();
  return done(release(data, Kind::kDevice));
}
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t stream) {
  if (stream->capture != nullptr) return done(cudaErrorNotSupported);  // it would become part of the graph
  return done(allocate(data, bytes, stream->device));
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  if (stream->capture != nullptr) return done(cudaErrorNotSupported);
  return queue(stream, [data] { release(data, Kind::kDevice); });
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) {
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard lock(machine().mutex);
  *total = kDeviceBytes;
  *free = kDeviceBytes - machine().used[static_cast<std::size_t>(current_device)];
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  TANDEM_NOT_WHILE_RECORDING();
  const std::size_t mapped = whole_pages(std::max<std::size_t>(bytes, 1));
  void* pages = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return done(cudaErrorMemoryAllocation);
  const std::lock_guard lock(machine().mutex);
  machine().allocations[reinterpret_cast<std::uintptr_t>(pages)] = {mapped, Kind::kPinned, 0, pages, mapped};
  *data = pages;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  TANDEM_NOT_WHILE_RECORDING();
  return done(release(data, Kind::kPinned));
}
cudaError_t cudaHostGetDevicePointer(void** device_data, void* data, unsigned) {
  *device_data = data;
  return cudaSuccess;
}
cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  TANDEM_NOT_WHILE_RECORDING();
  const AllRights rights;
  std::memset(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  TANDEM_NOT_WHILE_RECORDING();
  cudaDeviceSynchronize();
  const AllRights rights;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, cudaMemcpyDefault, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
                              std::size_t row_bytes, std::size_t rows, cudaMemcpyKind, cudaStream_t stream) {
  if (to_stride < row_bytes || from_stride < row_bytes) return done(cudaErrorInvalidValue);
  const bool recorded = stream != nullptr && stream->capture != nullptr;
  const bool pageable = row_bytes * rows > 0 && (!is_known(to) || !is_known(from));
  queue(stream, [=] {
    const AllRights rights;
    for (std::size_t i = 0; i < rows; ++i) {
      std::memcpy(static_cast<std::byte*>(to) + i * to_stride, static_cast<const std::byte*>(from) + i * from_stride,
                  row_bytes);
    }
  });
  if (pageable && !recorded) cudaStreamSynchronize(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st(current_device);
  const std::lock_guard lock(machine().mutex);
  machine().streams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    const std::lock_guard lock(machine().mutex);
    std::erase(machine().streams, stream);
  }
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream == nullptr) stream = default_stream(current_device);
  if (stream->capture != nullptr) return done(cudaErrorStreamCaptureUnsupported);
  stream->wait();
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (stream->capture != nullptr) return done(cudaErrorStreamCaptureUnsupported);
  const std::lock_guard lock(stream->mutex);
  return stream->is_idle() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id) {
  const bool capturing = stream != nullptr && stream->capture != nullptr;
  *status = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  *id = capturing ? stream->capture_id : 0;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  static std::atomic<unsigned long long> last_id{0};
  if (stream->capture != nullptr) return done(cudaErrorInvalidValue);
  stream->capture = std::make_unique<CUgraph_st>();
  stream->capture_id = ++last_id;
  ++captures_here;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (stream->capture == nullptr) return done(cudaErrorInvalidValue);
  --captures_here;
  *graph = stream->capture.release();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{std::make_shared<const std::vector<Task>>(graph->tasks)};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return queue(stream, [tasks = executable->tasks] {
    for (const Task& task : *tasks) task();
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  cudaEventSynchronize(event);
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream != nullptr && stream->device != current_device) return done(cudaErrorInvalidResourceHandle);
  const int recorded = stream != nullptr && stream->capture != nullptr ? 0 : 1;
  {
    const std::lock_guard lock(event->mutex);
    event->pending += recorded;
  }
  return queue(stream, [event, recorded] {
    const std::lock_guard lock(event->mutex);
    event->time = Clock::now();
    event->pending -= recorded;
    event->changed.notify_all();
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  std::unique_lock lock(event->mutex);
  event->changed.wait(lock, [event] { return event->pending == 0; });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(event->mutex);
  return event->pending == 0 ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
