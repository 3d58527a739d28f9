#pragma once
// Machine facts with something in every field, for tests.

#include <cstdint>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

/// `full`: no optional is empty and no list; else some are.
MachineFacts random_facts(std::uint32_t seed, bool full);

}  // namespace tandem
