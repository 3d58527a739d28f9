#pragma once
// The contract of all_reduce_add_rms_norm: the bits of its two steps, and close to exact arithmetic.

#include <cmath>
#include <vector>

#include "comm/communicator_contract_calls.h"
#include "comm/norm.h"

namespace tandem::contract {

/// Elements as doubles.
inline std::vector<double> decode(DType dtype, std::span<const std::byte> bytes) {
  std::vector<double> values(bytes.size() / element_bytes(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::byte* from = &bytes[i * element_bytes(dtype)];
    const auto as = [&]<class T>(T element) {
      std::memcpy(&element, from, sizeof(T));
      return element;
    };
    values[i] = dtype == DType::kF32   ? double{as(float{})}
                : dtype == DType::kF16 ? double{to_float(as(F16{}))}
                                       : double{to_float(as(BF16{}))};
  }
  return values;
}

/// On every rank at once. Throws what differs. `skew`: see Spec.
inline void perform_norm(Communicator& comm, const Stream& stream, DType dtype, std::int64_t rows, std::int64_t columns,
                         bool in_place, std::uint32_t id, std::int64_t skew = 0) {
  const auto integers = [&](std::int64_t count, std::uint32_t what, std::uint32_t rank) {
    std::vector<int> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<int>((i * 0x9E3779B9u + id * 101 + what * 37 + rank * 13) % 65521 % 9) - 4;
    }
    return values;
  };
  const std::int64_t count = rows * columns;
  constexpr float kEpsilon = 0.5f;
  const std::vector<std::byte> x = encode(dtype, integers(count, 0, static_cast<std::uint32_t>(comm.rank())));
  const std::vector<std::byte> residual = encode(dtype, integers(count, 1, 0));
  const std::vector<std::byte> weight = encode(dtype, integers(columns, 2, 0));

  const Array weights(stream, dtype, weight, skew), in(stream, dtype, x, skew), kept(stream, dtype, residual, skew);
  const Array elsewhere(stream, dtype, count, skew);
  const Array& out = in_place ? in : elsewhere;
  comm.all_reduce_add_rms_norm(stream, out.tensor(), kept.tensor(), in.tensor(), weights.tensor(), kEpsilon);
  comm.synchronize(stream);

  const Array sum(stream, dtype, x), kept_in_steps(stream, dtype, residual), out_in_steps(stream, dtype, count);
  comm.all_reduce(stream, sum.tensor());
  if (count > 0) {
    add_rms_norm(
        stream, dtype,
        add_rms_norm_of(out_in_steps.tensor(), kept_in_steps.tensor(), sum.tensor(), weights.tensor(), kEpsilon));
  }
  comm.synchronize(stream);
  const std::string what = format("{} rows of {} {}", rows, columns, to_string(dtype));
  out.require_equal(stream, out_in_steps.content(stream), what + ", result");
  kept.require_equal(stream, kept_in_steps.content(stream), what + ", residual");

  const std::vector<double> got = decode(dtype, out.content(stream)), factors = decode(dtype, weight);
  std::vector<int> exact = integers(count, 1, 0);  // integers of no more than 68, so exact in every dtype
  for (int r = 0; r < comm.world_size(); ++r) {
    const std::vector<int> theirs = integers(count, 0, static_cast<std::uint32_t>(r));
    for (std::size_t i = 0; i < exact.size(); ++i) exact[i] += theirs[i];
  }
  kept.require_equal(stream, encode(dtype, exact), what + ", residual against exact sums");
  const double tolerance = dtype == DType::kF32 ? 1e-5 : dtype == DType::kF16 ? 1e-3 : 8e-3;
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    const auto width = static_cast<std::size_t>(columns);
    double squares = 0;
    for (std::size_t i = 0; i < width; ++i) squares += double(exact[row * width + i]) * exact[row * width + i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + double{kEpsilon});
    for (std::size_t i = 0; i < width; ++i) {
      const double expected = exact[row * width + i] * scale * factors[i];
      if (std::abs(got[row * width + i] - expected) <= tolerance * std::abs(expected)) continue;
      fail(ErrorKind::kInternal, "{}: row {}, column {} is {}, expected {}", what, row, i, got[row * width + i],
           expected);
    }
  }
}

}  // namespace tandem::contract
