#!/usr/bin/env python3
"""`tandem run` and its neighbours on small models: output, reports, interruption, the chat on a terminal."""
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
import unittest

from cli_rig import GGUF, GOLDEN, ROOT, TANDEM, CliTest, Folder, endless_model, tandem

# Limits hold for the program as it is; one built with a sanitizer is several times slower.
SLOWDOWN = float(os.environ.get("TEST_SLOWDOWN", 1))
GREEDY = ("--temperature", "0", "--raw", "-n", "12", "--ignore-eos")


def report(*args):
    result = tandem("run", *args, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class Run(CliTest):
    def test_text_goes_to_stdout_and_timings_to_stderr(self):
        result = tandem("run", GGUF, "-p", "Hello", *GREEDY)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(result.stdout.endswith("\n"))
        for word in ("load", "first token", "prefill", "decode", "tokens/s", "resident"):
            self.assertIn(word, result.stderr)

    def test_every_world_size_gives_the_same_tokens(self):
        for model in (GGUF, GOLDEN / "gguf" / "llama-q8_0" / "model.gguf"):
            expected = report(model, "-p", "Hello", *GREEDY)
            self.assertEqual(expected["new_tokens"], 12)
            for ranks in (2, 3, 5, 8, 16):
                self.assertEqual(report(model, "-p", "Hello", *GREEDY, "--tp", ranks)["token_ids"], expected["token_ids"])

    def test_a_seed_repeats_and_another_differs(self):
        sampled = ("--temperature", "1", "--raw", "-n", "12", "--ignore-eos")
        first = report(GGUF, "-p", "Hello", *sampled, "--seed", "5")["token_ids"]
        self.assertEqual(report(GGUF, "-p", "Hello", *sampled, "--seed", "5", "--tp", "3")["token_ids"], first)
        self.assertNotEqual(report(GGUF, "-p", "Hello", *sampled, "--seed", "6")["token_ids"], first)

    def test_the_prompt_may_come_from_stdin(self):
        piped = tandem("run", GGUF, *GREEDY, stdin="Hello\n")
        self.assertEqual(piped.returncode, 0, piped.stderr)
        self.assertEqual(piped.stdout, tandem("run", GGUF, "-p", "Hello", *GREEDY).stdout)

    def test_the_chat_template_is_applied_unless_raw(self):
        raw = report(GGUF, "-p", "Hello", "-n", "1", "--raw")["prompt_tokens"]
        self.assertGreater(report(GGUF, "-p", "Hello", "-n", "1")["prompt_tokens"], raw)

    def test_a_stop_string_ends_the_answer(self):
        text = report(GGUF, "-p", "Hello", *GREEDY)["text"]
        middle = text[len(text) // 2:][:1]
        stopped = report(GGUF, "-p", "Hello", *GREEDY, "--stop", middle)
        self.assertEqual(stopped["eos_reason"], "stop-string")
        self.assertEqual(stopped["text"], text[:text.index(middle)])

    def test_random_weights_run_without_files(self):
        config = Folder(self.folder).path / "config.json"
        shape = report(f"dummy:{config}", "-p", "Hello", *GREEDY)
        self.assertEqual(report(f"dummy:{config}", "-p", "Hello", *GREEDY, "--tp", "3")["token_ids"], shape["token_ids"])

    def test_generation_config_gives_the_defaults(self):
        model = Folder(self.folder)
        model.edit_json("generation_config.json", lambda config: config.update(do_sample=True, temperature=1.5, top_k=50))
        arguments = ("-p", "Hello", "--raw", "-n", "12", "--ignore-eos")
        sampled = report(model.path, *arguments, "--seed", "3")["token_ids"]
        self.assertNotEqual(report(model.path, *arguments, "--seed", "4")["token_ids"], sampled)
        greedy = report(model.path, *arguments, "--temperature", "0", "--seed", "3")["token_ids"]
        self.assertEqual(report(model.path, *arguments, "--temperature", "0", "--seed", "4")["token_ids"], greedy)
        # A temperature without do_sample is none.
        model.edit_json("generation_config.json", lambda config: config.update(do_sample=False))
        for seed in ("3", "4"):
            self.assertEqual(report(model.path, *arguments, "--seed", seed)["token_ids"], greedy)

    def test_the_guides_variable_turns_the_communication_log_on(self):
        arguments = ("run", GGUF, "-p", "Hello", *GREEDY, "--tp", "2")
        self.assertNotIn("all-reduce", tandem(*arguments).stderr)
        self.assertIn("comm:", tandem(*arguments, env={"EXLLAMA_P2P_VERBOSE": "1"}).stderr)


class Others(CliTest):
    def test_check_shows_the_split(self):
        result = tandem("check", GGUF, "--tp", "4")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("fits", result.stdout)
        plan = json.loads(tandem("check", GGUF, "--tp", "4", "--json").stdout)
        self.assertEqual(len(plan["ranks"]), 4)
        heads = [rank["query_heads"] for rank in plan["ranks"]]
        self.assertTrue(all(end == begin for (_, end), (begin, _) in zip(heads, heads[1:])), heads)

    def test_check_says_when_a_model_does_not_fit(self):
        model = Folder(self.folder)  # 150 TB: more than any machine has
        model.edit_json("config.json", lambda config: config.update(num_hidden_layers=1000, intermediate_size=2**27))
        result = tandem("check", f"dummy:{model.path / 'config.json'}", "--tp", "2")
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("does not fit", result.stdout)

    def test_config_shows_values_and_origins(self):
        settings = json.loads(tandem("config", "show", "--json", "--tp", "3", env={"TANDEM_THREADS": "2"}).stdout)
        self.assertEqual(settings["tp"], {"value": "3", "origin": "flag --tp"})
        self.assertEqual(settings["threads"], {"value": "2", "origin": "environment TANDEM_THREADS"})
        self.assertEqual(settings["timeout"]["origin"], "default")

    def test_bench_writes_lines_of_json(self):
        targets = [self.folder / "a.jsonl", self.folder / "b.jsonl"]
        for target in targets:
            result = tandem("bench", "model", GGUF, "--prompt", "16", "--tokens", "4", "--context", "8", "--samples", "2",
                            "--tp", "2", "--json", target)
            self.assertEqual(result.returncode, 0, result.stderr)
        records = [json.loads(line) for line in targets[0].read_text().splitlines()]
        self.assertEqual([record["name"] for record in records], ["decode", "prefill", "memory"])
        for key in ("command", "commit", "machine", "world_size", "samples", "median", "spread"):
            self.assertIn(key, records[0])
        compared = subprocess.run([sys.executable, ROOT / "tools/dev", "compare", *targets], capture_output=True, text=True)
        self.assertEqual(compared.returncode, 0, compared.stderr)
        self.assertEqual(len(compared.stdout.splitlines()), 1 + len(records), compared.stdout)

    def test_bench_comm_checks_and_times_every_operation(self):
        plot = self.folder / "plot.svg"
        lines = self.folder / "lines.jsonl"
        result = tandem("bench", "comm", "--devices", "cpu", "--tp", "3", "--op", "all", "--sizes", "1K,64K", "--calls", "3",
                        "--samples", "2", "--json", lines, "--plot", plot)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.count(" ok\n"), 12, result.stdout)
        records = [json.loads(line) for line in lines.read_text().splitlines()]
        self.assertEqual({(record["name"], record["bytes"]) for record in records},
                         {(op, size)
                          for op in ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_reduce_norm", "gather")
                          for size in (1024, 65536)})
        for record in records:
            self.assertEqual((record["world_size"], record["backend"], len(record["samples"])), (3, "cpu", 2))
            self.assertGreater(record["median"], 0)
            self.assertIn("--devices cpu", record["command"])
        self.assertIn("<svg", plot.read_text())

    def test_bench_comm_refuses_what_it_does_not_know(self):
        for flags, word in ((("--op", "all_to_all"), "all_to_all"), (("--sizes", "1K:x"), '"x"'), (("--sizes", ""), '""'),
                            (("--sizes", "0"), '"0"'), (("--sizes", "3"), "3 bytes"), (("--sizes", "2M:1M"), "2M:1M"),
                            (("--sizes", "1K:99999999999G"), "99999999999G"), (("--dtype", "q4_0"), "q4_0"), (("--backends", "mpi"), "mpi"),
                            (("--devices", "99,98"), "99"), (("--devices", "cpu,cpu:0"), "cpu:0")):
            result = tandem("bench", "comm", *("--sizes", "4K") * ("--sizes" not in flags), "--tp", "2", *flags)
            self.assertEqual(result.returncode, 2, f"{flags}: {result.stdout}{result.stderr}")
            self.assertIn(word, result.stderr)
            self.assertIn("\nhint: ", result.stderr)

    def test_bench_records_a_command_that_repeats_it(self):
        config = Folder(self.folder, "it's a model").path / "config.json"
        bench = ("bench", "model", f"dummy:{config}", "--prompt", "16", "--tokens", "4", "--context", "8", "--batch", "1",
                 "--samples", "1", "--tp", "2", "--timeout", "9", "--max-seq-len", "64")
        result = tandem(*bench, "--json", "-", env={"TANDEM_LOG_LEVEL": "error,comm=warn", "EXLLAMA_MASTER_PORT": "7"})
        self.assertEqual(result.returncode, 0, result.stderr)
        words = shlex.split(json.loads(result.stdout.splitlines()[0])["command"])
        self.assertEqual(words[:2], ["TANDEM_MASTER_PORT=7", "tandem"])
        self.assertEqual(words[2:len(bench) - 4], list(bench[:-6]))
        flags = words[len(bench) - 4:]
        self.assertEqual(dict(zip(flags[::2], flags[1::2])), {"--tp": "2", "--timeout": "9", "--max-seq-len": "64",
                                                              "--log-level": "error,comm=warn"})

    def test_help_and_version(self):
        for arguments in (("--help",), ("run", "--help"), ("bench", "model", "--help"), ("--version",)):
            result = tandem(*arguments)
            self.assertEqual(result.returncode, 0)
            self.assertTrue(result.stdout.strip())


class Interruption(CliTest):
    def test_ctrl_c_ends_all_ranks_within_a_second(self):
        command = [TANDEM, "run", *map(str, endless_model(self.folder)), "-p", "Hello", "--tp", "2"]
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdout.read(1)
            process.send_signal(signal_number)
            sent = time.monotonic()
            process.communicate(timeout=20)
            self.assertEqual(process.returncode, 130)
            self.assertLess(time.monotonic() - sent, 1.0 * SLOWDOWN)

    def test_ctrl_c_ends_loading(self):
        # Many small tensors on one thread: seconds in all, and the first of them, which shows the bar, at once.
        model = Folder(self.folder)
        model.edit_json("config.json", lambda config: config.update(num_hidden_layers=200, intermediate_size=4096))
        terminal = Terminal(self, "run", f"dummy:{model.path / 'config.json'}", "-p", "Hello", "--threads", "1")
        terminal.wait_for("loading")
        os.kill(terminal.pid, signal.SIGINT)
        sent = time.monotonic()
        self.assertEqual(terminal.status(), 130)
        self.assertLess(time.monotonic() - sent, 1.5 * SLOWDOWN)


class Terminal:
    """The program on a terminal of its own, which stays open to the end of the test."""

    def __init__(self, test, *args, env=None):
        pid, self.fd = pty.fork()
        if pid == 0:
            try:
                os.environ.update(env or {}, TERM="xterm")
                os.execv(TANDEM, [TANDEM, *map(str, args)])
            finally:
                os._exit(127)  # not a second runner of these tests
        test.addCleanup(os.close, self.fd)
        self.pid = pid
        self.screen = ""

    def wait_until(self, happened, what):
        deadline = time.monotonic() + 30 * SLOWDOWN
        while not happened():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited for {what}, saw {self.screen!r}")
            ready, _, _ = select.select([self.fd], [], [], 0.1)
            if ready:
                try:
                    self.screen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError as error:
                    raise AssertionError(f"waited for {what}, the program ended after {self.screen!r}") from error

    def wait_for(self, text):
        self.wait_until(lambda: text in self.screen, repr(text))
        before, _, self.screen = self.screen.partition(text)
        return before

    def wait_for_prompt(self):
        before = self.wait_for("> ")
        # libedit prints the prompt a moment before it makes Ctrl-C and Ctrl-D its keys, and a Ctrl-D before that is lost.
        self.wait_until(lambda: not termios.tcgetattr(self.fd)[3] & termios.ISIG, "a line editor that takes its keys")
        return before

    def type(self, text):
        os.write(self.fd, text.encode())

    def status(self):
        """The exit status; what the program still writes is read, or it would wait for that."""
        deadline = time.monotonic() + 30
        while (ended := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.screen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    time.sleep(0.05)  # the terminal is closed, the program about to end
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"the program did not end, saw {self.screen!r}")
        return os.waitstatus_to_exitcode(ended[1])


class Chat(CliTest):
    def start(self, *args, model=GGUF):
        # libedit never frees the two strings of a key's function that a program adds.
        env = {"XDG_STATE_HOME": str(self.folder), "XDG_CONFIG_HOME": "/nonexistent", "ASAN_OPTIONS": "detect_leaks=0"}
        return Terminal(self, "run", model, "--temperature", "0", *args, env=env)

    def start_endless_answer(self):
        model, *flags = endless_model(self.folder)
        chat = self.start(*flags, model=model)
        chat.wait_for_prompt()
        chat.type("Hello\r")
        chat.wait_for("\n")
        chat.wait_until(lambda: len(chat.screen) > 40, "a part of the answer")
        return chat

    def test_says_that_messages_stand_alone_without_a_chat_template(self):
        for flags, alone in (((), False), (("--raw",), True)):
            chat = self.start("-n", "8", *flags)
            self.assertEqual("each message stands alone" in chat.wait_for_prompt(), alone)
            chat.type("\x04")
            self.assertEqual(chat.status(), 0)

    def test_answers_until_ctrl_d_and_keeps_the_history(self):
        chat = self.start("-n", "8")
        chat.wait_for_prompt()
        chat.type("Hello\r")
        chat.wait_for("tokens/s")
        chat.wait_for_prompt()
        chat.type("/help\r")
        chat.wait_for("/reset forgets")
        chat.wait_for_prompt()
        chat.type("/reset\r")
        chat.wait_for_prompt()
        chat.type("\x04")
        self.assertEqual(chat.status(), 0)
        self.assertIn("Hello", (self.folder / "tandem" / "history").read_text())

    def test_sigterm_ends_the_program_at_the_prompt_and_restores_the_terminal(self):
        chat = self.start("-n", "8")
        chat.wait_for_prompt()
        chat.type("Hello\r")
        chat.wait_for("tokens/s")
        chat.wait_for_prompt()
        os.kill(chat.pid, signal.SIGTERM)
        sent = time.monotonic()
        self.assertEqual(chat.status(), 130)
        self.assertLess(time.monotonic() - sent, 1.0 * SLOWDOWN)
        wanted = termios.ISIG | termios.ICANON | termios.ECHO
        self.assertEqual(termios.tcgetattr(chat.fd)[3] & wanted, wanted)
        self.assertIn("Hello", (self.folder / "tandem" / "history").read_text())

    def test_sigterm_ends_the_program_in_an_answer(self):
        chat = self.start_endless_answer()
        os.kill(chat.pid, signal.SIGTERM)
        sent = time.monotonic()
        self.assertEqual(chat.status(), 130)
        self.assertLess(time.monotonic() - sent, 1.0 * SLOWDOWN)

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        chat = self.start_endless_answer()
        chat.type("\x03")
        chat.wait_for("(stopped)")
        chat.wait_for_prompt()
        chat.type("typed and forgotten\x03")
        chat.wait_for_prompt()
        chat.type("\x04")
        self.assertEqual(chat.status(), 0)


if __name__ == "__main__":
    unittest.main()
