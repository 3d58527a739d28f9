#!/usr/bin/env python3
"""The guide's rows as tests and as a page. The table is rows.py.

  guide.py run G12   checks a row. Exit status 0: Tandem keeps it; 1: it does not; 77: what could be checked here passed,
                     and something is owed, or only GPUs can show it
  guide.py page      docs/reference/guide.md, on stdout
"""
import sys
import unittest
from collections import Counter

from row import FEATURES, VERDICTS
from rows import ROWS

SKIPPED = 77

HEAD = """# The guide, row by row

<!-- Made by tests/guide/guide.py from tests/guide/rows.py; a test compares. -->

ExLlamaV3's P2P troubleshooting guide shows or implies {total} calls, settings, commands and pieces of advice. This page
takes each: whether it is right, what Tandem does today, and how that is tested. `ctest -L guide` runs the rows as tests
`G1` to `G{total}`. A test passes when Tandem keeps the whole row; it is skipped, with the reason, when a part is owed or
only GPUs can show it; what can be checked is checked all the same. The guide's advice, set right, is in
[troubleshooting.md](../how-to/troubleshooting.md).

| verdict | the guide's row is |
| --- | --- |
{verdicts}

| test | rows |
| --- | --- |
{counts}

"""


def on_gpus(row):
    return [check for check in row.checks if getattr(check, "on_gpus", False)]


def state(row):
    if not row.checks:
        return "owed"
    if row.owed:
        return "part owed"
    return "on GPUs" if on_gpus(row) else "kept"


MEANING = {
    "kept": "the test passes on any machine",
    "on GPUs": "nothing owed; a test that needs GPUs shows it, or its last part",
    "part owed": "what there is is tested; the rest waits for what is named",
    "owed": "waits for what is named",
}


def run(row):
    missing = [f"owed ({FEATURES[feature]}): {what}" for feature, what in row.owed]
    for check in row.checks:
        try:
            check()
        except unittest.SkipTest as skip:
            missing.append(f"not shown here: {skip}")
    print(f"{row.name}, {row.item}: {row.does}", *missing, sep="\n  ")
    return SKIPPED if missing else 0


def cell(text):
    return text.replace("|", "\\|")


def line(row):
    owed = "; ".join(f"{FEATURES[feature]}: {what}" for feature, what in row.owed)
    does = " ".join([row.does] * bool(row.does) + [f"*Owed:* {owed}."] * bool(owed))
    tests = ", ".join(dict.fromkeys(f"`{check.__name__}`" for check in row.checks))
    test = state(row) + (f": {tests}" if tests else "")
    return f"| {row.name} | {cell(row.item)} | {row.verdict} | {cell(does)} | {test} |"


def page():
    states = Counter(map(state, ROWS))
    head = HEAD.format(total=len(ROWS),
                       verdicts="\n".join(f"| {verdict} | {meaning} |" for verdict, meaning in VERDICTS.items()),
                       counts="\n".join(f"| {name}: {meaning} | {states[name]} |" for name, meaning in MEANING.items()))
    table = ["| row | the guide | verdict | Tandem | test |", "| --- | --- | --- | --- | --- |", *map(line, ROWS)]
    return head + "\n".join(table) + "\n"


def main():
    if sys.argv[1:] == ["page"]:
        print(page(), end="")
        return 0
    if len(sys.argv) == 3 and sys.argv[1] == "run":
        return run(next(row for row in ROWS if row.name == sys.argv[2]))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
