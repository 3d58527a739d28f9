#pragma once
// Facts of machines as files; docs/reference/machine-snapshot.md describes them. They are snapshots of `tandem check`
// with more in them: that reads these, and the doctor reads those.

#include <filesystem>
#include <string>
#include <string_view>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

/// Without what names a machine or a person: UUIDs and serial numbers become short hashes of theirs, the same for the
/// same, the kernel its number, values of the environment that are paths or names of hosts "(set)".
MachineFacts redacted(const MachineFacts& facts);

std::string machine_facts_json(const MachineFacts& facts);

/// Throws kBadFile naming `origin` (a path) and the field, as parse_snapshot does.
MachineFacts parse_machine_facts(std::string_view text, std::string_view origin);
MachineFacts read_machine_facts(const std::filesystem::path& path);

}  // namespace tandem
