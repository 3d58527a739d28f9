"""Checks of `tandem check` without a model: of machines of tests/snapshots, and of CPU ranks here."""
import copy
import json
import os
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from row import ROOT  # first: it tells where the others are
from cli_rig import TANDEM, tandem

SNAPSHOTS = ROOT / "tests" / "snapshots"
CHECK = unittest.TestCase()
CHECK.maxDiff = None


def snapshot(name):
    return json.loads((SNAPSHOTS / f"{name}.json").read_text())


def told_of(machine, command, option, *flags):
    """Status and text that a command gives for a snapshot, which it takes with `option`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "machine.json")
        file.write_text(json.dumps(machine))
        run = tandem(command, option, file, *flags)
    CHECK.assertIn(run.returncode, (0, 1), run.stderr)
    return run.returncode, run.stdout


def replay(machine, *flags):
    return told_of(machine, "check", "--replay", *flags)


def replay_json(machine, *flags):
    status, text = replay(machine, "--json", *flags)
    return status, json.loads(text)


def back_ends(report):
    return {backend["name"]: backend for backend in report["backends"]}


def used(report):
    return {row["backend"] for plan in report["plans"] for row in plan["rows"]}


def pair_lines(text):
    """Words of each line of the table of pairs, by (from, to)."""
    return {(int(a), int(b)): rest.split() for a, b, rest in re.findall(r"^cuda:(\d+) -> cuda:(\d+) +(.*)$", text, re.M)}


def pairs_without_access(machine):
    return [f"cuda:{pair['from']} -> cuda:{pair['to']}" for pair in machine["pairs"] if not pair["can_access"]]


def answers_in_seconds():
    start = time.monotonic()
    run = tandem("check", "--devices", "cpu", "--tp", "2", "--json")
    CHECK.assertLess(time.monotonic() - start, 10)
    CHECK.assertEqual(run.returncode, 0, run.stderr)
    CHECK.assertTrue(json.loads(run.stdout)["healthy"])
    CHECK.assertEqual(replay(snapshot("h200x2-nvswitch"))[0], 0)
    CHECK.assertEqual(replay(snapshot("rtx4090x2-iommu-corrupt"))[0], 1)
    CHECK.assertEqual(tandem("check", "--replay", "/nonexistent").returncode, 2)


def as_nobody(*command):
    """Through /proc: the file may lie in a folder that nobody may enter."""
    if os.geteuid() != 0:
        return tandem(*command)
    with open(TANDEM, "rb") as program:
        fd = program.fileno()
        try:
            return subprocess.run([f"/proc/self/fd/{fd}", *command], pass_fds=[fd], user=65534, group=65534, extra_groups=[],
                                  cwd="/", env={"HOME": "/nonexistent"}, capture_output=True, text=True)
        except PermissionError as error:
            raise unittest.SkipTest(f"runs as root, and cannot become nobody: {error}") from error


def runs_unprivileged():
    run = as_nobody("check", "--devices", "cpu", "--tp", "2")
    CHECK.assertEqual(run.returncode, 0, run.stderr)
    CHECK.assertTrue(run.stdout.endswith("\nhealthy\n"), run.stdout)
    run = as_nobody("doctor", "--no-probe", "--json")
    CHECK.assertIn(run.returncode, (0, 1), run.stderr)
    CHECK.assertTrue(json.loads(run.stdout)["verdict"])


def hints_need_no_sudo():
    """The doctor's remedies apart, which say what needs root."""
    for file in (*ROOT.glob("src/**/*.cc"), *ROOT.glob("src/**/*.h")):
        if file.parent.name != "doctor":
            CHECK.assertNotIn("sudo", file.read_text(), file)


def names_each_failing_pair():
    machine = snapshot("rtx3090x4-nvlink-pairs")
    status, report = replay_json(machine, "--tp-backend", "p2p")
    (finding,) = report["findings"]
    CHECK.assertEqual((status, report["plans"], finding["code"]), (1, [], "back-end-refused"))
    told = sorted(re.findall(r"cuda:\d -> cuda:\d", finding["what"]))
    CHECK.assertEqual(told, sorted(pairs_without_access(machine)))
    CHECK.assertIn("[partial-mesh]", finding["what"])
    CHECK.assertIn("--tp-backend auto", finding["advice"])
    CHECK.assertIn("nccl, native", finding["advice"])


def goes_on_with_the_best_that_works():
    for name, reason in (("rtx3090x4-nvlink-pairs", "partial-mesh"), ("rtx3090x4-stock-driver", "no-peer-access"),
                         ("rtx4090x2-iommu-corrupt", "corrupt")):
        report = replay_json(snapshot(name))[1]
        CHECK.assertEqual(back_ends(report)["p2p"]["reason"], reason)
        CHECK.assertEqual(used(report), {"nccl"})


