#pragma once
// Snapshots of machines as files; docs/reference/machine-snapshot.md describes them.

#include <filesystem>
#include <string>
#include <string_view>

#include "comm/trust/machine_snapshot.h"

namespace tandem {

/// JSON of version 1. Line breaks in texts become spaces, other control characters '?'.
std::string snapshot_json(const MachineSnapshot& machine);

/// Throws kBadFile naming `origin` (a path) and the field: what is no JSON, another format or version, fields that are
/// missing or of the wrong type, numbers out of range, pairs that are missing or there twice. Fields that it does not
/// know are left alone, with them those that version 2 has more (diagnose/machine/facts_json.h).
MachineSnapshot parse_snapshot(std::string_view text, std::string_view origin);
/// Reads a whole file; throws kNotFound and kUnreadable as well.
MachineSnapshot read_snapshot(const std::filesystem::path& path);

}  // namespace tandem
