#include "weights/dummy/dummy_values.h"

#include <algorithm>
#include <array>

#include "base/half.h"
#include "device/tensor.h"

namespace tandem {
namespace {

constexpr int kLanes = 8;    // 16-bit lanes of one philox counter
constexpr int kGroups = 16;  // counters drawn together: enough for SIMD, and all still in registers and first cache
constexpr int kBatch = kLanes * kGroups;

/// Values of kGroups counters from `group` on. The same rounds as base/random.h's philox(), with the loop over counters
/// inside so that the compiler vectorises it: 215 million bf16 values/s a core against 160 million one counter at a
/// time.
template <class T>
void draw_batch(const DummyStream& stream, std::uint64_t group, T* out) {
  std::array<std::uint32_t, kGroups> c0, c1, c2, c3;
  for (std::size_t i = 0; i < kGroups; ++i) {
    c0[i] = static_cast<std::uint32_t>(group + i);
    c1[i] = static_cast<std::uint32_t>((group + i) >> 32);
    c2[i] = static_cast<std::uint32_t>(stream.name_hash);
    c3[i] = static_cast<std::uint32_t>(stream.name_hash >> 32);
  }
  std::uint32_t key0 = static_cast<std::uint32_t>(stream.seed);
  std::uint32_t key1 = static_cast<std::uint32_t>(stream.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < kGroups; ++i) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0[i];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2[i];
      c0[i] = static_cast<std::uint32_t>(p1 >> 32) ^ c1[i] ^ key0;
      c1[i] = static_cast<std::uint32_t>(p1);
      c2[i] = static_cast<std::uint32_t>(p0 >> 32) ^ c3[i] ^ key1;
      c3[i] = static_cast<std::uint32_t>(p0);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  std::array<std::uint32_t, kBatch / 2> words;
  for (std::size_t i = 0; i < kGroups; ++i) {
    words[4 * i] = c0[i];
    words[4 * i + 1] = c1[i];
    words[4 * i + 2] = c2[i];
    words[4 * i + 3] = c3[i];
  }
  const float mean = stream.spread.mean;
  const float step = stream.spread.scale * 0x1p-16f;
  const auto value = [&](std::uint32_t lane) {
    return from_float<T>(mean + step * static_cast<float>(2 * static_cast<std::int32_t>(lane) - 65535));
  };
  for (std::size_t i = 0; i < kBatch / 2; ++i) {
    out[2 * i] = value(words[i] & 0xffff);
    out[2 * i + 1] = value(words[i] >> 16);
  }
}

}  // namespace

std::uint64_t dummy_name_hash(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

void fill_dummy(const DummyStream& stream, DType dtype, void* out, std::int64_t begin, std::int64_t end) {
  dispatch_float(dtype, [&]<class T>() {
    T* to = static_cast<T*>(out);
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t group = i / kLanes;
      const std::int64_t first = group * kLanes;
      const std::int64_t stop = std::min(end, first + kBatch);
      if (i == first && stop == first + kBatch) {
        draw_batch(stream, static_cast<std::uint64_t>(group), to + (i - begin));
      } else {
        std::array<T, kBatch> batch;
        draw_batch(stream, static_cast<std::uint64_t>(group), batch.data());
        std::copy(batch.begin() + (i - first), batch.begin() + (stop - first), to + (i - begin));
      }
      i = stop;
    }
  });
}

}  // namespace tandem
