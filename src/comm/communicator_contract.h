#pragma once
// The contract of every communicator, as tests. A back-end's test program includes this and instantiates the suite:
//   INSTANTIATE_TEST_SUITE_P(Cpu, CommunicatorContract, testing::ValuesIn(contract_cases(...)), contract_case_name);
// Inputs are small integers or compared as bits, so every check is exact.

#include <cmath>
#include <random>
#include <string>

#include "base/clock.h"
#include "comm/communicator_contract_case.h"
#include "comm/communicator_contract_norm.h"

namespace tandem::contract {

TEST_P(CommunicatorContract, ComputesEveryOperationDtypeAndCount) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    std::uint32_t id = 0;
    // Around the sizes where algorithms change (16 KB) and with tails of every kind.
    for (const std::int64_t count : {0, 1, 3, 17, 576, 4097}) {
      for (const Op op : kAllOps) {
        for (const DType dtype : kPlainTypes) {
          if (is_sum(op) && dtype == DType::kU8) continue;
          if (count > 1000 && op != Op::kAllReduce && dtype != DType::kF32) continue;
          ++id;
          const int root = static_cast<int>(id) % comm.world_size();
          perform(comm, stream,
                  {.op = op, .dtype = dtype, .count = count, .root = root, .in_place = id % 2 == 0, .id = id});
        }
      }
    }
  }));
}

TEST_P(CommunicatorContract, ComputesInPlaceAndOutOfPlace) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    std::uint32_t id = 0;
    for (const std::int64_t count : {1, 33, comm.world_size() <= 4 ? 5000 : 900}) {
      for (const Op op : {Op::kAllReduce, Op::kAllGather, Op::kReduceScatter, Op::kGather}) {
        for (const bool in_place : {false, true}) {
          perform(comm, stream, {.op = op, .dtype = DType::kF32, .count = count, .in_place = in_place, .id = ++id});
        }
      }
    }
  }));
}

TEST_P(CommunicatorContract, AddsAndNormalisesAsItsTwoStepsDo) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    std::uint32_t id = 0;
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const std::int64_t columns : {1, 13, 576, 9000}) {
        for (const std::int64_t rows : {0, 1, 5, 150}) {
          if (rows * columns > (comm.world_size() <= 4 ? 50000 : 9000)) continue;
          ++id;
          perform_norm(comm, stream, dtype, rows, columns, id % 2 == 0, id);
        }
      }
    }
    // Too large for one kernel.
    if (comm.world_size() <= 4) perform_norm(comm, stream, DType::kF32, 31, 9000, false, ++id);
  }));
}

// Views of a larger tensor: kernels that move 16 bytes at once have to manage.
TEST_P(CommunicatorContract, TensorsMayBeginAnywhere) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    std::uint32_t id = 0;
    for (const DType dtype : kPlainTypes) {
      for (const std::int64_t count : {1, 7, 130, dtype == DType::kF32 && comm.world_size() <= 4 ? 40'003 : 2'003}) {
        for (const Op op : kAllOps) {
          if (is_sum(op) && dtype == DType::kU8) continue;
          ++id;
          perform(comm, stream,
                  {.op = op,
                   .dtype = dtype,
                   .count = count,
                   .root = static_cast<int>(id) % comm.world_size(),
                   .in_place = id % 2 == 0,
                   .skew = id % 3 == 0 ? 1 : 3 + comm.rank() % 5,  // no part of the call: ranks may differ
                   .id = id});
        }
      }
      if (!is_float(dtype)) continue;
      perform_norm(comm, stream, dtype, 3, 575, false, ++id, 1);
      perform_norm(comm, stream, dtype, 2, 576, true, ++id, 3 + comm.rank() % 5);
    }
  }));
}

TEST_P(CommunicatorContract, MovesPayloadsOfManyPieces) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    std::uint32_t id = 0;
    for (const Op op : kAllOps) {
      // Few ranks: a rank's share of a sum has several chunks of 256 KB, which its threads divide. Many: more than one
      // slot of a message.
      const std::int64_t elements = comm.world_size() <= 3 ? 450'011 : 20'003;
      const bool in_shards = op == Op::kAllGather || op == Op::kReduceScatter || op == Op::kGather;
      const std::int64_t count = in_shards ? elements / comm.world_size() : elements;
      perform(comm, stream, {.op = op, .dtype = DType::kF32, .count = count, .id = ++id});
    }
  }));
}

