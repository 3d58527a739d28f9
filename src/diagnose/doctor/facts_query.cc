#include "diagnose/doctor/facts_query.h"

#include <algorithm>
#include <cctype>

#include "base/format.h"
#include "comm/trust/choice.h"

namespace tandem {

bool has_gpus(const MachineFacts& facts) {
  return num_gpus(facts) > 0;
}

int num_gpus(const MachineFacts& facts) {
  const std::size_t shown = std::max(facts.gpus.size(), facts.fabric.gpus.size());
  return static_cast<int>(shown > 0 ? shown : pci_gpus(facts).size());
}

std::vector<PciDevice> pci_gpus(const MachineFacts& facts) {
  std::vector<PciDevice> gpus;
  std::copy_if(facts.pci.begin(), facts.pci.end(), std::back_inserter(gpus),
               [](const PciDevice& device) { return device.kind == "gpu"; });
  return gpus;
}

std::vector<PciDevice> our_pci_gpus(const MachineFacts& facts) {
  std::vector<PciDevice> gpus = pci_gpus(facts);
  if (!facts.gpus.empty()) {
    std::erase_if(gpus, [&](const PciDevice& gpu) { return gpu_at(facts, gpu.address) == nullptr; });
  }
  return gpus;
}

const PciDevice* pci_device(const MachineFacts& facts, std::string_view address) {
  const auto found = std::find_if(facts.pci.begin(), facts.pci.end(),
                                  [&](const PciDevice& device) { return device.address == address; });
  return found == facts.pci.end() ? nullptr : &*found;
}

const GpuHealth* gpu_at(const MachineFacts& facts, std::string_view address) {
  const auto found = std::find_if(facts.gpus.begin(), facts.gpus.end(),
                                  [&](const GpuHealth& gpu) { return gpu.pci_address == address; });
  return found == facts.gpus.end() ? nullptr : &*found;
}

std::string gpu_name(const MachineFacts& facts, std::string_view address) {
  const GpuHealth* gpu = gpu_at(facts, address);
  if (gpu == nullptr) return std::string(address);
  const std::string index = gpu->index ? format("cuda:{}", *gpu->index) : "hidden from CUDA";
  return format("{} ({}, {})", address, index, gpu->name);
}

bool is_geforce(const GpuHealth& gpu) {
  return mentions(gpu.name, "geforce");
}

bool is_geforce(const GpuFacts& gpu) {
  return mentions(gpu.name, "geforce");
}

std::optional<std::string> environment(const MachineFacts& facts, const std::string& name) {
  const auto found = facts.host.environment.find(name);
  if (found == facts.host.environment.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

bool is_on(const std::optional<std::string>& value) {
  return value && *value != "0";
}

bool mentions(std::string_view text, std::string_view word) {
  return std::search(text.begin(), text.end(), word.begin(), word.end(),
                     [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); }) != text.end();
}

int major_of(std::string_view version) {
  int number = 0;
  for (const char c : version.substr(0, 6)) {
    if (c < '0' || c > '9') break;
    number = number * 10 + (c - '0');
  }
  return number;
}

std::string size_text(std::uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes >= 1u << 30) return format("{:.4g} GB", value / (1 << 30));
  if (bytes >= 1u << 20) return format("{:.4g} MB", value / (1 << 20));
  return format("{:.4g} KB", value / (1 << 10));
}

Observations each_gpu(const MachineFacts& facts, const std::function<std::string(const GpuHealth&)>& describe) {
  Observations seen;
  for (const GpuHealth& gpu : facts.gpus) {
    const std::string text = describe(gpu);
    if (!text.empty()) seen.push_back({format("{}: {}", gpu_name(facts, gpu.pci_address), text), gpu.pci_address});
  }
  return seen;
}

Observations each_pair(const MachineFacts& facts,
                       const std::function<std::string(const PairFacts&, const GpuFacts&, const GpuFacts&)>& describe) {
  Observations seen;
  for (const PairFacts& pair : facts.fabric.pairs) {
    const std::string text = describe(pair, facts.fabric.gpus[static_cast<std::size_t>(pair.from)],
                                      facts.fabric.gpus[static_cast<std::size_t>(pair.to)]);
    if (!text.empty()) seen.push_back({format("{}: {}", pair_name(facts.fabric, pair), text)});
  }
  return seen;
}

bool over_pcie(const PairFacts& pair) {
  return !pair.link.starts_with("NV");
}

bool has_pcie_pairs(const MachineFacts& facts) {
  if (!facts.fabric.pairs.empty()) {
    return std::any_of(facts.fabric.pairs.begin(), facts.fabric.pairs.end(), over_pcie);
  }
  if (num_gpus(facts) < 2) return false;
  return facts.gpus.empty() || std::any_of(facts.gpus.begin(), facts.gpus.end(), [](const GpuHealth& gpu) {
           return std::none_of(gpu.nvlinks.begin(), gpu.nvlinks.end(), [](const NvLink& link) { return link.active; });
         });
}

bool failed_probe(const PairFacts& pair) {
  return has_access(pair) && pair.probe.outcome != ProbeOutcome::kPassed &&
         pair.probe.outcome != ProbeOutcome::kNotTried;
}

bool pcie_pair_failed(const MachineFacts& facts) {
  return std::any_of(facts.fabric.pairs.begin(), facts.fabric.pairs.end(),
                     [](const PairFacts& pair) { return over_pcie(pair) && failed_probe(pair); });
}

}  // namespace tandem
