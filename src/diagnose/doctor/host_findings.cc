// What surrounds the GPUs: container, memory, environment, and what could not be read.
#include <map>

#include "base/format.h"
#include "diagnose/doctor/facts_query.h"
#include "diagnose/doctor/findings.h"

namespace tandem {
namespace {

constexpr std::string_view kMachine = "the machine";  // of snapshots that have no facts of it
constexpr std::uint64_t kMB = 1 << 20;
constexpr std::uint64_t kSmallShm = 64 * kMB;  // docker's default
constexpr std::uint64_t kSmallMemlock = 64 * kMB;
constexpr std::uint64_t kLittleMemory = 4096 * kMB;

Observations find_small_shm(const MachineFacts& facts) {
  const HostFacts& host = facts.host;
  if (num_gpus(facts) < 2) return {};
  if (host.shm_bytes && *host.shm_bytes <= kSmallShm) {
    return {{format("/dev/shm is {}{}", size_text(*host.shm_bytes),
                    host.container.empty() ? "" : ", in " + host.container)}};
  }
  if (host.free_shm_bytes && *host.free_shm_bytes < kSmallShm) {
    return {{format("/dev/shm has {} left", size_text(*host.free_shm_bytes))}};
  }
  return {};
}

// How somebody can let this process read it.
std::string_view how_to_read(std::string_view source) {
  if (source == kMachine) return "record it anew with tandem doctor --snapshot FILE";
  if (mentions(source, "kmsg") || mentions(source, "dmesg") || mentions(source, "log")) {
    return "sudo sysctl kernel.dmesg_restrict=0, or read sudo dmesg | grep Xid yourself";
  }
  if (mentions(source, "/config")) {
    return "sudo tandem doctor --no-probe reads it once, as does sudo lspci -vvv";
  }
  if (mentions(source, "iommu")) return "sudo tandem doctor --no-probe reads it once";
  if (mentions(source, "nvml")) return "this GPU or driver may not tell; nvidia-smi -q shows what it tells";
  if (mentions(source, "/proc/") || mentions(source, "/sys/")) return "a container may hide it: run on the host";
  if (mentions(source, "/dev/")) return "see tandem explain device-node-denied";
  return "run outside of the container, or once as root";
}

// What a GPU or driver does not have at all is nothing that somebody could let us read.
bool can_be_let(const Unread& unread) {
  return !mentions(unread.reason, "not supported") && !mentions(unread.reason, "does not have it");
}

Observations find_unread(const MachineFacts& facts) {
  if (!has_gpus(facts)) return {};
  std::map<std::pair<std::string_view, std::string>, std::vector<std::string>> sources;  // by remedy and reason
  bool log_is_told = false;
  for (const Unread& unread : facts.unread) {
    if (can_be_let(unread)) sources[{how_to_read(unread.source), unread.reason}].push_back(unread.source);
    log_is_told =
        log_is_told || unread.source == kMachine || mentions(unread.source, "kmsg") || mentions(unread.source, "log");
  }
  if (!facts.xids && !log_is_told) sources[{how_to_read("log"), "not read"}].push_back("the kernel's log");
  Observations seen;
  for (const auto& [why, names] : sources) {
    const std::string others = names.size() > 1 ? format(" and {} more", names.size() - 1) : "";
    seen.push_back({format("{}{}: {}; to read it: {}", names.front(), others, why.second, why.first)});
  }
  return seen;
}

}  // namespace

std::vector<FindingRow> host_findings() {
  return {
      {.code = "shm-small",
       .severity = Severity::kWarning,
       .title = "there is little shared memory",
       .stops = {"nccl"},
       .find = find_small_shm,
       .cause =
           "NCCL keeps segments in /dev/shm and fails with \"No space left on device\" when it is full; containers "
           "have 64 MB unless told otherwise. kernel.shmmax and shmall have nothing to do with it. Tandem itself "
           "needs none.",
       .remedy = {{"docker and podman: more of it", "docker run --gpus all --shm-size=1g --ulimit memlock=-1 IMAGE",
                   "host"},
                  {"or the host's", "docker run --gpus all --ipc=host --ulimit memlock=-1 IMAGE", "host"},
                  {"Kubernetes: mount this volume at /dev/shm", "emptyDir: {medium: Memory, sizeLimit: 1Gi}", "host"},
                  {"outside of containers: remove what is left over there", "ls -l /dev/shm"}},
       .gain = "NCCL starts, with many GPUs too",
       .guide = {50, 52, 57, 58, 106}},
      {.code = "memlock-small",
       .severity = Severity::kInfo,
       .title = "the container may lock little memory",
       .find = [](const MachineFacts& facts) -> Observations {
         const auto limit = facts.host.memlock_bytes;
         if (facts.host.container.empty() || !has_gpus(facts) || !limit || *limit >= kSmallMemlock) return {};
         return {{format("RLIMIT_MEMLOCK is {}", size_text(*limit))}};
       },
       .cause = "NCCL needs locked memory for InfiniBand and RoCE, and some drivers count pinned memory against it.",
       .remedy = {{"lift the limit", "docker run --gpus all --shm-size=1g --ulimit memlock=-1 IMAGE", "host"}},
       .gain = "no refusal of pinned memory",
       .guide = {6, 20, 34, 57, 106}},
      {.code = "cuda-launch-blocking",
       .severity = Severity::kWarning,
       .title = "CUDA_LAUNCH_BLOCKING is set",
       .stops = {"p2p", "nccl", "native"},
       .find = [](const MachineFacts& facts) -> Observations {
         const auto value = environment(facts, "CUDA_LAUNCH_BLOCKING");
         if (!has_gpus(facts) || !is_on(value)) return {};
         return {{"CUDA_LAUNCH_BLOCKING=" + *value}};
       },
       .cause = "Each launch waits for its end. Ranks wait for each other within kernels, so that nothing overlaps. It "
                "checks no errors that Tandem does not check anyway.",
       .remedy = {{"remove it", "unset CUDA_LAUNCH_BLOCKING"}},
       .gain = "most of the speed",
       .guide = {102}},
      {.code = "nccl-p2p-disabled",
       .severity = Severity::kWarning,
       .title = "the environment keeps NCCL from using peer access",
       .stops = {"nccl"},
       .find = [](const MachineFacts& facts) -> Observations {
         Observations seen;
         if (num_gpus(facts) < 2) return seen;
         const auto disable = environment(facts, "NCCL_P2P_DISABLE"), level = environment(facts, "NCCL_P2P_LEVEL");
         if (is_on(disable)) seen.push_back({"NCCL_P2P_DISABLE=" + *disable});
         if (level == "LOC" || level == "0") seen.push_back({"NCCL_P2P_LEVEL=" + *level});
         return seen;
       },
       .cause = "Often left over from a workaround. NCCL goes through host memory then; p2p does not read it.",
       .remedy = {{"remove it, and verify the links", "unset NCCL_P2P_DISABLE NCCL_P2P_LEVEL && tandem check"}},
       .gain = "several times NCCL's bandwidth where peer access works",
       .guide = {26, 31, 61}},
      {.code = "host-memory-low",
       .severity = Severity::kWarning,
       .title = "the machine has little memory left",
       .find = [](const MachineFacts& facts) -> Observations {
         const auto left = facts.host.available_memory_bytes;
         if (!has_gpus(facts) || !left || *left >= kLittleMemory) return {};
         return {{format("/proc/meminfo: {} available of {}", size_text(*left),
                         size_text(facts.host.memory_bytes.value_or(0)))}};
       },
       .cause = "Weights are read through the page cache, and native and NCCL pin memory. When it runs out, loading "
                "slows down and the kernel ends processes.",
       .remedy = {{"see who has it", "ps -eo pid,user,rss,args --sort=-rss | head"},
                  {"in a container: a higher limit", "docker run --memory=64g IMAGE", "host"}},
       .gain = "loading at the disk's speed",
       .guide = {43, 52}},
      {.code = "host-busy",
       .severity = Severity::kInfo,
       .title = "the CPUs have more to do than they can",
       .find = [](const MachineFacts& facts) -> Observations {
         const HostFacts& host = facts.host;
         if (!has_gpus(facts) || !host.load_average || !host.cpus || *host.load_average <= *host.cpus) return {};
         return {{format("/proc/loadavg: {:.1f} on {} CPUs", *host.load_average, *host.cpus)}};
       },
       .cause = "A thread that launches work for a GPU may have to wait for a CPU. Measurements vary.",
       .remedy = {{"see who computes", "top -o %CPU"}},
       .gain = "steadier times",
       .guide = {30, 41, 43, 45}},
      {.code = "iommu-option-unknown",
       .severity = Severity::kInfo,
       .title = "a kernel option does not mean what it seems to",
       .find = [](const MachineFacts& facts) -> Observations {
         Observations seen;
         for (const std::string& option : facts.host.kernel_options) {
           if (option == "amd_iommu=1" || option == "amd_iommu=on") seen.push_back({"/proc/cmdline: " + option});
         }
         return seen;
       },
       .cause =
           "amd_iommu takes off, force_isolation and a few others; \"1\" and \"on\" are no values of it and change "
           "nothing. AMD's IOMMU is on unless it is turned off, and turning it on never helps peer access.",
       .remedy = {{"remove it; for peer access iommu=pt is what helps", "", "root, reboot"}},
       .gain = "no wrong belief",
       .guide = {22, 110}},
      {.code = "unread",
       .severity = Severity::kInfo,
       .title = "some things could not be read",
       .find = find_unread,
       .cause =
           "This process may not read them, or nothing tells them. Tandem needs no root; the doctor knows more with "
           "its rights.",
       .remedy = {{"once with root's rights, if what is missing matters", "sudo tandem doctor --no-probe", "root"}},
       .gain = "a fuller diagnosis",
       .guide = {4, 21, 108}},
  };
}

}  // namespace tandem
