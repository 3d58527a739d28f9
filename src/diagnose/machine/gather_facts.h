#pragma once
// Reads what the doctor knows of this machine. Unprivileged; what it may not read it names.

#include <filesystem>
#include <string>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

/// Where to look: tests have machines of their own in a folder.
struct FactSources {
  std::filesystem::path root = "/";          ///< below it /proc, /sys, /dev, /etc
  std::string nvml_file = {};                ///< empty: the driver's
  const char* const* environment = nullptr;  ///< "NAME=value"s, ended by null; null: the process's own
};

/// All but `fabric`, which check_machine() finds out. Below a second; never throws for what it cannot read.
MachineFacts gather_machine_facts(const FactSources& sources = {});

}  // namespace tandem
