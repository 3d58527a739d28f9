#pragma once
// What the contract suite (communicator_contract.h) runs on: ranks, their outcomes, and tensors with guarded ends.
// A rank body checks its own results and throws on the first wrong one: so bodies run the same as threads or processes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "comm/communicator.h"
#include "device/buffer.h"
#include "device/cuda/runtime.h"

namespace tandem::contract {

/// How a rank's body ended: well, with an Error of ours, or with another exception (a failed check).
struct Outcome {
  bool ok = true;
  std::optional<ErrorKind> kind;
  std::string message;
};

using Body = std::function<void(Communicator& comm, const Stream& stream)>;

/// Starts the ranks of one back-end in one way.
class Rig {
 public:
  virtual ~Rig() = default;
  /// Runs `body` on every rank of a new group, `meanwhile` (may be empty) beside it on the caller's thread. A rank
  /// whose body throws aborts the group; one whose body returns leaves it. Returns the outcomes by rank.
  virtual std::vector<Outcome> run(const GroupOptions& options, const Body& body,
                                   const std::function<void(const Group&)>& meanwhile) = 0;
};

/// Ranks as threads.
class ThreadRig final : public Rig {
 public:
  using Machine = std::function<std::shared_ptr<const MachineSnapshot>(const std::vector<Device>& devices)>;
  /// `devices(world_size)`: by rank; empty for CPUs. `machine`: what back-ends are chosen by.
  ThreadRig(std::string backend, std::function<Stream(int rank)> make_stream,
            std::function<std::vector<Device>(int world_size)> devices = {}, Machine machine = {})
      : backend_(std::move(backend)),
        make_stream_(std::move(make_stream)),
        devices_(std::move(devices)),
        machine_(std::move(machine)) {}

  std::vector<Outcome> run(const GroupOptions& wanted, const Body& body,
                           const std::function<void(const Group&)>& meanwhile) override {
    GroupOptions options = wanted;
    if (devices_) options.devices = devices_(options.world_size);
    options.shared_devices = true;
    if (machine_) options.machine = machine_(options.devices);
    const Group group(options);
    std::vector<Outcome> outcomes(static_cast<std::size_t>(options.world_size));
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < options.world_size; ++rank) {
      threads.emplace_back([&, rank] { outcomes[static_cast<std::size_t>(rank)] = run_rank(group, rank, body); });
    }
    if (meanwhile) meanwhile(group);
    threads.clear();
    return outcomes;
  }

 private:
  Outcome run_rank(const Group& group, int rank, const Body& body) const {
    const Stream stream = make_stream_(rank);
    if constexpr (kBuiltWithCuda) {
      if (!stream.device().is_cpu()) cuda::use_device(stream.device().index);
    }
    const std::unique_ptr<Communicator> comm = make_communicator(backend_, group, rank);
    try {
      body(*comm, stream);
      stream.synchronize();
      return {};
    } catch (const Error& error) {
      group.abort(rank, error.what(), ErrorKind::kPeerLost);
      return {false, error.kind(), error.what()};
    } catch (const std::exception& error) {
      group.abort(rank, error.what(), ErrorKind::kPeerLost);
      return {false, std::nullopt, error.what()};
    }
  }

  std::string backend_;
  std::function<Stream(int rank)> make_stream_;
  std::function<std::vector<Device>(int world_size)> devices_;
  Machine machine_;
};

/// Throws unless `condition`; in rank bodies, where gtest's macros would not reach the test.
inline void require(bool condition, const std::string& message) {
  if (!condition) throw std::runtime_error(message);
}

inline std::size_t element_bytes(DType dtype) {
  return dtype_bytes(dtype, 1);
}

template <class T, class Convert>
std::vector<std::byte> encode_as(std::span<const int> values, const Convert& convert) {
  std::vector<T> elements(values.size());
  std::transform(values.begin(), values.end(), elements.begin(), convert);
  const auto bytes = std::as_bytes(std::span(elements));
  return {bytes.begin(), bytes.end()};
}

