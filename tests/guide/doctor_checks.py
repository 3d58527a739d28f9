"""Checks of `tandem doctor`, of machines of tests/snapshots and changes of them, and of `tandem explain`."""
import functools
import json
import re
import tempfile
import unittest
from pathlib import Path

from row import ROOT  # first: it tells where the others are
from cli_rig import GGUF, tandem
from machine_checks import SNAPSHOTS, snapshot, told_of

CHECK = unittest.TestCase()
CHECK.maxDiff = None


def machine(name):
    return snapshot(f"doctor-{name}")


def healthy():
    """Four H200."""
    facts = machine("memory-held")
    facts["gpu_health"][1]["processes"] = []
    return facts


def in_a_container():
    facts = healthy()
    facts["host"].update(container="docker", memlock_bytes=2**64 - 1)
    return facts


def without_driver():
    """Its GPUs are on the bus, and nothing of the driver works."""
    facts = healthy()
    facts.update(gpus=[], pairs=[], calls=[], backends=[], gpu_health=[])
    facts["driver_facts"].update(version="", no_cuda="no CUDA-capable device is detected", no_nvml="no such library")
    return facts


def doctor(facts, *flags):
    return told_of(facts, "doctor", "--from", *flags)[1]


def report_of(facts, *flags):
    return json.loads(doctor(facts, "--json", *flags))


def codes(facts):
    return [finding["code"] for finding in report_of(facts)["findings"]]


def tells(facts, code, evidence, remedy):
    """The doctor's finding `code` of this machine, whose evidence and remedy match these expressions."""
    found = {finding["code"]: finding for finding in report_of(facts)["findings"]}
    CHECK.assertIn(code, found)
    finding = found[code]
    CHECK.assertRegex("\n".join(finding["evidence"]), evidence)
    CHECK.assertRegex("\n".join("\n".join([step["what"], *step["commands"]]) for step in finding["remedy"]), remedy)
    return finding


@functools.cache
def explain(code):
    run = tandem("explain", code, "--json")
    CHECK.assertEqual(run.returncode, 0, run.stderr)
    return json.loads(run.stdout)["meanings"]


def finds_nothing_amiss_with_a_healthy_machine():
    CHECK.assertEqual(codes(healthy()), [])
    CHECK.assertEqual(codes(in_a_container()), [])


def errors_and_findings_have_codes_that_are_explained():
    errors = set()
    with tempfile.TemporaryDirectory() as folder:
        for command in (["run", Path(folder, "nothing"), "-p", "x"], ["run", GGUF, "-p", "x", "--tp", "17"],
                        ["run", GGUF, "-p", "x", "--devices", "cpu", "--tp", "2", "--tp-backend", "p2p"],
                        ["run", GGUF, "-p", "x", "--tp", "3", "--timeout", "1e-9"], ["check", "--replay", GGUF]):
            run = tandem(*command)
            CHECK.assertEqual(run.returncode, 2, command)
            (code,) = re.findall(r"^error\[([a-z-]+)\]: ", run.stderr, re.MULTILINE)
            errors.add(code)
            CHECK.assertIn("error", [meaning["of"] for meaning in explain(code)])
    CHECK.assertGreater(len(errors), 3, errors)
    printed = set()
    for file in SNAPSHOTS.glob("*.json"):
        printed |= set(re.findall(r"\[([a-z-]+)\]", tandem("check", "--replay", file).stdout))
        printed |= set(codes(json.loads(file.read_text())))
    CHECK.assertGreater(len(printed), 30)
    for code in printed:
        for meaning in explain(code):
            CHECK.assertTrue(meaning["title"], code)


def explains_that_a_gpu_has_eight_peers():
    (meaning,) = explain("peer-limit")
    CHECK.assertIn("error 711", meaning["cause"])


def explains_cudas_errors_by_number():
    for number, name, told in (("217", "cudaErrorPeerAccessUnsupported", "no access to each other's memory"),
                               ("704", "cudaErrorPeerAccessAlreadyEnabled", "asked for twice"),
                               ("705", "cudaErrorPeerAccessNotEnabled", "nobody had asked for it"),
                               ("711", "cudaErrorTooManyPeers", "eight")):
        (meaning,) = explain(number)
        CHECK.assertIn(told, meaning["title"])
        CHECK.assertEqual(explain(name), [meaning])


def names_a_driver_that_is_too_old():
    tells(machine("driver-too-old"), "driver-too-old", r"the driver is 535\.183\.01, .*Tandem needs 550 or newer",
          "sudo ubuntu-drivers install")
    for version, built_for, old in (("549.99", "12.4", True), ("550.54.14", "12.4", False), ("570.86", "13.0", True),
                                    ("580.65", "13.0", False)):
        facts = healthy()
        facts["driver_facts"].update(version=version, built_for_cuda=built_for)
        CHECK.assertEqual(codes(facts), ["driver-too-old"] * old, version)


