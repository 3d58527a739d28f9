"""tools/setup against made-up package tools: installs what is missing, says what it could not."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SETUP = Path(__file__).resolve().parents[2] / "tools/setup"


class Setup(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.bin = Path(temporary.name) / "bin"
        self.bin.mkdir()
        self.log = Path(temporary.name) / "log"
        for name in ("bash", "env", "cat"):
            (self.bin / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")

    def tool(self, name, script):
        path = self.bin / name
        path.write_text("#!/bin/bash\n" + script)
        path.chmod(0o755)

    def setup(self, *groups, installed=(), available=None, user=0, sudo=True, apt_status=0):
        """Runs tools/setup where `installed` packages are there (None: all) and `available` ones exist (None: all)."""
        def cases(names, hit, miss):
            if names is None:
                return hit
            return f'case "${{@: -1}}" in {"|".join(names) or "-"}) {hit} ;; *) {miss} ;; esac'
        self.tool("dpkg-query", cases(installed, "echo -n installed", "exit 1"))
        self.tool("apt-cache", cases(available, "echo Package", ":"))
        self.tool("apt-get", f'echo "apt-get $*" >>{self.log}; [[ $1 == update ]] || exit {apt_status}')
        self.tool("id", f"echo {user}")
        if sudo:
            self.tool("sudo", f'echo "sudo" >>{self.log}; exec "$@"')
        run = subprocess.run([SETUP, *groups], capture_output=True, text=True, env={"PATH": str(self.bin)})
        return run, self.log.read_text().splitlines() if self.log.exists() else []

    def test_nothing_missing_runs_nothing_and_says_nothing(self):
        run, log = self.setup(installed=None, user=1000)
        self.assertEqual((run.returncode, run.stdout, run.stderr, log), (0, "", "", []))

    def test_only_what_is_missing_is_installed(self):
        run, log = self.setup("model", installed=("python3", "ca-certificates"))
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(log, ["apt-get update -q", "apt-get install -q -y --no-install-recommends python3-pip"])

    def test_sudo_is_used_only_by_others_than_root(self):
        _, log = self.setup("model", installed=("python3", "ca-certificates"), user=1000)
        self.assertEqual(log.count("sudo"), 2)

    def test_without_root_and_sudo_the_packages_are_named(self):
        run, log = self.setup("model", installed=("python3",), user=1000, sudo=False)
        self.assertEqual((run.returncode, log), (1, []))
        self.assertIn("apt-get install -y --no-install-recommends ca-certificates python3-pip", run.stderr)

    def test_a_failed_installation_names_the_packages(self):
        run, _ = self.setup("model", installed=("python3",), apt_status=100)
        self.assertEqual(run.returncode, 1)
        self.assertIn("could not install", run.stderr)
        self.assertIn("ca-certificates python3-pip", run.stderr)

    def test_the_first_choice_that_exists_is_taken(self):
        _, log = self.setup("fuzz", available=("clang", "libclang-rt-dev"))
        self.assertEqual(log[-1], "apt-get install -q -y --no-install-recommends clang libclang-rt-dev")

    def test_an_installed_second_choice_counts_only_where_there_is_no_first(self):
        second = ("clang", "libclang-rt-dev")
        _, log = self.setup("fuzz", installed=second)
        self.assertEqual(log[-1], "apt-get install -q -y --no-install-recommends clang-19 libclang-rt-19-dev")
        self.log.unlink()
        _, log = self.setup("fuzz", installed=second, available=second)
        self.assertEqual(log, [])

    def test_without_apt_it_names_the_packages_and_goes_on(self):
        run = subprocess.run([SETUP, "model"], capture_output=True, text=True, env={"PATH": str(self.bin)})
        self.assertEqual(run.returncode, 0)
        self.assertIn("ca-certificates python3 python3-pip", run.stderr)

    def test_an_unknown_group_is_refused(self):
        run, log = self.setup("everything")
        self.assertEqual((run.returncode, log), (1, []))
        self.assertIn("unknown group 'everything'", run.stderr)


if __name__ == "__main__":
    unittest.main()
