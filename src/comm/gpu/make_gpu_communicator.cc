#include "comm/gpu/make_gpu_communicator.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "base/error.h"
#include "base/log.h"
#include "comm/gpu/gpu_communicator.h"
#include "comm/nccl/nccl_transport.h"
#include "comm/push/push_transport.h"
#include "comm/trust/choice.h"
#include "comm/trust/known_machine.h"

namespace tandem {
namespace {

// Ranks queue on threads of their own, so it costs time and nothing else.
void warn_of_blocking_launches() {
  static std::once_flag once;
  std::call_once(once, [] {
    const char* value = std::getenv("CUDA_LAUNCH_BLOCKING");
    if (value == nullptr || std::string_view(value) == "0") return;
    log(LogLevel::kWarn, Subsystem::kComm,
        "CUDA_LAUNCH_BLOCKING is {}: outside of graphs, calls return when their kernels have ended", value);
  });
}

std::unique_ptr<GpuTransport> make_transport(std::string_view backend, GpuCommunicator& owner, const Tuning& tuning) {
  if (backend == "p2p") return make_p2p_transport(owner, tuning);
  if (backend == "nccl") return make_nccl_transport(owner);
  return make_native_transport(owner, tuning);
}

/// What the ranks of a group share: the choice, made by the first of them, and the tuning.
struct ChosenBackends final : BackendState {
  ChosenBackends(std::string_view wanted, const MachineSnapshot& machine)
      : choice(choose_backends(machine, wanted)), names(choice.used()), tuning(machine.tuning) {
    const LogLevel level = wanted == "auto" ? LogLevel::kInfo : LogLevel::kDebug;
    for (const std::string& line : choice.log_lines()) log(level, Subsystem::kComm, "{}", line);
  }
  void wake_all() noexcept override {}

  std::size_t place_of(Collective op, std::int64_t bytes) const {
    const std::string& name = choice.backend_for(op, bytes);
    return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  }

  Choice choice;
  std::vector<std::string> names;
  Tuning tuning;
};

}  // namespace

std::unique_ptr<Communicator> make_gpu_communicator(std::string_view backend, const Group& group, int rank) {
  // First, as it says what is wrong with a group, and the rest takes for granted that nothing is.
  const auto checked = group.backend_state("gpu", [&] { return std::make_shared<GpuGroup>(group.options()); });
  warn_of_blocking_launches();
  if (group.world_size() == 1) {
    return std::make_unique<GpuCommunicator>(group, rank, backend, std::vector<GpuCommunicator::MakeTransport>{});
  }
  std::shared_ptr<const MachineSnapshot> machine = group.options().machine;
  if (!machine) {  // may take seconds, so not inside the group's lock
    machine = known_machine(group.options().devices, backend == "auto"  ? Knowledge::kCalibrated
                                                     : backend == "p2p" ? Knowledge::kProbed
                                                                        : Knowledge::kFacts);
  }
  const auto chosen = std::static_pointer_cast<ChosenBackends>(
      group.backend_state("choice", [&] { return std::make_shared<ChosenBackends>(backend, *machine); }));
  if (chosen->choice.wanted != backend) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("rank {} wants the back-end \"{}\", and another rank of its group has made one of \"{}\"",
                          rank, backend, chosen->choice.wanted),
                   "give all ranks of a group the same back-end");
  }
  std::vector<GpuCommunicator::MakeTransport> transports;
  for (const std::string& name : chosen->names) {
    transports.push_back(
        [name, chosen](GpuCommunicator& owner) { return make_transport(name, owner, chosen->tuning); });
  }
  GpuCommunicator::Route route;
  if (transports.size() > 1) {
    route = [chosen](Collective op, std::int64_t bytes) { return chosen->place_of(op, bytes); };
  }
  return std::make_unique<GpuCommunicator>(group, rank, backend, transports, route);
}

}  // namespace tandem
