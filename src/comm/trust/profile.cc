#include "comm/trust/profile.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/log.h"
#include "comm/trust/snapshot_json.h"

namespace tandem {
namespace {

// Of the algorithms that rows name: a profile from before a change of what they mean is of another machine.
constexpr int kProfileVersion = 1;

struct Folder {
  std::mutex mutex;
  std::filesystem::path path;
  std::set<std::string> told;  // in the log
};
Folder& folder_of_process() {
  static Folder folder;
  return folder;
}

/// FNV-1a: the same in each process and build.
class Hash {
 public:
  void add(std::string_view text) {
    for (const char c : text) mix(static_cast<unsigned char>(c));
    mix(0xff);  // in no text: so that "a", "bc" differ from "ab", "c"
  }
  void add(int number) { add(std::to_string(number)); }
  std::string hex() const { return format("{:016x}", value_); }

 private:
  void mix(unsigned char byte) { value_ = (value_ ^ byte) * 0x100000001b3; }
  std::uint64_t value_ = 0xcbf29ce484222325;
};

std::string gpus_part(const MachineSnapshot& machine) {
  Hash hash;
  for (const GpuFacts& gpu : machine.gpus) hash.add(gpu.uuid);
  return hash.hex();
}

const BackendFacts* find_backend(const MachineSnapshot& machine, std::string_view name) {
  const auto facts = std::find_if(machine.backends.begin(), machine.backends.end(),
                                  [&](const BackendFacts& backend) { return backend.name == name; });
  return facts == machine.backends.end() ? nullptr : &*facts;
}

std::string nccl_of(const MachineSnapshot& machine) {
  const BackendFacts* nccl = find_backend(machine, "nccl");
  return nccl != nullptr && nccl->works ? nccl->detail : "none that works";
}

std::string age_text(std::chrono::seconds age) {
  const std::int64_t seconds = std::max<std::int64_t>(0, age.count());
  if (seconds < 120) return format("{} s old", seconds);
  if (seconds < 2 * 3600) return format("{} min old", seconds / 60);
  return seconds < 2 * 86400 ? format("{} h old", seconds / 3600) : format("{} days old", seconds / 86400);
}

std::string age_of(const std::filesystem::path& file) {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(file, error);
  if (error) return "of unknown age";
  return age_text(std::chrono::duration_cast<std::chrono::seconds>(decltype(written)::clock::now() - written));
}

// A profile of the same GPUs, made when something else was different.
bool has_older(const std::filesystem::path& folder, const std::string& gpus) {
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with(gpus + "-") && name.ends_with(".json")) return true;
  }
  return false;
}

}  // namespace

void use_profiles(const std::filesystem::path& folder) {
  const std::lock_guard lock(folder_of_process().mutex);
  folder_of_process().path = folder;
}

std::filesystem::path profile_folder() {
  const std::lock_guard lock(folder_of_process().mutex);
  return folder_of_process().path;
}

std::string profile_name(const MachineSnapshot& machine) {
  std::set<std::string> uuids;
  for (const GpuFacts& gpu : machine.gpus) uuids.insert(gpu.uuid);
  if (machine.gpus.size() < 2 || uuids.size() < machine.gpus.size() || uuids.contains("")) return "";
  Hash rest;
  rest.add(kProfileVersion);
  rest.add(machine.driver);
  for (const PairFacts& pair : machine.pairs) {
    rest.add(pair.from);
    rest.add(pair.to);
    rest.add(pair.link);
    rest.add(pair.p2p_status);
    rest.add(pair.can_access ? 1 : 0);
  }
  return format("{}-{}.json", gpus_part(machine), rest.hex());
}

