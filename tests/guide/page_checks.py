"""Checks of docs/how-to/troubleshooting.md, whose commands the test docs_troubleshooting runs."""
import re
import unittest

from row import ROOT  # first: it tells where the others are
import run_commands

CHECK = unittest.TestCase()
PAGE = "docs/how-to/troubleshooting.md"
# Of `nvidia-smi --help-query-gpu` and --help-query-compute-apps.
QUERIES = {"index", "name", "compute_cap", "compute_mode", "mig.mode.current", "memory.total", "pstate", "utilization.gpu",
           "temperature.gpu", "power.draw", "power.limit", "clocks_throttle_reasons.active", "pcie.link.gen.current",
           "pcie.link.gen.max", "pcie.link.width.current", "pcie.link.width.max", "gpu_uuid", "pid", "used_memory"}


def text():
    return (ROOT / PAGE).read_text()


def prose():
    return " ".join(text().split())


def commands():
    """All that a reader may type."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", text(), re.MULTILINE | re.DOTALL))


def commands_run():
    """Those that the test of the page runs."""
    return "\n".join(block for _, block in run_commands.blocks(text()))


def is_ordered_by_symptom_and_run():
    CHECK.assertIn(PAGE.removeprefix("docs/"), (ROOT / "tests/docs/CMakeLists.txt").read_text())
    parts = re.split(r"^##+ ", text(), flags=re.MULTILINE)
    with_cause = [part for part in parts if "**Cause.**" in part]
    CHECK.assertGreater(len(with_cause), 10)
    for part in with_cause:
        CHECK.assertIn("**What to do.**", part, part.splitlines()[0])
    for code in ("no-peer-access", "partial-mesh", "corrupt", "out-of-order", "message-lost", "map-failed", "mig",
                 "back-end-refused", "slower", "not-measured", "nccl-missing"):
        CHECK.assertRegex(text(), rf"(?m)^### .*`{code}`")


def needs_no_sudo():
    CHECK.assertNotRegex(commands(), r"\bsudo\b")
    CHECK.assertIn("`sudo` is not the remedy", prose())


def kills_nobody():
    CHECK.assertNotRegex(commands(), r"\bp?kill(all)?\b")
    CHECK.assertIn("--query-compute-apps=gpu_uuid,pid,used_memory", commands())


def looks_at_shared_memory_where_it_is():
    CHECK.assertIn("df -h /dev/shm", commands_run())
    CHECK.assertNotRegex(commands(), "shmmax|shmall|sysctl")


def gives_containers_what_they_need():
    CHECK.assertRegex(commands(), r"docker run --gpus all --shm-size=1g --ulimit memlock=-1 ")


def asks_nvidia_smi_for_what_it_knows():
    lists = re.findall(r"--query-[a-z-]+=(\S+)", commands())
    CHECK.assertGreater(len(lists), 3)
    CHECK.assertLessEqual({field for fields in lists for field in fields.split(",")}, QUERIES)
    CHECK.assertEqual(set(re.findall("--query-[a-z-]+", commands())), {"--query-gpu", "--query-compute-apps"})
    CHECK.assertIn("utilization.gpu", commands())


def asks_for_access_and_not_for_links_alone():
    CHECK.assertIn("nvidia-smi topo -p2p r", commands())


def turns_the_iommu_off_and_not_on():
    options = re.findall(r"^(\w*iommu=\w+) ", text(), re.MULTILINE)
    CHECK.assertEqual(options, ["iommu=pt", "intel_iommu=off"])
    CHECK.assertNotRegex(commands(), "iommu=")
    CHECK.assertIn("`amd_iommu=1`, which one reads, is no value that the kernel knows", prose())
    CHECK.assertIn("**What it costs.**", text())


def changes_no_system():
    CHECK.assertIn("`/etc/default/grub`", text())
    CHECK.assertIn("setpci", commands())
    for word in ("grub", "reboot", "setpci", "modprobe", "nvidia-smi", "apt"):
        CHECK.assertNotIn(word, commands_run())


def lists_iommu_groups():
    CHECK.assertIn("/sys/kernel/iommu_groups/*", commands_run())


def needs_no_nsight():
    CHECK.assertIn("the program is `nsys`, the package `nsight-systems`", prose())
    CHECK.assertNotIn("nsys", commands())


def explains_xids():
    rows = re.findall(r"^\| ([\d, ]+) \|", text(), re.MULTILINE)
    CHECK.assertEqual(sorted(int(code) for row in rows for code in row.split(",")), [13, 31, 43, 48, 62, 74, 79, 119])


def knows_the_modules():
    CHECK.assertIn("nvidia and nvidia_uvm; compute does not need nvidia_drm", commands())


def offers_no_virtual_machine_on_macos():
    CHECK.assertIn("There is no NVIDIA driver for macOS, and a virtual machine does not change that", prose())


def links_to_support():
    for place in ("github.com/turboderp-org/exllamav3/issues", "github.com/NVIDIA/nccl/issues", "forums.developer.nvidia.com"):
        CHECK.assertIn(f"(https://{place})", text())
    sources = [*ROOT.glob("src/cli/*.cc"), *ROOT.glob("src/diagnose/**/*.cc")]
    CHECK.assertGreater(len(sources), 30)
    for file in sources:
        CHECK.assertLessEqual(set(re.findall(r"https://[\w./-]+", file.read_text())), {"https://ui.perfetto.dev"}, file)
