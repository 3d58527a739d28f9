// The row kernels, written once over vectors of kLanes floats. Included by one file an instruction set, inside a
// namespace of its own that defines TANDEM_SIMD (function attributes), Floats, Ints, kLanes and the operations used
// here.
//
// A row is walked in chunks of 256 elements: one K block, or eight blocks of 32. For a chunk, `prepare` turns the
// scales into pairs of floats (factor, offset), all at once because converting an f16 alone costs as much as decoding a
// block; then `unit` decodes 32 elements to registers at a time. Decoded weights have the bits of dequantise_row: each
// is one product that is exact in f32 (scale times small integer, except in q6_k and for subnormal results, where both
// round the same way) and at most one rounded sum.

constexpr int kUnit = 32;                     // elements
constexpr int kUnitVectors = kUnit / kLanes;  // vectors that hold them
constexpr int kChunkUnits = 8;
constexpr int kChunk = kUnit * kChunkUnits;
constexpr int kFloatsPerLine = sizeof(ArrangedX::Line) / sizeof(float);
// Ahead of the hardware's prefetcher, which stops at the end of each 4 KiB page.
constexpr int kPrefetchBytes = 4096;

struct alignas(64) Scales {
  float pairs[2 * kChunkUnits];
};

// Makes the compiler read the scales back from memory: broadcasting from there is part of a load, broadcasting from
// the register that they were stored from takes two shuffles a unit, and shuffles are what this code is short of.
TANDEM_SIMD void forget_registers(Scales& s) {
  asm("" : "+m"(s));
}

// Formats with an f16 scale (and an f16 minimum after it, or a fixed offset) in front of 32 elements.
template <int kBytesPerUnit, bool kHasMin, int kOffset>
struct SmallBlock {
  static constexpr int kBytes = kBytesPerUnit;
  static constexpr int kMinUnits = 1;
  static constexpr bool kHasOffset = kHasMin || kOffset != 0;
  static constexpr bool kNibbles = false;
  // Pairs of units that the row does not hold become zero.
  TANDEM_SIMD static void prepare(const std::byte* p, int num_units, Scales& s) {
    load_scale_pairs<kBytes, kHasMin, kOffset>(p, num_units, s.pairs);
  }
};

struct Q4_0 : SmallBlock<18, false, -8> {
  static constexpr bool kNibbles = true;
  TANDEM_SIMD static void raw_unit(const std::byte* p, Floats* q) { raw_nibbles(p + 2, q); }
  // First the low halves, then the whole bytes: low + 16 * high. See arrange.
  TANDEM_SIMD static void raw_nibbles(const std::byte* p, Floats* q) {
    for (int v = 0; v < kUnitVectors / 2; ++v) {
      const Ints both = load_u8(p + v * kLanes);
      q[v] = low_to_floats(both);
      q[v + kUnitVectors / 2] = to_floats(both);
    }
  }
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    nibbles(p + u * kBytes + 2, s.pairs + 2 * u, w);
  }
  TANDEM_SIMD static void nibbles(const std::byte* q, const float* pair, Floats* w) {
    const Table table = make_table(pair);
    for (int v = 0; v < kUnitVectors / 2; ++v) {
      const Ints both = load_u8(q + v * kLanes);
      w[v] = lookup_low(table, both);
      w[v + kUnitVectors / 2] = lookup_high(table, both);
    }
  }
};

struct Q4_1 : SmallBlock<20, true, 0> {
  static constexpr bool kNibbles = true;
  TANDEM_SIMD static void raw_unit(const std::byte* p, Floats* q) { Q4_0::raw_nibbles(p + 4, q); }
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    Q4_0::nibbles(p + u * kBytes + 4, s.pairs + 2 * u, w);
  }
};

struct Q5_0 : SmallBlock<22, false, -16> {
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    five_bits(p + u * kBytes + 2, s.pairs + 2 * u, w);
  }
  TANDEM_SIMD static void five_bits(const std::byte* q, const float* pair, Floats* w) {
    raw_five_bits(q, w);
    for (int v = 0; v < kUnitVectors; ++v) w[v] = fma(w[v], broadcast(pair), broadcast(pair + 1));
  }
  TANDEM_SIMD static void raw_unit(const std::byte* p, Floats* q) { raw_five_bits(p + 2, q); }
  TANDEM_SIMD static void raw_five_bits(const std::byte* p, Floats* q) {
    const std::uint32_t high = load_u32(p);
    for (int v = 0; v < kUnitVectors / 2; ++v) {
      const Ints both = load_u8(p + 4 + v * kLanes);
      q[v] = to_floats(or_bit4(low_bits(both, 15), high >> (v * kLanes)));
      q[v + kUnitVectors / 2] = to_floats(or_bit4(shift_right(both, 4), high >> (16 + v * kLanes)));
    }
  }
};

