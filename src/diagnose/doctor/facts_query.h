#pragma once
// Questions to MachineFacts that several findings ask.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "diagnose/doctor/findings.h"
#include "diagnose/machine/machine_facts.h"

namespace tandem {

using Observations = std::vector<Observation>;

/// GPUs that somebody sees: the PCI bus, NVML, or the process.
bool has_gpus(const MachineFacts& facts);
/// Those of NVML and the process; where they show none, those of the PCI bus, which in a container are the host's.
int num_gpus(const MachineFacts& facts);
/// Those of the PCI bus.
std::vector<PciDevice> pci_gpus(const MachineFacts& facts);
/// Of them those that NVML shows; all, where it shows none.
std::vector<PciDevice> our_pci_gpus(const MachineFacts& facts);
/// nullptr: there is none.
const PciDevice* pci_device(const MachineFacts& facts, std::string_view address);
const GpuHealth* gpu_at(const MachineFacts& facts, std::string_view address);

/// "0000:17:00.0 (cuda:0, NVIDIA H200)", as far as it is known.
std::string gpu_name(const MachineFacts& facts, std::string_view address);
bool is_geforce(const GpuHealth& gpu);
bool is_geforce(const GpuFacts& gpu);

/// nullopt: it is not set, or empty.
std::optional<std::string> environment(const MachineFacts& facts, const std::string& name);
/// Whether one is set to what NVIDIA's libraries take for yes.
bool is_on(const std::optional<std::string>& value);

/// Text without regard to case.
bool mentions(std::string_view text, std::string_view word);
/// 580 of "580.159.04"; 0: there is no number.
int major_of(std::string_view version);
/// "64 MB", "141.1 GB"; powers of two.
std::string size_text(std::uint64_t bytes);

/// One observation for each GPU of NVML for which `describe` has a text, after the GPU's name; the PCI address is its
/// subject.
Observations each_gpu(const MachineFacts& facts, const std::function<std::string(const GpuHealth&)>& describe);
/// One for each ordered pair.
Observations each_pair(const MachineFacts& facts,
                       const std::function<std::string(const PairFacts&, const GpuFacts&, const GpuFacts&)>& describe);

/// Whether the pair talks over PCI Express, by what is known.
bool over_pcie(const PairFacts& pair);
bool has_pcie_pairs(const MachineFacts& facts);
bool failed_probe(const PairFacts& pair);
/// Whether a pair over PCI Express failed its probe.
bool pcie_pair_failed(const MachineFacts& facts);

}  // namespace tandem
