"""tools/dev check and compare: each rule is broken once and must be named."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / "tools/dev"


def dev(*args, **variables):
    # Hooks export the repository they run for, which is not the small one of these tests.
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | variables
    return subprocess.run([sys.executable, DEV, *args], capture_output=True, text=True, env=env)


class Check(unittest.TestCase):
    def check(self, files, **variables):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            picture = "docs/explanation/architecture.md"
            tree = {picture: (ROOT / picture).read_text(encoding="utf-8"),
                    ".clang-format": (ROOT / ".clang-format").read_text(encoding="utf-8"), **files}
            for name, text in tree.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            subprocess.run(["git", "init", "-q", root], check=True)
            run = dev("check", "--root", str(root), **variables)
            return run.returncode, run.stdout + run.stderr

    def assert_named(self, files, expected):
        status, output = self.check(files)
        self.assertEqual(status, 1, output)
        self.assertIn(expected, output)

    def test_a_clean_tree_passes(self):
        status, output = self.check({"README.md": "# A\n\n[b](docs/b.md)\n", "docs/b.md": "b\n"})
        self.assertEqual(status, 0, output)

    def test_paths_of_one_machine_are_named(self):
        self.assert_named({"a.md": "see /ho" + "me/someone/x\n"}, "a.md:1: a path of one machine")
        status, output = self.check({"a.md": "~/ho" + "me/x, $HOME/wo" + "rk/x and net/wo" + "rk/x are nobody's\n"})
        self.assertEqual(status, 0, output)

    def test_registries_are_named(self):
        self.assert_named({"a.sh": "get https://py" + "pi.org/x\n"}, "a.sh:1: a registry's host name")

    def test_unfinished_markers_are_named(self):
        self.assert_named({"a.py": "# TO" + "DO: later\n"}, "a.py:1: an unfinished marker")

    def test_trailing_space_and_missing_newline_are_named(self):
        self.assert_named({"a.cmake": "set(A 1) \n"}, "a.cmake:1: white space")
        self.assert_named({"a.cmake": "set(A 1)"}, "a.cmake: no newline")

    def test_broken_links_are_named(self):
        self.assert_named({"a.md": "[b](b.md#part)\n"}, "a.md: link to b.md")

    def test_unlisted_sources_and_missing_readmes_are_named(self):
        files = {"src/base/CMakeLists.txt": "tandem_library(base SOURCES a.cc)\n", "src/base/a.cc": "int a;\n"}
        self.assert_named(files, "src/base: no README.md")
        self.assert_named({**files, "src/base/README.md": "base\n", "src/base/b.cc": "int b;\n"},
                          "src/base/b.cc: not named in src/base/CMakeLists.txt")

    def test_include_directions_are_part_of_it(self):
        self.assert_named({"src/base/CMakeLists.txt": "a.cc\n", "src/base/README.md": "base\n",
                           "src/cli/x.h": "", "src/base/a.cc": '#include "cli/x.h"\n'}, "cli stands above it")

    @unittest.skipUnless(shutil.which("clang-format-19") or shutil.which("clang-format"), "clang-format is not installed")
    def test_format_is_part_of_it(self):
        self.assert_named({"src/base/x.h": "int  a;\n"}, "tools/dev format")

    def test_without_clang_format_the_other_checks_run(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "git").symlink_to(shutil.which("git"))
            status, output = self.check({"src/base/x.h": "int a; \n"}, PATH=folder)
        self.assertEqual(status, 1, output)
        self.assertIn("clang-format-19 is not installed: the format was not checked", output)
        self.assertIn("src/base/x.h:1: white space", output)


class Compare(unittest.TestCase):
    def compare(self, a, b):
        with tempfile.TemporaryDirectory() as folder:
            names = []
            for name, records in (("a.jsonl", a), ("b.jsonl", b)):
                path = Path(folder) / name
                path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records),
                                encoding="utf-8")
                names.append(str(path))
            return dev("compare", *names)

    def test_a_difference_beyond_the_spread_is_marked(self):
        a = {"benchmark": "decode", "world_size": 2, "machine": "m", "commit": "1", "median": 100.0, "spread": 0.05}
        run = self.compare([a, {**a, "world_size": 4}],
                           [{**a, "median": 103.0}, {**a, "world_size": 4, "median": 50.0, "commit": "2"}])
        self.assertEqual(run.returncode, 0, run.stderr)
        _, first, second = run.stdout.splitlines()
        self.assertEqual(first.split()[:4], ["100", "103", "1.030", "no"])
        self.assertEqual(second.split()[:4], ["100", "50", "0.500", "yes"])
        self.assertIn("world_size=4", second)

    def test_the_newest_record_counts_and_samples_give_median_and_spread(self):
        old, new = {"benchmark": "x", "samples": [9, 9]}, {"benchmark": "x", "samples": [1, 2, 4]}
        run = self.compare([old, new], [{"benchmark": "x", "samples": [4, 5, 6]}])
        self.assertEqual(run.stdout.splitlines()[1].split()[:4], ["2", "5", "2.500", "no"], run.stdout)

    def test_kept_results_compare_with_a_later_run(self):
        names = {"model": ("decode", "prefill", "memory"), "comm": ("all_reduce", "all_gather", "broadcast")}
        for path in (ROOT / "bench/results").glob("*.jsonl"):
            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            # Another commit at another time, twice as slow in everything that it measures.
            later = [{k: 2 * v if isinstance(v, float) else v for k, v in record.items()} for record in records]
            later = [{**record, "commit": "later", "unix_time": record["unix_time"] + 1} for record in later]
            run = self.compare(records, later)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertNotIn("only in", run.stdout)
            for name in names[path.name.split("-")[3]]:  # year-month-day-kind-machine
                self.assertIn(f"name={name}", run.stdout)

    def test_a_benchmark_of_one_side_is_listed_and_nothing_in_common_is_an_error(self):
        run = self.compare([{"benchmark": "x", "median": 1}], [{"benchmark": "y", "median": 1}])
        self.assertEqual(run.returncode, 2)
        self.assertIn("only in A: benchmark=x", run.stdout)
        self.assertIn("no benchmark in common", run.stderr)

    def test_broken_records_are_named_by_line(self):
        run = self.compare([{"benchmark": "x", "median": 1}, "{"], [])
        self.assertEqual(run.returncode, 2)
        self.assertIn("a.jsonl:2: not a JSON record", run.stderr)
        run = self.compare([{"benchmark": "x"}], [])
        self.assertIn("a.jsonl:1: the record has no median", run.stderr)


if __name__ == "__main__":
    unittest.main()