struct Q5_1 : SmallBlock<24, true, 0> {
  TANDEM_SIMD static void raw_unit(const std::byte* p, Floats* q) { Q5_0::raw_five_bits(p + 4, q); }
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    Q5_0::five_bits(p + u * kBytes + 4, s.pairs + 2 * u, w);
  }
};

struct Q8_0 : SmallBlock<34, false, 0> {
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    raw_unit(p + u * kBytes, w);
    for (int v = 0; v < kUnitVectors; ++v) w[v] = mul(w[v], broadcast(s.pairs + 2 * u));
  }
  TANDEM_SIMD static void raw_unit(const std::byte* p, Floats* q) {
    for (int v = 0; v < kUnitVectors; ++v) q[v] = to_floats(load_i8(p + 2 + v * kLanes));
  }
};

// Scales and minimums of q4_k and q5_k: bytes become (scale_0, min_0, scale_1, ...), times (d, -dmin, d, ...).
TANDEM_SIMD void prepare_k(const std::byte* p, Scales& s) {
  const std::uint32_t a = load_u32(p + 4), b = load_u32(p + 8), c = load_u32(p + 12);
  const std::uint64_t scales =
      (a & 0x3f3f3f3f) | static_cast<std::uint64_t>((c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4) << 32;
  const std::uint64_t mins =
      (b & 0x3f3f3f3f) | static_cast<std::uint64_t>((c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4) << 32;
  scale_k_pairs(p, scales, mins, s.pairs);
}

struct Q4_K {
  static constexpr int kBytes = 144;  // of a chunk; one block is the least that a row holds
  static constexpr int kMinUnits = kChunkUnits;
  TANDEM_SIMD static void prepare(const std::byte* p, int, Scales& s) { prepare_k(p, s); }
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    const Table table = make_table(s.pairs + 2 * u);
    for (int v = 0; v < kUnitVectors; ++v) {
      const Ints both = load_u8(p + 16 + u / 2 * 32 + v * kLanes);
      w[v] = u % 2 == 0 ? lookup_low(table, both) : lookup_high(table, both);
    }
  }
};

struct Q5_K {
  static constexpr int kBytes = 176;
  static constexpr int kMinUnits = kChunkUnits;
  TANDEM_SIMD static void prepare(const std::byte* p, int, Scales& s) { prepare_k(p, s); }
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    const Floats scale = broadcast(s.pairs + 2 * u), offset = broadcast(s.pairs + 2 * u + 1);
    for (int v = 0; v < kUnitVectors; ++v) {
      const Ints both = load_u8(p + 48 + u / 2 * 32 + v * kLanes);
      const Ints fifth = shift_left(low_bits(shift_right(load_u8(p + 16 + v * kLanes), u), 1), 4);
      w[v] = fma(to_floats(or_ints(low_bits(shift_right(both, u % 2 * 4), 15), fifth)), scale, offset);
    }
  }
};

struct Q6_K {
  static constexpr int kBytes = 210;
  static constexpr int kMinUnits = kChunkUnits;
  TANDEM_SIMD static void prepare(const std::byte* p, int, Scales& s) {
    load_scale_pair<false, 0>(p + 208, s.pairs);
    const Floats d = broadcast(s.pairs);
    for (int v = 0; v < 16 / kLanes; ++v) {
      store(s.pairs + v * kLanes, mul(to_floats(load_i8(p + 192 + v * kLanes)), d));
    }
  }
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales& s, Floats* w) {
    const int half = u / 4, group = u % 4;
    for (int v = 0; v < kUnitVectors; ++v) {
      const Ints low = load_u8(p + half * 64 + group % 2 * 32 + v * kLanes);
      const Ints high = load_u8(p + 128 + half * 32 + v * kLanes);
      const Ints q = or_ints(low_bits(shift_right(low, group / 2 * 4), 15),
                             shift_left(low_bits(shift_right(high, 2 * group), 3), 4));
      w[v] = mul(to_floats(add_ints(q, -32)), broadcast(s.pairs + 2 * u + v * kLanes / 16));
    }
  }
};

