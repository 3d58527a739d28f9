#!/usr/bin/env python3
"""Everything a user can get wrong: status 2, one clear message with file, offset or tensor, and what to do next."""
import json
import os
import struct
import unittest

from cli_rig import GGUF, GOLDEN, CliTest, Folder, tandem, tokenizer_json

RUN = ("-p", "Hello", "-n", "4")


class Names(CliTest):
    def test_missing_folder(self):
        self.refuse("run", self.folder / "nothing", *RUN, says=["there is no file or folder", "nothing"])

    def test_links_in_a_circle(self):
        loop = self.folder / "loop"
        loop.symlink_to(loop)
        self.refuse("run", loop, *RUN, says=["cannot look at", "loop", "symbolic links"])
        for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                     "chat_template.jinja"):
            with self.subTest(name):
                model = Folder(self.folder, f"model-{name}")
                (model.path / name).unlink(missing_ok=True)
                (model.path / name).symlink_to(name)
                self.refuse("run", model.path, *RUN, says=["cannot look at", name])

    def test_name_longer_than_names_can_be(self):
        self.refuse("run", self.folder / ("x" * 300), *RUN, says=["cannot look at", "name too long"])

    def test_hub_id(self):
        self.refuse("run", "meta-llama/Llama-3.1-8B", *RUN, says=["hub ids are not fetched"])

    def test_folder_without_config(self):
        self.refuse("check", self.folder, says=["no config.json"])

    def test_pytorch_checkpoint(self):
        checkpoint = self.folder / "pytorch_model.bin"
        checkpoint.write_bytes(b"PK\x03\x04")
        self.refuse("check", checkpoint, says=["pytorch_model.bin", "safetensors"])

    def test_folder_of_a_pytorch_checkpoint(self):
        model = Folder(self.folder)
        (model.path / "model.safetensors").rename(model.path / "pytorch_model.bin")
        self.refuse("check", model.path, says=["pytorch_model.bin"])

    def test_one_file_of_a_folder(self):
        self.refuse("check", GOLDEN / "models" / "llama" / "model.safetensors", says=["give the folder"])

    def test_unknown_dummy(self):
        self.refuse("check", "dummy:llama-9", says=["llama-9", "llama-3.1-8b"])

    def test_gguf_that_is_none(self):
        path = self.folder / "model.gguf"
        path.write_bytes(b"not a model at all, but long enough to be read")
        self.refuse("run", path, *RUN, says=["model.gguf", 'it starts with "not ", not "GGUF"'])

    def test_empty_file(self):
        path = self.folder / "model.gguf"
        path.write_bytes(b"")
        self.refuse("check", path, says=["model.gguf", "at byte 0"])

    def test_unreadable_file(self):
        model = Folder(self.folder)
        weights = model.path / "model.safetensors"
        weights.chmod(0)
        if os.access(weights, os.R_OK):  # root reads everything; a folder in its place cannot be read by anyone
            weights.unlink()
            weights.mkdir()
        self.refuse("check", model.path, says=["model.safetensors"])


