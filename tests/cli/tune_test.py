#!/usr/bin/env python3
"""`tandem tune` as far as a machine without GPUs takes it: what it refuses, and that it then stores nothing."""
import json
import unittest

from cli_rig import CliTest, tandem

# Machines with GPUs run these too: none is seen.
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


class Tune(CliTest):
    def refuse_tune(self, *flags, says, **env):
        folder = self.folder / "profiles"
        message = self.refuse("tune", *flags, env={**NO_GPU, "TANDEM_PROFILE_DIR": str(folder), **env}, says=says)
        self.assertFalse(folder.exists(), "nothing is stored")
        return message

    def test_without_gpus_it_says_so_and_what_to_do(self):
        for flags in ((), ("--dry-run",), ("--tp", "2"), ("--sizes", "4K", "--ops", "all_reduce,gather")):
            with self.subTest(flags):
                self.refuse_tune(*flags, says=["nothing to tune: no GPU can be used: ", "tandem check"])
        for flags in (("--devices", "cpu"), ("--devices", "cpu", "--tp", "4"), ("--devices", "cpu:0,cpu:1")):
            with self.subTest(flags):
                self.refuse_tune(*flags, says=["nothing to tune: the ranks are CPUs", "tandem check"])

    def test_what_is_no_tuning(self):
        self.refuse_tune("--ops", "all_reduce,scan", says=['no operation "scan" to tune', "there are all_reduce, all_gather"])
        self.refuse_tune("--ops", "all_reduce_norm", says=["all_reduce_norm"])
        self.refuse_tune("--sizes", "1K:", says=["is no size"])
        self.refuse_tune("--sizes", "1M:1K", says=["begin above their end"])
        self.refuse_tune("--tp", "17", says=["17", "1 to 16"])
        self.refuse_tune("--devices", "99", says=["99"])
        self.refuse_tune("--size", "1K", says=["--size"])
        self.refuse_tune(TANDEM_P2P_BUFFER_SIZE="many", says=["TANDEM_P2P_BUFFER_SIZE", "many"])

    def test_profiles_that_are_off_have_no_place(self):
        message = self.refuse("tune", env={**NO_GPU, "TANDEM_PROFILE_DIR": "off"},
                              says=['environment TANDEM_PROFILE_DIR: profile_dir is "off"', "--dry-run"])
        self.assertIn("--profile-dir", message)
        self.refuse("tune", "--dry-run", env={**NO_GPU, "TANDEM_PROFILE_DIR": "off"}, says=["nothing to tune"])

    def test_json_reports_the_error(self):
        result = tandem("tune", "--json", env=NO_GPU)
        self.assertEqual(result.returncode, 2)
        self.assertEqual(json.loads(result.stdout)["error"]["kind"], "unsupported")
        result = tandem("tune", "--json", "--sizes", "many", env=NO_GPU)
        self.assertEqual(json.loads(result.stdout)["error"]["kind"], "invalid-argument")


if __name__ == "__main__":
    unittest.main()
