#pragma once
// Healthy machines for tests to spoil, made up after what such machines are known to report.

#include <string>

#include "diagnose/machine/machine_facts.h"

namespace tandem {

/// Four H200 with NVSwitch, each below a switch of its own.
MachineFacts healthy_h200x4();
/// RTX 3090, an NVLink bridge between each two, at root ports of their own. Between the others the driver gives no
/// access: only two of them are healthy.
MachineFacts rtx3090s(int count);
MachineFacts healthy_rtx3090x2();
/// Two RTX 6000 Ada below one PCI Express switch; no NVLink.
MachineFacts healthy_rtx6000x2();

/// What the driver says of every pair, and what the probe finds then.
void set_access(MachineFacts& facts, bool can_access, const std::string& p2p_status);
void set_links(MachineFacts& facts, const std::string& link);

/// The ordered pair.
PairFacts& pair_of(MachineFacts& facts, int from, int to);

}  // namespace tandem
