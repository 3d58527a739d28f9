// matmul on CPU against its bounds, both measured in the same run, alternating:
//   decode   bytes of weights a second against plain reads of the same buffer by the same threads in the same order
//   prefill  flops a second against sgemm on weights that are f32 already
//   crossover  time of both paths for a range of token counts
// matmul_bench [decode|prefill|crossover] [--threads N] [--megabytes N] [--tokens N] [--dtype NAME] [--kernels NAME]
// One JSON line a case.

#include <cblas.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/half.h"
#include "base/random.h"
#include "device/buffer.h"
#include "kernels/matmul/matmul_cpu.h"

namespace tandem {
namespace {

constexpr int kRounds = 25;

struct Options {
  std::string_view mode = "decode";
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::int64_t megabytes = 84;
  std::int64_t tokens = 1;
  std::optional<DType> dtype;
  RowKernels kernels = row_kernels().front();
};

/// Random blocks whose scales are small: every byte random, then the f16 words that scale a block set to about 0.01.
void fill_weights(std::byte* data, std::size_t bytes, DType dtype) {
  for (std::size_t i = 0; i + 16 <= bytes; i += 16) {
    const auto words = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), 0, 0}, {1, 2});
    std::memcpy(data + i, words.data(), 16);
  }
  const auto block_bytes = static_cast<std::size_t>(dtype_info(dtype).block_bytes);
  for (std::size_t i = 0; i + block_bytes <= bytes; i += block_bytes) {
    const F16 scale = to_f16(0.01f);
    if (dtype == DType::kF32) {
      const float value = 0.01f;
      std::memcpy(data + i, &value, sizeof(value));
    } else if (dtype == DType::kQ6_K) {
      std::memcpy(data + i + 208, &scale, 2);
    } else {
      const BF16 bf16 = to_bf16(0.01f);
      std::memcpy(data + i, dtype == DType::kBF16 ? &bf16.bits : &scale.bits, 2);
      if (dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K || dtype == DType::kQ5_K) {
        std::memcpy(data + i + 2, &scale, 2);
      }
    }
  }
}

/// Sums a range as words in eight registers: enough loads in flight for one core's share of the memory.
std::uint64_t read_all(const std::byte* p, std::size_t bytes) {
  using Words [[gnu::vector_size(16)]] = std::uint64_t;
  Words sums[8] = {};
  for (std::size_t i = 0; i + 128 <= bytes; i += 128) {
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      Words words;
      std::memcpy(&words, p + i + 16 * k, sizeof(words));
      sums[k] += words;
    }
  }
  std::uint64_t total = 0;
  for (const Words& sum : sums) total += sum[0] + sum[1];
  return total;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct MatrixSet {
  Buffer buffer;
  std::vector<ConstMatrix> matrices;
};

/// Different matrices, shaped in turn as those of a small model's layer, one after the other in one buffer.
MatrixSet make_set(DType dtype, std::size_t bytes) {
  const Shape shapes[] = {{576, 576}, {1536, 576}, {576, 1536}, {1536, 576}};
  const bool super_blocks = dtype_info(dtype).block_size == 256;
  MatrixSet set;
  std::size_t used = 0;
  for (std::size_t i = 0; used < bytes; ++i) {
    const Shape& shape = shapes[i % 4];
    const std::int64_t cols = super_blocks ? shape[1] / 576 * 512 : shape[1];
    set.matrices.push_back({nullptr, dtype, shape[0], cols, dtype_bytes(dtype, cols), Device{}});
    used += set.matrices.back().bytes();
  }
  set.buffer = Buffer(Device{}, used);
  fill_weights(static_cast<std::byte*>(set.buffer.data()), used, dtype);
  std::size_t offset = 0;
  for (ConstMatrix& w : set.matrices) {
    w.data = static_cast<const std::byte*>(set.buffer.data()) + offset;
    offset += w.bytes();
  }
  return set;
}

