#pragma once
// What is known of a machine when a back-end is chosen: plain data, so that a choice can be recorded, replayed,
// tested and explained.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "comm/call.h"
#include "comm/push/tuning.h"
#include "comm/trust/probe_outcome.h"

namespace tandem {

/// Stable, in kebab-case, of a failure the code of the reason for which p2p is refused: "passed", "not-probed",
/// "no-peer-access", "map-failed", "message-lost", "corrupt", "out-of-order".
std::string_view to_string(ProbeOutcome outcome);

/// Of an ordered pair: what `from` wrote into the memory of `to`.
struct ProbeResult {
  ProbeOutcome outcome = ProbeOutcome::kNotTried;
  std::int64_t rounds = 0;  ///< messages that were judged
  std::string detail = {};  ///< of a failure: what was seen, where
  double latency_us = 0;    ///< one way, of a message of 8 bytes; 0: not measured
  double bandwidth = 0;     ///< bytes/s of stores by `from`, both directions at once; 0: not measured
  bool operator==(const ProbeResult&) const = default;
};

struct GpuFacts {
  int index = 0;  ///< as this process numbers GPUs
  std::string name, uuid, pci_address;
  int major = 0, minor = 0;  ///< compute capability
  int num_sms = 0;
  std::uint64_t memory_bytes = 0;
  bool is_mig = false;  ///< a slice of a GPU, or a GPU that is cut into slices
  bool operator==(const GpuFacts&) const = default;
};

struct PairFacts {
  int from = 0, to = 0;     ///< places in MachineSnapshot::gpus
  std::string link = {};    ///< "NV18", "PIX", "PHB", "SYS", ... as `nvidia-smi topo -m` names them; empty: not known
  bool can_access = false;  ///< as the driver claims
  ProbeResult probe = {};
  /// What the driver says of reads and writes between them, as `nvidia-smi topo -p2p r` prints it: "OK"; "CNS", "GNS",
  /// "TNS" (chipset, GPU, topology not supported), "DR" (disabled by a key of the registry), "NS"; empty: not known.
  std::string p2p_status = {};
  bool operator==(const PairFacts&) const = default;
};

/// A back-end by itself, whatever the links.
struct BackendFacts {
  std::string name;
  bool works = false;
  std::string detail = {};  ///< its version; or why it does not work
  bool operator==(const BackendFacts&) const = default;
};

/// How long a call took on the slowest rank, its result checked.
struct MeasuredCall {
  std::string backend;
  Collective op = Collective::kAllReduce;
  std::int64_t bytes = 0;  ///< as `tandem bench comm` counts them
  double microseconds = 0;
  bool operator==(const MeasuredCall&) const = default;
};

/// Of the devices of one group.
struct MachineSnapshot {
  std::string driver = {};            ///< version, "580.159.04"; empty: none, or not known
  std::vector<GpuFacts> gpus = {};    ///< by rank; none: the ranks are CPUs
  std::vector<PairFacts> pairs = {};  ///< every ordered pair
  std::vector<BackendFacts> backends = {};
  std::vector<MeasuredCall> calls = {};
  Tuning tuning = {};
  std::string no_gpus = {};  ///< why this process can use none; empty: it can, or nobody looked
  std::string profile = {};  ///< which file calls and tuning come from, or why from none; empty: nobody looked
  std::string no_nvml = {};  ///< why links are not known; empty: NVML told, or nobody asked
  bool operator==(const MachineSnapshot&) const = default;
};

/// "cuda:0 -> cuda:2"
std::string pair_name(const MachineSnapshot& machine, const PairFacts& pair);

}  // namespace tandem