def falls_back_by_measurement():
    machine = snapshot("h200x2-nvswitch")
    report = replay_json(machine)[1]
    CHECK.assertEqual(used(report), {"p2p", "nccl"})
    CHECK.assertEqual(back_ends(report)["native"]["reason"], "slower")
    for call in machine["calls"]:  # the same machine, were its native ten times as fast
        if call["backend"] == "native":
            call["microseconds"] /= 10
    report = replay_json(machine)[1]
    CHECK.assertIn("native", used(report))
    machine["calls"] = []
    CHECK.assertEqual(used(replay_json(machine)[1]), {"p2p"})


def tells_the_drivers_word_from_proof():
    """The driver claims both directions; one of them gave other bits than were sent."""
    text = replay(snapshot("rtx4090x2-iommu-corrupt"))[1]
    pairs = pair_lines(text)
    CHECK.assertEqual(pairs[0, 1][1:3], ["yes", "passed"])
    CHECK.assertEqual(pairs[1, 0][1:3], ["yes", "corrupt"])
    CHECK.assertIn("cuda:1 -> cuda:0: corrupt in 4096 rounds", text)


def describes_gpus():
    machine = snapshot("rtx3090x4-stock-driver")
    gpus = machine["gpus"]
    gpus[2].update(name="NVIDIA Odd Card", compute_capability="8.0", memory_bytes=40 << 30, num_sms=77)
    (line,) = re.findall("^2 .*$", replay(machine)[1], re.MULTILINE)
    for word in ("NVIDIA Odd Card", " 8.0 ", " 77 ", " 40.0 GB ", gpus[2]["pci_address"], gpus[2]["uuid"]):
        CHECK.assertIn(word, line)


def judges_pairs_and_not_gpus():
    for name in ("rtx3090x4-nvlink-pairs", "rtx3090x4-stock-driver"):
        machine = snapshot(name)
        pairs = pair_lines(replay(machine)[1])
        CHECK.assertEqual(len(pairs), 12)
        for pair in machine["pairs"]:
            CHECK.assertEqual(pairs[pair["from"], pair["to"]][1], "yes" if pair["can_access"] else "no", pair)
    with_nvlink = [pair for pair, words in pair_lines(replay(snapshot("rtx3090x4-nvlink-pairs"))[1]).items()
                   if words[1] == "yes"]
    CHECK.assertEqual(with_nvlink, [(0, 1), (1, 0), (2, 3), (3, 2)])


def serves_mixed_generations():
    machine = snapshot("rtx3090x4-stock-driver")
    for gpu in machine["gpus"][2:]:
        gpu.update(name="NVIDIA GeForce RTX 4090", compute_capability="8.9")
    status, report = replay_json(machine)
    CHECK.assertEqual((status, used(report)), (0, {"nccl"}))
    machine["backends"] = [{"name": "nccl", "works": False, "detail": "not here"}]
    CHECK.assertEqual(used(replay_json(machine)[1]), {"native"})


def merges_topology_and_proof():
    """Link as of `topo -m`, status as of `topo -p2p`, then what was seen and measured."""
    pairs = pair_lines(replay(snapshot("rtx3090x4-nvlink-pairs"))[1])
    CHECK.assertEqual(pairs[0, 1], ["NV4", "yes", "passed", "1000000", "1.10", "us", "47.0", "GB/s"])
    CHECK.assertEqual(pairs[0, 2], ["SYS", "no", "(CNS)", "no-peer-access", "-", "-", "-"])


def shows_what_an_inbox_takes():
    """On its GPU in p2p, pinned on the host in native; a tuned one is as large as its profile says."""
    machine = snapshot("h200x2-nvswitch")
    table, ends = replay(machine)[1], back_ends(replay_json(machine)[1])
    for name, words in (("p2p", "of its GPU"), ("native", "pinned on the host")):
        CHECK.assertRegex(table, rf"{name} +\w+ +{ends[name]['inbox_bytes'] / 1e6:.1f} MB {words}")
    CHECK.assertEqual(ends["nccl"]["inbox_bytes"], 0)
    machine["tuned_inboxes"] = [{"backend": "p2p", "bytes": 64 << 20}]
    tuned = back_ends(replay_json(machine)[1])["p2p"]["inbox_bytes"]
    CHECK.assertTrue(60 << 20 < tuned <= 64 << 20, tuned)


def counts_nvlinks():
    machine = snapshot("h200x2-nvswitch")
    CHECK.assertEqual(pair_lines(replay(machine)[1])[0, 1][0], "NV18")
    for pair in machine["pairs"]:
        pair["can_access"] = False
        pair["probe"].update(outcome="no-peer-access", rounds=0, latency_us=0, bandwidth=0)
    status, report = replay_json(machine)
    CHECK.assertEqual((status, [finding["code"] for finding in report["findings"]]), (1, ["nvlink-without-access"]))


