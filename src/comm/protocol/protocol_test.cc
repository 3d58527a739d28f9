#include "comm/rig/virtual_rig.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"

namespace tandem {
namespace {

constexpr std::int64_t kMaxPacks = 40;

struct Algorithm {
  const char* name;
  DType dtype;
  int slots_per_rank;  // num_slots / world_size
  std::uint32_t fill;
  void (*run)(VirtualRig::Env&);
};

template <class Packets, DType kDType>
constexpr Algorithm one_shot(const char* name, std::uint32_t fill) {
  return {name, kDType, Packets::kBuffers, fill, all_reduce_one_shot<Packets, kDType, VirtualRig::Env>};
}
template <class Packets, DType kDType>
constexpr Algorithm two_shot(const char* name, std::uint32_t fill) {
  return {name, kDType, 2 * Packets::kBuffers, fill, all_reduce_two_shot<Packets, kDType, VirtualRig::Env>};
}

template <DType kDType>
constexpr std::uint32_t kSentinel = SentinelPackets<kDType>::kSentinel;

const Algorithm kAlgorithms[] = {
    one_shot<LlPackets, DType::kF32>("one_shot_ll_f32", 0),
    one_shot<LlPackets, DType::kBF16>("one_shot_ll_bf16", 0),
    one_shot<LlPackets, DType::kF16>("one_shot_ll_f16", 0),
    one_shot<LlPackets, DType::kI32>("one_shot_ll_i32", 0),
    two_shot<LlPackets, DType::kI32>("two_shot_ll_i32", 0),
    two_shot<LlPackets, DType::kBF16>("two_shot_ll_bf16", 0),
    one_shot<SentinelPackets<DType::kF32>, DType::kF32>("one_shot_s16_f32", kSentinel<DType::kF32>),
    one_shot<SentinelPackets<DType::kBF16>, DType::kBF16>("one_shot_s16_bf16", kSentinel<DType::kBF16>),
    two_shot<SentinelPackets<DType::kF16>, DType::kF16>("two_shot_s16_f16", kSentinel<DType::kF16>),
    two_shot<SentinelPackets<DType::kF32>, DType::kF32>("two_shot_s16_f32", kSentinel<DType::kF32>),
};

std::int64_t element_bytes(DType dtype) {
  return static_cast<std::int64_t>(dtype_bytes(dtype, 1));
}

// Small integers, of which any sum is exact in every dtype; different at every call, rank and place, so that a stale or
// misplaced pack shows.
std::int64_t value(int rank, int call, std::int64_t i) {
  const auto words = philox({static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(call), 0, 0},
                            {static_cast<std::uint32_t>(rank), 7});
  return static_cast<std::int64_t>(words[0] % 15) - 7;
}

void set_element(std::byte* to, DType dtype, std::int64_t i, std::int64_t x) {
  const auto real = static_cast<float>(x);
  const auto integer = static_cast<std::int32_t>(x);
  const F16 half = to_f16(real);
  const BF16 brain = to_bf16(real);
  const void* from = dtype == DType::kF32   ? static_cast<const void*>(&real)
                     : dtype == DType::kI32 ? static_cast<const void*>(&integer)
                     : dtype == DType::kF16 ? static_cast<const void*>(&half)
                                            : static_cast<const void*>(&brain);
  std::memcpy(to + i * element_bytes(dtype), from, static_cast<std::size_t>(element_bytes(dtype)));
}

// Numbers of elements: one, around a pack, around a share a rank, many.
std::int64_t count_of(int call, DType dtype, int world_size) {
  const std::int64_t a_pack = kPackBytes / element_bytes(dtype);
  const std::int64_t counts[] = {
      1, a_pack, a_pack + 1, world_size * a_pack - 1, world_size * a_pack + 3, kMaxPacks * a_pack};
  return std::min(counts[call % 6], kMaxPacks * a_pack);
}

RigOptions options_for(const Algorithm& algorithm, int world_size, int lanes) {
  RigOptions options;
  options.world_size = world_size;
  options.lanes = lanes;
  options.num_slots = algorithm.slots_per_rank * world_size;
  options.slot_packets = 2 * kMaxPacks;
  return options;
}

struct Result {
  std::optional<RigFailure> failure;
  int wrong = 0;  // calls of any rank
};

Result run(const Algorithm& algorithm, VirtualRig& rig, int world_size, int calls, bool in_place) {
  const std::size_t room = kMaxPacks * kPackBytes;
  std::vector<std::vector<std::byte>> in(static_cast<std::size_t>(world_size), std::vector<std::byte>(room)), out = in;
  std::atomic<int> wrong{0};
  rig.fill(algorithm.fill);
  rig.run(
      calls,
      [&](int rank, int call) {
        auto& from = in[static_cast<std::size_t>(rank)];
        auto& to = in_place ? from : out[static_cast<std::size_t>(rank)];
        const std::int64_t count = count_of(call, algorithm.dtype, world_size);
        std::fill(to.begin(), to.end(), std::byte{0x55});
        for (std::int64_t i = 0; i < count; ++i) set_element(from.data(), algorithm.dtype, i, value(rank, call, i));
        return VirtualRig::Call{from.data(), to.data(), count * element_bytes(algorithm.dtype)};
      },
      algorithm.run,
      [&](int rank, int call) {
        const auto& to = in_place ? in[static_cast<std::size_t>(rank)] : out[static_cast<std::size_t>(rank)];
        const std::int64_t count = count_of(call, algorithm.dtype, world_size);
        std::vector<std::byte> expected(room, std::byte{0x55});
        for (std::int64_t i = 0; i < count; ++i) {
          std::int64_t sum = 0;
          for (int r = 0; r < world_size; ++r) sum += value(r, call, i);
          set_element(expected.data(), algorithm.dtype, i, sum);
        }
        if (std::memcmp(expected.data(), to.data(), room) != 0) ++wrong;
      });
  return {rig.failure(), wrong.load()};
}

class AllReduceProtocol : public testing::TestWithParam<Algorithm> {};
INSTANTIATE_TEST_SUITE_P(All, AllReduceProtocol, testing::ValuesIn(kAlgorithms),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(AllReduceProtocol, IsExactAtEveryWorldSize) {
  for (const int world_size : {2, 3, 4, 5, 7, 8, 16}) {
    for (const int lanes : {1, 2}) {
      VirtualRig rig(options_for(GetParam(), world_size, lanes));
      const Result result = run(GetParam(), rig, world_size, 24, lanes == 2);
      EXPECT_FALSE(result.failure) << world_size << " ranks x " << lanes;
      EXPECT_EQ(result.wrong, 0) << world_size << " ranks x " << lanes;
    }
  }
}

TEST_P(AllReduceProtocol, IsExactOverLinksThatReorder) {
  for (const int world_size : {2, 3, 5}) {
    RigOptions options = options_for(GetParam(), world_size, 2);
    options.link.max_delay = 30;
    options.first_generation = kLastGeneration - 5;
    VirtualRig rig(options);
    const Result result = run(GetParam(), rig, world_size, 60, false);
    EXPECT_FALSE(result.failure) << world_size << " ranks";
    EXPECT_EQ(result.wrong, 0) << world_size << " ranks";
  }
}

TEST_P(AllReduceProtocol, NamesThePeerThatALostPackIsMissedFrom) {
  RigOptions options = options_for(GetParam(), 3, 1);
  options.timeout = std::chrono::milliseconds(300);
  VirtualRig rig(options);
  rig.set_link(1, 0, {.drop = 1});
  const Result result = run(GetParam(), rig, 3, 6, false);
  ASSERT_TRUE(result.failure);
  // Rank 0 misses it in the first call; the others, which have all they need there, miss rank 0 in the second.
  if (result.failure->rank == 0 || result.failure->phase > 0) {
    EXPECT_EQ(result.failure->generation, 1u);
  } else {
    EXPECT_EQ(result.failure->generation, 2u);
  }
  EXPECT_EQ(result.failure->peer, result.failure->rank == 0 ? 1 : 0);
}

// Controls: protocols with one thing left out, which the tests above must be able to tell from whole ones.

struct OneBuffer : LlPackets {
  static constexpr int kBuffers = 1;
};
struct NeverRefilled : SentinelPackets<DType::kF32> {
  static constexpr bool kRefills = false;
};

TEST(BrokenProtocol, OneBufferLosesPacks) {
  const Algorithm algorithm = one_shot<OneBuffer, DType::kI32>("one_buffer", 0);
  RigOptions options = options_for(algorithm, 2, 1);
  options.link.max_delay = 30;
  options.timeout = std::chrono::milliseconds(300);
  VirtualRig rig(options);
  const Result result = run(algorithm, rig, 2, 2000, false);
  EXPECT_TRUE(result.failure || result.wrong > 0);
}

TEST(BrokenProtocol, ABufferNeverRefilledShowsOldPacks) {
  const Algorithm algorithm = one_shot<NeverRefilled, DType::kF32>("never_refilled", kSentinel<DType::kF32>);
  VirtualRig rig(options_for(algorithm, 2, 1));
  EXPECT_GT(run(algorithm, rig, 2, 60, false).wrong, 0);
}

// What a broken link does to a protocol that takes it for a whole one.

TEST(BrokenLink, ZerosAreTakenForData) {
  const Algorithm& algorithm = kAlgorithms[6];
  VirtualRig rig(options_for(algorithm, 2, 1));
  rig.set_link(0, 1, {.zero = 0.5});
  EXPECT_GT(run(algorithm, rig, 2, 20, false).wrong, 0);
}

TEST(BrokenLink, MirroredStoresAreMissed) {
  const Algorithm& algorithm = kAlgorithms[0];
  RigOptions options = options_for(algorithm, 2, 1);
  options.timeout = std::chrono::milliseconds(200);
  VirtualRig rig(options);
  rig.set_link(0, 1, {.mirror = 0.5});
  EXPECT_TRUE(run(algorithm, rig, 2, 20, false).failure);
}

TEST(SentinelPackets, LetSpecialValuesThroughAndRanksAgree) {
  const std::uint32_t specials[] = {0x80000000u, 0x00000000u, 0x7fc00001u, 0xff800000u,
                                    0x7f800000u, 0x80000001u, 0x80008000u, 0x3f800000u};
  RigOptions options;
  options.world_size = 3;
  options.num_slots = 3 * 3;
  options.slot_packets = 2;
  VirtualRig rig(options);
  rig.fill(kSentinel<DType::kF32>);
  std::vector<std::vector<std::uint32_t>> in(3, std::vector<std::uint32_t>(8)), out = in;
  rig.run(
      1,
      [&](int rank, int) {
        auto& from = in[static_cast<std::size_t>(rank)];
        if (rank == 1) std::copy(std::begin(specials), std::end(specials), from.begin());
        if (rank != 1) from.assign(8, 0x80000000u);
        return VirtualRig::Call{reinterpret_cast<const std::byte*>(from.data()),
                                reinterpret_cast<std::byte*>(out[static_cast<std::size_t>(rank)].data()), 32};
      },
      all_reduce_one_shot<SentinelPackets<DType::kF32>, DType::kF32, VirtualRig::Env>, [](int, int) {});
  EXPECT_EQ(out[0], out[1]);
  EXPECT_EQ(out[0], out[2]);
  EXPECT_TRUE(std::isnan(bits_to_float(out[0][2])));
  EXPECT_EQ(bits_to_float(out[0][3]), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(bits_to_float(out[0][4]), std::numeric_limits<float>::infinity());
  EXPECT_EQ(out[0][5], 0x80000001u);  // a subnormal is no zero
  EXPECT_EQ(out[0][7], 0x3f800000u);
}

}  // namespace
}  // namespace tandem