template <int kElementBytes>
struct Plain {
  static constexpr int kBytes = kUnit * kElementBytes;
  static constexpr int kMinUnits = 1;
  TANDEM_SIMD static void prepare(const std::byte*, int, Scales&) {}
};

struct PlainF32 : Plain<4> {
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales&, Floats* w) {
    for (int v = 0; v < kUnitVectors; ++v) w[v] = load_f32(p + u * kBytes + 4 * v * kLanes);
  }
};

struct PlainF16 : Plain<2> {
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales&, Floats* w) {
    for (int v = 0; v < kUnitVectors; ++v) w[v] = load_f16(p + u * kBytes + 2 * v * kLanes);
  }
};

struct PlainBF16 : Plain<2> {
  TANDEM_SIMD static void unit(const std::byte* p, int u, const Scales&, Floats* w) {
    for (int v = 0; v < kUnitVectors; ++v) w[v] = load_bf16(p + u * kBytes + 2 * v * kLanes);
  }
};

// x for dot_one_token. A byte of two 4-bit weights converts to low + 16 * high in one instruction, so the high half
// need not be cut out: x_low * low + x_high * high = (x_low - x_high / 16) * low + x_high / 16 * (low + 16 * high).
// sums: (0, sum of x over block 0, 0, sum over block 1, ...), then zeros: against (scale, offset) pairs.
template <bool kNibbles>
TANDEM_SIMD_FUNCTION void arrange_floats(const float* x, std::int64_t cols, ArrangedX& out) {
  const std::int64_t num_units = cols / kUnit;
  out.values.resize(static_cast<std::size_t>(cols + kFloatsPerLine - 1) / kFloatsPerLine);
  out.sums.resize(static_cast<std::size_t>(2 * (num_units + kChunkUnits)));
  auto* arranged = reinterpret_cast<float*>(out.values.data());
  float* const sums = out.sums.data();
  for (std::int64_t u = 0; u < num_units; ++u, x += kUnit, arranged += kUnit) {
    Floats sum = zero();
    for (int v = 0; v < kUnitVectors; ++v) {
      sum = add(sum, load(x + v * kLanes));
      if constexpr (!kNibbles) store(arranged + v * kLanes, load(x + v * kLanes));
    }
    for (int v = 0; kNibbles && v < kUnitVectors / 2; ++v) {
      const float sixteenth = 0.0625f;
      const Floats high = mul(load(x + kUnit / 2 + v * kLanes), broadcast(&sixteenth));
      store(arranged + v * kLanes, sub(load(x + v * kLanes), high));
      store(arranged + kUnit / 2 + v * kLanes, high);
    }
    sums[2 * u] = 0.f;
    sums[2 * u + 1] = reduce(sum);
  }
  std::fill_n(sums + 2 * num_units, 2 * kChunkUnits, 0.f);
}

// Bytes of a chunk: kBytes are those of the least that a row holds.
template <class Format>
constexpr int kChunkBytes = Format::kBytes * kChunkUnits / Format::kMinUnits;

