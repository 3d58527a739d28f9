#!/usr/bin/env python3
"""SmolLM2-135M-Instruct as `make run` runs it: the same tokens at every world size, memory, and a sensible answer.

Skipped (exit status 77) when the model is not in the cache: `make model` fetches it.
"""
import json
import os
import pathlib
import subprocess
import sys
import unittest

TANDEM = os.environ["TANDEM"]
FETCH = pathlib.Path(__file__).resolve().parents[2] / "tools" / "fetch-model"
CACHED = subprocess.run([FETCH, "--cached"], stdout=subprocess.PIPE, text=True)
MODEL = pathlib.Path(CACHED.stdout.strip())
WORLD_SIZES = (1, 2, 3, 4, 5, 8)
PROMPT = "Write a short story about a lighthouse keeper."


def tandem(*args):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("TANDEM_", "EXLLAMA_"))}
    result = subprocess.run([TANDEM, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env,
                            timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def greedy(ranks):
    return tandem("run", MODEL, "-p", PROMPT, "--temperature", "0", "-n", "64", "--ignore-eos", "--tp", ranks, "--json")


class SmolLM2(unittest.TestCase):
    def test_every_world_size_gives_the_same_64_greedy_tokens_in_bounded_memory(self):
        reports = {ranks: greedy(ranks) for ranks in WORLD_SIZES}
        self.assertEqual(reports[1]["new_tokens"], 64)
        for ranks, report in reports.items():
            with self.subTest(ranks=ranks):
                self.assertEqual(report["tp"], ranks)
                self.assertEqual(report["token_ids"], reports[1]["token_ids"], report["text"])
                plan = tandem("check", MODEL, "--tp", ranks, "--json")
                cache = sum(rank["cache_bytes"] for rank in plan["ranks"])
                self.assertLessEqual(report["peak_resident_bytes"], MODEL.stat().st_size + cache + 200e6)

    def test_the_answer_makes_sense(self):
        report = tandem("run", MODEL, "-p", "What is the capital of France?", "--temperature", "0", "--tp", "2", "--json")
        self.assertIn("Paris", report["text"])
        self.assertEqual(report["eos_reason"], "stop-token")


if __name__ == "__main__":
    if CACHED.returncode:
        print("skipped: the small model is not in the cache; `make model` fetches it")
        sys.exit(77)
    unittest.main()
