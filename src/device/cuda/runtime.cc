#include "device/cuda/runtime.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <utility>

#include "device/cuda/cuda_check.h"

namespace tandem::cuda {
namespace {

cudaStream_t as_stream(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

// The driver's functions are found at run time: a program linked to libcuda would not start on a machine without it.
template <class Function>
Function* driver_function(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
  TANDEM_CUDA_CALL(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result));
#else
  TANDEM_CUDA_CALL(cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &result));
#endif
  if (result != cudaDriverEntryPointSuccess || found == nullptr) {
    fail_with_hint(ErrorKind::kUnsupported, format("the NVIDIA driver has no {}", name), "install a newer driver");
  }
  return reinterpret_cast<Function*>(found);
}

struct Driver {
  decltype(&cuMemGetAllocationGranularity) granularity =
      driver_function<decltype(cuMemGetAllocationGranularity)>("cuMemGetAllocationGranularity");
  decltype(&cuMemCreate) create = driver_function<decltype(cuMemCreate)>("cuMemCreate");
  decltype(&cuMemAddressReserve) reserve = driver_function<decltype(cuMemAddressReserve)>("cuMemAddressReserve");
  decltype(&cuMemMap) map = driver_function<decltype(cuMemMap)>("cuMemMap");
  decltype(&cuMemSetAccess) set_access = driver_function<decltype(cuMemSetAccess)>("cuMemSetAccess");
  decltype(&cuMemUnmap) unmap = driver_function<decltype(cuMemUnmap)>("cuMemUnmap");
  decltype(&cuMemAddressFree) free_address = driver_function<decltype(cuMemAddressFree)>("cuMemAddressFree");
  decltype(&cuMemRelease) release = driver_function<decltype(cuMemRelease)>("cuMemRelease");
  decltype(&cuGetErrorName) error_name = driver_function<decltype(cuGetErrorName)>("cuGetErrorName");
};

const Driver& driver() {
  static const Driver functions;
  return functions;
}

// 13010 is 13.1.
std::string version_text(int version) {
  return format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string driver_error(CUresult result) {
  const char* name = nullptr;
  driver().error_name(result, &name);
  return name != nullptr ? name : format("error {}", static_cast<int>(result));
}

}  // namespace

void call_failed(int code, const char* call) {
  const auto error = static_cast<cudaError_t>(code);
  const std::string message = format("{}: {} ({})", call, cudaGetErrorString(error), cudaGetErrorName(error));
  cudaGetLastError();  // so that the next call does not report this one
  switch (error) {
    case cudaErrorMemoryAllocation:
      fail(ErrorKind::kOutOfMemory, "{}", message);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorNotSupported:
    case cudaErrorPeerAccessUnsupported:
    case cudaErrorSystemDriverMismatch:
      fail(ErrorKind::kUnsupported, "{}", message);
    default:
      fail(ErrorKind::kInternal, "{}", message);
  }
}

int num_devices(std::string* why_none) {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (why_none != nullptr) *why_none = error == cudaSuccess ? "no CUDA device is visible" : cudaGetErrorString(error);
  return 0;
}

std::string built_for() {
  return version_text(CUDART_VERSION);
}

std::string driver_serves() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess) cudaGetLastError();
  return version > 0 ? version_text(version) : "";
}

DeviceInfo device_info(int device) {
  cudaDeviceProp properties{};
  TANDEM_CUDA_CALL(cudaGetDeviceProperties(&properties, device));
  std::array<char, 32> pci{};
  TANDEM_CUDA_CALL(cudaDeviceGetPCIBusId(pci.data(), static_cast<int>(pci.size()), device));
  std::string uuid = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) uuid += '-';
    uuid += format("{:02x}", static_cast<unsigned char>(properties.uuid.bytes[i]));
  }
  std::string address = pci.data();
  std::transform(address.begin(), address.end(), address.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
  return {.name = properties.name,
          .uuid = uuid,
          .pci_address = address,
          .major = properties.major,
          .minor = properties.minor,
          .num_sms = properties.multiProcessorCount,
          .total_bytes = properties.totalGlobalMem};
}

bool can_access_peer(int from, int to) {
  int can = 0;
  TANDEM_CUDA_CALL(cudaDeviceCanAccessPeer(&can, from, to));
  return can != 0;
}

void use_device(int device) {
  TANDEM_CUDA_CALL(cudaSetDevice(device));
}

OnDevice::OnDevice(int device) {
  if (cudaGetDevice(&before_) != cudaSuccess) before_ = device;
  cudaSetDevice(device);
}

