// The protocols on virtual GPUs.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "comm/protocol/exchange.h"
#include "comm/protocol/norm.h"
#include "comm/protocol/ring.h"
#include "comm/rig/virtual_rig.h"

namespace tandem {
namespace {

constexpr std::int64_t kMaxPacks = 40;

// What a lane works on.
struct Tensors {
  ConstView in;
  View out;
};

struct Algorithm {
  const char* name;
  DType dtype;
  void (*run)(VirtualRig::Env&, const Tensors&);
};

template <class Packets, DType kDType, int kWidth = kAnyWidth>
void one_shot(VirtualRig::Env& env, const Tensors& x) {
  const Area& area = Packets::kRefills ? env.layout().one_shot_sentinel : env.layout().one_shot_tagged;
  all_reduce_one_shot<Packets, kDType, kWidth>(env, area, x.in, x.out);
}
template <DType kDType>
void two_shot(VirtualRig::Env& env, const Tensors& x) {
  all_reduce_two_shot<SentinelPackets, kDType>(env, env.layout().two_shot_sentinel, x.in, x.out);
}
template <class Form, DType kDType>
void ring(VirtualRig::Env& env, const Tensors& x) {
  ring_all_reduce<Form, kDType>(env, x.in, x.out);
}

const Algorithm kAlgorithms[] = {
    {"one_shot_tagged_f32", DType::kF32, one_shot<TaggedPackets, DType::kF32>},
    {"one_shot_tagged_bf16", DType::kBF16, one_shot<TaggedPackets, DType::kBF16>},
    {"one_shot_tagged_f16", DType::kF16, one_shot<TaggedPackets, DType::kF16>},
    {"one_shot_tagged_i32", DType::kI32, one_shot<TaggedPackets, DType::kI32>},
    {"one_shot_sentinel_f32", DType::kF32, one_shot<SentinelPackets, DType::kF32>},
    {"one_shot_sentinel_bf16", DType::kBF16, one_shot<SentinelPackets, DType::kBF16>},
    {"one_shot_sentinel_bf16_in_pairs", DType::kBF16, one_shot<SentinelPackets, DType::kBF16, 2>},
    {"two_shot_sentinel_f16", DType::kF16, two_shot<DType::kF16>},
    {"two_shot_sentinel_f32", DType::kF32, two_shot<DType::kF32>},
    {"ring_tagged_bf16", DType::kBF16, ring<TaggedChunks, DType::kBF16>},
    {"ring_bulk_f32", DType::kF32, ring<BulkChunks, DType::kF32>},
    {"ring_bulk_i32", DType::kI32, ring<BulkChunks, DType::kI32>},
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

// Rings have room for chunks smaller than a tensor, so that it takes several.
RigOptions options_for(int world_size, int blocks, int threads) {
  RigOptions options;
  options.world_size = world_size;
  options.blocks = blocks;
  options.threads = threads;
  options.rooms = {.one_shot_tagged = kMaxPacks,
                   .one_shot_sentinel = kMaxPacks,
                   .two_shot_sentinel = kMaxPacks,
                   .ring_tagged = 3,
                   .ring_bulk = 2,
                   .ring_blocks = blocks};
  return options;
}

void fill_sentinels(VirtualRig& rig) {
  rig.fill(rig.layout().one_shot_sentinel, SentinelPackets::kSentinel);
  rig.fill(rig.layout().two_shot_sentinel, SentinelPackets::kSentinel);
}

struct Result {
  std::optional<RigFailure> failure;
  int wrong = 0;  // calls of any rank
};

Result run(const Algorithm& algorithm, VirtualRig& rig, int world_size, int calls, bool in_place) {
  const std::size_t room = kMaxPacks * kPackBytes;
  std::vector<std::vector<std::byte>> in(static_cast<std::size_t>(world_size), std::vector<std::byte>(room)), out = in;
  std::atomic<int> wrong{0};
  const auto count = [&](int call) { return count_of(call, algorithm.dtype, world_size); };
  const auto bytes = [&](int call) { return count(call) * element_bytes(algorithm.dtype); };
  const auto output = [&](int rank) {
    return in_place ? &in[static_cast<std::size_t>(rank)] : &out[static_cast<std::size_t>(rank)];
  };
  fill_sentinels(rig);
  rig.run(
      calls,
      [&](int rank, int call) {
        auto& from = in[static_cast<std::size_t>(rank)];
        std::fill(output(rank)->begin(), output(rank)->end(), std::byte{0x55});
        for (std::int64_t i = 0; i < count(call); ++i)
          set_element(from.data(), algorithm.dtype, i, value(rank, call, i));
      },
      [&](VirtualRig::Env& env, int call) {
        algorithm.run(env, {{in[static_cast<std::size_t>(env.rank())].data(), bytes(call)},
                            {output(env.rank())->data(), bytes(call)}});
      },
      [&](int rank, int call) {
        std::vector<std::byte> expected(room, std::byte{0x55});
        for (std::int64_t i = 0; i < count(call); ++i) {
          std::int64_t sum = 0;
          for (int r = 0; r < world_size; ++r) sum += value(r, call, i);
          set_element(expected.data(), algorithm.dtype, i, sum);
        }
        if (std::memcmp(expected.data(), output(rank)->data(), room) != 0) ++wrong;
      });
  return {rig.failure(), wrong.load()};
}

class AllReduceProtocol : public testing::TestWithParam<Algorithm> {};
INSTANTIATE_TEST_SUITE_P(All, AllReduceProtocol, testing::ValuesIn(kAlgorithms),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(AllReduceProtocol, IsExactAtEveryWorldSize) {
  for (const int world_size : {2, 3, 4, 5, 7, 8, 16}) {
    for (const int threads : {1, 2}) {
      if (world_size > 8 && threads > 1) continue;  // they would share few cores, and take turns rather than race
      VirtualRig rig(options_for(world_size, world_size <= 4 ? 2 : 1, threads));
      const Result result = run(GetParam(), rig, world_size, world_size <= 4 ? 24 : 12, world_size % 2 == 0);
      EXPECT_FALSE(result.failure) << world_size << " ranks x " << threads;
      EXPECT_EQ(result.wrong, 0) << world_size << " ranks x " << threads;
    }
  }
}

// Memory holds what the last pass of generations may have left there: packets that look like those of the next.
TEST_P(AllReduceProtocol, IsExactOverLinksThatReorderAndAcrossTheWrap) {
  for (const int world_size : {2, 3, 5}) {
    RigOptions options = options_for(world_size, 1, 2);
    options.link.max_delay = 8;
    // Each buffer, each slot is used and cleaned once before the wrap, and not wholly overwritten.
    const bool ring = std::string_view(GetParam().name).starts_with("ring");
    options.first_generation = kLastGeneration - (ring ? kRingSlots - 1 : TaggedPackets::kBuffers - 1);
    VirtualRig rig(options);
    rig.fill(rig.layout().one_shot_tagged, 1);
    rig.fill(rig.layout().ring_tagged, 1);
    const Result result = run(GetParam(), rig, world_size, 60, false);
    EXPECT_FALSE(result.failure) << world_size << " ranks";
    EXPECT_EQ(result.wrong, 0) << world_size << " ranks";
  }
}

TEST_P(AllReduceProtocol, NamesThePeerThatALostPackIsMissedFrom) {
  RigOptions options = options_for(3, 1, 1);
  options.timeout = std::chrono::milliseconds(500);
  VirtualRig rig(options);
  rig.set_link(1, 0, {.drop = 1});
  const Result result = run(GetParam(), rig, 3, 6, false);
  const bool bulk = std::string_view(GetParam().name).starts_with("ring_bulk");
  if (bulk) {  // the word of a bulk chunk comes whatever the chunk's fate
    EXPECT_GT(result.wrong, 0);
    return;
  }
  ASSERT_TRUE(result.failure);
  // Rank 0 misses it in the first call; the others, which have all they need there, miss rank 0 soon after.
  EXPECT_LE(result.failure->generation, 2u);
  EXPECT_EQ(result.failure->peer, result.failure->rank == 0 ? 1 : 0);
}

// Of all lanes that end up waiting for one silent rank, those that wait for it itself are to report. Lanes begin to
// wait within microseconds, and look at the clock each 20 ms at most.
TEST(Waiting, LaterPhasesComeToTheirLimitLater) {
  constexpr std::uint64_t kTimeout = 500'000'000;
  EXPECT_EQ((Waiting{.phase = 0, .peer = 1}.limit_ns(kTimeout)), kTimeout);
  for (int phase = 1; phase <= 2; ++phase) {
    const std::uint64_t earlier = Waiting{.phase = phase - 1, .peer = 1}.limit_ns(kTimeout);
    EXPECT_GE((Waiting{.phase = phase, .peer = 1}.limit_ns(kTimeout)), earlier + 30'000'000);
    EXPECT_LE((Waiting{.phase = phase, .peer = 1}.limit_ns(kTimeout)), kTimeout * 5 / 4);
  }
}

// Controls: protocols with one thing left out, which the tests above must be able to tell from whole ones.

struct OneBuffer : TaggedPackets {
  static constexpr int kBuffers = 1;
};
struct NeverRefilled : SentinelPackets {
  static constexpr bool kRefills = false;
};
struct NeverCleaned : TaggedPackets {
  static constexpr bool kCleans = false;
};
template <class Packets, DType kDType>
void tagged_one_shot(VirtualRig::Env& env, const Tensors& x) {
  all_reduce_one_shot<Packets, kDType, kAnyWidth>(env, env.layout().one_shot_tagged, x.in, x.out);
}
template <class Packets, DType kDType>
void sentinel_one_shot(VirtualRig::Env& env, const Tensors& x) {
  all_reduce_one_shot<Packets, kDType, kAnyWidth>(env, env.layout().one_shot_sentinel, x.in, x.out);
}

TEST(BrokenProtocol, OneBufferLosesPacks) {
  RigOptions options = options_for(2, 1, 1);
  options.link.max_delay = 8;
  options.timeout = std::chrono::seconds(1);
  VirtualRig rig(options);
  const Result result = run({"one_buffer", DType::kI32, tagged_one_shot<OneBuffer, DType::kI32>}, rig, 2, 2000, false);
  EXPECT_TRUE(result.failure || result.wrong > 0);
}

TEST(BrokenProtocol, ABufferNeverRefilledShowsOldPacks) {
  VirtualRig rig(options_for(2, 1, 1));
  const Algorithm algorithm{"never_refilled", DType::kF32, sentinel_one_shot<NeverRefilled, DType::kF32>};
  EXPECT_GT(run(algorithm, rig, 2, 60, false).wrong, 0);
}

TEST(BrokenProtocol, ABufferNeverCleanedShowsThePassBefore) {
  int wrong = 0;
  for (std::uint64_t seed = 1; wrong == 0 && seed <= 20; ++seed) {  // one call of each run can show it
    RigOptions options = options_for(2, 1, 1);
    options.first_generation = kLastGeneration - 1;
    options.link.max_delay = 8;
    options.timeout = std::chrono::seconds(1);
    options.seed = seed;
    VirtualRig rig(options);
    rig.fill(rig.layout().one_shot_tagged, 1);
    const Algorithm algorithm{"never_cleaned", DType::kI32, tagged_one_shot<NeverCleaned, DType::kI32>};
    wrong += run(algorithm, rig, 2, 6, false).wrong;
  }
  EXPECT_GT(wrong, 0);
}

TEST(BrokenProtocol, AFenceLeftOutLosesBulk) {
  RigOptions options = options_for(2, 1, 2);
  options.link.max_delay = 8;
  options.link.overtaken = 0.1;
  VirtualRig rig(options);
  EXPECT_GT(run({"no_fence", DType::kI32, ring<BulkChunks, DType::kI32>}, rig, 2, 60, false).wrong, 0);
}

// What a broken link does to a protocol that takes it for a whole one.

TEST(BrokenLink, ZerosAreTakenForData) {
  VirtualRig rig(options_for(2, 1, 1));
  rig.set_link(0, 1, {.zero = 0.5});
  EXPECT_GT(run({"zeros", DType::kF32, one_shot<SentinelPackets, DType::kF32>}, rig, 2, 20, false).wrong, 0);
}

TEST(BrokenLink, MirroredStoresAreMissed) {
  RigOptions options = options_for(2, 1, 1);
  options.timeout = std::chrono::seconds(1);
  VirtualRig rig(options);
  rig.set_link(0, 1, {.mirror = 0.5});
  const Result result = run({"mirrors", DType::kF32, one_shot<TaggedPackets, DType::kF32>}, rig, 2, 20, false);
  ASSERT_TRUE(result.failure);
  EXPECT_EQ(result.failure->peer, 1 - result.failure->rank);
}

// The moving operations and reduce-scatter: shares of any size, none included, at any address.

struct Shared {
  std::vector<std::int64_t> begin;  // bytes, one more than ranks
  std::int64_t bytes(int r) const {
    return begin[static_cast<std::size_t>(r) + 1] - begin[static_cast<std::size_t>(r)];
  }
};

Shared uneven_shares(int world_size, int call) {
  Shared shares;
  shares.begin.push_back(0);
  for (int r = 0; r < world_size; ++r) {
    const std::int64_t bytes[] = {0, 4, 60, 100, 260};
    shares.begin.push_back(shares.begin.back() + bytes[(r * 3 + call) % 5]);
  }
  return shares;
}

enum class Carrier { kOneShot, kRingTagged, kRingBulk };

std::string carrier_name(const testing::TestParamInfo<Carrier>& test) {
  static constexpr const char* kNames[] = {"one_shot", "ring_tagged", "ring_bulk"};
  return kNames[static_cast<int>(test.param)];
}

class SharesProtocol : public testing::TestWithParam<Carrier> {};
INSTANTIATE_TEST_SUITE_P(All, SharesProtocol,
                         testing::Values(Carrier::kOneShot, Carrier::kRingTagged, Carrier::kRingBulk), carrier_name);

template <class... Arguments>
void exchange_over(Carrier carrier, VirtualRig::Env& env, const Arguments&... arguments) {
  if (carrier == Carrier::kOneShot) {
    exchange_one_shot<kAnyWidth>(env, env.layout().one_shot_tagged, arguments...);
  } else if (carrier == Carrier::kRingTagged) {
    ring_exchange<TaggedChunks>(env, arguments...);
  } else {
    ring_exchange<BulkChunks>(env, arguments...);
  }
}

template <class ShareOf>
void reduce_scatter_over(Carrier carrier, VirtualRig::Env& env, const ShareOf& share_of, View out) {
  if (carrier == Carrier::kOneShot) {
    reduce_scatter_one_shot<DType::kF32, kAnyWidth>(env, env.layout().one_shot_tagged, share_of, out);
  } else if (carrier == Carrier::kRingTagged) {
    ring_reduce_scatter<TaggedChunks, DType::kF32>(env, share_of, out);
  } else {
    ring_reduce_scatter<BulkChunks, DType::kF32>(env, share_of, out);
  }
}

// Memory holds what the last pass of generations may have left there.
void run_moves(Carrier carrier, int world_size, int calls, RigOptions options) {
  VirtualRig rig(options);
  if (options.first_generation != 1) {
    rig.fill(rig.layout().ring_tagged, 1);
    rig.fill(rig.layout().one_shot_tagged, 1);
  }
  const std::size_t room = 5 * 260;
  std::vector<std::vector<std::byte>> out(static_cast<std::size_t>(world_size), std::vector<std::byte>(room));
  std::atomic<int> wrong{0};
  const auto content = [](int rank, int call, std::int64_t i) {
    return static_cast<std::byte>(rank * 50 + call * 7 + i);
  };
  const auto root = [&](int call) { return call % world_size; };
  std::vector<std::vector<std::byte>> in = out;
  rig.run(
      calls,
      [&](int rank, int call) {
        std::fill(out[static_cast<std::size_t>(rank)].begin(), out[static_cast<std::size_t>(rank)].end(),
                  std::byte{0x55});
        for (std::int64_t i = 0; i < uneven_shares(world_size, call).bytes(rank); ++i) {
          in[static_cast<std::size_t>(rank)][static_cast<std::size_t>(i)] = content(rank, call, i);
        }
      },
      [&](VirtualRig::Env& env, int call) {  // every third call a gather, an all-gather, a broadcast
        const Shared shares = uneven_shares(world_size, call);
        const int me = env.rank();
        std::byte* to = out[static_cast<std::size_t>(me)].data();
        const auto gathers = [&](int rank) { return call % 3 == 1 || (call % 3 == 0 && rank == root(call)); };
        const auto view = [&](int r) {
          const bool comes = gathers(me) || (call % 3 == 2 && r == root(call));
          return View{to + shares.begin[static_cast<std::size_t>(r)], comes ? shares.bytes(r) : 0};
        };
        const bool sends = call % 3 != 2 || me == root(call);
        exchange_over(
            carrier, env, ConstView{in[static_cast<std::size_t>(me)].data(), sends ? shares.bytes(me) : 0},
            [&](int r) { return call % 3 == 2 ? me == root(call) : gathers(r); }, view);
      },
      [&](int rank, int call) {
        const Shared shares = uneven_shares(world_size, call);
        std::vector<std::byte> expected(room, std::byte{0x55});
        for (int r = 0; r < world_size; ++r) {
          const bool comes =
              call % 3 == 1 || (call % 3 == 0 && rank == root(call)) || (call % 3 == 2 && r == root(call));
          for (std::int64_t i = 0; comes && i < shares.bytes(r); ++i) {
            expected[static_cast<std::size_t>(shares.begin[static_cast<std::size_t>(r)] + i)] = content(r, call, i);
          }
        }
        if (out[static_cast<std::size_t>(rank)] != expected) ++wrong;
      });
  EXPECT_FALSE(rig.failure()) << world_size << " ranks";
  EXPECT_EQ(wrong.load(), 0) << world_size << " ranks";
}

// At three ranks over links that reorder, and across the wrap: each buffer, each slot of a ring is used, and so
// cleaned, before it.
TEST_P(SharesProtocol, MovesSharesOfAnySize) {
  for (const int world_size : {2, 3, 4, 5, 7}) {
    RigOptions options = options_for(world_size, 2, 2);
    options.link.max_delay = world_size == 3 ? 20 : 0;
    options.first_generation = world_size == 3 ? kLastGeneration - 9 : 1;
    run_moves(GetParam(), world_size, 45, options);
  }
}

TEST_P(SharesProtocol, ReduceScattersSharesOfAnySize) {
  for (const int world_size : {2, 3, 5}) {
    RigOptions options = options_for(world_size, 2, 2);
    options.link.max_delay = world_size == 3 ? 20 : 0;
    VirtualRig rig(options);
    std::vector<std::vector<float>> in(static_cast<std::size_t>(world_size), std::vector<float>(325)), out = in;
    std::atomic<int> wrong{0};
    rig.run(
        30,
        [&](int rank, int call) {
          for (std::size_t i = 0; i < 325; ++i) {
            in[static_cast<std::size_t>(rank)][i] = static_cast<float>(value(rank, call, static_cast<std::int64_t>(i)));
          }
        },
        [&](VirtualRig::Env& env, int call) {
          const Shared shares = uneven_shares(world_size, call);
          const auto* from = reinterpret_cast<const std::byte*>(in[static_cast<std::size_t>(env.rank())].data());
          const auto share_of = [&](int r) {
            return ConstView{from + shares.begin[static_cast<std::size_t>(r)], shares.bytes(r)};
          };
          const View to{reinterpret_cast<std::byte*>(out[static_cast<std::size_t>(env.rank())].data()),
                        shares.bytes(env.rank())};
          reduce_scatter_over(GetParam(), env, share_of, to);
        },
        [&](int rank, int call) {
          const Shared shares = uneven_shares(world_size, call);
          for (std::int64_t i = 0; i < shares.bytes(rank) / 4; ++i) {
            std::int64_t sum = 0;
            const std::int64_t place = shares.begin[static_cast<std::size_t>(rank)] / 4 + i;
            for (int r = 0; r < world_size; ++r) sum += value(r, call, place);
            if (out[static_cast<std::size_t>(rank)][static_cast<std::size_t>(i)] != static_cast<float>(sum)) ++wrong;
          }
        });
    EXPECT_FALSE(rig.failure()) << world_size << " ranks";
    EXPECT_EQ(wrong.load(), 0) << world_size << " ranks";
  }
}

// Rows with norm between plain all-reduces in the same area: against the protocol's own two steps, to the bit where one
// thread sums the squares.
TEST(AllReduceAddNorm, HasTheBitsOfItsTwoSteps) {
  constexpr std::int64_t kRows = 3, kColumns = 13;  // rows of three packs and a part
  constexpr std::size_t kCount = kRows * kColumns;
  for (const int world_size : {2, 3, 5}) {
    RigOptions options = options_for(world_size, 2, 1);
    options.link.max_delay = 20;
    VirtualRig rig(options);
    fill_sentinels(rig);
    const auto ranks = static_cast<std::size_t>(world_size);
    std::vector<std::vector<float>> in(ranks, std::vector<float>(kCount)), out = in, residual = in;
    const std::vector<float> weight(kColumns, 0.75f);
    std::atomic<int> wrong{0};
    const auto bytes_of = [](std::vector<float>& values) { return reinterpret_cast<std::byte*>(values.data()); };
    const auto start = [](std::size_t i) { return static_cast<float>(i % 5) - 2.0f; };
    const auto tensors = [&](std::vector<float>& x, std::vector<float>& kept, std::vector<float>& result) {
      return AddRmsNorm{.x = bytes_of(x),
                        .residual = bytes_of(kept),
                        .weight = reinterpret_cast<const std::byte*>(weight.data()),
                        .out = bytes_of(result),
                        .rows = kRows,
                        .columns = kColumns,
                        .row_bytes = kColumns * 4,
                        .epsilon = 1e-3f};
    };
    rig.run(
        30,
        [&](int rank, int call) {
          const auto r = static_cast<std::size_t>(rank);
          for (std::size_t i = 0; i < kCount; ++i) {
            in[r][i] = static_cast<float>(value(rank, call, static_cast<std::int64_t>(i)));
            residual[r][i] = start(i);
          }
        },
        [&](VirtualRig::Env& env, int call) {
          const auto r = static_cast<std::size_t>(env.rank());
          if (call % 3 == 0) {
            one_shot<SentinelPackets, DType::kF32>(env,
                                                   {{bytes_of(in[r]), kCount * 4}, {bytes_of(out[r]), kCount * 4}});
          } else {
            all_reduce_add_norm<SentinelPackets, DType::kF32, kAnyWidth>(env, env.layout().one_shot_sentinel,
                                                                         tensors(in[r], residual[r], out[r]));
          }
        },
        [&](int rank, int call) {
          std::vector<float> sum(kCount), kept(kCount), expected(kCount);
          for (std::size_t i = 0; i < kCount; ++i) {
            for (int r = 0; r < world_size; ++r) {
              sum[i] += static_cast<float>(value(r, call, static_cast<std::int64_t>(i)));
            }
            kept[i] = start(i);
          }
          const auto r = static_cast<std::size_t>(rank);
          if (call % 3 == 0) {
            if (out[r] != sum) ++wrong;
            return;
          }
          SerialTeam team;
          const AddRmsNorm steps = tensors(sum, kept, expected);
          for (std::int64_t row = 0; row < kRows; ++row) {
            add_norm_row<DType::kF32>(team, steps, row, RowStart(team, steps, row), [&](std::int64_t i, Pack& pack) {
              pack = steps.in(row).load(i);
              return true;
            });
          }
          std::vector<float> exact(kCount);  // small integers; the steps above share code with what they judge
          for (std::size_t i = 0; i < kCount; ++i) {
            exact[i] = start(i);
            for (int q = 0; q < world_size; ++q) {
              exact[i] += static_cast<float>(value(q, call, static_cast<std::int64_t>(i)));
            }
          }
          if (out[r] != expected || residual[r] != kept || kept != exact) ++wrong;
        });
    EXPECT_FALSE(rig.failure()) << world_size << " ranks";
    EXPECT_EQ(wrong.load(), 0) << world_size << " ranks";
  }
}

// Random numbers of all sizes, and ties to either side, against the conversions of base/half.h.
TEST(PackElements, RoundToNearestEven) {
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const auto random = philox({i, 0, 0, 0}, {1, 2});
    float x[8];
    for (std::uint32_t e = 0; e < 8; ++e) {
      std::uint32_t bits = random[e % 4] * (e + 1);
      if (e == 6) bits = (bits & 0x7fff0000u) | 0x8000u;                  // between two bf16
      if (e == 7) bits = (0x38800000u + (bits & 0x0effe000u)) | 0x1000u;  // between two f16
      x[e] = (bits & 0x7f800000u) == 0x7f800000u ? bits_to_float(0x7f800000u) : bits_to_float(bits);  // inf, no NaN
    }
    const Pack brain = PackElements<DType::kBF16>::round(x), half = PackElements<DType::kF16>::round(x);
    for (std::uint32_t e = 0; e < 8; ++e) {
      EXPECT_EQ(brain.words[e / 2] >> (e % 2 * 16) & 0xffff, to_bf16(x[e]).bits) << x[e];
      EXPECT_EQ(half.words[e / 2] >> (e % 2 * 16) & 0xffff, to_f16(x[e]).bits) << x[e];
    }
  }
  float nan[8] = {};
  nan[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(PackElements<DType::kBF16>::round(nan).words[1], 0x7fff0000u);
}

TEST(SentinelPackets, LetSpecialValuesThroughAndRanksAgree) {
  const std::uint32_t specials[] = {0x80000000u, 0x00000000u, 0x7fc00001u, 0xff800000u,
                                    0x7f800000u, 0x80000001u, 0x80008000u, 0x3f800000u};
  VirtualRig rig(options_for(3, 1, 1));
  fill_sentinels(rig);
  alignas(16) std::uint32_t in[3][8], out[3][8];
  rig.run(
      1,
      [&](int rank, int) {
        for (int i = 0; i < 8; ++i) in[rank][i] = rank == 1 ? specials[i] : 0x80000000u;
      },
      [&](VirtualRig::Env& env, int) {
        one_shot<SentinelPackets, DType::kF32>(env, {{reinterpret_cast<const std::byte*>(in[env.rank()]), 32},
                                                     {reinterpret_cast<std::byte*>(out[env.rank()]), 32}});
      },
      [](int, int) {});
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(out[0][i], out[1][i]);
    EXPECT_EQ(out[0][i], out[2][i]);
  }
  EXPECT_TRUE(std::isnan(bits_to_float(out[0][2])));
  EXPECT_EQ(bits_to_float(out[0][3]), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(bits_to_float(out[0][4]), std::numeric_limits<float>::infinity());
  EXPECT_EQ(out[0][5], 0x80000001u);  // a subnormal is no zero
  EXPECT_EQ(out[0][7], 0x3f800000u);
}

}  // namespace
}  // namespace tandem