// Up to kTokens tokens; the last is computed again where there are fewer, and not stored.
template <class Format, int kTokens>
TANDEM_SIMD_FUNCTION void dot_format(const RowTask& task) {
  const ConstMatrix& w = *task.w;
  const std::int64_t whole = w.cols / kUnit * kUnit;
  const float* x[kTokens];
  for (int t = 0; t < kTokens; ++t) x[t] = task.x + std::min(t, task.num_tokens - 1) * w.cols;
  for (std::int64_t r = task.row_begin; r < task.row_end; ++r) {
    Floats sum[kTokens][2];
    for (int t = 0; t < kTokens; ++t) sum[t][0] = sum[t][1] = zero();
    const std::byte* p = w.row(r);
    Scales scales;
    const auto add_unit = [&](int u, std::int64_t c) TANDEM_SIMD_LAMBDA {
      Floats weight[kUnitVectors];
      Format::unit(p, u, scales, weight);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
        for (int v = 0; v < kUnitVectors; ++v) {
          sum[t][v % 2] = fma(weight[v], load(x[t] + c + v * kLanes), sum[t][v % 2]);
        }
      }
    };
    std::int64_t c = 0;
    for (; c + kChunk <= whole; c += kChunk, p += kChunkBytes<Format>) {
      for (int b = 0; b < kChunkBytes<Format>; b += 64) __builtin_prefetch(p + kPrefetchBytes + b);
      Format::prepare(p, kChunkUnits, scales);
      forget_registers(scales);
      if constexpr (Format::kMinUnits == 1) {
        for (int u = 0; u < kChunkUnits; ++u) add_unit(u, c + u * kUnit);
      } else {  // positions and shifts in a K block are to be constants
#pragma GCC unroll 8
        for (int u = 0; u < kChunkUnits; ++u) add_unit(u, c + u * kUnit);
      }
    }
    if constexpr (Format::kMinUnits == 1) {
      const int rest = static_cast<int>((whole - c) / kUnit);
      Format::prepare(p, rest, scales);
      for (int u = 0; u < rest; ++u) add_unit(u, c + u * kUnit);
      p += rest * Format::kBytes;
    }
    float tail[kTokens] = {};
    if (whole < w.cols) {  // plain dtypes only
      float weight[kUnit];
      dequantise_row(weight, p, w.dtype, w.cols - whole);
      for (int t = 0; t < kTokens; ++t) {
        for (std::int64_t i = whole; i < w.cols; ++i) tail[t] += weight[i - whole] * x[t][i];
      }
    }
    const float bias = task.bias == nullptr ? 0.f : task.bias[r];
    for (int t = 0; t < kTokens; ++t) {
      const float total = reduce(add(sum[t][0], sum[t][1])) + tail[t] + bias;
      if (t < task.num_tokens) task.y[t * task.y_stride + r] = total;
    }
  }
}

// One token, blocks of 32 with one scale: the sum over a block of q * x first, then once times the scale; offsets times
// the sums of x over blocks, eight blocks at a time. This saves a fifth of the instructions of dot_format, and still
// takes longer than the memory does: see the integer products in row_kernels_avx512.cc. x is arranged for the format
// (arrange_floats).
template <class Format>
TANDEM_SIMD_FUNCTION void dot_one_token(const RowTask& task) {
  const ConstMatrix& w = *task.w;
  constexpr int kRows = 4;
  const std::int64_t num_units = w.cols / kUnit;
  const auto* const x = reinterpret_cast<const float*>(task.arranged->values.data());
  const float* const sums = task.arranged->sums.data();
  // Four rows at a time: x is loaded once for all, and four independent sums hide the latency of each.
  const auto add_rows = [&](const std::byte* const* rows, Floats* sum) TANDEM_SIMD_LAMBDA {
    const std::byte* p[kRows];
    Scales scales[kRows];
    for (int k = 0; k < kRows; ++k) p[k] = rows[k];
    const auto prepare = [&](int units) TANDEM_SIMD_LAMBDA {
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) {
        Format::prepare(p[k], units, scales[k]);
        forget_registers(scales[k]);
      }
    };
    const auto add_unit = [&](int u, std::int64_t unit) TANDEM_SIMD_LAMBDA {
      const float* const x_unit = x + unit * kUnit;
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) {
        Floats q[kUnitVectors];
        Format::raw_unit(p[k] + u * Format::kBytes, q);
        Floats t = mul(q[0], load(x_unit));
#pragma GCC unroll 4
        for (int v = 1; v < kUnitVectors; ++v) t = fma(q[v], load(x_unit + v * kLanes), t);
        sum[k] = fma(t, broadcast(scales[k].pairs + 2 * u), sum[k]);
      }
    };
    const auto add_offsets = [&](std::int64_t unit) TANDEM_SIMD_LAMBDA {
      if constexpr (Format::kHasOffset) {
#pragma GCC unroll 4
        for (int k = 0; k < kRows; ++k) {
#pragma GCC unroll 2
          for (int v = 0; v < 16 / kLanes; ++v) {
            sum[k] = fma(load(scales[k].pairs + v * kLanes), load(sums + 2 * unit + v * kLanes), sum[k]);
          }
        }
      }
    };
    std::int64_t unit = 0;
    for (; unit + kChunkUnits <= num_units; unit += kChunkUnits) {
      prepare(kChunkUnits);
#pragma GCC unroll 1
      for (int u = 0; u < kChunkUnits; ++u) add_unit(u, unit + u);
      add_offsets(unit);
#pragma GCC unroll 4
      for (int k = 0; k < kRows; ++k) {
        for (int b = 0; b < kChunkUnits * Format::kBytes; b += 64) __builtin_prefetch(p[k] + kPrefetchBytes + b);
        p[k] += kChunkUnits * Format::kBytes;
      }
    }
    if (const int rest = static_cast<int>(num_units - unit); rest > 0) {
      prepare(rest);
#pragma GCC unroll 1
      for (int u = 0; u < rest; ++u) add_unit(u, unit + u);
      add_offsets(unit);
    }
  };
  for (std::int64_t r = task.row_begin; r < task.row_end; r += kRows) {
    const int valid = static_cast<int>(std::min<std::int64_t>(kRows, task.row_end - r));
    const std::byte* rows[kRows];  // the last is computed again where there are fewer, and not stored
    for (int k = 0; k < kRows; ++k) rows[k] = w.row(r + std::min(k, valid - 1));
    Floats totals[kRows] = {zero(), zero(), zero(), zero()};
    add_rows(rows, totals);
    float y[kRows];
    reduce4(totals, y);
    for (int k = 0; k < valid; ++k) task.y[r + k] = y[k] + (task.bias == nullptr ? 0.f : task.bias[r + k]);
  }
}