TEST_P(CommunicatorContract, SharesMayBeRaggedAndEmpty) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    const int n = comm.world_size();
    std::uint32_t id = 0;
    for (const std::int64_t unit : {std::int64_t{1}, std::int64_t{67}, std::int64_t{20'000} / n}) {
      for (int pattern = 0; pattern < 5; ++pattern) {
        std::vector<std::int64_t> counts;
        for (int r = 0; r < n; ++r) {
          const std::int64_t by_pattern[] = {r, r % 2, r == n - 1 ? n : 0, r == 0 ? 1 : 0, 0};
          counts.push_back(by_pattern[pattern] * unit);
        }
        for (const Op op : {Op::kAllGather, Op::kReduceScatter, Op::kGather}) {
          ++id;
          perform(
              comm, stream,
              {.op = op, .dtype = DType::kBF16, .counts = counts, .root = n - 1, .in_place = id % 2 == 0, .id = id});
        }
      }
    }
  }));
}

TEST_P(CommunicatorContract, SurvivesHundredsOfRandomCallsInARow) {
  const std::uint32_t seed = random_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  expect_all_ok(run([=](Communicator& comm, const Stream& stream) {
    std::mt19937 delays(seed + static_cast<std::uint32_t>(comm.rank()));
    for (std::uint32_t id = 0; id < 300; ++id) {
      if (delays() % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(delays() % 200));
      perform(comm, stream, random_spec(seed, id, comm.world_size()));
    }
  }));
}

TEST_P(CommunicatorContract, CountersMayWrap) {
  for (const std::uint32_t start : {0x7ffffffdu, 0xfffffffdu}) {
    expect_all_ok(
        run({.world_size = world_size(), .first_generation = start}, [](Communicator& comm, const Stream& stream) {
          std::uint32_t id = 0;
          for (const std::int64_t count : {100, 5000}) {
            for (const Op op : kAllOps) perform(comm, stream, {.op = op, .count = count, .id = ++id});
          }
        }));
  }
}

TEST_P(CommunicatorContract, MovingKeepsEveryBitPattern) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    std::vector<std::byte> patterns;  // every f16: all NaN, infinities, subnormals, zeros of both signs
    for (unsigned i = 0; i < 65536; ++i) {
      patterns.push_back(static_cast<std::byte>(i & 0xff));
      patterns.push_back(static_cast<std::byte>(i >> 8));
    }
    for (const std::size_t bytes : {std::size_t{4096}, patterns.size()}) {
      const auto part = std::span(patterns).last(bytes);
      const Array brought(stream, DType::kF16, part);
      const Array empty(stream, DType::kF16, static_cast<std::int64_t>(bytes / 2));
      const Array& x = comm.rank() == 0 ? brought : empty;
      comm.broadcast(stream, x.tensor(), 0);
      comm.synchronize(stream);
      x.require_equal(stream, part, "broadcast");
      const int n = comm.world_size();
      const Array all(stream, DType::kF16, static_cast<std::int64_t>(bytes / 2) * n);
      comm.all_gather(stream, all.tensor(), x.tensor());
      comm.synchronize(stream);
      std::vector<std::byte> expected;
      for (int r = 0; r < n; ++r) expected.insert(expected.end(), part.begin(), part.end());
      all.require_equal(stream, expected, "all-gather");
    }
  }));
}

template <class T>
std::vector<T> random_floats(std::uint32_t seed, int rank, std::size_t count) {
  std::mt19937 generator(seed * 31 + static_cast<std::uint32_t>(rank));
  std::uniform_real_distribution<float> mantissa(-1, 1);
  std::vector<T> values(count);
  // Magnitudes far apart: an order of summation other than the promised one gives other bits.
  for (T& value : values) value = from_float<T>(std::ldexp(mantissa(generator), static_cast<int>(generator() % 12)));
  return values;
}

template <class T>
void check_sum_of_floats(Communicator& comm, const Stream& stream, std::uint32_t seed, std::size_t count,
                         bool ordered) {
  const std::vector<T> mine = random_floats<T>(seed, comm.rank(), count);
  const Array x(stream, dtype_of<T>(), std::as_bytes(std::span(mine)));
  comm.all_reduce(stream, x.tensor());
  comm.synchronize(stream);
  const std::vector<std::byte> result = x.content(stream);
  comm.broadcast(stream, x.tensor(), 0);
  comm.synchronize(stream);
  x.require_equal(stream, result, "the result of rank 0");
  if (!ordered) return;
  std::vector<float> sum(count);
  for (int r = 0; r < comm.world_size(); ++r) {
    const std::vector<T> values = random_floats<T>(seed, r, count);
    for (std::size_t i = 0; i < count; ++i) sum[i] = r == 0 ? to_float(values[i]) : sum[i] + to_float(values[i]);
  }
  std::vector<T> expected(count);
  for (std::size_t i = 0; i < count; ++i) expected[i] = from_float<T>(sum[i]);
  x.require_equal(stream, std::as_bytes(std::span(expected)), "the sum in rank order");
}