def is_never_slower_than_what_it_could_have_chosen():
    machine = snapshot("h200x2-nvswitch")
    plans = {plan["op"]: plan["rows"] for plan in replay_json(machine)[1]["plans"]}
    measured = {}
    for call in machine["calls"]:
        measured.setdefault((call["op"], call["bytes"]), {})[call["backend"]] = call["microseconds"]
    CHECK.assertGreater(len(measured), 20)
    for (op, size), times in measured.items():
        chosen = next(row["backend"] for row in plans[op] if row["up_to_bytes"] is None or size <= row["up_to_bytes"])
        CHECK.assertLessEqual(times[chosen], 1.03 * min(times.values()), f"{op} of {size} bytes: {times}")


def repeats_a_recorded_decision():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "machine.json")
        here = tandem("check", "--devices", "cpu", "--tp", "3", "--json", "--snapshot", file)
        again = tandem("check", "--replay", file, "--json")
    CHECK.assertEqual(here.returncode, 0, here.stderr)
    CHECK.assertEqual(json.loads(again.stdout), json.loads(here.stdout))


def tells_why_not_p2p():
    text = replay(snapshot("h200x2-nvswitch"), "--tp-backend", "native")[1]
    CHECK.assertRegex(text, r"p2p +works +[0-9.]+ MB of its GPU +\[forced-other\]")
    text = replay(snapshot("h200x2-nvswitch"))[1]
    CHECK.assertRegex(text, r"native +works +[0-9.]+ MB pinned on the host +\[slower\] .* closest in all-reduce of 4 KB: 3\.50 us, p2p 2\.57 us")
    status, text = replay(snapshot("rtx3090x4-stock-driver"), "--tp-backend", "p2p")
    CHECK.assertEqual(status, 1)
    CHECK.assertIn("12 of 12 ordered pairs have no peer access", text)
    CHECK.assertIn("the driver gives no access over PHB (CNS: chipset not supported)", text)


def a_named_back_end_is_never_replaced():
    for name in ("rtx3090x4-nvlink-pairs", "rtx4090x2-iommu-corrupt", "cpu-only"):
        status, report = replay_json(snapshot(name), "--tp-backend", "p2p")
        CHECK.assertEqual((status, report["plans"]), (1, []), name)
        CHECK.assertIn("back-end-refused", [finding["code"] for finding in report["findings"]])
    status, report = replay_json(snapshot("h200x2-nvswitch"), "--tp-backend", "native")
    CHECK.assertEqual((status, used(report)), (0, {"native"}))


def advises_passthrough_and_never_on():
    (finding,) = replay_json(snapshot("rtx4090x2-iommu-corrupt"))[1]["findings"]
    CHECK.assertIn("iommu=pt or without IOMMU", finding["advice"])
    CHECK.assertIn("turn ACS off", finding["advice"])
    CHECK.assertIn("inside a virtual machine only its host can", finding["advice"])
    CHECK.assertNotRegex(finding["advice"], "iommu=(on|1)")


def knows_that_an_architecture_is_not_enough():
    """The same cards of the Ampere generation, without NVLink and with."""
    without, bridged = snapshot("rtx3090x4-stock-driver"), snapshot("rtx3090x4-nvlink-pairs")
    CHECK.assertEqual({gpu["compute_capability"] for gpu in without["gpus"] + bridged["gpus"]}, {"8.6"})
    CHECK.assertEqual(back_ends(replay_json(without)[1])["p2p"]["reason"], "no-peer-access")
    CHECK.assertEqual(back_ends(replay_json(bridged)[1])["p2p"]["reason"], "partial-mesh")
    pair = copy.deepcopy(bridged)
    pair["gpus"] = pair["gpus"][:2]
    pair["pairs"] = [p for p in pair["pairs"] if p["from"] < 2 and p["to"] < 2]
    CHECK.assertEqual(used(replay_json(pair)[1]), {"p2p"})


def uses_a_partial_mesh():
    status, report = replay_json(snapshot("rtx3090x4-nvlink-pairs"))
    CHECK.assertEqual((status, report["healthy"], used(report)), (0, True, {"nccl"}))


def reasons_have_codes_that_are_explained():
    pages = "".join((ROOT / "docs" / page).read_text()
                    for page in ("reference/machine-snapshot.md", "how-to/check-a-machine.md"))
    codes = {code for file in SNAPSHOTS.glob("*.json")
             for code in re.findall(r"\[([a-z-]+)\]", tandem("check", "--replay", file).stdout)}
    CHECK.assertGreater(len(codes), 6)
    for code in codes:
        CHECK.assertIn(f"`{code}`", pages)
