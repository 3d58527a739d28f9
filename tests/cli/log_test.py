#!/usr/bin/env python3
"""The log: who says what, and the last lines that a failing program leaves."""
import re
import unittest

from cli_rig import GGUF, CliTest, tandem


class Log(CliTest):
    # Nobody can be in time: the first rank to wait for another fails.
    FAILS = ("run", GGUF, "-p", "Hello", "--raw", "--ignore-eos", "-n", "40", "--tp", "3", "--timeout", "1e-9")
    LINE = re.compile(r"^  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} ([TDIWE]) (\w+): (?:\[rank (\d+) (\S+)\] )?(.*)$", re.MULTILINE)

    def test_a_rank_that_fails_leaves_the_last_lines(self):
        result = tandem(*self.FAILS)
        self.assertEqual(result.returncode, 2, result.stderr)
        log, error = re.split(r"^error\[timeout\]: ", result.stderr, maxsplit=1, flags=re.MULTILINE)
        lines = self.LINE.findall(log)
        self.assertIn("the last ", log)
        self.assertTrue(any(level == "D" and "step of 5 tokens of prefill" in text for level, _, _, _, text in lines), log)
        aborted = [(rank, device) for _, subsystem, rank, device, text in lines if subsystem == "comm" and "group aborted" in text]
        self.assertEqual(len(aborted), 1, log)
        rank, device = aborted[0]
        self.assertEqual(device, f"cpu:{rank}")
        self.assertIn(f"rank {rank} waits for", error)

    def test_other_errors_leave_none(self):
        result = tandem("run", GGUF, "-p", "Hello " * 20, "--raw", "--max-seq-len", "16")
        self.assertEqual(result.returncode, 2)
        self.assertNotIn("of the log", result.stderr)

    def test_the_communication_log_names_rank_and_device(self):
        result = tandem("run", GGUF, "-p", "Hello", "--raw", "-n", "1", "--tp", "2", env={"EXLLAMA_P2P_VERBOSE": "1"})
        for rank in range(2):
            self.assertRegex(result.stderr, rf"T comm: \[rank {rank} cpu:{rank}\] all-reduce, \d+ bytes, call 1\n")


if __name__ == "__main__":
    unittest.main()