class Weights(CliTest):
    def setUp(self):
        super().setUp()
        self.model = Folder(self.folder)

    def refuse_model(self, *says):
        return self.refuse("run", self.model.path, *RUN, says=says)

    def test_safetensors_cut_at_ten_places(self):
        data = (self.model.path / "model.safetensors").read_bytes()
        size, data_begin = len(data), 8 + struct.unpack("<Q", data[:8])[0]
        for place in (0, 1, 7, 8, 9, 500, 2000, size // 2, size - 2, size - 1):
            with self.subTest(place):
                model = Folder(self.folder, f"cut-{place}")
                model.truncate("model.safetensors", place)
                if place < 8:
                    where = [f"{place} bytes are too few"]
                elif place < data_begin:
                    where = [f"past the end of the file ({place} bytes)"]
                else:
                    where = ['tensor "', f"are not within the {place - data_begin} bytes of data"]
                self.refuse("check", model.path, says=["model.safetensors", *where])

    def test_gguf_cut_at_ten_places(self):
        data = GGUF.read_bytes()
        for place in (1, 4, 8, 20, 24, 100, 5000, len(data) // 2, len(data) - 40, len(data) - 1):
            with self.subTest(place):
                path = self.folder / "cut.gguf"
                path.write_bytes(data[:place])
                message = self.refuse("check", path, says=["cut.gguf"])
                self.assertRegex(message, r'at byte \d+: |tensor "')

    def test_gguf_version_of_the_future(self):
        data = bytearray(GGUF.read_bytes())
        data[4:8] = struct.pack("<I", 9)
        (self.folder / "new.gguf").write_bytes(data)
        self.refuse("check", self.folder / "new.gguf", says=["new.gguf", "version 9"])

    def test_tensor_out_of_bounds(self):
        def change(header):
            header["model.norm.weight"]["data_offsets"] = [10**12, 10**12 + 384]
        self.model.edit_header(change)
        self.refuse_model("model.norm.weight", "model.safetensors")

    def test_overlapping_tensors(self):
        def change(header):
            header["model.norm.weight"]["data_offsets"] = header["model.layers.0.input_layernorm.weight"]["data_offsets"]
        self.model.edit_header(change)
        self.refuse_model("model.safetensors", "overlap", '"model.norm.weight" (bytes ',
                          '"model.layers.0.input_layernorm.weight" (bytes ')

    def test_wrong_shape(self):
        def change(header):
            rows, cols = header["lm_head.weight"]["shape"]
            header["lm_head.weight"]["shape"] = [rows // 2, cols * 2]
        self.model.edit_header(change)
        self.refuse_model("lm_head.weight", "[192, 384]", "[384, 192]")

    def test_unknown_element_type(self):
        def change(header):
            header["model.norm.weight"]["dtype"] = "F4"
        self.model.edit_header(change)
        self.refuse_model("model.norm.weight", "F4")

    def test_missing_tensor(self):
        self.model.edit_header(lambda header: header.__setitem__("model.nrm.weight", header.pop("model.norm.weight")))
        self.refuse_model("model.norm.weight")

    def test_tensor_without_a_place(self):
        self.model.edit_json("config.json", lambda config: config.update(num_hidden_layers=1))
        self.refuse_model("model.layers.1.")


class Terminals(CliTest):
    """What files hold must not reach the terminal as a control sequence: here CSI in both its spellings, and OSC."""

    EVIL = "\x1b]0;owned\x07\x9b2J\x1b[31m"

    def refuse_quietly(self, model, *says):
        message = self.refuse("run", model.path, *RUN, says=["?]0;owned??2J?[31m", *says])
        self.assertNotRegex(message, r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

    def test_piece_of_a_tokenizer(self):
        model = Folder(self.folder)
        model.edit_json("tokenizer.json", lambda tokenizer: tokenizer["model"]["vocab"].update({self.EVIL: 5}))
        self.refuse_quietly(model, "both have id 5")

    def test_exception_of_a_chat_template(self):
        model = Folder(self.folder)
        (model.path / "chat_template.jinja").write_text("{{ raise_exception('%s') }}" % self.EVIL)
        self.refuse_quietly(model, "raised by")

    def test_text_that_no_message_quotes(self):
        model = Folder(self.folder)
        model.edit_json("config.json", lambda config: config.update(architectures=[self.EVIL]))
        self.refuse_quietly(model, "LlamaForCausalLM")
        report = tandem("run", model.path, *RUN, "--json").stdout
        self.assertNotRegex(report, r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
        self.assertIn(self.EVIL, json.loads(report)["error"]["message"])


class Configuration(CliTest):
    def setUp(self):
        super().setUp()
        self.model = Folder(self.folder)

    def test_broken_json(self):
        (self.model.path / "config.json").write_text('{"hidden_size": 192,')
        self.refuse("run", self.model.path, *RUN, says=["config.json", "broken JSON at byte"])

    def test_unknown_architecture(self):
        self.model.edit_json("config.json", lambda config: config.update(architectures=["MambaForCausalLM"]))
        self.refuse("run", self.model.path, *RUN, says=["MambaForCausalLM", "LlamaForCausalLM"])

    def test_foreign_quantisation(self):
        quantisation = {"quant_method": "gptq", "bits": 4}
        self.model.edit_json("config.json", lambda config: config.update(quantization_config=quantisation))
        self.refuse("run", self.model.path, *RUN, says=["gptq", "quantization_config"])

    def test_unsupported_rope(self):
        self.model.edit_json("config.json", lambda config: config.update(rope_parameters={"rope_type": "longrope"}))
        self.refuse("run", self.model.path, *RUN, says=["longrope"])

    def test_missing_tokenizer(self):
        (self.model.path / "tokenizer.json").unlink()
        self.refuse("run", self.model.path, *RUN, says=["tokenizer.json"])

    def test_broken_tokenizer(self):
        self.model.edit_json("tokenizer.json", lambda tokenizer: tokenizer["model"].update(type="Unigram"))
        self.refuse("run", self.model.path, *RUN, says=["tokenizer.json", "Unigram"])

    def test_vocabulary_larger_than_the_model(self):
        (self.model.path / "tokenizer.json").write_text(json.dumps(tokenizer_json(500)))
        self.refuse("run", self.model.path, *RUN, says=["500", "384"])

    def test_broken_chat_template(self):
        template = "{% for m in messages %}"
        (self.model.path / "chat_template.jinja").write_text(template)
        self.refuse("run", self.model.path, *RUN, says=["chat template", "line 1"])


class Arguments(CliTest):
    def test_prompt_longer_than_the_sequence(self):
        self.refuse("run", GGUF, "-p", "word " * 300, "--max-seq-len", "64", "--raw", says=["64"])

    def test_prompt_that_is_not_utf8(self):
        self.refuse("run", GGUF, "-p", os.fsdecode(b"caf\xe9"), "--raw", says=["UTF-8", "byte"])

    def test_empty_prompt(self):
        self.refuse("run", GGUF, "-p", "", says=["prompt is empty"])
        self.refuse("run", GGUF, stdin="", says=["prompt is empty"])

    def test_system_message_without_a_chat_template(self):
        self.refuse("run", GGUF, *RUN, "--raw", "--system", "Be brief.", says=["--system", "--raw"])
        model = Folder(self.folder).path
        self.refuse("run", model, *RUN, "--system", "Be brief.", says=["--system", f"{model} has no chat template"])

    def test_flag_values(self):
        for flag, value in (("--temperature", "-1"), ("--temperature", "warm"), ("--top-p", "2"), ("--top-k", "-3"),
                            ("--max-new-tokens", "0"), ("--threads", "-1"), ("--timeout", "0"), ("--tp", "two"),
                            ("--max-seq-len", "100000"), ("--seed", "-1")):
            with self.subTest(flag + value):
                self.refuse("run", GGUF, *RUN, flag, value)
        # CLI11's ranges let it pass; the job's own check does not.
        self.refuse("run", GGUF, *RUN, "--min-p", "nan", says=["min_p is nan", "hint: expected 0 to 1"])

    def test_seventeen_ranks(self):
        self.refuse("run", GGUF, *RUN, "--tp", "17", says=["17", "1 to 16"])

    def test_more_threads_than_any_machine_has(self):
        self.refuse("run", GGUF, *RUN, "--threads", "100000", says=["--threads", "100000", "1 to 4096"])

    def test_device_given_twice(self):
        self.refuse("run", GGUF, *RUN, "--devices", "cpu:0,cpu:0", says=["cpu:0", "twice"])

    def test_device_that_is_none(self):
        self.refuse("run", GGUF, *RUN, "--devices", "tpu", says=["tpu"])

    def test_backends(self):
        self.refuse("run", GGUF, *RUN, "--tp-backend", "mpi", says=["mpi", "cpu"])
        self.refuse("run", GGUF, *RUN, "--tp-backend", "p2p", says=["p2p", "cpu"])

    def test_typing_errors_get_a_suggestion(self):
        self.refuse("run", GGUF, "--temprature", "1", says=['did you mean "--temperature"?'])
        self.refuse("rnu", says=['did you mean "run"?'])
        self.refuse(says=[])

    def test_variables_of_the_environment(self):
        self.refuse("config", "show", env={"TANDEM_THREADS": "many"}, says=["TANDEM_THREADS", "many"])
        self.refuse("config", "show", env={"EXLLAMA_P2P_BUFFER_SIZE": "-5"}, says=["EXLLAMA_P2P_BUFFER_SIZE"])

    def test_buffer_sizes(self):
        bench = ("bench", "comm", "--devices", "cpu", "--tp", "3", "--sizes", "1K", "--calls", "1", "--samples", "1")
        for text in ("many", "-5", "1.5M", "9999999999999G"):
            for command in (("run", GGUF, *RUN), bench):
                with self.subTest(text=text, command=command[0]):
                    self.refuse(*command, env={"EXLLAMA_P2P_BUFFER_SIZE": text},
                                says=[f'environment EXLLAMA_P2P_BUFFER_SIZE: p2p_buffer_size is "{text}"'])
                    self.refuse(*command, f"--p2p-buffer-size={text}", says=["flag --p2p-buffer-size", text])
        small = "p2p_buffer_size is 4096 bytes, and 3 ranks need "
        for command in (("run", GGUF, *RUN, "--tp", "3"), ("check", GGUF, "--tp", "3"), bench):
            self.refuse(*command, env={"TANDEM_P2P_BUFFER_SIZE": "4K"}, says=["environment TANDEM_P2P_BUFFER_SIZE: " + small])
        self.refuse(*bench, "--p2p-buffer-size", "4096", says=["flag --p2p-buffer-size: " + small])
        # The guide's own values.
        for size in ("16777216", "134217728"):
            result = tandem(*bench, env={"EXLLAMA_P2P_BUFFER_SIZE": size})
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_settings_without_a_flag_are_shown(self):
        (self.folder / "tandem").mkdir()
        (self.folder / "tandem" / "settings.json").write_text('{"nccl_library": "/of/the/file.so"}')
        settings = {"XDG_CONFIG_HOME": str(self.folder)}
        for env, value, origin in ((settings, "/of/the/file.so", f"file {self.folder}/tandem/settings.json"),
                                   ({**settings, "TANDEM_NCCL_LIBRARY": "/x.so"}, "/x.so",
                                    "environment TANDEM_NCCL_LIBRARY")):
            shown = json.loads(tandem("config", "show", "--json", env=env).stdout)["nccl_library"]
            self.assertEqual(shown, {"value": value, "origin": origin})
        self.refuse("config", "show", "--nccl-library", "/x.so", says=["--nccl-library"])

    def test_variable_that_is_not_utf8(self):
        shown = tandem("config", "show", "--json", env={"TANDEM_MASTER_ADDR": os.fsdecode(b"caf\xe9")})
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(json.loads(shown.stdout)["master_addr"]["value"], "caf\ufffd")

    def test_settings_file(self):
        (self.folder / "tandem").mkdir()
        (self.folder / "tandem" / "settings.json").write_text('{"thread": 2}')
        self.refuse("config", "show", env={"XDG_CONFIG_HOME": str(self.folder)}, says=['did you mean "threads"?'])

    def test_settings_file_that_cannot_be_looked_at(self):
        (self.folder / "tandem").symlink_to("tandem")
        self.refuse("config", "show", env={"XDG_CONFIG_HOME": str(self.folder)}, says=["cannot look at", "settings.json"])

    def test_report_that_cannot_be_written(self):
        arguments = ("bench", "model", GGUF, "--prompt", "8", "--tokens", "1", "--context", "8", "--samples", "1")
        for target in ("/dev/full", self.folder / "no" / "folder.jsonl"):
            result = tandem(*arguments, "--json", target)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(f"error[unreadable]: cannot write {target}", result.stderr)

    def test_output_that_cannot_be_written(self):
        for arguments in (("run", GGUF, *RUN), ("run", GGUF, *RUN, "--json"), ("check", GGUF), ("check", GGUF, "--json"),
                          ("config", "show"), ("config", "show", "--json"), ("--help",), ("--version",)):
            with self.subTest(arguments), open("/dev/full", "w") as full:
                result = tandem(*arguments, stdout=full)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn("error[unreadable]: cannot write to stdout: No space left on device\nhint: ", result.stderr)

    def test_json_reports_errors_as_json_too(self):
        result = tandem("run", self.folder / "nothing", *RUN, "--json")
        self.assertEqual(result.returncode, 2)
        error = json.loads(result.stdout)["error"]
        self.assertEqual(error["kind"], "not-found")
        self.assertIn("nothing", error["message"])
        self.assertTrue(error["hint"])

    def test_json_reports_errors_of_flags_as_json_too(self):
        for flags in (("--temperature", "-1"), ("--no-such-flag",)):
            result = tandem("run", GGUF, "-p", "Hello", "--json", *flags)
            self.assertEqual(result.returncode, 2)
            self.assertEqual(json.loads(result.stdout)["error"]["kind"], "invalid-argument")


if __name__ == "__main__":
    unittest.main()