OnDevice::~OnDevice() {
  cudaSetDevice(before_);
}

// From the device's pool, in the order of a stream of their own: cudaMalloc and cudaFree wait for all that runs on a
// device, and with it for kernels that wait for a peer whose next kernel this thread is to queue.
class Pool {
 public:
  explicit Pool(int device) : stream_(as_stream(make_stream(device))) {
    cudaMemPool_t pool = nullptr;
    TANDEM_CUDA_CALL(cudaDeviceGetDefaultMemPool(&pool, device));
    std::uint64_t keep = ~std::uint64_t{0};  // giving memory back to the system waits as well
    TANDEM_CUDA_CALL(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
  }
  void* allocate(std::size_t bytes) {
    void* data = nullptr;
    const cudaError_t error = cudaMallocAsync(&data, bytes, stream_);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    TANDEM_CUDA_CALL(error);
    TANDEM_CUDA_CALL(cudaStreamSynchronize(stream_));
    return data;
  }
  void release(void* data) noexcept { cudaFreeAsync(data, stream_); }

 private:
  cudaStream_t stream_;
};

Pool& pool_of(int device) {
  static std::mutex mutex;
  static std::map<int, Pool> pools;
  const std::lock_guard lock(mutex);
  return pools.try_emplace(device, device).first->second;
}

void return_unused(int device) {
  cudaMemPool_t pool = nullptr;
  TANDEM_CUDA_CALL(cudaDeviceGetDefaultMemPool(&pool, device));
  TANDEM_CUDA_CALL(cudaMemPoolTrimTo(pool, 0));
}

std::size_t free_bytes(int device) {
  const OnDevice current(device);
  std::size_t free = 0, total = 0;
  TANDEM_CUDA_CALL(cudaMemGetInfo(&free, &total));
  return free;
}

void* allocate(int device, std::size_t bytes) {
  const OnDevice current(device);
  void* data = pool_of(device).allocate(bytes);
  if (data != nullptr) return data;
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  fail(ErrorKind::kOutOfMemory, "cuda:{}: cannot allocate {} bytes ({} of {} are free)", device, bytes, free, total);
}

void release(int device, void* data) noexcept {
  const OnDevice current(device);
  pool_of(device).release(data);
}

void copy(void* stream, void* out, const void* in, std::size_t bytes) {
  if (bytes > 0) TANDEM_CUDA_CALL(cudaMemcpyAsync(out, in, bytes, cudaMemcpyDefault, as_stream(stream)));
}

void copy_rows(void* stream, void* out, std::size_t out_stride, const void* in, std::size_t in_stride,
               std::size_t row_bytes, std::size_t num_rows) {
  TANDEM_CUDA_CALL(
      cudaMemcpy2DAsync(out, out_stride, in, in_stride, row_bytes, num_rows, cudaMemcpyDefault, as_stream(stream)));
}

void* make_stream(int device) {
  const OnDevice current(device);
  cudaStream_t stream = nullptr;
  // Does not wait for the default stream, which another library may use, and which would wait for it.
  TANDEM_CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void destroy_stream(int device, void* stream) noexcept {
  const OnDevice current(device);
  cudaStreamDestroy(as_stream(stream));
}

void synchronize(int device, void* stream) {
  const OnDevice current(device);
  TANDEM_CUDA_CALL(cudaStreamSynchronize(as_stream(stream)));
}

bool is_done(int device, void* stream) {
  const OnDevice current(device);
  const cudaError_t error = cudaStreamQuery(as_stream(stream));
  if (error == cudaErrorNotReady) return false;
  TANDEM_CUDA_CALL(error);
  return true;
}

unsigned long long capture_id(void* stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  unsigned long long id = 0;
  TANDEM_CUDA_CALL(cudaStreamGetCaptureInfo(as_stream(stream), &status, &id));
  return status == cudaStreamCaptureStatusNone ? 0 : id;
}

void Graph::begin(void* stream) {
  TANDEM_CUDA_CALL(cudaStreamBeginCapture(as_stream(stream), cudaStreamCaptureModeThreadLocal));
}

void Graph::cancel(void* stream) noexcept {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(as_stream(stream), &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Graph::end(void* stream) {
  const OnDevice current(device_);
  cudaGraph_t graph = nullptr;
  TANDEM_CUDA_CALL(cudaStreamEndCapture(as_stream(stream), &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  TANDEM_CUDA_CALL(error);
  executable_ = executable;
}

Graph::Graph(Graph&& other) noexcept : device_(other.device_), executable_(std::exchange(other.executable_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(executable_, other.executable_);
  return *this;
}

Graph::~Graph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

void Graph::launch(void* stream) const {
  TANDEM_CUDA_CALL(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), as_stream(stream)));
}

Event::Event(int device) {
  const OnDevice current(device);
  cudaEvent_t event = nullptr;
  TANDEM_CUDA_CALL(cudaEventCreate(&event));
  event_ = event;
}

Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(event_));
}

void Event::record(void* stream) {
  TANDEM_CUDA_CALL(cudaEventRecord(static_cast<cudaEvent_t>(event_), as_stream(stream)));
}

void Event::synchronize() const {
  TANDEM_CUDA_CALL(cudaEventSynchronize(static_cast<cudaEvent_t>(event_)));
}

bool Event::is_done() const {
  const cudaError_t error = cudaEventQuery(static_cast<cudaEvent_t>(event_));
  if (error == cudaErrorNotReady) return false;
  TANDEM_CUDA_CALL(error);
  return true;
}

double Event::microseconds(const Event& begin, const Event& end) {
  float milliseconds = 0;
  TANDEM_CUDA_CALL(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin.event_),
                                        static_cast<cudaEvent_t>(end.event_)));
  return milliseconds * 1e3;
}

PinnedBuffer::PinnedBuffer(std::size_t bytes) : bytes_(bytes) {
  const cudaError_t error = cudaHostAlloc(&data_, bytes, cudaHostAllocPortable | cudaHostAllocMapped);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail_with_hint(ErrorKind::kOutOfMemory, format("cannot lock {} bytes of host memory", bytes),
                   "see `ulimit -l` and, in a container, its memlock limit");
  }
  TANDEM_CUDA_CALL(error);
  std::fill_n(static_cast<std::byte*>(data_), bytes, std::byte{0});
}

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