def names_a_driver_that_is_known_to_be_bad():
    tells(machine("driver-known-bad"), "driver-known-bad", r"580\.142 open: .*corrupt.*better: .*\(github\.com/\S+/issues/1257\)",
          "tandem check")
    CHECK.assertIn("| 580.142*, open |", (ROOT / "docs/reference/findings.md").read_text())


def names_a_container_without_gpus():
    facts = without_driver()
    facts["host"].update(container="docker", memlock_bytes=2**64 - 1)
    for node in facts["host"]["device_nodes"]:
        node.update(exists=False, usable=False)
    tells(facts, "container-without-devices", "docker: none of 6 device nodes", "docker run --gpus all --shm-size=1g")


def names_a_limit_of_locked_memory():
    tells(machine("container-defaults"), "memlock-small", "RLIMIT_MEMLOCK is 64 KB", "--ulimit memlock=-1")


def names_what_keeps_a_user_from_a_gpu():
    """Device file, its group, container, MIG, compute mode: of each the one that fails."""
    tells(machine("missing-device-node"), "device-node-missing", "^/dev/nvidia3 does not exist$", "nvidia-modprobe -u -c 0")
    facts = healthy()
    node = facts["host"]["device_nodes"][3]
    node.update(usable=False, mode="0660", group="video")
    tells(facts, "device-node-denied", f"^{node['path']} has mode 0660, group video", "usermod -aG GROUP")
    names_a_container_without_gpus()
    tells(machine("mig"), "mig", r"^0000:11:00\.0 .*MIG mode is enabled", "nvidia-smi -i 0000:11:00.0 -mig 0")
    tells(machine("exclusive-compute-mode"), "compute-mode-exclusive", "compute mode is exclusive-process", "-c DEFAULT")
    facts = healthy()
    facts["gpu_health"][2]["compute_mode"] = "prohibited"
    tells(facts, "compute-mode-prohibited", r"^0000:31:00\.0 .*prohibited", "nvidia-smi -i 0000:31:00.0 -c DEFAULT")


def names_what_keeps_gpus_from_each_other():
    """Of each cause its own snapshot; what follows from it is no finding of its own."""
    for name, code in (("iommu-translated", "iommu-translated"), ("acs-redirect", "acs-redirect"),
                       ("vm-without-approval", "vm-without-p2p-approval"), ("bar1-too-small", "bar1-too-small"),
                       ("mixed-architectures", "mixed-architectures"), ("geforce40-stock-driver", "geforce-no-p2p"),
                       ("rtx3090x8-patched-small-bar1", "patched-module-without-bar1"), ("mig", "mig"),
                       ("two-sockets", "cross-socket"), ("wsl2", "wsl2")):
        found = codes(machine(name))
        CHECK.assertEqual(found[0], code)
        CHECK.assertFalse({"corrupt", "map-failed", "no-peer-access", "partial-mesh"} & set(found), name)
        CHECK.assertIn(12, explain(code)[0]["guide"])
    names_a_container_without_gpus()


def has_ecc_bar1_and_pcie_of_each_gpu():
    for gpu in report_of(healthy())["facts"]["gpu_health"]:
        for key in ("ecc", "bar1_bytes", "pcie_generation", "max_pcie_generation", "pcie_width", "max_pcie_width"):
            CHECK.assertIsNotNone(gpu[key], key)
    facts = healthy()
    facts["gpu_health"][3]["uncorrected_ecc_errors"] = 1
    tells(facts, "ecc-uncorrected", r"^0000:41:00\.0 .*1 uncorrected", "--gpu-reset -i 0000:41:00.0")
    tells(machine("bar1-too-small"), "bar1-too-small", r"BAR1 is 256 MB, its memory \d+ GB", "Resizable BAR")
    names_narrow_and_slow_links()


def names_narrow_and_slow_links():
    tells(machine("riser"), "pcie-downtrained", "current_link_width is 8, GPU and slot can 16", "seat card and riser anew")
    tells(machine("riser"), "pcie-narrow-slot", r"has 4 lane\(s\), the GPU 16", "a slot or riser of eight lanes")
    facts = healthy()
    parent = facts["pci"][1]["parent"]
    next(device for device in facts["pci"] if device["address"] == parent)["max_link_gts"] = 8
    tells(facts, "pcie-older-slot", rf"{parent}, does 8 GT/s, the GPU 32", "firmware")
    facts = healthy()
    facts["gpu_health"][1]["pcie_replays"] = 12345
    tells(facts, "pcie-replays", "12345 replays", "another riser")


