// comm serves other engines too: this program links tandem_comm and nothing above or beside it.
#include <cstdio>

#include "comm/rank_team.h"
#include "device/buffer.h"

int main() {
  tandem::RankTeam team({.world_size = 2});
  float sums[2] = {};
  team.run([&](tandem::RankContext& context) {
    const tandem::OwnedTensor x(context.stream.device(), tandem::DType::kF32, {1});
    *x.tensor.data<float>() = static_cast<float>(context.rank + 1);
    context.comm.all_reduce(context.stream, x.tensor);
    sums[context.rank] = *x.tensor.data<float>();
  });
  std::printf("%g %g\n", sums[0], sums[1]);
  return sums[0] == 3 && sums[1] == 3 ? 0 : 1;
}
