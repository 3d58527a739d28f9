#pragma once
// Facts of machines as files; docs/reference/machine-snapshot.md describes them. They are snapshots of `tandem check`
// with more in them: that reads these, and the doctor reads those.

#include <filesystem>
#include <string>
#include <string_view>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

/// Without what names a machine or a person: UUIDs and serial numbers become short hashes of theirs, the same for the
/// same, the kernel its number, people's paths and their groups, hosts and keys "(path)", "(other)", "(name)", "(set)";
/// of the environment only numbers, GPUs and words that such variables have stay. What is redacted stays as it is.
MachineFacts redacted(const MachineFacts& facts);

std::string machine_facts_json(const MachineFacts& facts);

/// Throws kBadFile naming `origin` (a path) and the field, as parse_snapshot does.
MachineFacts parse_machine_facts(std::string_view text, std::string_view origin);
MachineFacts read_machine_facts(const std::filesystem::path& path);

}  // namespace tandem
