#include <cblas.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/matmul/matmul_cpu.h"

namespace tandem {
namespace {

// A tile of decoded weights stays in a core's L2 between decoding and product. Taller tiles amortise the GEMM's packing
// of x, lower ones share out more evenly (bench/kernels/matmul_bench, "prefill").
constexpr std::int64_t kTileRows = 96;
constexpr std::int64_t kTileCols = 2048;

}  // namespace

void matmul_blocked(const Stream& stream, ConstTensor x, std::span<const MatmulPart> parts, const RowKernels& kernels) {
  const std::int64_t num_tokens = x.size(0), cols = x.size(1);
  const auto num_tiles = [](const MatmulPart& part) { return (part.w.rows + kTileRows - 1) / kTileRows; };
  std::int64_t total = 0;
  for (const MatmulPart& part : parts) total += num_tiles(part);
  // Tiles are the same for any number of threads, and so is each tile's GEMM call.
  stream.parallel_for(total, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local std::vector<float> tile;
    tile.resize(static_cast<std::size_t>(kTileRows * std::min(cols, kTileCols)));
    std::int64_t first = 0;  // index of the part's first tile
    for (const MatmulPart& part : parts) {
      const ConstMatrix& w = part.w;
      float* y = part.y.data<float>();
      for (std::int64_t i = std::max(begin, first); i < std::min(end, first + num_tiles(part)); ++i) {
        const std::int64_t row = (i - first) * kTileRows, rows = std::min(kTileRows, w.rows - row);
        const bool has_bias = part.bias.raw() != nullptr;
        for (std::int64_t t = 0; has_bias && t < num_tokens; ++t) {
          std::copy_n(part.bias.data<float>() + row, rows, y + t * w.rows + row);
        }
        for (std::int64_t col = 0; col < cols; col += kTileCols) {
          const std::int64_t depth = std::min(kTileCols, cols - col);
          const ConstMatrix piece = w.slice(row, row + rows, col, col + depth);
          for (std::int64_t r = 0; r < rows; ++r) {
            kernels.decode(tile.data() + r * depth, piece.row(r), w.dtype, depth);
          }
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(num_tokens), static_cast<int>(rows),
                      static_cast<int>(depth), 1.f, x.data<float>() + col, static_cast<int>(cols), tile.data(),
                      static_cast<int>(depth), has_bias || col > 0 ? 1.f : 0.f, y + row, static_cast<int>(w.rows));
        }
      }
      first += num_tiles(part);
    }
  });
}

}  // namespace tandem
