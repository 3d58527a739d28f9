#pragma once
// A residual addition and an RMSNorm behind a sum, row by row: the tail of an all-reduce in a transformer, which saves
// a kernel and a trip of the row through memory. Sums, residual and result are rounded to the dtype as by three calls;
// squares are summed in f32, in an order that depends on the numbers of threads alone.

#include <cmath>

#include "comm/protocol/all_reduce.h"

namespace tandem {

/// [rows, columns] each, of one dtype, weight [columns].
struct AddRmsNorm {
  const std::byte* x = nullptr;
  std::byte* residual = nullptr;  ///< += x
  const std::byte* weight = nullptr;
  std::byte* out = nullptr;  ///< residual / sqrt(mean(residual^2) + epsilon) * weight; may be x
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_bytes = 0;
  float epsilon = 0;

  TANDEM_HD std::int64_t row_packs() const { return (row_bytes + kPackBytes - 1) / kPackBytes; }
  TANDEM_HD ConstView in(std::int64_t row) const { return {x + row * row_bytes, row_bytes}; }
  TANDEM_HD View residual_of(std::int64_t row) const { return {residual + row * row_bytes, row_bytes}; }
  TANDEM_HD View out_of(std::int64_t row) const { return {out + row * row_bytes, row_bytes}; }
};

/// A thread by itself, see env.h.
struct SerialTeam {
  static constexpr int team_thread() { return 0; }
  static constexpr int team_threads() { return 1; }
  static bool team_sum(bool ok, float&) { return ok; }
};

/// What a thread needs of a row first, and often all: to be loaded while something else is waited for.
struct RowStart {
  Pack residual{}, weight{};
  template <class Team>
  TANDEM_HD RowStart(const Team& team, const AddRmsNorm& norm, std::int64_t row) {
    if (row >= norm.rows || team.team_thread() >= norm.row_packs()) return;
    residual = norm.residual_of(row).as_const().load(team.team_thread());
    weight = ConstView{norm.weight, norm.row_bytes}.load(team.team_thread());
  }
};

/// sum_of(i, pack) gets pack i of what is added to the row. Whether all came.
template <DType kDType, class Team, class SumOf>
TANDEM_HD bool add_norm_row(Team& team, const AddRmsNorm& norm, std::int64_t row, const RowStart& start,
                            const SumOf& sum_of) {
  using Elements = PackElements<kDType>;
  const View residual = norm.residual_of(row), out = norm.out_of(row);
  const ConstView weight{norm.weight, norm.row_bytes};
  const std::int64_t packs = norm.row_packs();
  Pack first{};  // of this thread
  bool ok = true;
  float squares = 0;
  for (std::int64_t i = team.team_thread(); ok && i < packs; i += team.team_threads()) {
    PackSum<kDType> total;
    Pack sum{};
    ok = sum_of(i, sum);
    total.add(i == team.team_thread() ? start.residual : residual.as_const().load(i));
    total.add(sum);
    const Pack kept = total.result();
    if (i == team.team_thread()) first = kept;
    residual.store(i, kept);
    TANDEM_UNROLL
    for (int e = 0; e < Elements::kCount; ++e) squares += Elements::get(kept, e) * Elements::get(kept, e);
  }
  if (!team.team_sum(ok, squares)) return false;
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(norm.columns) + norm.epsilon);
  for (std::int64_t i = team.team_thread(); i < packs; i += team.team_threads()) {
    const bool is_first = i == team.team_thread();
    const Pack kept = is_first ? first : residual.as_const().load(i);
    const Pack factor = is_first ? start.weight : weight.load(i);
    float result[Elements::kCount];
    TANDEM_UNROLL
    for (int e = 0; e < Elements::kCount; ++e) {
      result[e] = Elements::get(kept, e) * scale * Elements::get(factor, e);
    }
    out.store(i, Elements::round(result));
  }
  return true;
}

/// all_reduce_one_shot of norm.x, then the rest. A row a team; in the same area, with the same counts of packs.
template <class Packets, DType kDType, int kWidth, class Env>
TANDEM_HD void all_reduce_add_norm(Env& env, const Area& area, const AddRmsNorm& norm) {
  static_assert(Packets::kRefills);  // of tagged packets each lane would clean those that it has read
  const int world_size = env.world_size();
  const std::int64_t row_packs = norm.row_packs();
  const std::int64_t first = env.team_thread();
  Pack mine{};
  const auto load = [&](std::int64_t row, std::int64_t i) {
    if (row < norm.rows && i < row_packs) mine = Packets::clean(norm.in(row).load(i));
  };
  load(env.team(), first);
  RowStart start(env, norm, env.team());
  const bool alive = env.begin(norm.rows * row_packs);  // a team leaves together, in team_sum
  const std::uint32_t turn = env.generation() % Packets::kBuffers;
  const int first_slot = static_cast<int>(turn) * world_size;
  const auto put_row = [&](std::int64_t row) {
    if (!alive || row >= norm.rows) return;
    for (std::int64_t i = first; i < row_packs; i += env.team_threads()) {
      if (row != env.team() || i != first) load(row, i);
      put_to_all<Packets>(env, area, first_slot + env.rank(), row * row_packs + i, mine);
    }
  };
  put_row(env.team());
  if (alive) {
    refill_slots<Packets>(env, area, static_cast<int>((turn + 2) % Packets::kBuffers) * world_size,
                          [&](int) { return env.last_num_packs(); });
  }
  const bool one_each = row_packs <= env.team_threads();
  for (std::int64_t row = env.team(); row < norm.rows; row += env.num_teams()) {
    if (row != env.team()) {
      put_row(row);
      start = RowStart(env, norm, row);
    }
    const bool all_came = add_norm_row<kDType>(env, norm, row, start, [&](std::int64_t i, Pack& pack) {
      if (!alive) return false;
      if (!one_each) load(row, i);
      PackSum<kDType> sum;
      const bool came =
          add_contributions<Packets, kDType, kWidth>(env, area, sum, mine, first_slot, row * row_packs + i, 0);
      pack = sum.result();
      return came;
    });
    if (!all_came) return;
  }
}

}  // namespace tandem
