#!/usr/bin/env python3
"""`tandem explain` and `tandem doctor`: what a code means, and what is wrong with this machine and with recorded ones."""
import json
import os
import pty
import time
import unittest

from cli_rig import GGUF, ROOT, CliTest, tandem

SNAPSHOTS = ROOT / "tests" / "snapshots"
COMPOSED = sorted(SNAPSHOTS.glob("doctor-*.json"))


def doctor(name, *flags):
    return tandem("doctor", "--from", SNAPSHOTS / f"doctor-{name}.json", *flags)


def doctor_json(name, *flags):
    return json.loads(doctor(name, "--json", *flags).stdout)


class Explain(CliTest):
    def test_a_code_in_full(self):
        result = tandem("explain", "iommu-translated")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("iommu-translated (finding of tandem doctor, warning): ", result.stdout)
        self.assertIn('+GRUB_CMDLINE_LINUX="... iommu=pt"', result.stdout)
        self.assertIn("guide: G12, G22", result.stdout)

    def test_every_code_of_the_list_is_explained(self):
        codes = json.loads(tandem("explain", "--list", "--json").stdout)
        self.assertGreater(len(codes), 80)
        for code in sorted({entry["code"] for entry in codes})[::10]:
            result = tandem("explain", code, "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads(result.stdout)["code"], code)
        self.assertIn("  bad-file ", tandem("explain", "--list").stdout)

    def test_a_code_that_there_is_not(self):
        self.refuse("explain", "iommu-translate", says=['there is no code "iommu-translate"', 'did you mean "iommu-translated"?'])
        self.refuse("explain", "iommu", says=["there are: iommu-translated"])
        self.refuse("explain", "\x1b[2J", says=["there are: ", "no-gpu", "corrupt"])
        self.refuse("explain", says=["--list"])

    def test_an_error_carries_a_code_that_can_be_explained(self):
        result = tandem("run", self.folder / "nothing", "-p", "x")
        self.assertEqual(result.returncode, 2)
        self.assertTrue(result.stderr.startswith("error[not-found]: "), result.stderr)
        self.assertEqual(tandem("explain", "not-found").returncode, 0)


class ThisMachine(CliTest):
    def test_without_a_gpu_it_says_so_at_once(self):
        start = time.monotonic()
        result = tandem("doctor", "--json")
        seconds = time.monotonic() - start
        report = json.loads(result.stdout)
        if report["facts"]["gpu_health"] or any(d["kind"] == "gpu" for d in report["facts"]["pci"]):
            self.skipTest("this machine has GPUs")
        self.assertEqual((result.returncode, [f["code"] for f in report["findings"]]), (1, ["no-gpu"]))
        self.assertLess(seconds, 1 * int(os.environ["TEST_SLOWDOWN"]))

    def test_a_snapshot_gives_the_same_diagnosis_and_names_nobody(self):
        snapshot = self.folder / "machine.json"
        env = {"NCCL_SOCKET_IFNAME": "secret-of-alice"}
        recorded = json.loads(tandem("doctor", "--no-probe", "--json", "--snapshot", snapshot, env=env).stdout)
        replayed = json.loads(tandem("doctor", "--from", snapshot, "--json").stdout)
        self.assertEqual([f["code"] for f in replayed["findings"]], [f["code"] for f in recorded["findings"]])
        self.assertIn("secret-of-alice", json.dumps(recorded["facts"]))
        self.assertNotIn("secret-of-alice", snapshot.read_text())


class OtherMachines(CliTest):
    def test_status_and_verdict(self):
        self.assertGreater(len(COMPOSED), 20)
        healthy = {"doctor-rtx3090x8-patched-module", "doctor-two-sockets"}
        for path in COMPOSED:
            with self.subTest(path.stem):
                result = tandem("doctor", "--from", path)
                self.assertEqual(result.returncode, 0 if path.stem in healthy else 1, result.stdout + result.stderr)
                self.assertIn("a machine that nobody recorded: ", result.stdout)
                self.assertEqual(result.stdout.splitlines()[-1].startswith("healthy: "), path.stem in healthy)

    def test_lines_fit_a_terminal_and_have_no_colour_in_a_pipe(self):
        for path in COMPOSED:
            for flags in ((), ("--why-not", "p2p"), ("--fix-plan",)):
                text = tandem("doctor", "--from", path, *flags).stdout
                self.assertNotIn("\x1b", text)
                commands = {line for step in json.loads(tandem("doctor", "--from", path, "--json").stdout)["fix_plan"]
                            for command in step["commands"] for line in command.split("\n")}
                for line in text.splitlines():
                    self.assertTrue(len(line) <= 80 or line.strip() in commands, line)

    def test_a_terminal_gets_colours_unless_it_refuses_them(self):
        for env, colour in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False),
                            ({"TERM": "dumb"}, False)):
            ours, theirs = pty.openpty()
            tandem("doctor", "--from", SNAPSHOTS / "doctor-mig.json", stdout=theirs, env=env)
            os.close(theirs)
            self.assertEqual(b"\x1b[1;33mwarning" in os.read(ours, 100), colour, env)
            os.close(ours)

    def test_consequences_are_told_below_their_cause(self):
        report = doctor_json("iommu-translated")
        (finding,) = report["findings"]
        self.assertEqual((finding["code"], finding["severity"]), ("iommu-translated", "error"))
        self.assertEqual([c["code"] for c in finding["consequences"]], ["corrupt"])
        self.assertIn("cuda:0 -> cuda:1: corrupt in 4096 rounds", finding["consequences"][0]["evidence"][0])
        self.assertIn("so:   [corrupt]", doctor("iommu-translated").stdout)

    def test_why_not(self):
        why = doctor_json("rtx3090x4-nvlink-pairs", "--why-not", "p2p")["why_not"]
        self.assertEqual([step["answer"] for step in why["steps"]], ["yes", "yes", "no"])
        self.assertIn("[partial-mesh]", why["verdict"])
        self.assertEqual(why["explained_by"], ["geforce-no-p2p"])
        nccl = doctor("two-sockets", "--why-not", "nccl").stdout
        self.assertIn("all-reduce of 64 KB: ", nccl)
        self.assertIn("nccl is not used [slower]", nccl)
        self.refuse("doctor", "--why-not", "ncll", says=["ncll", "p2p"])

    def test_fix_plan_has_commands_and_what_they_need(self):
        text = doctor("acs-redirect", "--fix-plan").stdout
        self.assertIn("  1. turn it off on these bridges", text)
        self.assertIn("\n       sudo setpci -s 0000:02:00.0 ECAP_ACS+6.w=0000\n", text)
        self.assertIn("[root, firmware, reboot]", text)

    def test_a_declared_supply_is_held_against_the_limits(self):
        codes = [f["code"] for f in doctor_json("geforce40-stock-driver", "--supply-watts", "1000")["findings"]]
        self.assertEqual(codes, ["geforce-no-p2p", "power-supply"])
        self.refuse("doctor", "--supply-watts", "0", says=["--supply-watts"])

    def test_files_that_are_no_snapshots_and_flags_that_contradict(self):
        self.refuse("doctor", "--from", self.folder / "nothing.json", says=["nothing.json"])
        self.refuse("doctor", "--from", GGUF, says=["model.gguf"])
        snapshot = COMPOSED[0]
        self.refuse("doctor", "--from", snapshot, "--devices", "0", says=["--from and --devices"])
        self.refuse("doctor", "--from", snapshot, "--no-probe", says=["--no-probe", "--from"])
        self.refuse("doctor", "--from", snapshot, "--snapshot", self.folder / "x", says=["--snapshot", "--from"])


if __name__ == "__main__":
    unittest.main()