std::optional<std::string> why_other_machine(const MachineSnapshot& profile, const MachineSnapshot& machine) {
  const std::size_t num_gpus = machine.gpus.size();
  if (profile.gpus.size() != num_gpus) return format("it is of {} GPUs, not {}", profile.gpus.size(), num_gpus);
  for (std::size_t i = 0; i < num_gpus; ++i) {
    GpuFacts then = profile.gpus[i];
    const GpuFacts& now = machine.gpus[i];
    then.index = now.index;  // CUDA_VISIBLE_DEVICES changes it
    then.pci_address = now.pci_address;
    if (then != now)
      return format("its GPU of rank {} is {} ({}), not {} ({})", i, then.name, then.uuid, now.name, now.uuid);
  }
  if (profile.driver != machine.driver) return format("its driver is {}, not {}", profile.driver, machine.driver);
  for (const PairFacts& now : machine.pairs) {
    const auto then = std::find_if(profile.pairs.begin(), profile.pairs.end(),
                                   [&](const PairFacts& p) { return p.from == now.from && p.to == now.to; });
    const bool same = then != profile.pairs.end() && then->link == now.link && then->p2p_status == now.p2p_status &&
                      then->can_access == now.can_access;
    if (!same) return format("its link {} is another", pair_name(machine, now));
  }
  if (nccl_of(profile) != nccl_of(machine)) {
    return format("its NCCL is {}, and here is {}", nccl_of(profile), nccl_of(machine));
  }
  return std::nullopt;
}

FoundProfile find_profile(const std::filesystem::path& folder, const MachineSnapshot& machine) {
  const std::string name = profile_name(machine);
  if (folder.empty() || name.empty()) return {};
  const std::filesystem::path file = folder / name;
  try {
    MachineSnapshot profile = read_snapshot(file);
    if (const auto why = why_other_machine(profile, machine)) {
      return {.told = format("{} is ignored: {}; tandem tune makes a new one", file.string(), *why), .ignored = true};
    }
    return {.profile = std::move(profile), .told = format("{}, {}", file.string(), age_of(file))};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound) {
      return {.told = format("{} is ignored: {}; tandem tune makes a new one", file.string(), error.what()),
              .ignored = true};
    }
  }
  const bool older = has_older(folder, gpus_part(machine));
  return {.told = format("none in {}{}; tandem tune makes one", folder.string(),
                         older ? " but for other links or another driver of these GPUs" : "")};
}

bool recall_profile(MachineSnapshot& machine) {
  FoundProfile found = find_profile(profile_folder(), machine);
  machine.profile = found.told;
  if (found.ignored) {
    const std::lock_guard lock(folder_of_process().mutex);
    if (folder_of_process().told.insert(found.told).second) {
      log(LogLevel::kWarn, Subsystem::kComm, "profile: {}", found.told);
    }
  }
  if (!found.profile) return false;
  machine.calls = std::move(found.profile->calls);
  machine.tuning = std::move(found.profile->tuning);
  for (const BackendFacts& then : found.profile->backends) {  // what failed when it was measured
    if (then.works || then.name == "nccl") continue;
    std::erase_if(machine.backends, [&](const BackendFacts& now) { return now.name == then.name; });
    machine.backends.push_back(then);
  }
  return true;
}

std::filesystem::path store_profile(const std::filesystem::path& folder, const MachineSnapshot& machine) {
  const std::string name = profile_name(machine);
  if (name.empty()) {
    fail(ErrorKind::kUnsupported, "a profile is of two GPUs or more, each with a UUID of its own; these are {}",
         machine.gpus.size());
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(ErrorKind::kUnreadable, "cannot make the folder {}: {}", folder.string(), error.message());
  const std::filesystem::path file = folder / name;
  const std::filesystem::path unfinished = folder / format(".{}.{}", name, ::getpid());
  std::ofstream out(unfinished);
  const bool written = static_cast<bool>(out << snapshot_json(machine)) && out.flush();
  const std::string reason = std::strerror(errno);
  out.close();
  if (written) std::filesystem::rename(unfinished, file, error);
  if (!written || error) {
    std::error_code ignored;
    std::filesystem::remove(unfinished, ignored);
    fail(ErrorKind::kUnreadable, "cannot write {}: {}", file.string(), written ? error.message() : reason);
  }
  return file;
}

}  // namespace tandem
