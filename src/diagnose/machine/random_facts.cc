#include "diagnose/machine/random_facts.h"

#include <array>

#include "base/format.h"
#include "base/random.h"

namespace tandem {
namespace {

class Source {
 public:
  Source(std::uint32_t seed, bool full) : seed_(seed), full_(full) {}

  std::uint32_t word() { return philox({count_++, 0, 0, 0}, {seed_, 0})[0]; }
  std::uint64_t big() { return std::uint64_t{word()} << 32 | word(); }
  int integer() { return static_cast<int>(word() >> 1); }
  double real() { return static_cast<double>(word()) / 7; }
  bool flag() { return word() % 2 == 1; }
  std::string text() { return format("text \u00e9 \"{}\" \\ {}", count_, word()); }

  template <class T>
  std::optional<T> maybe(T value) {
    return full_ || flag() ? std::optional(std::move(value)) : std::nullopt;
  }
  template <class Make>
  auto list(const Make& make) {
    std::vector<decltype(make())> values;
    for (std::uint32_t n = full_ ? 2 : word() % 4; n > 0; --n) values.push_back(make());
    return values;
  }
  std::vector<std::string> texts() {
    return list([&] { return text(); });
  }
  std::map<std::string, std::string> table() { return {{text(), text()}, {"NAME", text()}}; }

 private:
  std::uint32_t seed_, count_ = 0;
  bool full_;
};

HostFacts random_host(Source& r) {
  return {.os = r.text(),
          .kernel = r.text(),
          .hypervisor = r.text(),
          .wsl = r.flag(),
          .container = r.text(),
          .cpus = r.maybe(r.integer()),
          .sockets = r.maybe(r.integer()),
          .numa_nodes = r.maybe(r.integer()),
          .memory_bytes = r.maybe(r.big()),
          .available_memory_bytes = r.maybe(r.big()),
          .load_average = r.maybe(r.real()),
          .memlock_bytes = r.maybe(~std::uint64_t{0}),
          .shm_bytes = r.maybe(r.big()),
          .free_shm_bytes = r.maybe(r.big()),
          .kernel_options = r.texts(),
          .iommu_active = r.maybe(r.flag()),
          .kernel_modules = r.texts(),
          .environment = r.table(),
          .device_nodes = r.list([&]() -> DeviceNode {
            return {.path = r.text(), .exists = r.flag(), .usable = r.flag(), .mode = r.text(), .group = r.text()};
          })};
}

PciDevice random_pci(Source& r) {
  return {.address = r.text(),
          .vendor = r.text(),
          .device = r.text(),
          .kind = r.text(),
          .driver = r.text(),
          .parent = r.text(),
          .link_gts = r.maybe(r.real()),
          .max_link_gts = r.maybe(r.real()),
          .link_width = r.maybe(r.integer()),
          .max_link_width = r.maybe(r.integer()),
          .numa_node = r.maybe(r.flag() ? -1 : r.integer()),
          .iommu_group = r.maybe(r.integer()),
          .iommu_group_type = r.text(),
          .bar1_bytes = r.maybe(r.big()),
          .acs_redirects = r.maybe(r.flag()),
          .answers = r.flag()};
}

GpuHealth random_gpu(Source& r) {
  return {.pci_address = r.text(),
          .name = r.text(),
          .uuid = r.text(),
          .compute_capability = r.text(),
          .index = r.maybe(r.integer()),
          .memory_bytes = r.maybe(r.big()),
          .used_memory_bytes = r.maybe(r.big()),
          .bar1_bytes = r.maybe(r.big()),
          .used_bar1_bytes = r.maybe(r.big()),
          .mig = r.maybe(r.flag()),
          .display_active = r.maybe(r.flag()),
          .persistence = r.maybe(r.flag()),
          .compute_mode = r.text(),
          .virtualization = r.text(),
          .addressing_mode = r.text(),
          .watts = r.maybe(r.real()),
          .limit_watts = r.maybe(r.real()),
          .max_limit_watts = r.maybe(r.real()),
          .celsius = r.maybe(r.flag() ? -20 : r.integer()),
          .slowdown_celsius = r.maybe(r.integer()),
          .sm_mhz = r.maybe(r.integer()),
          .max_sm_mhz = r.maybe(r.integer()),
          .throttle_reasons = r.texts(),
          .pcie_generation = r.maybe(r.integer()),
          .max_pcie_generation = r.maybe(r.integer()),
          .pcie_width = r.maybe(r.integer()),
          .max_pcie_width = r.maybe(r.integer()),
          .pcie_replays = r.maybe(r.big()),
          .ecc = r.maybe(r.flag()),
          .uncorrected_ecc_errors = r.maybe(r.big()),
          .pending_row_remap = r.maybe(r.flag()),
          .nvlinks = r.list([&]() -> NvLink {
            return {
                .active = r.flag(), .version = r.maybe(r.integer()), .remote = r.text(), .errors = r.maybe(r.big())};
          }),
          .fabric_state = r.text(),
          .processes = r.list(
              [&]() -> GpuProcess { return {.pid = r.word(), .ours = r.flag(), .memory_bytes = r.maybe(r.big())}; })};
}

}  // namespace

MachineFacts random_facts(std::uint32_t seed, bool full) {
  Source r(seed, full);
  return {.host = random_host(r),
          .driver = {.version = r.text(),
                     .flavour = r.text(),
                     .cuda_version = r.text(),
                     .built_for_cuda = r.text(),
                     .parameters = r.table(),
                     .nccl_found = r.maybe(r.flag()),
                     .nccl = r.text(),
                     .no_cuda = r.text(),
                     .no_nvml = r.text()},
          .pci = r.list([&] { return random_pci(r); }),
          .gpus = r.list([&] { return random_gpu(r); }),
          .xids = r.maybe(r.list(
              [&]() -> XidEvent { return {.pci_address = r.text(), .code = r.integer(), .times = r.integer()}; })),
          .supply_watts = r.maybe(r.real()),
          .fabric = {.driver = r.text(),
                     .gpus = {{.index = 1, .name = r.text(), .uuid = r.text(), .pci_address = r.text(), .major = 9}},
                     .backends = {{.name = "native", .works = r.flag(), .detail = r.text()}},
                     .no_nvml = r.text()},
          .unread = r.list([&]() -> Unread { return {.source = r.text(), .reason = r.text()}; }),
          .composed = r.text()};
}

}  // namespace tandem
