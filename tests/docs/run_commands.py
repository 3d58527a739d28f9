#!/usr/bin/env python3
"""run_commands.py PAGE.md: runs the ```sh blocks of a page, in order, in one shell, from the top of the repository.

A block after a line `<!-- not run by the test: REASON -->` is left out. The first failing command fails the test, named
by the line of its block. Skipped (exit status 77) when a page needs the small model and it is not in the cache: tests
download nothing, `make model` does.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 77
BLOCK = re.compile(r"^(<!-- not run by the test: [^\n]+ -->\n)?```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text):
    """[(line, commands)] of the blocks to run."""
    return [(text.count("\n", 0, m.start(2)) + 1, m.group(2)) for m in BLOCK.finditer(text) if not m.group(1)]


def script(page, text):
    """One shell script; before a block it says where the block stands."""
    parts = ["set -euo pipefail", f"trap 'echo \"FAILED in the block at {page}:$block\" >&2' ERR"]
    for line, commands in blocks(text):
        parts += [f"block={line}", f"echo '== {page}:{line}' >&2", commands]
    return "\n".join(parts)


def model_is_there():
    return subprocess.run([ROOT / "tools/fetch-model", "--cached"], stdout=subprocess.DEVNULL).returncode == 0


def main():
    page = Path(sys.argv[1])
    text = page.read_text(encoding="utf-8")
    if not blocks(text):
        sys.exit(f"{page}: no commands found")
    if ("fetch-model" in text or "make run" in text) and not model_is_there():
        print("skipped: the commands need the small model, which is not there; `make model` fetches it")
        sys.exit(SKIPPED)
    sys.exit(subprocess.run(["bash", "-c", script(page.name, text)], cwd=ROOT, stdin=subprocess.DEVNULL).returncode)


if __name__ == "__main__":
    main()
