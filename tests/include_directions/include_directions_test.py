"""The include check itself: each rule is broken once in a small tree and must be named."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import include_directions

PICTURE = "<!-- tests/include_directions -->\n```text\ncli\nmodel tokenizer\nkernels weights\nbase\n```\n"


class IncludeDirections(unittest.TestCase):
    def check(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            tree = {include_directions.PICTURE: PICTURE, "src/base/error.h": "", "src/base/json.h": "",
                    "src/kernels/gemm.h": "", "src/weights/gguf.h": "", "src/model/model.h": "",
                    "include/tandem/error.h": "", **files}
            for name, text in tree.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            return list(include_directions.violations(root))

    def assert_named(self, name, text, expected):
        found = self.check({name: text})
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_lines_below_own_folder_and_system_headers_are_allowed(self):
        self.assertEqual(self.check({"src/model/model.cc": '#include "model/model.h"\n#include "weights/gguf.h"\n'
                                                           '#include "base/json.h"\n#include "tandem/error.h"\n'
                                                           "#include <vector>\n#include <sys/mman.h>\n"}), [])

    def test_a_folder_above_is_named(self):
        self.assert_named("src/base/a.cc", '\n#include "model/model.h"\n', "src/base/a.cc:2: base includes")

    def test_a_folder_beside_is_named(self):
        self.assert_named("src/kernels/a.h", '#include "weights/gguf.h"\n', "stands beside it")

    def test_a_path_that_does_not_start_at_src_is_named(self):
        self.assert_named("src/kernels/a.cc", '#include "gemm.h"\n', "not a path below src/")

    def test_an_indented_include_is_seen(self):
        self.assert_named("src/base/a.h", '#if 1\n  # include "model/model.h"\n#endif\n', "stands above it")

    def test_an_include_in_a_comment_is_not(self):
        self.assertEqual(self.check({"src/base/a.h": '// #include "model/model.h"\n/*\n#include "cli/x.h"\n*/\n'}), [])

    def test_a_folder_that_is_not_in_the_picture_is_named(self):
        self.assert_named("src/extra/a.h", "", "folder extra is not in the picture")

    def test_third_party_headers_stay_in_their_folders(self):
        for header in ("CLI/CLI.hpp", "spdlog/spdlog.h", "fmt/format.h", "pcre2.h", "utf8proc.h", "histedit.h"):
            self.assert_named("src/model/a.cc", f"#include <{header}>\n", "is allowed only in")
        self.assert_named("src/model/a.cc", "#include <gtest/gtest.h>\n", "is allowed only in")
        self.assertEqual(self.check({"src/cli/main.cc": "#include <CLI/CLI.hpp>\n",
                                     "src/base/log.cc": "#include <spdlog/spdlog.h>\n",
                                     "src/model/a_test.cc": "#include <gtest/gtest.h>\n",
                                     "src/model/testing.h": "#include <gtest/gtest.h>\n",
                                     "src/model/a_contract_rig.h": "#include <gmock/gmock.h>\n"}), [])
        self.assert_named("src/model/latest.h", "#include <gtest/gtest.h>\n", "is allowed only in")

    def test_json_is_for_cc_files(self):
        self.assert_named("src/model/a.h", "#include <nlohmann/json.hpp>\n", "is allowed only in")
        self.assert_named("src/model/a.h", '#include "base/json.h"\n', "in .cc files only")
        self.assertEqual(self.check({"src/model/a.cc": "#include <nlohmann/json.hpp>\n"}), [])

    def test_public_headers_need_the_standard_library_only(self):
        for line in ('#include "base/error.h"', "#include <fmt/core.h>", "#include <unistd.h>"):
            self.assert_named("include/tandem/a.h", line + "\n", "a public header includes")
        self.assertEqual(self.check({"include/tandem/a.h": '#include "tandem/error.h"\n#include <string>\n'}), [])

    def test_unknown_system_headers_are_named(self):
        self.assert_named("src/base/a.cc", "#include <boost/asio.hpp>\n", "is unknown")


if __name__ == "__main__":
    unittest.main()