TEST_P(CommunicatorContract, SumsHaveTheSameBitsOnEveryRank) {
  const std::uint32_t seed = random_seed();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const bool ordered = GetParam().sums_in_rank_order;
  expect_all_ok(run([=](Communicator& comm, const Stream& stream) {
    for (const std::size_t count : {1, 9, 1001, 9001}) {
      check_sum_of_floats<float>(comm, stream, seed, count, ordered);
      check_sum_of_floats<F16>(comm, stream, seed, count, ordered);
      check_sum_of_floats<BF16>(comm, stream, seed, count, ordered);
    }
  }));
}

TEST_P(CommunicatorContract, BarrierHoldsUntilTheLastRank) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    if (comm.rank() == comm.world_size() - 1) std::this_thread::sleep_for(20ms);
    const std::int64_t before = Clock::now().time_since_epoch().count();
    comm.barrier();
    const std::int64_t after = Clock::now().time_since_epoch().count();
    const Array last(stream, DType::kU8, std::as_bytes(std::span(&before, 1)));
    comm.broadcast(stream, last.tensor(), comm.world_size() - 1);
    comm.synchronize(stream);
    std::int64_t arrival = 0;
    std::memcpy(&arrival, last.content(stream).data(), sizeof(arrival));
    require(after >= arrival, "left the barrier before the last rank came");
  }));
}

TEST_P(CommunicatorContract, SlowReceiversAreNotOverrunByBroadcasts) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    for (std::uint32_t id = 0; id < 200; ++id) {
      if (comm.rank() == 1 && id % 32 == 0) std::this_thread::sleep_for(1ms);
      perform(comm, stream, {.op = Op::kBroadcast, .dtype = DType::kI32, .count = id % 2 == 0 ? 100 : 5000, .id = id});
    }
  }));
}

TEST_P(CommunicatorContract, SlowReceiversAreNotOverrunByMessages) {
  if (alone()) GTEST_SKIP() << "no peer to send to";
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    const int last = comm.world_size() - 1;
    if (comm.rank() != 0 && comm.rank() != last) return;
    if (comm.rank() == last) std::this_thread::sleep_for(20ms);
    for (std::uint32_t id = 0; id < 100; ++id) {
      const Spec spec{.dtype = DType::kI32, .id = id};
      const std::vector<std::byte> message = encode(spec.dtype, contribution(spec, 0, id % 10 == 9 ? 70'001 : id));
      if (comm.rank() == 0) {
        const Array sent(stream, spec.dtype, message);
        comm.send(stream, sent.tensor(), last);
        comm.synchronize(stream);
      } else {
        const Array got(stream, spec.dtype, static_cast<std::int64_t>(message.size() / 4));
        comm.recv(stream, got.tensor(), 0);
        comm.synchronize(stream);
        got.require_equal(stream, message, format("message {}", id));
      }
    }
  }));
}

