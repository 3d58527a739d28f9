// comm serves other engines too: this program links tandem_comm and nothing above or beside it.
#include <cstdio>

#include "base/error.h"
#include "comm/connectivity.h"
#include "comm/rank_team.h"
#include "device/buffer.h"

namespace {

bool refuses_a_gpu_twice() {
  try {
    tandem::check_p2p_connectivity(std::vector{0, 0});
  } catch (const tandem::Error& error) {
    return error.kind() == tandem::ErrorKind::kInvalidArgument;
  }
  return false;
}

}  // namespace

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
  const bool summed = sums[0] == 3 && sums[1] == 3;
  const bool connected = bool(tandem::check_p2p_connectivity(std::vector<int>{}));
  const bool serves = tandem::get_available_backends(std::vector<tandem::Device>(2)) == std::vector<std::string>{"cpu"};
  return summed && connected && serves && refuses_a_gpu_twice() ? 0 : 1;
}