def tells_translation_and_guests():
    tells(machine("iommu-translated"), "iommu-translated", r"^0000:\S+: /sys/kernel/iommu_groups/\d+/type is DMA-FQ",
          r"\+GRUB_CMDLINE_LINUX=\"\.\.\. iommu=pt\"")
    CHECK.assertEqual(report_of(machine("vm-without-approval"))["facts"]["host"]["hypervisor"], "kvm")


def names_hypervisor_vfio_and_approval():
    tells(machine("vm-without-approval"), "vm-without-p2p-approval", "the hypervisor is kvm", "x-nv-gpudirect-clique=0")
    facts = healthy()
    facts["pci"][1]["driver"] = "vfio-pci"
    tells(facts, "gpu-bound-to-vfio", r"/0000:21:00\.0/driver is vfio-pci", "echo 0000:21:00.0 .*/vfio-pci/unbind")


def tells_the_state_of_each_nvlink():
    facts = healthy()
    facts["gpu_health"][1]["nvlinks"][17]["active"] = False
    tells(facts, "nvlink-inactive", r"^0000:21:00\.0 .*17 of 18 NVLinks are active", "nvidia-smi nvlink --status -i 0000:21:00.0")
    facts = healthy()
    facts["gpu_health"][2]["nvlinks"][4]["errors"] = 5000
    tells(facts, "nvlink-errors", r"^0000:31:00\.0 .*link 4: 5000 errors", "seat bridge and cards anew")
    link = report_of(facts)["facts"]["gpu_health"][2]["nvlinks"][4]
    CHECK.assertEqual((link["active"], link["version"], link["errors"]), (True, 4, 5000))


def names_who_holds_a_gpu():
    tells(machine("memory-held"), "other-process-holds-memory", r"^0000:21:00\.0 .*120 GB of 141 GB held by process 4711",
          "ask their owner\nnvidia-smi\nps -o pid,user")


def names_load_and_lack_of_memory():
    facts = healthy()
    facts["host"].update(load_average=99, available_memory_bytes=2**30)
    tells(facts, "host-busy", "99.0 on 32 CPUs", "top")
    tells(facts, "host-memory-low", "1 GB available of 256 GB", "--memory=")


def tells_temperatures_and_thresholds():
    for gpu in report_of(healthy())["facts"]["gpu_health"]:
        CHECK.assertEqual((gpu["celsius"], gpu["slowdown_celsius"]), (41, 87))
    tells(machine("thermal-throttling"), "thermal-throttle", r"^0000:31:00\.0 .*thermal-slowdown, 88 C of 87 C", "fans, dust")


def names_little_shared_memory():
    tells(machine("container-defaults"), "shm-small", "/dev/shm is 64 MB, in docker", "--shm-size=1g")
    facts = healthy()
    facts["host"]["free_shm_bytes"] = 2**20
    tells(facts, "shm-small", "/dev/shm has 1 MB left", "ls -l /dev/shm")
    CHECK.assertIn("shmmax and shmall have nothing to do with it", explain("shm-small")[0]["cause"])


def tells_why_not_as_a_tree():
    why = report_of(machine("rtx3090x4-nvlink-pairs"), "--why-not", "p2p")["why_not"]
    CHECK.assertEqual([step["answer"] for step in why["steps"]], ["yes", "yes", "no"])
    CHECK.assertIn("[partial-mesh]", why["verdict"])
    CHECK.assertEqual(why["explained_by"], ["geforce-no-p2p"])
    CHECK.assertEqual(report_of(machine("iommu-translated"), "--why-not", "p2p")["why_not"]["explained_by"],
                      ["iommu-translated"])
    CHECK.assertTrue(report_of(healthy(), "--why-not", "p2p")["why_not"]["serves"])
    CHECK.assertRegex(doctor(machine("two-sockets"), "--why-not", "nccl"), r"\n +all-reduce of 64 KB: [^\n]*\d us")


def holds_power_limits_against_the_supply():
    tells(machine("weak-power-supply"), "power-supply", "together 1800 W, on a supply of 1000 W", "nvidia-smi -pl 200")
    cards = machine("geforce40-stock-driver")  # of 450 W
    for watts, weak in (("1120", True), ("1130", False)):
        found = [finding["code"] for finding in report_of(cards, "--supply-watts", watts)["findings"]]
        CHECK.assertEqual("power-supply" in found, weak, watts)


def names_the_flags_that_a_container_lacks():
    names_a_container_without_gpus()
    names_little_shared_memory()
    names_a_limit_of_locked_memory()
    facts = in_a_container()
    facts["host"]["environment"]["NVIDIA_DRIVER_CAPABILITIES"] = "compute"
    tells(facts, "driver-capabilities", "=compute: compute and utility", "-e NVIDIA_DRIVER_CAPABILITIES=compute,utility")
    finds_nothing_amiss_with_a_healthy_machine()


