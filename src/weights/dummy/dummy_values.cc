#include "weights/dummy/dummy_values.h"

#include <algorithm>
#include <array>

#include "base/half.h"
#include "base/random.h"
#include "device/tensor.h"

namespace tandem {
namespace {

constexpr int kLanes = 8;

template <class T>
void draw_group(const DummyStream& stream, std::uint64_t group, float step, T* out) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  const auto words = philox({low(group), high(group), low(stream.name_hash), high(stream.name_hash)},
                            {low(stream.seed), high(stream.seed)});
  for (int i = 0; i < kLanes; ++i) {
    const auto lane = static_cast<std::int32_t>((words[static_cast<std::size_t>(i / 2)] >> (16 * (i % 2))) & 0xffff);
    out[i] = from_float<T>(stream.spread.mean + step * static_cast<float>(2 * lane - 65535));
  }
}

}  // namespace

std::uint64_t dummy_name_hash(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

void fill_dummy(const DummyStream& stream, DType dtype, void* out, std::int64_t begin, std::int64_t end) {
  const float step = stream.spread.scale * 0x1p-16f;
  dispatch_float(dtype, [&]<class T>() {
    T* to = static_cast<T*>(out);
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t first = i / kLanes * kLanes;
      if (first == i && end - i >= kLanes) {
        draw_group(stream, static_cast<std::uint64_t>(i / kLanes), step, to + (i - begin));
        i += kLanes;
        continue;
      }
      std::array<T, kLanes> group;
      draw_group(stream, static_cast<std::uint64_t>(i / kLanes), step, group.data());
      const std::int64_t stop = std::min(end, first + kLanes);
      std::copy(group.begin() + (i - first), group.begin() + (stop - first), to + (i - begin));
      i = stop;
    }
  });
}

}  // namespace tandem
