#pragma once
// Healthy machines for tests to spoil, made up after what such machines are known to report.

#include "diagnose/machine/machine_facts.h"

namespace tandem {

/// Four H200 with NVSwitch, each below a switch of its own.
MachineFacts healthy_h200x4();
/// Two RTX 3090 with an NVLink bridge, at two root ports.
MachineFacts healthy_rtx3090x2();
/// Two RTX 6000 Ada below one PCI Express switch; no NVLink.
MachineFacts healthy_rtx6000x2();

/// The ordered pair.
PairFacts& pair_of(MachineFacts& facts, int from, int to);

}  // namespace tandem