TEST_P(CommunicatorContract, LateRankIsWaitedFor) {
  expect_all_ok(run([this](Communicator& comm, const Stream& stream) {
    for (std::uint32_t id = 0; id < 3; ++id) {
      if (comm.rank() == culprit()) std::this_thread::sleep_for(20ms);
      perform(comm, stream, {.op = Op::kAllReduce, .count = id == 1 ? 10'000 : 10, .id = id});
    }
  }));
}

// --- faults: every rank gets an Error that names the rank at fault ---

TEST_P(CommunicatorContract, RankThatStopsIsNamedByATimeout) {
  if (alone()) GTEST_SKIP() << "no peer to wait for";
  Start start;
  const auto outcomes =
      run({.world_size = world_size(), .timeout = kShortTimeout}, [&](Communicator& comm, const Stream& stream) {
        start.meet(comm);
        if (comm.rank() == culprit()) wait_for_abort(comm);  // then it comes, too late
        perform(comm, stream, {.op = Op::kAllReduce, .count = 576});
      });
  expect_timeout_naming_culprit(outcomes, {"all-reduce", "576", "timed out after 0.5 s", "call 1"});
}

TEST_P(CommunicatorContract, MissingSenderIsNamedByATimeout) {
  if (alone()) GTEST_SKIP() << "no peer to wait for";
  const auto outcomes =
      run({.world_size = world_size(), .timeout = kShortTimeout}, [this](Communicator& comm, const Stream& stream) {
        const Array x(stream, DType::kF32, 7);
        if (comm.rank() == 0) {
          comm.recv(stream, x.tensor(), culprit());
          comm.synchronize(stream);
        }
        wait_for_abort(comm);
        comm.barrier();
      });
  expect_all_failed(outcomes, ErrorKind::kTimeout, {"recv", "rank 0 waits for " + culprit_name()});
}

TEST_P(CommunicatorContract, RankThatLeavesIsNamedAtOnce) {
  if (alone()) GTEST_SKIP() << "no peer to lose";
  const Clock::time_point start = Clock::now();
  std::vector<Outcome> outcomes = run([this](Communicator& comm, const Stream& stream) {
    perform(comm, stream, {.op = Op::kAllReduce, .count = 5000});
    if (comm.rank() == culprit()) return;
    perform(comm, stream, {.op = Op::kAllReduce, .count = 5000});
  });
  EXPECT_LT(seconds_since(start), kDefaultTimeout) << "waited for it instead";
  EXPECT_TRUE(outcomes.back().ok);
  outcomes.pop_back();
  expect_all_failed(outcomes, ErrorKind::kPeerLost, {culprit_name() + " failed", "call 2"});
}

TEST_P(CommunicatorContract, RankThatThrowsIsNamedAtOnce) {
  for (const std::int64_t count : {576, 50'000}) {
    const Clock::time_point start = Clock::now();
    std::vector<Outcome> outcomes = run([this, count](Communicator& comm, const Stream& stream) {
      for (std::uint32_t id = 0;; ++id) {
        if (comm.rank() == culprit() && id == 3) throw std::runtime_error("out of cheese");
        perform(comm, stream, {.op = Op::kAllReduce, .count = count, .id = id});
      }
    });
    EXPECT_EQ(outcomes.back().message, "out of cheese");
    outcomes.pop_back();
    expect_all_failed(outcomes, ErrorKind::kPeerLost, {culprit_name() + " failed: out of cheese"});
    EXPECT_LT(seconds_since(start), kDefaultTimeout) << "waited for it instead";
  }
}

TEST_P(CommunicatorContract, AbortFromOutsideWakesEveryRank) {
  Start start;
  Clock::time_point abort_time;
  std::vector<Clock::time_point> ends(static_cast<std::size_t>(world_size()));
  const auto outcomes = run(
      [&](Communicator& comm, const Stream& stream) {
        start.meet(comm);  // to make a group takes its time, and so does to let go of its memory
        const Array x(stream, DType::kF32, 1);
        try {
          if (comm.rank() == culprit()) wait_for_abort(comm);
          if (comm.rank() == 0 && !alone()) comm.recv(stream, x.tensor(), culprit());
          perform(comm, stream, {.op = Op::kBroadcast, .count = 3});
        } catch (const Error&) {
          ends[static_cast<std::size_t>(comm.rank())] = Clock::now();
          throw;
        }
      },
      [&](const Group& group) {
        start.wait_for(world_size());
        std::this_thread::sleep_for(20ms);
        abort_time = Clock::now();
        EXPECT_TRUE(group.abort(-1, "interrupted", ErrorKind::kCancelled));
        EXPECT_FALSE(group.abort(-1, "interrupted again", ErrorKind::kTimeout));
      });
  for (const Clock::time_point end : ends) {
    EXPECT_LT(end - abort_time, 2s);  // a few ms; far below the timeout even where the machine is busy
  }
  expect_all_failed(outcomes, ErrorKind::kCancelled, {"cancelled: interrupted"});
}

TEST_P(CommunicatorContract, AbortInTheMiddleOfLargeCallsLeavesNoRankInForeignMemory) {
  for (int round = 0; round < 5; ++round) {
    const auto outcomes = run(
        [](Communicator& comm, const Stream& stream) {
          for (;;) {  // new tensors each time: a peer that still works on the old ones works on freed memory
            Array x(stream, DType::kF32, 100'000);
            Array out(stream, DType::kF32, 100'000);
            comm.all_reduce(stream, out.tensor(), x.tensor());
            comm.broadcast(stream, x.tensor(), 0);
            comm.synchronize(stream);
          }
        },
        [&](const Group& group) {
          std::this_thread::sleep_for(std::chrono::milliseconds(3 * round));
          group.abort(-1, "enough", ErrorKind::kCancelled);
        });
    expect_all_failed(outcomes, ErrorKind::kCancelled, {"cancelled: enough"});
  }
}

TEST_P(CommunicatorContract, EveryCallAfterAnAbortThrowsTheFirstCauseAtOnce) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    comm.barrier();
    comm.group().abort(0, "first cause", ErrorKind::kPeerLost);
    comm.group().abort(0, "second cause", ErrorKind::kTimeout);
    const Clock::time_point start = Clock::now();
    for (const Op op : kAllOps) {
      if (op == Op::kSendRecv && comm.world_size() == 1) continue;
      for (const std::int64_t count : {1, 10'000}) {
        try {
          perform(comm, stream, {.op = op, .count = count});
        } catch (const Error& error) {
          require(error.kind() == ErrorKind::kPeerLost, error.what());
          require(std::string(error.what()).starts_with("rank 0 failed: first cause"), error.what());
          continue;
        }
        throw std::runtime_error(to_string(op) + " worked in a dead group");
      }
    }
    require(seconds_since(start) < 5, "waited in a dead group");
  }));
}

TEST_P(CommunicatorContract, NewGroupWorksAfterAFailure) {
  const std::unique_ptr<Rig> rig = GetParam().make_rig();
  for (int round = 0; round < 3; ++round) {
    const auto failed =
        rig->run({.world_size = world_size()}, [](Communicator&, const Stream&) { throw std::runtime_error("x"); }, {});
    EXPECT_FALSE(failed[0].ok);
    expect_all_ok(rig->run(
        {.world_size = world_size()},
        [](Communicator& comm, const Stream& stream) { perform(comm, stream, {.op = Op::kAllReduce, .count = 100}); },
        {}));
  }
}

TEST_P(CommunicatorContract, CallsThatDifferAreNamedOnEveryRank) {
  if (alone()) GTEST_SKIP() << "nobody to disagree with";
  struct Difference {
    Spec common, of_culprit;
    std::vector<std::string> parts;
  };
  const std::vector<std::int64_t> ones(static_cast<std::size_t>(world_size()), 1);
  std::vector<std::int64_t> one_two = ones;
  one_two[0] = 2;
  std::vector<std::int64_t> two_one = ones;
  two_one[1] = 2;
  const Difference differences[] = {
      {{.op = Op::kAllReduce, .count = 5},
       {.op = Op::kBroadcast, .count = 5},
       {"all-reduce of 5 f32", "broadcast of 5 f32"}},
      {{.op = Op::kAllReduce, .count = 5}, {.op = Op::kAllReduce, .count = 6}, {"of 5 f32", "of 6 f32"}},
      {{.op = Op::kAllReduce, .count = 5}, {.op = Op::kAllReduce, .count = 5000}, {"of 5 f32", "of 5000 f32"}},
      {{.op = Op::kAllReduce, .count = 5},
       {.op = Op::kAllReduce, .dtype = DType::kI32, .count = 5},
       {"5 f32", "5 i32"}},
      {{.op = Op::kBroadcast, .count = 5, .root = 0},
       {.op = Op::kBroadcast, .count = 5, .root = 1},
       {"root 0", "root 1"}},
      {{.op = Op::kAllGather, .counts = one_two},
       {.op = Op::kAllGather, .counts = two_one},
       {"shares of 2, 1", "shares of 1, 2"}},
  };
  for (const Difference& difference : differences) {
    const auto outcomes = run([&](Communicator& comm, const Stream& stream) {
      comm.barrier();
      perform(comm, stream, comm.rank() == culprit() ? difference.of_culprit : difference.common);
      comm.barrier();  // a root that has sent may have been done before anybody disagreed
    });
    std::vector<std::string> parts = difference.parts;
    parts.insert(parts.end(), {"ranks disagree about call 2", "rank 0:", culprit_name() + ":"});
    expect_all_failed(outcomes, ErrorKind::kInternal, parts);
  }
}

TEST_P(CommunicatorContract, RowsOfDifferentLengthsAreNamedOnEveryRank) {
  if (alone()) GTEST_SKIP() << "nobody to disagree with";
  for (const std::int64_t rows : {1, 900}) {  // in one kernel, in two steps; on CPUs copied, in place
    const auto outcomes = run([&](Communicator& comm, const Stream& stream) {
      const std::int64_t columns = comm.rank() == culprit() ? 24 : 48;  // of tensors as large as the others'
      const Array x(stream, DType::kF32, rows * 48), residual(stream, DType::kF32, rows * 48);
      const Array weight(stream, DType::kF32, columns);
      comm.barrier();
      comm.all_reduce_add_rms_norm(stream, x.tensor(), residual.tensor(), x.tensor(), weight.tensor(), 1);
      comm.synchronize(stream);
    });
    expect_all_failed(outcomes, ErrorKind::kInternal,
                      {"ranks disagree about call 2", format("all-reduce with norm of {} f32, rows of 48", rows * 48),
                       culprit_name() + format(": all-reduce with norm of {} f32, rows of 24", rows * 48)});
  }
}

TEST_P(CommunicatorContract, MessagesThatDifferAreNamedOnBothRanks) {
  if (alone()) GTEST_SKIP() << "no peer to send to";
  const auto outcomes = run([](Communicator& comm, const Stream& stream) {
    const Array five(stream, DType::kF32, 5), six(stream, DType::kF32, 6);
    if (comm.rank() == 0) comm.send(stream, five.tensor(), 1);
    if (comm.rank() == 1) comm.recv(stream, six.tensor(), 0);
    comm.synchronize(stream);
    comm.barrier();
  });
  expect_all_failed(outcomes, ErrorKind::kInternal,
                    {"rank 0: send of 5 f32 to rank 1", "rank 1: recv of 6 f32 from rank 0"});
}

TEST_P(CommunicatorContract, ArgumentsThatDoNotFitAreRefusedBeforeAnyPeerIsInvolved) {
  expect_all_ok(run([](Communicator& comm, const Stream& stream) {
    const auto refused = [&](const char* part, const std::function<void()>& call) {
      try {
        call();
      } catch (const Error& error) {
        require(error.kind() == ErrorKind::kInternal && std::string(error.what()).find(part) != std::string::npos,
                error.what());
        return;
      }
      throw std::runtime_error(std::string("not refused: ") + part);
    };
    const int n = comm.world_size();
    const Array four(stream, DType::kF32, 4);
    const Array five(stream, DType::kF32, 5);
    const Array whole(stream, DType::kF32, std::int64_t{4} * n);
    const Array bytes(stream, DType::kU8, 4);
    const std::vector<std::int64_t> fives(static_cast<std::size_t>(n), 5);
    const std::vector<std::int64_t> too_many(static_cast<std::size_t>(n) + 1, 4);
    const std::vector<std::int64_t> negative(static_cast<std::size_t>(n), -1);
    refused("out has 5", [&] { comm.all_reduce(stream, five.tensor(), four.tensor()); });
    refused("no sums of u8", [&] { comm.all_reduce(stream, bytes.tensor()); });
    refused("out is u8", [&] { comm.all_reduce(stream, bytes.tensor(), four.tensor()); });
    refused("no norms of u8", [&] {
      comm.all_reduce_add_rms_norm(stream, bytes.tensor(), bytes.tensor(), bytes.tensor(), bytes.tensor(), 1);
    });
    refused("rows of 5", [&] {
      comm.all_reduce_add_rms_norm(stream, four.tensor(), four.tensor(), four.tensor(), five.tensor(), 1);
    });
    refused("overlaps another", [&] {
      comm.all_reduce_add_rms_norm(stream, four.tensor(), four.tensor(), four.tensor(), five.part(0, 4), 1);
    });
    refused("overlap", [&] { comm.all_reduce(stream, five.part(1, 4), five.part(0, 4)); });
    refused("out has", [&] { comm.all_gather(stream, Array(stream, DType::kF32, 4 * n + 1).tensor(), four.tensor()); });
    refused("counted as 5", [&] { comm.all_gather(stream, whole.tensor(), four.tensor(), fives); });
    refused("counts for", [&] { comm.all_gather(stream, whole.tensor(), four.tensor(), too_many); });
    refused("-1 elements of rank 0", [&] { comm.reduce_scatter(stream, four.tensor(), whole.tensor(), negative); });
    refused("in a group of", [&] { comm.broadcast(stream, four.tensor(), n); });
    refused("in a group of", [&] { comm.gather(stream, whole.tensor(), four.tensor(), -1); });
    refused("to itself", [&] { comm.send(stream, four.tensor(), comm.rank()); });
    refused("tensor is q8_0", [&] { comm.broadcast(stream, Tensor(nullptr, DType::kQ8_0, {32}, stream.device()), 0); });
    comm.barrier();
  }));
}

}  // namespace tandem::contract
