"""A row of the guide, and how it is checked: by Python over the built program, or by tests of GoogleTest programs."""
import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import unittest
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "cli"), str(ROOT / "tests" / "docs")]  # cli_rig, run_commands

# What rows wait for. When one is built, its rows lose what they owe to it, and get a check instead.
FEATURES = {
    "architectures": "GPUs other than Hopper",
    "bench": "`tandem bench`",
    "check": "`tandem check`",
    "doctor": "`tandem doctor`",
    "engine": "models on GPUs",
    "image": "packages and images",
    "islands": "islands of a partial mesh",
    "processes": "ranks as processes",
    "report": "`tandem report`",
    "server": "`tandem serve`",
    "top": "`tandem top`",
    "trace": "the tracer",
    "tune": "`tandem tune`",
    "windows": "Windows",
}

VERDICTS = {
    "ok": "right",
    "part": "half right, or misleading",
    "wrong": "does not work as written",
    "void": "documented, and nothing in the original read it",
}


@dataclass(frozen=True)
class Row:
    """A row whose checks pass and that owes nothing is kept."""

    number: int
    item: str  # what the guide shows
    verdict: str  # of VERDICTS
    does: str = ""  # what Tandem does today, as the checks show
    checks: tuple = ()  # functions; one that cannot run here raises unittest.SkipTest
    owed: tuple = ()  # (feature, what), with a feature of FEATURES

    @property
    def name(self):
        return f"G{self.number}"


def owed(feature, what):
    return ((feature, what),)


@dataclass(frozen=True)
class UnitTest:
    """Tests of a GoogleTest program of this build; `on_gpus`: one that only builds with CUDA have."""

    program: str
    tests: tuple  # "Suite.Name", or "*/Suite.Name/*" of a suite with parameters
    on_gpus: bool = False
    environment: tuple = ()  # (name, value)

    @property
    def __name__(self):
        return self.program

    def __call__(self):
        if self.on_gpus and os.environ["TANDEM_WITH_CUDA"] != "1":
            raise unittest.SkipTest(f"needs GPUs: {self.program} covers it, in a build with CUDA")
        build = pathlib.Path(os.environ["TANDEM_BUILD"])
        (path,) = (*build.glob(f"src/*/{self.program}"), *build.glob(f"tests/guide/{self.program}"))
        run = subprocess.run([path, "--gtest_filter=" + ":".join(self.tests)], capture_output=True, text=True,
                             env={**os.environ, **dict(self.environment)})
        if run.returncode != 0:
            raise AssertionError(f"{self.program}:\n{run.stdout}{run.stderr}")
        passed, skipped = (re.findall(rf"^\[ +{end} \] (\S+) \(", run.stdout, re.MULTILINE) for end in ("OK", "SKIPPED"))
        for test in self.tests:
            if fnmatch.filter(passed, test):
                continue
            if fnmatch.filter(skipped, test):
                reason = re.search(r": Skipped\n(.*)\n", run.stdout)
                raise unittest.SkipTest(f"{self.program}, {test}: {reason.group(1) if reason else 'skipped'}")
            raise AssertionError(f"{self.program} has no {test}:\n{run.stdout}")


def unit(program, *tests):
    return UnitTest(program, tests)


def on_gpus(program, *tests, **environment):
    return UnitTest(program, tests, True, tuple(environment.items()))


def api(number, name):
    """A test of guide_api_test.cc, named after its row."""
    return UnitTest("guide_api_test", (f"Guide.G{number}{name}",))
