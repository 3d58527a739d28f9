#pragma once
// What the host needs of CUDA, without its types: builds without CUDA see the same declarations and discard the calls
// (if constexpr kBuiltWithCuda). Functions throw as cuda_check.h says.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tandem::cuda {

/// How many GPUs this process can use. 0 when there is no driver, or one too old; `why_none` then gets the reason.
int num_devices(std::string* why_none = nullptr);

/// The CUDA version of the toolkit that this program was built with, "13.0".
std::string built_for();
/// The newest CUDA version that the driver serves; empty: there is no driver.
std::string driver_serves();

struct DeviceInfo {
  std::string name;
  std::string uuid;          ///< "GPU-0123abcd-..." as nvidia-smi prints it
  std::string pci_address;   ///< "0000:17:00.0"
  int major = 0, minor = 0;  ///< compute capability
  int num_sms = 0;
  std::size_t total_bytes = 0;
  /// By its UUID or its PCI address.
  bool is_named(const std::string& text) const { return text == uuid || text == pci_address; }
};
DeviceInfo device_info(int device);

/// Of its memory, what no process has taken.
std::size_t free_bytes(int device);

/// Whether `from` can map memory of `to`, as the driver claims.
bool can_access_peer(int from, int to);

/// Makes `device` the calling thread's current one, in which it queues work and launches kernels.
void use_device(int device);

/// The same for a scope.
class OnDevice {
 public:
  explicit OnDevice(int device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
};

/// Neither waits for what runs on the device; what is released must not be in use there.
void* allocate(int device, std::size_t bytes);
void release(int device, void* data) noexcept;
/// Gives the system what was released and not taken again: until then it is free for allocate() alone. May wait for
/// what runs on the device.
void return_unused(int device);

/// An asynchronous copy between any two places, host memory included. If that is not pinned, it is done on return.
void copy(void* stream, void* out, const void* in, std::size_t bytes);
/// The same for rows that begin every so many bytes.
void copy_rows(void* stream, void* out, std::size_t out_stride, const void* in, std::size_t in_stride,
               std::size_t row_bytes, std::size_t num_rows);

void* make_stream(int device);
void destroy_stream(int device, void* stream) noexcept;
void synchronize(int device, void* stream);
/// Whether all that was queued is done. Throws what went wrong in it.
bool is_done(int device, void* stream);
/// Of the recording into a graph that takes what is queued now: above 0, and another for each. 0: it is not recorded.
unsigned long long capture_id(void* stream);
inline bool is_capturing(void* stream) {
  return capture_id(stream) != 0;
}

/// What was queued on `stream` from begin_capture on, as something that launches at once.
class Graph {
 public:
  Graph() = default;
  /// The calls that `record` queues on `stream`.
  template <class Record>
  Graph(int device, void* stream, const Record& record) : device_(device) {
    begin(stream);
    try {
      record();
    } catch (...) {
      cancel(stream);
      throw;
    }
    end(stream);
  }
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;
  ~Graph();
  void launch(void* stream) const;

 private:
  void begin(void* stream);
  void cancel(void* stream) noexcept;
  void end(void* stream);
  int device_ = 0;
  void* executable_ = nullptr;
};

/// A moment in a stream, for times on the GPU.
class Event {
 public:
  explicit Event(int device);
  Event(Event&& other) noexcept;
  Event& operator=(Event&&) = delete;
  ~Event();
  void record(void* stream);
  void synchronize() const;
  /// Whether the stream has come to the moment that was recorded last. Throws what went wrong before it.
  bool is_done() const;
  /// Between two recorded events that are done.
  static double microseconds(const Event& begin, const Event& end);

 private:
  void* event_ = nullptr;
};

/// Page-locked host memory that every GPU can read and write, zeroed.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t bytes);
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  ~PinnedBuffer();
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  /// The same memory as `device` names it.
  void* on(int device) const;

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Memory of one GPU that others have mapped too, at the same address; nothing else of the owner is mapped. Zeroed.
class PeerBuffer {
 public:
  PeerBuffer() = default;
  /// Throws kUnsupported when a peer cannot map it.
  PeerBuffer(int device, const std::vector<int>& peers, std::size_t bytes);
  PeerBuffer(PeerBuffer&& other) noexcept;
  PeerBuffer& operator=(PeerBuffer&& other) noexcept;
  ~PeerBuffer();
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void release() noexcept;
  int device_ = 0;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;  // as mapped: a multiple of the driver's granularity
  unsigned long long handle_ = 0;
};

}  // namespace tandem::cuda
