"""The runner of documentation commands: what it takes from a page, and that a failing command fails."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import run_commands

PAGE = """# Page

```sh
x=1
```

<!-- not run by the test: needs root -->
```sh
exit 3
```

```text
exit 4
```

```console
test "$x" = 1
{}
echo end
```

<!-- not run by the test: needs a terminal -->
```sh
exit 5
```
"""


class RunCommands(unittest.TestCase):
    def run_page(self, command):
        return subprocess.run(["bash", "-c", run_commands.script("page.md", PAGE.format(command))], capture_output=True,
                              text=True)

    def test_only_marked_blocks_are_taken_and_know_their_line(self):
        self.assertEqual([line for line, _ in run_commands.blocks(PAGE)], [4, 17])

    def test_blocks_share_one_shell(self):
        run = self.run_page("true")
        self.assertEqual((run.returncode, run.stdout), (0, "end\n"), run.stderr)

    def test_a_failing_command_stops_and_is_located(self):
        for command in ("false", "false | cat", "test a = b"):
            run = self.run_page(command)
            self.assertEqual((run.returncode, run.stdout), (1, ""), command)
            self.assertIn("FAILED in the block at page.md:17", run.stderr)

    def test_a_page_that_needs_the_model_is_skipped_and_nothing_is_fetched(self):
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "page.md")
            page.write_text("```sh\nmodel=$(tools/fetch-model)\n```\n")
            cache = Path(folder, "cache")
            # No index for pip: should the model be asked for after all, nothing is downloaded either.
            env = {**os.environ, "XDG_CACHE_HOME": str(cache), "PIP_NO_INDEX": "1"}
            run = subprocess.run([sys.executable, run_commands.__file__, page], capture_output=True, text=True, env=env)
            self.assertEqual(run.returncode, 77, run.stderr)
            self.assertIn("`make model` fetches it", run.stdout)
            self.assertFalse(cache.exists())


if __name__ == "__main__":
    unittest.main()
