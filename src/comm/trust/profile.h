#pragma once
// A machine's profile: the snapshot that `tandem tune` made of it, kept as a file, so that other processes need not
// measure what it holds. Links are probed by each process all the same.

#include <filesystem>
#include <optional>
#include <string>

#include "comm/trust/machine_snapshot.h"

namespace tandem {

/// Where this process looks for profiles; empty, as at first: nowhere. Any thread; before the first group is made.
void use_profiles(const std::filesystem::path& folder);
std::filesystem::path profile_folder();

/// The name of a machine's file: of its GPUs in rank order by UUID, and of driver, links and the format. Empty: GPUs
/// that cannot be told apart have no profile, and CPU ranks need none.
std::string profile_name(const MachineSnapshot& machine);

/// Why the profile is of another machine than `machine`, of which the facts are enough; nullopt: it is of this one.
/// Looks at what measured times depend on: GPUs but for their numbers, driver, links, NCCL's version.
std::optional<std::string> why_other_machine(const MachineSnapshot& profile, const MachineSnapshot& machine);

struct FoundProfile {
  std::optional<MachineSnapshot> profile = std::nullopt;
  std::string told = {};  ///< which file and how old, or why there is none; empty: nobody looks for profiles
  bool ignored = false;   ///< there is a file, and it cannot be used
};
/// Never throws for what it finds.
FoundProfile find_profile(const std::filesystem::path& folder, const MachineSnapshot& machine);

/// Takes calls and tuning from the machine's profile in profile_folder(), and tells of it in MachineSnapshot::profile.
/// Whether there was one. A file that cannot be used is told once in the log.
bool recall_profile(MachineSnapshot& machine);

/// Writes the profile beside the one that is there and puts it in its place: a process that ends meanwhile, or reads,
/// leaves and sees a whole one. Makes the folder. Throws kUnreadable with the system's reason, and kUnsupported for a
/// machine that has no profile_name(). Returns the file.
std::filesystem::path store_profile(const std::filesystem::path& folder, const MachineSnapshot& machine);

}  // namespace tandem
