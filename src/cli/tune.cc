// `tandem tune`: how these GPUs communicate fastest, measured and stored as their profile.
#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/sizes.h"
#include "comm/device_list.h"
#include "comm/group_size.h"
#include "comm/trust/profile.h"
#include "device/cuda/runtime.h"
#include "diagnose/tune.h"

namespace tandem::cli {
namespace {

[[noreturn]] void refuse_devices(const std::string& why) {
  fail_with_hint(ErrorKind::kUnsupported, format("nothing to tune: {}", why),
                 "tune measures how two GPUs or more reach each other; on CPUs there is one way. tandem check tells "
                 "what this machine has");
}

// All GPUs.
std::vector<Device> devices_to_tune(const Settings& settings) {
  std::vector<std::string> names = settings.list("devices");
  int ranks = settings.bounded("tp", kMaxWorldSize);
  if (names.empty()) {
    int num_gpus = 0;
    std::string why_none = "this build has no CUDA";
    if constexpr (kBuiltWithCuda) num_gpus = cuda::num_devices(&why_none);
    if (num_gpus == 0) refuse_devices(format("no GPU can be used: {}", why_none));
    if (ranks > num_gpus) {
      fail_with_hint(ErrorKind::kInvalidArgument, format("{} ranks, and {} GPUs", ranks, num_gpus), "a smaller --tp");
    }
    for (int i = 0; i < (ranks > 0 ? ranks : std::min(num_gpus, kMaxWorldSize)); ++i) {
      names.push_back(std::to_string(i));
    }
    ranks = 0;
  }
  std::vector<Device> devices = parse_devices(names, ranks);
  if (devices.front().is_cpu()) refuse_devices("the ranks are CPUs");
  if (devices.size() < 2) refuse_devices("one rank has nobody to talk to");
  return devices;
}

TuneParameters tune_parameters(const TuneOptions& options, const Settings& settings) {
  TuneParameters parameters{.ops = {}, .sizes = parse_sizes(options.sizes)};
  std::sort(parameters.sizes.begin(), parameters.sizes.end());
  parameters.sizes.erase(std::unique(parameters.sizes.begin(), parameters.sizes.end()), parameters.sizes.end());
  if (options.ops == std::vector<std::string>{"all"}) {
    parameters.ops.assign(tunable_ops().begin(), tunable_ops().end());
  } else {
    for (const std::string& name : options.ops) {
      const Collective op = parse_tunable_op(name);
      const bool twice = std::find(parameters.ops.begin(), parameters.ops.end(), op) != parameters.ops.end();
      if (!twice) parameters.ops.push_back(op);
    }
  }
  if (!options.dry_run && profile_folder().empty()) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("{}: profile_dir is \"{}\": there is nowhere to store a profile",
                          settings.value("profile_dir").origin, settings.string("profile_dir")),
                   "name a folder in --profile-dir, or measure only, with --dry-run");
  }
  return parameters;
}

}  // namespace

int tune_command(const TuneOptions& options, const Settings& settings, InterruptThread& interrupt) {
  TuneParameters parameters = tune_parameters(options, settings);
  const std::vector<Device> devices = devices_to_tune(settings);
  const auto world_size = static_cast<std::int64_t>(devices.size());
  parameters.inbox_bytes = p2p_buffer_bytes(settings, devices.size());
  if (const std::int64_t smallest = 2 * world_size; parameters.sizes.front() < smallest) {
    fail_with_hint(ErrorKind::kInvalidArgument,
                   format("{} bytes have no bf16 for each of {} ranks", parameters.sizes.front(), world_size),
                   format("use sizes of {} and more", smallest));
  }
  const auto stop_if_interrupted = [&] {
    if (interrupt.interrupted()) fail(ErrorKind::kCancelled, "interrupted; what was stored before stays as it is");
  };
  TuneResult result;
  {
    StatusLine status;
    result = tune_devices(devices, parameters, settings.number("timeout"), [&](std::string_view step) {
      stop_if_interrupted();
      status.show(step);
    });
  }
  stop_if_interrupted();
  std::string stored;
  if (!options.dry_run && !result.sizes.empty()) stored = store_profile(profile_folder(), result.profile).string();
  write_stdout(options.json ? tune_json(result, stored) + "\n" : format_tune(result));
  if (!options.json) {
    std::fprintf(stderr, "%s\n", stored.empty() ? "nothing was stored" : ("stored in " + stored).c_str());
  }
  return result.findings.empty() ? 0 : 1;
}

}  // namespace tandem::cli
