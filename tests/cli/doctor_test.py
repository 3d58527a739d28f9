#!/usr/bin/env python3
"""`tandem explain` and `tandem doctor`: what a code means, and what is wrong with this machine and with recorded ones."""
import json
import unittest

from cli_rig import CliTest, tandem


class Explain(CliTest):
    def test_a_code_in_full(self):
        result = tandem("explain", "iommu-translated")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("iommu-translated (finding of tandem doctor, warning): ", result.stdout)
        self.assertIn('+GRUB_CMDLINE_LINUX="... iommu=pt"', result.stdout)
        self.assertIn("guide: G12, G22", result.stdout)

    def test_every_code_of_the_list_is_explained(self):
        codes = json.loads(tandem("explain", "--list", "--json").stdout)
        self.assertGreater(len(codes), 80)
        for code in sorted({entry["code"] for entry in codes})[::10]:
            result = tandem("explain", code, "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(json.loads(result.stdout)["code"], code)
        self.assertIn("  bad-file ", tandem("explain", "--list").stdout)

    def test_a_code_that_there_is_not(self):
        self.refuse("explain", "iommu-translate", says=['there is no code "iommu-translate"', 'did you mean "iommu-translated"?'])
        self.refuse("explain", "\x1b[2J", says=["there are: "])
        self.refuse("explain", says=["--list"])

    def test_an_error_carries_a_code_that_can_be_explained(self):
        result = tandem("run", self.folder / "nothing", "-p", "x")
        self.assertEqual(result.returncode, 2)
        self.assertTrue(result.stderr.startswith("error[not-found]: "), result.stderr)
        self.assertEqual(tandem("explain", "not-found").returncode, 0)


if __name__ == "__main__":
    unittest.main()