void bench_decode(const Options& options, DType dtype) {
  const Stream stream = Stream::cpu(options.threads);
  const MatrixSet set = make_set(dtype, static_cast<std::size_t>(options.megabytes) * 1000 * 1000);
  const OwnedTensor x(Device{}, DType::kF32, {options.tokens, 1536});
  const OwnedTensor y(Device{}, DType::kF32, {options.tokens, 1536});
  std::fill_n(x.tensor.data<float>(), options.tokens * 1536, 1.f);
  const auto bytes = static_cast<double>(set.buffer.bytes());
  // Per matrix the best of all rounds, too: where others use the machine, a whole round is never undisturbed.
  std::vector<double> read, product, share;
  std::vector<double> read_best(set.matrices.size(), 1e9), product_best(set.matrices.size(), 1e9);
  std::atomic<std::uint64_t> sink{0};
  for (int round = 0; round < kRounds; ++round) {
    double read_s = 0, product_s = 0;
    for (std::size_t i = 0; i < set.matrices.size(); ++i) {
      const ConstMatrix& w = set.matrices[i];
      const Clock::time_point start = Clock::now();
      stream.parallel_for(w.rows, 1, [&](std::int64_t begin, std::int64_t end) {
        sink += read_all(w.row(begin), static_cast<std::size_t>(end - begin) * w.row_stride);
      });
      const double seconds = seconds_since(start);
      read_s += seconds;
      read_best[i] = std::min(read_best[i], seconds);
    }
    for (std::size_t i = 0; i < set.matrices.size(); ++i) {
      const ConstMatrix& w = set.matrices[i];
      const MatmulPart part{Tensor(y.tensor.raw(), DType::kF32, {options.tokens, w.rows}, Device{}), w, {}};
      const Clock::time_point start = Clock::now();
      matmul_rows(stream, ConstTensor(x.tensor.raw(), DType::kF32, {options.tokens, w.cols}, Device{}),
                  std::span(&part, 1), options.kernels);
      const double seconds = seconds_since(start);
      product_s += seconds;
      product_best[i] = std::min(product_best[i], seconds);
    }
    read.push_back(bytes / read_s);
    product.push_back(bytes / product_s);
    share.push_back(read_s / product_s);
  }
  const double best_read = bytes / std::accumulate(read_best.begin(), read_best.end(), 0.0);
  const double best_product = bytes / std::accumulate(product_best.begin(), product_best.end(), 0.0);
  std::printf(
      "{\"bench\":\"decode\",\"dtype\":\"%s\",\"kernels\":\"%s\",\"threads\":%d,\"tokens\":%d,\"bytes\":%.0f,"
      "\"samples\":%d,\"read_gb_s\":%.2f,\"matmul_gb_s\":%.2f,\"share_median\":%.3f,\"read_gb_s_best\":%.2f,"
      "\"matmul_gb_s_best\":%.2f,\"share_of_bests\":%.3f}\n",
      std::string(to_string(dtype)).c_str(), std::string(options.kernels.name).c_str(), options.threads,
      static_cast<int>(options.tokens), bytes, kRounds, median(read) / 1e9, median(product) / 1e9, median(share),
      best_read / 1e9, best_product / 1e9, best_product / best_read);
}