void* PinnedBuffer::on(int device) const {
  const OnDevice current(device);
  void* address = nullptr;
  TANDEM_CUDA_CALL(cudaHostGetDevicePointer(&address, data_, 0));
  return address;
}

PeerBuffer::PeerBuffer(int device, const std::vector<int>& peers, std::size_t bytes) : device_(device) {
  const OnDevice current(device);
  TANDEM_CUDA_CALL(cudaFree(nullptr));  // a context, which the calls below need
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
  std::size_t granularity = 0;
  const auto check = [&](CUresult result, const char* call) {
    if (result == CUDA_SUCCESS) return;
    release();
    fail(result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorKind::kOutOfMemory : ErrorKind::kUnsupported,
         "cuda:{}: {} of {} bytes for peers: {}", device, call, bytes, driver_error(result));
  };
  check(driver().granularity(&granularity, &properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED),
        "cuMemGetAllocationGranularity");
  bytes_ = (bytes + granularity - 1) / granularity * granularity;
  CUmemGenericAllocationHandle handle = 0;
  check(driver().create(&handle, bytes_, &properties, 0), "cuMemCreate");
  handle_ = handle;
  CUdeviceptr address = 0;
  check(driver().reserve(&address, bytes_, 0, 0, 0), "cuMemAddressReserve");
  data_ = reinterpret_cast<void*>(address);
  check(driver().map(address, bytes_, 0, handle, 0), "cuMemMap");
  std::vector<CUmemAccessDesc> access;
  for (const int peer : peers) {
    const auto known = std::find_if(access.begin(), access.end(), [&](const auto& a) { return a.location.id == peer; });
    if (known == access.end())
      access.push_back({{CU_MEM_LOCATION_TYPE_DEVICE, peer}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE});
  }
  check(driver().set_access(address, bytes_, access.data(), access.size()), "cuMemSetAccess");
  TANDEM_CUDA_CALL(cudaMemset(data_, 0, bytes_));
  TANDEM_CUDA_CALL(cudaDeviceSynchronize());
}

void PeerBuffer::release() noexcept {
  const OnDevice current(device_);
  if (data_ != nullptr) {
    driver().unmap(reinterpret_cast<CUdeviceptr>(data_), bytes_);
    driver().free_address(reinterpret_cast<CUdeviceptr>(data_), bytes_);
  }
  if (handle_ != 0) driver().release(handle_);
  data_ = nullptr;
  handle_ = 0;
}

PeerBuffer::PeerBuffer(PeerBuffer&& other) noexcept
    : device_(other.device_),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      handle_(std::exchange(other.handle_, 0)) {}

PeerBuffer& PeerBuffer::operator=(PeerBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(handle_, other.handle_);
  return *this;
}

PeerBuffer::~PeerBuffer() {
  release();
}

}  // namespace tandem::cuda
