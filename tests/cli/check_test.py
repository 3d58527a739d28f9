#!/usr/bin/env python3
"""`tandem check` without a model: this machine, and machines of tests/snapshots, with their status and reasons."""
import json
import unittest

from cli_rig import GGUF, ROOT, CliTest, tandem

SNAPSHOTS = ROOT / "tests" / "snapshots"


def replay(name, *flags, **keywords):
    return tandem("check", "--replay", SNAPSHOTS / f"{name}.json", *flags, **keywords)


def replay_json(name, *flags):
    result = replay(name, "--json", *flags)
    return result.returncode, json.loads(result.stdout)


def reasons(report):
    return {backend["name"]: backend["reason"] for backend in report["backends"]}


class ThisMachine(CliTest):
    def test_cpu_ranks_are_run_and_found_healthy(self):
        for ranks in (1, 2, 3):
            result = tandem("check", "--devices", "cpu", "--tp", ranks, timeout=60)
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertIn(f"5 collectives between {ranks} ranks, of 4 KB and 256 KB, gave exact results", result.stdout)
            self.assertTrue(result.stdout.endswith("\nhealthy\n"), result.stdout)

    def test_snapshot_replays_to_the_same_report(self):
        snapshot = self.folder / "machine.json"
        recorded = tandem("check", "--devices", "cpu", "--json", "--snapshot", snapshot)
        self.assertEqual(recorded.returncode, 0, recorded.stderr)
        replayed = tandem("check", "--replay", snapshot, "--json")
        self.assertEqual(json.loads(replayed.stdout), json.loads(recorded.stdout))
        self.assertEqual(json.loads(recorded.stdout)["snapshot"], json.loads(snapshot.read_text()))

    def test_a_back_end_that_is_named_and_cannot_serve_is_a_finding(self):
        result = tandem("check", "--devices", "cpu", "--tp-backend", "p2p")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("fail [back-end-refused]: ", result.stdout)
        self.assertIn("p2p [no-gpu]", result.stdout)

    def test_what_cannot_be_checked(self):
        self.refuse("check", "--devices", "cpu:0,cpu:0", says=["listed twice"])
        self.refuse("check", "--devices", "99", says=["99"])
        self.refuse("check", "--tp", "17", says=["17"])
        self.refuse("check", "--devices", "cpu", "--tp-backend", "ncll", says=["ncll", "known are auto, p2p, nccl"])
        self.refuse("check", "--devices", "cpu", "--snapshot", self.folder / "no" / "file.json",
                    says=["cannot write", "file.json"])