template <class Format>
void dot_tokens(const RowTask& task) {
  if constexpr (requires { &Format::raw_unit; }) {
    if (task.arranged != nullptr) return dot_one_token<Format>(task);
  }
  if (task.num_tokens == 1) return dot_format<Format, 1>(task);
  if (task.num_tokens == 2) return dot_format<Format, 2>(task);
  if (task.num_tokens <= 4) return dot_format<Format, 4>(task);
  if constexpr (kMaxTokens > 4) return dot_format<Format, kMaxTokens>(task);
}

template <class Format>
TANDEM_SIMD_FUNCTION void decode_format(float* out, const std::byte* p, DType dtype, std::int64_t count) {
  const std::int64_t whole = count / kUnit * kUnit;
  Scales scales;
  for (std::int64_t c = 0; c < whole;) {
    const int units = static_cast<int>(std::min<std::int64_t>(kChunkUnits, (whole - c) / kUnit));
    Format::prepare(p, units, scales);
#pragma GCC unroll 1
    for (int u = 0; u < units; ++u, c += kUnit) {
      Floats weight[kUnitVectors];
      Format::unit(p, u, scales, weight);
      for (int v = 0; v < kUnitVectors; ++v) store(out + c + v * kLanes, weight[v]);
    }
    p += units * Format::kBytes / Format::kMinUnits;
  }
  if (whole < count) dequantise_row(out + whole, p, dtype, count - whole);
}

// Calls body<Format>() for the format of `dtype`.
template <class Body>
void with_format(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kF32:
      return body.template operator()<PlainF32>();
    case DType::kF16:
      return body.template operator()<PlainF16>();
    case DType::kBF16:
      return body.template operator()<PlainBF16>();
    case DType::kQ4_0:
      return body.template operator()<Q4_0>();
    case DType::kQ4_1:
      return body.template operator()<Q4_1>();
    case DType::kQ5_0:
      return body.template operator()<Q5_0>();
    case DType::kQ5_1:
      return body.template operator()<Q5_1>();
    case DType::kQ8_0:
      return body.template operator()<Q8_0>();
    case DType::kQ4_K:
      return body.template operator()<Q4_K>();
    case DType::kQ5_K:
      return body.template operator()<Q5_K>();
    case DType::kQ6_K:
      return body.template operator()<Q6_K>();
    default:
      fail(ErrorKind::kInternal, "matmul: no weights of {}", to_string(dtype));
  }
}

void arrange(const float* x, std::int64_t cols, DType dtype, ArrangedX& out) {
  with_format(dtype, [&]<class Format>() {
    if constexpr (requires { &Format::raw_unit; }) arrange_floats<Format::kNibbles>(x, cols, out);
  });
}

void dot(const RowTask& task) {
  with_format(task.w->dtype, [&]<class Format>() { dot_tokens<Format>(task); });
}

void decode(float* out, const std::byte* row, DType dtype, std::int64_t count) {
  with_format(dtype, [&]<class Format>() { decode_format<Format>(out, row, dtype, count); });
}