def names_modules_and_nodes():
    facts = without_driver()
    facts["host"]["kernel_modules"] = []
    tells(facts, "driver-missing", "(?m)^/proc/modules has no nvidia$", "ubuntu-drivers install")
    facts["driver_facts"]["no_nvml"] = "Driver Not Loaded"
    tells(facts, "module-not-loaded", "/proc/modules has no nvidia,", "modprobe nvidia\nsudo modprobe nvidia_uvm")
    facts = healthy()
    facts["host"]["kernel_modules"] = ["nvidia"]
    facts["driver_facts"]["no_cuda"] = "unknown error"
    tells(facts, "module-not-loaded", "no nvidia_uvm, which CUDA needs", "modprobe nvidia_uvm")
    facts = healthy()
    facts["driver_facts"]["no_cuda"] = "unknown error"
    (node,) = (node for node in facts["host"]["device_nodes"] if node["path"] == "/dev/nvidia-uvm")
    node.update(exists=False, usable=False)
    tells(facts, "device-node-missing", "^/dev/nvidia-uvm does not exist$", "nvidia-modprobe -u")
    shown = report_of(healthy())["facts"]
    CHECK.assertEqual(shown["driver_facts"]["flavour"], "open")
    CHECK.assertIn("nvidia_uvm", shown["host"]["kernel_modules"])


def reads_xids_or_says_why_not():
    tells(machine("fallen-off-bus"), "gpu-fallen-off-bus", r"0000:41:00\.0: Xid 79", "power cables")
    facts = healthy()
    facts["xids"] = [{"pci_address": "0000:21:00.0", "code": 119, "times": 2}]
    tells(facts, "xid-hardware", r"0000:21:00\.0 .*: Xid 119, 2 time", "--gpu-reset -i 0000:21:00.0")
    facts["xids"] = None
    tells(facts, "unread", "the kernel's log: .*dmesg", "sudo tandem doctor --no-probe")


def lists_groups_types_bridges_and_acs():
    devices = {device["address"]: device for device in report_of(machine("acs-redirect"))["facts"]["pci"]}
    gpus = [device for device in devices.values() if device["kind"] == "gpu"]
    CHECK.assertEqual(len(gpus), 2)
    for gpu in gpus:
        CHECK.assertEqual((gpu["iommu_group_type"], type(gpu["iommu_group"])), ("identity", int))
        CHECK.assertTrue(devices[gpu["parent"]]["acs_redirects"])


def prints_the_change_and_makes_none():
    change = '-GRUB_CMDLINE_LINUX="..."\n       +GRUB_CMDLINE_LINUX="... iommu=pt"\n'
    plan = doctor(machine("iommu-translated"), "--fix-plan")
    CHECK.assertIn(change, plan)
    CHECK.assertIn("[root, reboot]", plan)
    CHECK.assertIn("Tandem runs none of it", plan)
    plan = doctor(machine("acs-redirect"), "--fix-plan")
    CHECK.assertIn("sudo setpci -s 0000:02:00.0 ECAP_ACS+6.w=0000", plan)
    CHECK.assertNotIn("GRUB", plan)
    CHECK.assertTrue(doctor(healthy(), "--fix-plan").startswith("nothing to mend\n"))
    starts = re.compile(r"\b(popen|system|fork|vfork|execl?[vpe]*|posix_spawnp?)\(")
    sources = [ROOT / "src/cli/doctor.cc", *ROOT.glob("src/diagnose/**/*.cc")]
    CHECK.assertGreater(len(sources), 20)
    for file in sources:
        CHECK.assertNotRegex(file.read_text(), starts, file)


def knows_wsl2():
    tells(machine("wsl2"), "wsl2", "kernel 5.15.153 of Microsoft", "--tp-backend native")


def remedies_say_when_they_need_root():
    """A command with sudo is marked; of Tandem none needs it, but for reading what only root may."""
    listed = json.loads(tandem("explain", "--list", "--json").stdout)
    steps = [step for entry in listed if entry["of"] == "finding" for step in explain(entry["code"])[0]["remedy"]]
    with_sudo = [step for step in steps if "sudo" in "\n".join(step["commands"])]
    CHECK.assertGreater(len(with_sudo), 20)
    for step in with_sudo:
        CHECK.assertIn("root", step["needs"], step)
        for command in step["commands"]:
            CHECK.assertEqual(set(re.findall(r"sudo (tandem.*)", command)) - {"tandem doctor --no-probe"}, set())