class OtherMachines(CliTest):
    def test_healthy_ones(self):
        for name, chosen in (("h200x2-nvswitch", ["p2p", "nccl"]), ("h200x2-no-nccl", ["p2p"]), ("cpu-only", ["cpu"]),
                             ("h200-one-gpu", ["p2p"]), ("rtx3090x4-stock-driver", ["nccl"]),
                             ("rtx3090x4-nvlink-pairs", ["nccl"])):
            with self.subTest(name):
                status, report = replay_json(name)
                self.assertEqual((status, report["healthy"], report["findings"]), (0, True, []))
                self.assertEqual([b["name"] for b in report["backends"] if b["state"] == "chosen"], chosen)
                self.assertEqual(replay(name).returncode, 0)

    def test_reasons(self):
        for name, backend, reason in (("h200x2-nvswitch", "native", "slower"), ("h200x2-no-nccl", "nccl", "nccl-missing"),
                                      ("rtx3090x4-stock-driver", "p2p", "no-peer-access"),
                                      ("rtx3090x4-nvlink-pairs", "p2p", "partial-mesh"), ("cpu-only", "native", "no-gpu"),
                                      ("rtx4090x2-iommu-corrupt", "p2p", "corrupt"), ("h100-mig-slices", "nccl", "mig")):
            with self.subTest(name):
                self.assertEqual(reasons(replay_json(name)[1])[backend], reason)
                self.assertIn(f"[{reason}]", replay(name).stdout)

    def test_what_can_be_mended_is_told_with_status_1(self):
        for name, code in (("rtx4090x2-iommu-corrupt", "corrupt"), ("h100-mig-slices", "mig")):
            with self.subTest(name):
                status, report = replay_json(name)
                self.assertEqual((status, [finding["code"] for finding in report["findings"]]), (1, [code]))
                text = replay(name).stdout
                self.assertIn(f" [{code}]: ", text)
                self.assertIn("  hint: ", text)

    def test_a_named_back_end_is_never_replaced(self):
        status, report = replay_json("rtx3090x4-nvlink-pairs", "--tp-backend", "p2p")
        self.assertEqual((status, report["plans"]), (1, []))
        self.assertIn("cuda:2 -> cuda:1", report["findings"][0]["what"])
        self.assertIn("nccl, native", report["findings"][0]["advice"])
        status, report = replay_json("rtx3090x4-nvlink-pairs", "--tp-backend", "native")
        self.assertEqual(status, 0)
        self.assertEqual({row["backend"] for plan in report["plans"] for row in plan["rows"]}, {"native"})
        self.assertEqual(reasons(report)["nccl"], "forced-other")

    def test_a_profile_is_told(self):
        path = self.folder / "profiled.json"
        data = json.loads((SNAPSHOTS / "h200x2-nvswitch.json").read_text())
        data["profile"] = "/cache/1-2.json, 3 days old"
        path.write_text(json.dumps(data))
        result = tandem("check", "--replay", path)
        self.assertIn("\nprofile: /cache/1-2.json, 3 days old\n", result.stdout)
        self.assertNotIn("profile", replay("h200x2-nvswitch").stdout)

    def test_plans_may_be_mixed(self):
        plans = {plan["op"]: plan["rows"] for plan in replay_json("h200x2-nvswitch")[1]["plans"]}
        self.assertEqual(plans["all-gather"], [{"up_to_bytes": 524288, "backend": "nccl"},
                                               {"up_to_bytes": None, "backend": "p2p"}])
        self.assertIn("all-gather      nccl up to 512 KB, p2p above", replay("h200x2-nvswitch").stdout)

    def test_files_that_are_no_snapshots(self):
        self.refuse("check", "--replay", self.folder / "nothing.json", says=["nothing.json"])
        self.refuse("check", "--replay", GGUF, says=["model.gguf", "broken JSON"])
        path = self.folder / "bad.json"
        good = json.loads((SNAPSHOTS / "rtx4090x2-iommu-corrupt.json").read_text())

        def spoil(change, *says):
            data = json.loads(json.dumps(good))
            change(data)
            path.write_text(json.dumps(data))
            self.refuse("check", "--replay", path, says=["bad.json: ", *says])
        spoil(lambda data: data.update(version=3), "version", "not 3")
        spoil(lambda data: data["pairs"].pop(), "from 1 to 0 is missing")
        spoil(lambda data: data["pairs"][1]["probe"].pop("rounds"), "there is no pairs[1].probe.rounds")
        spoil(lambda data: data["gpus"][0].update(name="\x1b[2J"), "gpus[0].name", '"?[2J"')

    def test_flags_that_contradict_each_other(self):
        snapshot = SNAPSHOTS / "cpu-only.json"
        self.refuse("check", "--replay", snapshot, "--devices", "cpu", says=["--replay and --devices"])
        self.refuse("check", "--replay", snapshot, "--tp", "2", says=["--replay and --tp"])
        self.refuse("check", "--replay", snapshot, "--snapshot", self.folder / "x.json", says=["--snapshot", "--replay"])
        self.refuse("check", GGUF, "--replay", snapshot, says=["--replay", "not about a model"])
        self.refuse("check", GGUF, "--snapshot", self.folder / "x.json", says=["not about a model"])


if __name__ == "__main__":
    unittest.main()