void bench_prefill(const Options& options, DType dtype, std::int64_t tokens, std::int64_t rows, std::int64_t cols) {
  const Stream stream = Stream::cpu(options.threads);
  const OwnedTensor x(Device{}, DType::kF32, {tokens, cols}), y(Device{}, DType::kF32, {tokens, rows});
  const OwnedTensor w_f32(Device{}, DType::kF32, {rows, cols});
  std::fill_n(x.tensor.data<float>(), tokens * cols, 1.f);
  std::fill_n(w_f32.tensor.data<float>(), rows * cols, 0.5f);
  const Buffer blocks(Device{}, dtype_bytes(dtype, rows * cols));
  fill_weights(static_cast<std::byte*>(blocks.data()), blocks.bytes(), dtype);
  const MatmulPart part{y.tensor, {blocks.data(), dtype, rows, cols, dtype_bytes(dtype, cols), Device{}}, {}};
  const double flops = 2.0 * static_cast<double>(tokens * rows * cols);
  std::vector<double> gemm, product, by_rows;
  for (int round = 0; round < kRounds; ++round) {
    Clock::time_point start = Clock::now();
    stream.parallel_for(rows, 1, [&](std::int64_t begin, std::int64_t end) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(tokens), static_cast<int>(end - begin),
                  static_cast<int>(cols), 1.f, x.tensor.data<float>(), static_cast<int>(cols),
                  w_f32.tensor.data<float>() + begin * cols, static_cast<int>(cols), 0.f,
                  y.tensor.data<float>() + begin, static_cast<int>(rows));
    });
    gemm.push_back(flops / seconds_since(start));
    start = Clock::now();
    matmul_blocked(stream, x.tensor, std::span(&part, 1), options.kernels);
    product.push_back(flops / seconds_since(start));
    if (tokens > 64) continue;
    start = Clock::now();
    matmul_rows(stream, x.tensor, std::span(&part, 1), options.kernels);
    by_rows.push_back(flops / seconds_since(start));
  }
  std::printf(
      "{\"bench\":\"prefill\",\"dtype\":\"%s\",\"kernels\":\"%s\",\"threads\":%d,\"tokens\":%d,\"rows\":%d,\"cols\":%d,"
      "\"samples\":%d,\"sgemm_gflops\":%.1f,\"blocked_gflops\":%.1f,\"share_of_bests\":%.3f,\"rows_gflops\":%.1f}\n",
      std::string(to_string(dtype)).c_str(), std::string(options.kernels.name).c_str(), options.threads,
      static_cast<int>(tokens), static_cast<int>(rows), static_cast<int>(cols), kRounds,
      *std::max_element(gemm.begin(), gemm.end()) / 1e9, *std::max_element(product.begin(), product.end()) / 1e9,
      *std::max_element(product.begin(), product.end()) / *std::max_element(gemm.begin(), gemm.end()),
      by_rows.empty() ? 0.0 : *std::max_element(by_rows.begin(), by_rows.end()) / 1e9);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (!name.starts_with("--")) {
      options.mode = name;
      continue;
    }
    if (i + 1 == argc) fail(ErrorKind::kInternal, "{} has no value", name);
    const std::string value = argv[++i];
    if (name == "--threads") {
      options.threads = std::stoi(value);
    } else if (name == "--megabytes") {
      options.megabytes = std::stol(value);
    } else if (name == "--tokens") {
      options.tokens = std::stol(value);
    } else if (name == "--dtype") {
      options.dtype = parse_dtype(value);
    } else if (name == "--kernels") {
      for (const RowKernels& kernels : row_kernels()) {
        if (kernels.name == value) options.kernels = kernels;
      }
    } else {
      fail(ErrorKind::kInternal, "unknown option {}", name);
    }
  }
  return options;
}

void run(const Options& options) {
  constexpr DType kWeights[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                DType::kQ5_1, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
  for (const DType dtype : kWeights) {
    if (options.dtype && dtype != *options.dtype) continue;
    const std::int64_t hidden = dtype_info(dtype).block_size == 256 ? 512 : 576;
    if (options.mode == "decode") {
      bench_decode(options, dtype);
    } else if (options.mode == "prefill") {
      bench_prefill(options, dtype, 512, 1536, hidden);
      bench_prefill(options, dtype, 512, 576, 1536);
    } else if (options.mode == "crossover") {
      for (std::int64_t tokens : {4, 8, 12, 16, 24, 32, 64}) bench_prefill(options, dtype, tokens, 1536, hidden);
    } else {
      fail(ErrorKind::kInternal, "unknown mode {}", options.mode);
    }
  }
}

}  // namespace
}  // namespace tandem

int main(int argc, char** argv) {
  try {
    tandem::run(tandem::parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
}
