"""What the tests of the command line share: running the program, and small models to run it on."""
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
GGUF = GOLDEN / "gguf" / "llama-f16" / "model.gguf"  # has a tokenizer and a chat template
TANDEM = os.environ.get("TANDEM", str(ROOT / "build/cpu/src/cli/tandem"))


def tandem(*args, stdin=None, stdout=subprocess.PIPE, env=None, timeout=120):
    """Runs the program with settings of its own only."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("TANDEM_", "EXLLAMA_"))}
    clean["XDG_CONFIG_HOME"] = clean["XDG_CACHE_HOME"] = "/nonexistent"
    clean.update(env or {})
    return subprocess.run([TANDEM, *map(str, args)], input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                          stdout=stdout, stderr=subprocess.PIPE, env=clean, timeout=timeout, text=True, errors="surrogateescape")


def byte_level_alphabet():
    """GPT-2's spelling of the 256 bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spelling = {byte: chr(byte) for byte in plain}
    others = [byte for byte in range(256) if byte not in spelling]
    spelling.update({byte: chr(0x100 + index) for index, byte in enumerate(others)})
    return [spelling[byte] for byte in range(256)]


def tokenizer_json(size=256):
    """A tokenizer of a token a byte, and made-up tokens up to `size`."""
    vocabulary = {piece: index for index, piece in enumerate(byte_level_alphabet())}
    vocabulary.update({f"token{index}": index for index in range(256, size)})
    return {"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary,
                      "merges": []}}


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def write_safetensors(path, header, body):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class Folder:
    """A copy of tests/golden/models/llama with a tokenizer, for a test to spoil."""

    def __init__(self, parent, name="model"):
        self.path = pathlib.Path(parent) / name
        self.path.mkdir()
        source = GOLDEN / "models" / "llama"
        for file in ("config.json", "generation_config.json", "model.safetensors"):
            shutil.copy(source / file, self.path / file)
        (self.path / "tokenizer.json").write_text(json.dumps(tokenizer_json()))

    def edit_json(self, file, change):
        path = self.path / file
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def edit_header(self, change):
        path = self.path / "model.safetensors"
        header, body = read_safetensors(path)
        change(header)
        write_safetensors(path, header, body)

    def truncate(self, file, size):
        os.truncate(self.path / file, size)


def endless_model(parent):
    """The flags of a model and an answer that takes many seconds on any machine, for a test to interrupt."""
    model = Folder(parent, "endless")
    model.edit_json("config.json", lambda config: config.update(max_position_embeddings=40000))
    return model.path, "--max-seq-len", "40000", "-n", "39000", "--ignore-eos", "--raw"


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def refuse(self, *args, says=(), **keywords):
        """The command ends with status 2, nothing on stdout, and one clear message with these words in it, and a hint."""
        result = tandem(*args, **keywords)
        message = result.stderr
        self.assertEqual(result.returncode, 2, f"{args}: {result.stdout}{message}")
        self.assertEqual(result.stdout, "", message)
        errors = [line for line in message.splitlines() if re.match(r"error\[[a-z-]+\]: ", line)]
        self.assertEqual(len(errors), 1, message)
        for word in says:
            self.assertIn(word, message)
        self.assertIn("\nhint: ", message)
        self.assertNotIn("mistake in Tandem", message)
        return message
