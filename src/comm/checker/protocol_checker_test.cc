// The protocols of comm/protocol, checked in every order that the memory model allows, and protocols with one thing
// left out, which the checker must find wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <iostream>
#include <string_view>

#include "comm/checker/checker.h"
#include "comm/protocol/exchange.h"
#include "comm/protocol/ring.h"

namespace tandem {
namespace {

constexpr int kMaxPacks = 9;  // of any tensor
using Packs = std::array<Pack, kMaxPacks>;

constexpr Pack kUntouched{{0x55555555, 0x55555555, 0x55555555, 0x55555555}};

// Different at every call, rank and place, and so are sums of them, whichever calls they mix: 20 bits of a hash, exact
// in f32.
std::uint32_t value(int rank, int call, int pack, int word) {
  std::uint32_t x = static_cast<std::uint32_t>(((rank * 16 + call) * 16 + pack) * 4 + word + 1) * 0x9e3779b9u;
  x = (x ^ x >> 15) * 0x85ebca6bu;
  return 1 + (x >> 12);
}

template <DType kDType>
Pack contribution(int rank, int call, int pack) {
  Pack result{};
  for (int w = 0; w < 4; ++w) {
    const std::uint32_t x = value(rank, call, pack, w);
    result.words[w] = kDType == DType::kF32 ? float_to_bits(static_cast<float>(x)) : x;
  }
  return result;
}

template <DType kDType>
Pack expected_sum(int world_size, int call, int pack) {
  PackSum<kDType> sum;
  for (int r = 0; r < world_size; ++r) sum.add(contribution<kDType>(r, call, pack));
  return sum.result();
}

ConstView first_packs(const Packs& packs, std::int64_t count) {
  return {reinterpret_cast<const std::byte*>(packs.data()), count * kPackBytes};
}
View first_packs(Packs& packs, std::int64_t count) {
  return {reinterpret_cast<std::byte*>(packs.data()), count * kPackBytes};
}

// Packs that the lane has stored, all of which must be as expected(i).
template <class Expected>
LaneResult compare(const CheckedEnv& env, const Packs& out, const Expected& expected) {
  LaneResult result;
  for (int i = 0; !env.left() && i < kMaxPacks; ++i) {
    const Pack& pack = out[static_cast<std::size_t>(i)];
    if (pack == kUntouched) continue;
    if (pack != expected(i)) return {.right = false};
    ++result.kept;
  }
  return result;
}

// Runs an all-reduce of `packs` packs as one call: reduce(in, out).
template <DType kDType, class Reduce>
LaneResult all_reduce(const CheckedEnv& env, int call, std::int64_t packs, const Reduce& reduce) {
  Packs in, out;
  out.fill(kUntouched);
  for (int i = 0; i < kMaxPacks; ++i) in[static_cast<std::size_t>(i)] = contribution<kDType>(env.rank(), call, i);
  reduce(first_packs(std::as_const(in), packs), first_packs(out, packs));
  return compare(env, out, [&](int i) { return expected_sum<kDType>(env.world_size(), call, i); });
}

// The tensor of every third call is a pack smaller: buffers, of which there are two or three, are refilled and cleaned
// by calls of another size than filled them.
std::int64_t packs_of(int call, std::int64_t most) {
  return call % 3 == 1 ? most - 1 : most;
}

CheckOptions options_for(int world_size, int calls, const Rooms& rooms, std::int64_t most_packs, int unit_bytes) {
  CheckOptions options;
  options.world_size = world_size;
  options.calls = calls;
  options.rooms = rooms;
  options.unit_bytes = unit_bytes;
  for (int call = 0; call < calls; ++call) options.packs.push_back(packs_of(call, most_packs));
  options.kept = [most_packs](int, int call) { return packs_of(call, most_packs); };
  return options;
}

using Body = std::function<LaneResult(CheckedEnv&, int)>;

struct Model {
  CheckOptions options;
  Body body;
};

void expect_right(const Model& model, const char* what) {
  const CheckReport report = check(model.options, model.body);
  EXPECT_FALSE(report.violation) << what << ": " << *report.violation;
  std::cout << what << ": all of " << report.states << " states\n";
}

// One shot.

template <class Packets, class Env = CheckedEnv>
Model one_shot(int world_size, int calls, std::int64_t packs = 2) {
  constexpr DType kDType = Packets::kRefills ? DType::kF32 : DType::kI32;
  Model model{options_for(world_size, calls, {.one_shot_tagged = packs}, packs, 8), {}};
  if (Packets::kRefills) {
    model.options = options_for(world_size, calls, {.one_shot_sentinel = packs}, packs, 4);
    const InboxLayout layout(world_size, model.options.rooms);
    model.options.memory = {{layout.one_shot_sentinel, SentinelPackets::kSentinel}};
  }
  model.body = [packs](CheckedEnv& checked, int call) {
    Env env(checked);
    const Area& area = Packets::kRefills ? env.layout().one_shot_sentinel : env.layout().one_shot_tagged;
    return all_reduce<kDType>(env, call, packs_of(call, packs), [&](ConstView in, View out) {
      all_reduce_one_shot<Packets, kDType, kAnyWidth>(env, area, in, out);
    });
  };
  return model;
}

template <class Packets, class Env = CheckedEnv>
Model two_shot(int world_size, int calls) {
  const std::int64_t packs = world_size + 1;
  Model model{options_for(world_size, calls, {.two_shot_sentinel = 2}, packs, 4), {}};
  const InboxLayout layout(world_size, model.options.rooms);
  model.options.memory = {{layout.two_shot_sentinel, SentinelPackets::kSentinel}};
  model.body = [packs](CheckedEnv& checked, int call) {
    Env env(checked);
    return all_reduce<DType::kF32>(env, call, packs_of(call, packs), [&](ConstView in, View out) {
      all_reduce_two_shot<Packets, DType::kF32>(env, env.layout().two_shot_sentinel, in, out);
    });
  };
  return model;
}

// Shares: in one shot (OneShot), or over rings with chunks of up to two packs.

struct OneShot {
  static constexpr bool kTagged = true;
};

template <class Form>
CheckOptions share_options(int world_size, int calls, std::int64_t packs) {
  if (std::is_same_v<Form, OneShot>) return options_for(world_size, calls, {.one_shot_tagged = packs}, packs, 8);
  const Rooms rooms{.ring_tagged = Form::kTagged ? 2 : 0, .ring_bulk = Form::kTagged ? 0 : 2, .ring_blocks = 1};
  CheckOptions options = options_for(world_size, calls, rooms, packs, Form::kTagged ? 8 : 4);
  options.ordered_reuse = !Form::kTagged;
  return options;
}

template <class Form, class Env = CheckedEnv>
Model ring_reduce(int world_size, int calls, std::int64_t packs) {
  return {share_options<Form>(world_size, calls, packs), [packs](CheckedEnv& checked, int call) {
            Env env(checked);
            return all_reduce<DType::kI32>(env, call, packs_of(call, packs), [&](ConstView in, View out) {
              ring_all_reduce<Form, DType::kI32>(env, in, out);
            });
          }};
}

// Each rank's share is of packs_of(call) packs.
template <class Form>
Model scatter(int world_size, int calls, std::int64_t packs) {
  return {share_options<Form>(world_size, calls, packs), [packs](CheckedEnv& env, int call) {
            const std::int64_t share = packs_of(call, packs);
            Packs in, out;
            out.fill(kUntouched);
            for (int i = 0; i < kMaxPacks; ++i)
              in[static_cast<std::size_t>(i)] = contribution<DType::kI32>(env.rank(), call, i);
            const auto share_of = [&](int r) {
              return ConstView{first_packs(std::as_const(in), 0).data + r * share * kPackBytes, share * kPackBytes};
            };
            if constexpr (std::is_same_v<Form, OneShot>) {
              const Area& area = env.layout().one_shot_tagged;
              reduce_scatter_one_shot<DType::kI32, kAnyWidth>(env, area, share_of, first_packs(out, share));
            } else {
              ring_reduce_scatter<Form, DType::kI32>(env, share_of, first_packs(out, share));
            }
            return compare(env, out, [&](int i) {
              return expected_sum<DType::kI32>(env.world_size(), call, static_cast<int>(env.rank() * share) + i);
            });
          }};
}

enum class Move { kAllGather, kBroadcast };

template <class Form, class Env = CheckedEnv>
Model move_packs(Move move, int world_size, int calls, std::int64_t packs) {
  CheckOptions options = share_options<Form>(world_size, calls, packs);
  const int sources = move == Move::kAllGather ? world_size : 1;
  options.kept = [packs, sources](int, int call) { return sources * packs_of(call, packs); };
  return {options, [=](CheckedEnv& checked, int call) {
            Env env(checked);
            const std::int64_t share = packs_of(call, packs);
            const auto sends = [&](int r) { return move == Move::kAllGather || r == 0; };
            Packs in, out;
            out.fill(kUntouched);
            for (int i = 0; i < kMaxPacks; ++i)
              in[static_cast<std::size_t>(i)] = contribution<DType::kI32>(env.rank(), call, i);
            const ConstView mine = first_packs(std::as_const(in), sends(env.rank()) ? share : 0);
            const auto sends_to = [&](int) { return sends(env.rank()); };
            const auto out_of = [&](int r) {
              return View{first_packs(out, 0).data + r * share * kPackBytes, sends(r) ? share * kPackBytes : 0};
            };
            if constexpr (std::is_same_v<Form, OneShot>) {
              exchange_one_shot<kAnyWidth>(env, env.layout().one_shot_tagged, mine, sends_to, out_of);
            } else {
              ring_exchange<Form>(env, mine, sends_to, out_of);
            }
            return compare(env, out, [&](int i) {
              return contribution<DType::kI32>(static_cast<int>(i / share), call, static_cast<int>(i % share));
            });
          }};
}

struct Protocol {
  const char* name;
  Model (*make)(int world_size);
};
// Each buffer is used twice at least, and so is the first slot of each ring.
const Protocol kProtocols[] = {
    {"one_shot_tagged", [](int n) { return one_shot<TaggedPackets>(n, 5); }},
    {"one_shot_sentinel", [](int n) { return one_shot<SentinelPackets>(n, 6); }},
    {"two_shot_sentinel", [](int n) { return two_shot<SentinelPackets>(n, 6); }},
    {"all_gather_one_shot", [](int n) { return move_packs<OneShot>(Move::kAllGather, n, 5, 2); }},
    {"broadcast_one_shot", [](int n) { return move_packs<OneShot>(Move::kBroadcast, n, 5, 2); }},
    {"reduce_scatter_one_shot", [](int n) { return scatter<OneShot>(n, 5, 2); }},
    {"all_gather_tagged", [](int n) { return move_packs<TaggedChunks>(Move::kAllGather, n, n == 2 ? 4 : 3, 3); }},
    {"all_gather_bulk", [](int n) { return move_packs<BulkChunks>(Move::kAllGather, n, 4, 3); }},
    {"broadcast_tagged", [](int n) { return move_packs<TaggedChunks>(Move::kBroadcast, n, 4, 3); }},
    {"broadcast_bulk", [](int n) { return move_packs<BulkChunks>(Move::kBroadcast, n, 4, 3); }},
    {"reduce_scatter_tagged", [](int n) { return scatter<TaggedChunks>(n, n == 2 ? 4 : 3, 3); }},
    {"reduce_scatter_bulk", [](int n) { return scatter<BulkChunks>(n, 4, 3); }},
    {"ring_all_reduce_bulk", [](int n) { return ring_reduce<BulkChunks>(n, 3, n == 2 ? 6 : 4); }},
};

// Begins so late in a pass of generations that they wrap within the calls, on memory full of what looks like packets of
// the next pass. `earlier`: another buffer is the one that a small call leaves as it is.
Model at_the_wrap(Model model, std::uint32_t earlier = 0) {
  const InboxLayout layout(model.options.world_size, model.options.rooms);
  const auto fill = [&](const Area& area, int buffers, int buffer_slots) {
    for (int slot = 0; slot < area.num_slots; ++slot) {
      const int turn = slot / buffer_slots % buffers;
      const Area one{area.packet(slot, 0), area.slot_packets, 1};
      model.options.memory.push_back({one, static_cast<std::uint32_t>(turn == 0 ? buffers : turn)});
    }
  };
  fill(layout.one_shot_tagged, TaggedPackets::kBuffers, model.options.world_size);
  fill(layout.ring_tagged, kRingSlots, 1);
  const int last_buffers = layout.ring_blocks > 0 ? kRingSlots : TaggedPackets::kBuffers;
  model.options.first_generation = kLastGeneration - static_cast<std::uint32_t>(last_buffers) + 1 - earlier;
  return model;
}

// For the larger ones: others see the stores between two loads together, or some of them late.
Model in_bursts(Model model) {
  model.options.single_stores = false;
  return model;
}

class CheckedProtocol : public testing::TestWithParam<Protocol> {};
INSTANTIATE_TEST_SUITE_P(All, CheckedProtocol, testing::ValuesIn(kProtocols),
                         [](const auto& test) { return std::string(test.param.name); });

// Every store a step of its own, each place in every order.
TEST_P(CheckedProtocol, IsRightAtTwoRanks) {
  expect_right(GetParam().make(2), "2 ranks");
}
TEST_P(CheckedProtocol, IsRightAtTwoRanksAcrossTheWrap) {
  for (const std::uint32_t earlier : {0u, 1u}) expect_right(at_the_wrap(GetParam().make(2), earlier), "2 ranks, wrap");
}
TEST_P(CheckedProtocol, IsRightAtThreeRanks) {
  expect_right(in_bursts(GetParam().make(3)), "3 ranks");
}
TEST_P(CheckedProtocol, IsRightAtThreeRanksAcrossTheWrap) {
  expect_right(in_bursts(at_the_wrap(GetParam().make(3))), "3 ranks, wrap");
}
TEST_P(CheckedProtocol, IsRightInTwoBlocks) {
  Model model = in_bursts(GetParam().make(2));
  model.options.blocks = 2;
  if (model.options.rooms.ring_blocks > 0) {  // each ring has but one chunk of most calls
    model.options.rooms.ring_blocks = 2;
    model.options.calls = 6;
    model.options.packs.resize(6);
  }
  expect_right(model, "2 blocks");
}
TEST_P(CheckedProtocol, IsRightInBlocksOfTwoThreads) {
  Model model = in_bursts(GetParam().make(2));
  model.options.threads = 2;
  expect_right(model, "2 threads");
  expect_right(at_the_wrap(model), "2 threads, wrap");
}

// The others leave, and what they have ended is right.
void expect_that_all_leave(Model model, bool midway, const char* what) {
  for (const int rank : {0, 1}) {
    model.options.stop = Stop{.rank = rank, .call = 1, .midway = midway};
    expect_right(model, what);
  }
}
TEST_P(CheckedProtocol, LetsTheOtherLeaveWhenOneOfTwoStops) {
  expect_that_all_leave(GetParam().make(2), true, "2 ranks, one stops midway");
  expect_that_all_leave(GetParam().make(2), false, "2 ranks, one stops between calls");
}
TEST_P(CheckedProtocol, LetsTheOthersLeaveWhenOneOfThreeStops) {
  expect_that_all_leave(in_bursts(GetParam().make(3)), false, "3 ranks, one stops between calls");
}
TEST_P(CheckedProtocol, LetsBlocksOfTwoThreadsLeaveWhenARankStops) {
  const std::string_view name = GetParam().name;
  if (name == "all_gather_tagged" || name == "reduce_scatter_tagged") {
    GTEST_SKIP() << "millions of states: what each thread has seen before it leaves; broadcast_tagged has fewer";
  }
  Model model = in_bursts(GetParam().make(2));
  model.options.threads = 2;
  expect_that_all_leave(model, false, "2 threads, one rank stops between calls");
}

// The sender may learn from a word of the next pass alone that the slots of this one are emptied, and so cleaned.
TEST(LongBroadcast, IsRightAcrossTheWrap) {
  expect_right(at_the_wrap(move_packs<TaggedChunks>(Move::kBroadcast, 2, 2, kMaxPacks)), "5 chunks a call, wrap");
}

// Protocols with one thing left out.

// What is found: the beginning of the checker's report.
std::string found(const Model& model) {
  const CheckReport report = check(model.options, model.body), rough = check(in_bursts(model).options, model.body);
  EXPECT_EQ(report.violation.has_value(), rough.violation.has_value());
  if (!report.violation) return "nothing in " + std::to_string(report.states) + " states";
  const std::string what = report.violation->substr(0, report.violation->find('\n'));
  std::cout << what << "\n";
  return what;
}
using testing::HasSubstr;
constexpr char kWrong[] = "wrong result", kUnordered[] = "in no order", kHang[] = "hang";

struct OneBuffer : TaggedPackets {
  static constexpr int kBuffers = 1;
};
TEST(BrokenProtocol, TaggedPacketsInOneBuffer) {
  EXPECT_THAT(found(one_shot<OneBuffer>(2, 3)), HasSubstr(kHang));
}

// The buffer that is refilled is the one in use.
struct TwoBuffers : SentinelPackets {
  static constexpr int kBuffers = 2;
};
TEST(BrokenProtocol, SentinelPacketsInTwoBuffers) {
  EXPECT_THAT(found(one_shot<TwoBuffers>(2, 4)), HasSubstr(kUnordered));
  EXPECT_THAT(found(two_shot<TwoBuffers>(2, 4)), HasSubstr(kUnordered));
}

struct NeverRefilled : SentinelPackets {
  static constexpr bool kRefills = false;
};
TEST(BrokenProtocol, ABufferThatIsNotRefilled) {
  Model model = one_shot<SentinelPackets>(2, 5);
  model.body = [](CheckedEnv& env, int call) {
    return all_reduce<DType::kF32>(env, call, packs_of(call, 2), [&](ConstView in, View out) {
      all_reduce_one_shot<NeverRefilled, DType::kF32, kAnyWidth>(env, env.layout().one_shot_sentinel, in, out);
    });
  };
  EXPECT_THAT(found(model), HasSubstr(kWrong));
}

// As the call that refills is large, not the one before.
struct ForgetsSizes : CheckedEnv {
  explicit ForgetsSizes(const CheckedEnv& env) : CheckedEnv(env) {}
  std::int64_t last_num_packs() const { return world_size(); }
};
TEST(BrokenProtocol, ABufferRefilledInPart) {
  EXPECT_THAT(found(two_shot<SentinelPackets, ForgetsSizes>(2, 5)), HasSubstr(kWrong));
}

struct NeverCleaned : TaggedPackets {
  static constexpr bool kCleans = false;
};
TEST(BrokenProtocol, ABufferThatIsNotCleanedBeforeTheWrap) {
  EXPECT_THAT(found(at_the_wrap(one_shot<NeverCleaned>(2, 4))), HasSubstr(kWrong));
}
struct NeverCleans : CheckedEnv {
  explicit NeverCleans(const CheckedEnv& env) : CheckedEnv(env) {}
  void refill(const Area&, int, std::int64_t, const Pack&) {}
};
TEST(BrokenProtocol, ARingThatIsNotCleanedBeforeTheWrap) {
  EXPECT_THAT(found(at_the_wrap(move_packs<TaggedChunks, NeverCleans>(Move::kAllGather, 2, 4, 3))), HasSubstr(kWrong));
}

// A flag that is set or not, instead of a generation.
struct Flagged : TaggedPackets {
  template <class Env>
  static void put(Env& env, const Area& area, int to, int slot, std::int64_t index, const Pack& pack, std::uint32_t) {
    TaggedPackets::put(env, area, to, slot, index, pack, 1);
  }
  static bool whole(const Received& r, std::uint32_t) { return TaggedPackets::whole(r, 1); }
};
TEST(BrokenProtocol, AFlagInsteadOfAGeneration) {
  EXPECT_THAT(found(one_shot<Flagged>(2, 3)), HasSubstr(kWrong));
}

// PTX may split a vector store of four words into four.
TEST(BrokenProtocol, ATagForFourBytes) {
  Model model = one_shot<TaggedPackets>(2, 2);
  model.options.unit_bytes = 4;
  EXPECT_THAT(found(model), HasSubstr(kWrong));
}

// Two communicators that count for themselves, over one inbox.
struct TwoCounters : CheckedEnv {
  explicit TwoCounters(const CheckedEnv& env) : CheckedEnv(env) {}
  std::uint32_t generation() const { return (CheckedEnv::generation() + 1) / 2; }
};
TEST(BrokenProtocol, TwoCountersOverOneInbox) {
  EXPECT_THAT(found(one_shot<TaggedPackets, TwoCounters>(2, 4)), HasSubstr(kWrong));
}

// Every second call has one block, and blocks count for themselves.
struct CountsByBlock : CheckedEnv {
  explicit CountsByBlock(const CheckedEnv& env) : CheckedEnv(env) {}
  bool alone() const { return CheckedEnv::generation() % 2 == 0; }
  std::int64_t lane() const { return alone() && block() == 1 ? 1'000 : CheckedEnv::lane(); }
  std::int64_t num_lanes() const { return alone() ? 1 : 2; }
  std::uint32_t generation() const {
    return block() == 0 ? CheckedEnv::generation() : (CheckedEnv::generation() + 1) / 2;
  }
};
TEST(BrokenProtocol, CountersByBlockAndAGridThatChanges) {
  Model model = one_shot<TaggedPackets>(2, 3);
  model.options.blocks = 2;
  model.options.kept = [](int, int) { return 2; };
  model.body = [](CheckedEnv& checked, int call) {
    CountsByBlock env(checked);
    return all_reduce<DType::kI32>(env, call, 2, [&](ConstView in, View out) {
      all_reduce_one_shot<TaggedPackets, DType::kI32, kAnyWidth>(env, env.layout().one_shot_tagged, in, out);
    });
  };
  EXPECT_THAT(found(model), HasSubstr(kWrong));
}

// What the end of a kernel is good for.
TEST(BrokenProtocol, AKernelsEndThatIsNoFence) {
  const auto without_fence = [](Model model) {
    model.options.kernel_fence = false;
    return model;
  };
  EXPECT_THAT(found(without_fence(one_shot<SentinelPackets>(2, 4))), HasSubstr(kUnordered));
  EXPECT_THAT(found(without_fence(two_shot<SentinelPackets>(2, 4))), HasSubstr(kUnordered));
  EXPECT_THAT(found(without_fence(at_the_wrap(one_shot<TaggedPackets>(2, 4)))), HasSubstr(kUnordered));
  expect_right(without_fence(one_shot<TaggedPackets>(2, 5)), "tagged packets, far from the wrap");
  expect_right(without_fence(move_packs<TaggedChunks>(Move::kAllGather, 2, 4, 3)), "tagged chunks");
  expect_right(without_fence(at_the_wrap(move_packs<TaggedChunks>(Move::kBroadcast, 2, 4, 3))), "tagged chunks, wrap");
  expect_right(without_fence(ring_reduce<BulkChunks>(2, 3, 6)), "bulk chunks");
}

struct FilledInNoOrder : CheckedEnv {
  explicit FilledInNoOrder(const CheckedEnv& env) : CheckedEnv(env) {}
  void raise(int to, std::int64_t index, std::uint32_t value) {
    const bool filled = index < layout().emptied_word(0, 0);
    filled ? raise_relaxed(to, index, value) : CheckedEnv::raise(to, index, value);
  }
};
struct EmptiedInNoOrder : CheckedEnv {
  explicit EmptiedInNoOrder(const CheckedEnv& env) : CheckedEnv(env) {}
  void raise(int to, std::int64_t index, std::uint32_t value) {
    const bool filled = index < layout().emptied_word(0, 0);
    filled ? CheckedEnv::raise(to, index, value) : raise_relaxed(to, index, value);
  }
};
TEST(BrokenProtocol, AFlagBeforeItsData) {
  EXPECT_THAT(found(ring_reduce<BulkChunks, FilledInNoOrder>(2, 2, 6)), HasSubstr(kWrong));
  EXPECT_THAT(found(move_packs<BulkChunks, FilledInNoOrder>(Move::kBroadcast, 2, 2, 3)), HasSubstr(kWrong));
}
TEST(BrokenProtocol, RoomGivenBackBeforeAllIsRead) {
  EXPECT_THAT(found(move_packs<BulkChunks, EmptiedInNoOrder>(Move::kBroadcast, 2, 4, 3)), HasSubstr(kUnordered));
}
TEST(BrokenProtocol, RoomGivenBackBeforeItIsCleaned) {
  EXPECT_THAT(found(at_the_wrap(move_packs<TaggedChunks, EmptiedInNoOrder>(Move::kBroadcast, 2, 4, 3))),
              HasSubstr(kUnordered));
}

struct NeverWaitsForRoom : CheckedEnv {
  explicit NeverWaitsForRoom(const CheckedEnv& env) : CheckedEnv(env) {}
  std::uint32_t emptied(int to) const { return sent(to); }
};
TEST(BrokenProtocol, ARingThatIsOverrun) {
  EXPECT_THAT(found(move_packs<TaggedChunks, NeverWaitsForRoom>(Move::kBroadcast, 2, 4, 3)), HasSubstr(kHang));
  EXPECT_THAT(found(move_packs<BulkChunks, NeverWaitsForRoom>(Move::kBroadcast, 2, 4, 3)), HasSubstr(kWrong));
}

struct NoBarrier : CheckedEnv {
  explicit NoBarrier(const CheckedEnv& env) : CheckedEnv(env) {}
  void sync_block() {}
  bool sync_block(bool ok) { return ok; }
};
TEST(BrokenProtocol, ABlockWithoutABarrier) {
  Model model = move_packs<BulkChunks, NoBarrier>(Move::kAllGather, 2, 2, 3);
  model.options.threads = 2;
  EXPECT_THAT(found(model), HasSubstr(kWrong));
}

// A thread that gives up and does not come to the barrier.
struct LeavesItsBlock : CheckedEnv {
  explicit LeavesItsBlock(const CheckedEnv& env) : CheckedEnv(env) {}
  void sync_block() { CheckedEnv::sync_block(); }
  bool sync_block(bool ok) { return ok && CheckedEnv::sync_block(ok); }
};
TEST(BrokenProtocol, AThreadThatLeavesItsBlock) {
  Model model = in_bursts(move_packs<TaggedChunks, LeavesItsBlock>(Move::kAllGather, 2, 2, 3));
  model.options.threads = 2;
  model.options.stop = Stop{.rank = 1, .call = 1, .midway = false};
  EXPECT_THAT(found(model), HasSubstr(kHang));
}

}  // namespace
}  // namespace tandem
