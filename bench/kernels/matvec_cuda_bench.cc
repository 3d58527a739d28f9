// Products of few tokens on GPU 0 against what its memory delivers. Prints JSON lines; takes a few seconds.
//   matvec_cuda_bench [dtype of weights ...]      default: bf16
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/random.h"
#include "device/buffer.h"
#include "device/cuda/cuda_check.h"
#include "device/cuda/runtime.h"
#include "kernels/matmul/matmul.h"
#include "kernels/read_cuda.h"

namespace tandem {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{4} << 30;
constexpr std::size_t kChainBytes = std::size_t{1} << 30;  // of a graph: many times what an L2 holds
constexpr int kSamples = 15;
constexpr std::int64_t kShapes[][2] = {{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}, {128256, 4096}};

struct Times {
  double median_us, spread;  // (largest - smallest) / median
};

template <class Body>
Times measure(const Stream& stream, const Body& body) {
  cuda::Event begin(0), end(0);
  std::vector<double> times;
  for (int i = -3; i < kSamples; ++i) {  // the first ones warm up
    begin.record(stream.cuda_handle());
    body();
    end.record(stream.cuda_handle());
    end.synchronize();
    if (i >= 0) times.push_back(cuda::Event::microseconds(begin, end));
  }
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  return {median, (times.back() - times.front()) / median};
}

// Random bits, the same 64 MB again and again: constant memory would draw less power than weights do.
Buffer random_bits(const Stream& stream) {
  Buffer buffer(stream.device(), kBufferBytes);
  std::vector<std::uint32_t> words(std::size_t{1} << 24);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {1, 0})[0];
  const std::size_t bytes = words.size() * sizeof(words[0]);
  cuda::copy(stream.cuda_handle(), buffer.data(), words.data(), bytes);
  for (std::size_t at = bytes; at < kBufferBytes; at += bytes) {
    cuda::copy(stream.cuda_handle(), static_cast<std::byte*>(buffer.data()) + at, buffer.data(), bytes);
  }
  stream.synchronize();
  return buffer;
}

void bench_chain(const Stream& stream, const Buffer& bits, DType dtype, std::int64_t rows, std::int64_t cols,
                 std::int64_t num_tokens, double read_gb_s) {
  const std::size_t bytes = dtype_bytes(dtype, rows * cols);
  const std::size_t room = (bytes + 255) / 256 * 256;
  const auto count = static_cast<int>(std::clamp<std::size_t>(kChainBytes / room, 2, kBufferBytes / room));
  const DType x_dtype = is_quantised(dtype) ? DType::kBF16 : dtype;
  const OwnedTensor x(stream.device(), x_dtype, {num_tokens, cols}), y(stream.device(), x_dtype, {num_tokens, rows});
  cuda::copy(stream.cuda_handle(), x.tensor.raw(), bits.data(), x.tensor.bytes());
  const cuda::Graph graph(0, stream.cuda_handle(), [&] {
    for (int i = 0; i < count; ++i) {
      const std::byte* data = static_cast<const std::byte*>(bits.data()) + static_cast<std::size_t>(i) * room;
      matmul(stream, y.tensor, x.tensor,
             ConstMatrix{data, dtype, rows, cols, dtype_bytes(dtype, cols), stream.device()});
    }
  });
  const Times times = measure(stream, [&] { graph.launch(stream.cuda_handle()); });
  const double us = times.median_us / count, gb_s = static_cast<double>(bytes) / us / 1e3;
  std::printf(
      "{\"bench\":\"matvec_cuda\",\"dtype\":\"%s\",\"rows\":%d,\"cols\":%d,\"tokens\":%d,\"matrices\":%d,\"samples\":%"
      "d,"
      "\"microseconds\":%.2f,\"spread\":%.3f,\"gb_s\":%.0f,\"share_of_read\":%.3f,\"above_read_us\":%.2f}\n",
      std::string(to_string(dtype)).c_str(), static_cast<int>(rows), static_cast<int>(cols),
      static_cast<int>(num_tokens), count, kSamples, us, times.spread, gb_s, gb_s / read_gb_s,
      us - static_cast<double>(bytes) / read_gb_s / 1e3);
}

void run(const std::vector<DType>& dtypes) {
  cuda::use_device(0);
  const Stream stream = Stream::cuda(0);
  const Buffer bits = random_bits(stream), sink(stream.device(), 64);
  const Times times = measure(stream, [&] {
    const int error = read_all_cuda(stream.cuda_handle(), bits.data(), bits.bytes(), sink.data());
    if (error != 0) cuda::call_failed(error, "read_all_cuda");
  });
  const double read_gb_s = static_cast<double>(bits.bytes()) / times.median_us / 1e3;
  std::printf(
      "{\"bench\":\"read_cuda\",\"device\":\"%s\",\"bytes\":%.0f,\"samples\":%d,\"microseconds\":%.1f,\"spread\":%.3f,"
      "\"read_gb_s\":%.0f}\n",
      cuda::device_info(0).name.c_str(), static_cast<double>(bits.bytes()), kSamples, times.median_us, times.spread,
      read_gb_s);
  for (const DType dtype : dtypes) {
    for (const auto& [rows, cols] : kShapes) {
      for (const std::int64_t num_tokens : {1, 16}) bench_chain(stream, bits, dtype, rows, cols, num_tokens, read_gb_s);
    }
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  try {
    std::vector<tandem::DType> dtypes;
    for (int i = 1; i < argc; ++i) {
      const auto dtype = tandem::parse_dtype(argv[i]);
      if (!dtype) tandem::fail(tandem::ErrorKind::kInternal, "no dtype {}", argv[i]);
      dtypes.push_back(*dtype);
    }
    tandem::run(dtypes.empty() ? std::vector{tandem::DType::kBF16} : dtypes);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
