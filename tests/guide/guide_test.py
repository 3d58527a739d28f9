"""The table of the guide: whole, its tests exist, and docs/reference/guide.md is made from it."""
import contextlib
import io
import re
import unittest

import guide
from row import FEATURES, ROOT, VERDICTS, Row, UnitTest, owed
from rows import ROWS


def sources(*patterns):
    return "\n".join(path.read_text() for pattern in patterns for path in ROOT.glob(pattern))


class Table(unittest.TestCase):
    def test_has_every_row_once_in_order(self):
        self.assertEqual([row.number for row in ROWS], list(range(1, 120)))

    def test_rows_are_checked_or_owed_and_say_what_is(self):
        for row in ROWS:
            with self.subTest(row.name):
                self.assertIn(row.verdict, VERDICTS)
                self.assertTrue(row.checks or row.owed)
                self.assertEqual(bool(row.checks), bool(row.does), "what Tandem does is what a check shows")
                for feature, what in row.owed:
                    self.assertIn(feature, FEATURES)
                    self.assertTrue(what)
                for text in (row.does, *(what for _, what in row.owed)):
                    self.assertNotIn("\n", text)
                    self.assertTrue(text == row.does or not text.endswith("."), text)

    def test_features_are_waited_for(self):
        self.assertEqual(set(FEATURES), {feature for row in ROWS for feature, _ in row.owed})

    def test_tests_of_programs_exist(self):
        programs = set(re.findall(r"tandem_test\((\w+)", sources("src/*/CMakeLists.txt", "tests/guide/CMakeLists.txt")))
        tests = set(re.findall(r"^TEST(?:_[FP])?\((\w+, \w+)\)", sources("src/**/*.cc", "src/**/communicator_contract*.h",
                                                                         "tests/guide/*.cc"), re.MULTILINE))
        for row in ROWS:
            for check in row.checks:
                if not isinstance(check, UnitTest):
                    continue
                with self.subTest(f"{row.name} {check.program}"):
                    self.assertIn(check.program, programs)
                    for name in check.tests:
                        suite, test = name.removeprefix("*/").removesuffix("/*").split(".")
                        self.assertTrue(f"{suite}, {test}" in tests, name)

    def test_api_tests_are_pointed_at(self):
        named = {name for row in ROWS for check in row.checks if isinstance(check, UnitTest) for name in check.tests}
        for test in re.findall(r"^TEST\(Guide, (\w+)\)", sources("tests/guide/*.cc"), re.MULTILINE):
            self.assertIn(f"Guide.{test}", named)


class Running(unittest.TestCase):
    def test_only_a_row_that_is_kept_passes(self):
        def skip():
            raise unittest.SkipTest("no GPU here")

        def fail():
            raise AssertionError("broken")
        def status(*checks_and_owed):
            with contextlib.redirect_stdout(io.StringIO()) as said:
                status = guide.run(Row(1, "x", "ok", "y", *checks_and_owed))
            self.assertEqual("  " in said.getvalue(), status == guide.SKIPPED, "a skip has a reason")
            return status
        self.assertEqual(status((lambda: None,)), 0)
        self.assertEqual(status((skip,)), guide.SKIPPED)
        self.assertEqual(status((lambda: None,), owed("doctor", "z")), guide.SKIPPED)
        with self.assertRaises(AssertionError):
            status((skip, fail), owed("doctor", "z"))


class Page(unittest.TestCase):
    def test_is_current(self):
        page = ROOT / "docs/reference/guide.md"
        self.assertEqual(page.read_text(), guide.page(), f"run: tests/guide/guide.py page > {page.relative_to(ROOT)}")


if __name__ == "__main__":
    unittest.main()
