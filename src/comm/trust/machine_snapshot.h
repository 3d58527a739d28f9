#pragma once
// What is known of a machine when a back-end is chosen: plain data, so that a choice can be recorded, replayed,
// tested and explained.

#include <cstdint>
#include <string>
#include <vector>

#include "comm/call.h"

namespace tandem {

/// How the memory of a pair's receiver was found to behave, as the receiver saw it.
enum class ProbeOutcome {
  kNotTried,    ///< nobody looked, or an earlier failure came first
  kPassed,      ///< every message came, whole, unchanged and in order
  kNoAccess,    ///< the driver claims none
  kMapFailed,   ///< the driver claims access, and refuses to map
  kLost,        ///< a message did not come before the deadline
  kCorrupt,     ///< other bits than were sent
  kOutOfOrder,  ///< a flag was seen before the data that it vouches for
};

/// Of an ordered pair: what `from` wrote into the memory of `to`.
struct ProbeResult {
  ProbeOutcome outcome = ProbeOutcome::kNotTried;
  std::int64_t rounds = 0;  ///< messages that were judged
  std::string detail = {};  ///< of a failure: what was seen, where
  double latency_us = 0;    ///< one way, of a message of 8 bytes; 0: not measured
  double bandwidth = 0;     ///< bytes/s of stores by `from`, both directions at once; 0: not measured
};

struct GpuFacts {
  int index = 0;  ///< as this process numbers GPUs
  std::string name, uuid, pci_address;
  int major = 0, minor = 0;  ///< compute capability
  int num_sms = 0;
  std::uint64_t memory_bytes = 0;
  bool is_mig = false;
};

struct PairFacts {
  int from = 0, to = 0;     ///< places in MachineSnapshot::gpus
  std::string link = {};    ///< "NV18", "PIX", "PHB", "SYS", ... as `nvidia-smi topo -m` names them; empty: not known
  bool can_access = false;  ///< as the driver claims
  ProbeResult probe = {};
};

/// A back-end by itself, whatever the links.
struct BackendFacts {
  std::string name;
  bool works = false;
  std::string detail = {};  ///< its version; or why it does not work
};

/// How long a call took on the slowest rank, its result checked.
struct MeasuredCall {
  std::string backend;
  Collective op = Collective::kAllReduce;
  std::int64_t bytes = 0;  ///< as `tandem bench comm` counts them
  double microseconds = 0;
};

struct MachineSnapshot {
  std::string driver = {};  ///< version, "580.159.04"; empty: none
  std::vector<GpuFacts> gpus = {};
  std::vector<PairFacts> pairs = {};  ///< every ordered pair
  std::vector<BackendFacts> backends = {};
  std::vector<MeasuredCall> calls = {};
};

}  // namespace tandem