/// Small integers as elements of `dtype`.
inline std::vector<std::byte> encode(DType dtype, std::span<const int> values) {
  switch (dtype) {
    case DType::kF32:
      return encode_as<float>(values, [](int v) { return static_cast<float>(v); });
    case DType::kF16:
      return encode_as<F16>(values, [](int v) { return to_f16(static_cast<float>(v)); });
    case DType::kBF16:
      return encode_as<BF16>(values, [](int v) { return to_bf16(static_cast<float>(v)); });
    case DType::kI32:
      return encode_as<std::int32_t>(values, [](int v) { return v; });
    default:
      return encode_as<std::uint8_t>(values, [](int v) { return static_cast<std::uint8_t>(v); });
  }
}

/// A tensor between two guards, which no call may touch.
class Array {
 public:
  /// `skew`: how many elements it begins beside an aligned place.
  Array(const Stream& stream, DType dtype, std::int64_t count, std::int64_t skew = 0)
      : begin_(kGuard + dtype_bytes(dtype, skew)),
        bytes_(dtype_bytes(dtype, count)),
        buffer_(stream.device(), begin_ + bytes_ + kGuard) {
    write_host(stream, std::vector<std::byte>(buffer_.bytes(), kFill), 0);
    tensor_ = buffer_.tensor(dtype, {skew + count}, kGuard).slice(skew, skew + count);
  }
  Array(const Stream& stream, DType dtype, std::span<const std::byte> content, std::int64_t skew = 0)
      : Array(stream, dtype, static_cast<std::int64_t>(content.size() / element_bytes(dtype)), skew) {
    write_host(stream, content, begin_);
  }

  Tensor tensor() const { return tensor_; }
  Tensor part(std::int64_t begin, std::int64_t count) const { return tensor_.slice(begin, begin + count); }

  std::vector<std::byte> content(const Stream& stream) const {
    const std::vector<std::byte> all = read_host(stream);
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin_);
    return {first, first + static_cast<std::ptrdiff_t>(bytes_)};
  }

  /// Bit for bit; guards included.
  void require_equal(const Stream& stream, std::span<const std::byte> expected, const std::string& what) const {
    const std::vector<std::byte> all = read_host(stream);
    const std::size_t size = element_bytes(tensor_.dtype());
    require(expected.size() == bytes_, what + ": expected another size");
    const bool equal = bytes_ == 0 || std::memcmp(&all[begin_], expected.data(), bytes_) == 0;
    for (std::size_t i = 0; !equal && i < bytes_; ++i) {
      if (all[begin_ + i] == expected[i]) continue;
      fail(ErrorKind::kInternal, "{}: element {} of {} differs from byte {} on", what, i / size, bytes_ / size, i);
    }
    const auto intact = [](std::span<const std::byte> guard) {
      return std::ranges::all_of(guard, [](std::byte byte) { return byte == kFill; });
    };
    const std::span<const std::byte> whole(all);
    require(intact(whole.first(begin_)) && intact(whole.subspan(begin_ + bytes_)),
            what + ": wrote outside of the tensor");
  }

 private:
  static constexpr std::size_t kGuard = 64;
  static constexpr std::byte kFill{0xa5};

  // The only two places that touch tensors from the host.
  void write_host(const Stream& stream, std::span<const std::byte> content, std::size_t offset) {
    if (content.empty()) return;
    auto* begin = static_cast<std::byte*>(buffer_.data()) + offset;
    if constexpr (kBuiltWithCuda) {
      if (!buffer_.device().is_cpu()) return cuda::copy(stream.cuda_handle(), begin, content.data(), content.size());
    }
    std::memcpy(begin, content.data(), content.size());
  }
  std::vector<std::byte> read_host(const Stream& stream) const {
    stream.synchronize();
    const auto* begin = static_cast<const std::byte*>(buffer_.data());
    if constexpr (kBuiltWithCuda) {
      if (!buffer_.device().is_cpu()) {
        std::vector<std::byte> bytes(buffer_.bytes());
        cuda::copy(stream.cuda_handle(), bytes.data(), begin, bytes.size());
        stream.synchronize();
        return bytes;
      }
    }
    return {begin, begin + buffer_.bytes()};
  }

  std::size_t begin_, bytes_;
  Buffer buffer_;
  Tensor tensor_;
};

}  // namespace tandem::contract
