#!/usr/bin/env python3
"""`--trace FILE`: spans of every rank, however the program ends."""
import json
import signal
import subprocess
import unittest

from cli_rig import GGUF, TANDEM, CliTest, Folder, endless_model, tandem

LAYERS = 3
NEW_TOKENS = 5
# Times are written in microseconds with three digits: half of the last one, twice.
ROUNDING = 1e-3


def end(span):
    return span["ts"] + span["dur"]


class Trace:
    def __init__(self, path):
        self.json = json.loads(path.read_text())
        events = self.json["traceEvents"]
        self.names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
        self.spans = {rank: [event for event in events if event["ph"] == "X" and event["tid"] == rank] for rank in self.names}

    def named(self, rank, *names):
        return [span for span in self.spans[rank] if span["name"] in names]

    def tree(self, rank):
        """[(span, its parent or None)], from the spans' times alone; fails where two overlap and neither holds the other."""
        found, stack = [], []
        for span in self.spans[rank]:
            while stack and end(stack[-1]) <= span["ts"] + ROUNDING / 2:
                stack.pop()
            if stack:
                assert end(span) <= end(stack[-1]) + ROUNDING, (stack[-1], span)
            found.append((span, stack[-1] if stack else None))
            stack.append(span)
        return found


class TraceFile(CliTest):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "trace.json"

    def model(self):
        model = Folder(self.folder)
        model.edit_json("config.json", lambda config: config.update(num_hidden_layers=LAYERS))
        return f"dummy:{model.path / 'config.json'}"

    def no_file_is_left(self):
        self.assertEqual([path.name for path in self.folder.iterdir() if "trace" in path.name], [])

    def test_every_rank_has_its_steps_layers_and_collectives(self):
        model = self.model()
        for ranks in (1, 2, 3):
            result = tandem("run", model, "-p", "Hello", "--raw", "--ignore-eos", "-n", NEW_TOKENS, "--tp", ranks,
                            "--trace", self.path)
            self.assertEqual(result.returncode, 0, result.stderr)
            trace = Trace(self.path)
            self.assertEqual(trace.names, {rank: f"rank {rank} (cpu:{rank})" for rank in range(ranks)})
            self.assertEqual(trace.json["otherData"]["dropped_spans"], 0)
            for rank in range(ranks):
                self.check_rank(trace, rank)
            samples = trace.named(0, "sample")
            self.assertEqual([span["args"] for span in samples], [{"job": 1, "position": 5 + i} for i in range(NEW_TOKENS)])

    def check_rank(self, trace, rank):
        steps = trace.named(rank, "prefill", "decode", "prefill and decode")
        self.assertEqual([(step["name"], step["args"]) for step in steps],
                         [("prefill", {"prefill_tokens": 5, "decode_tokens": 0, "sequences": 1})] +
                         [("decode", {"prefill_tokens": 0, "decode_tokens": 1, "sequences": 1})] * (NEW_TOKENS - 1))
        children, parent_of = {}, {}
        for span, parent in trace.tree(rank):
            children.setdefault(id(parent), []).append(span)
            parent_of[id(span)] = parent
        for step in steps:
            self.assertEqual([span["name"] for span in children[id(step)]], ["embedding", *["layer"] * LAYERS, "logits", "gather"])
            layers = [span for span in children[id(step)] if span["name"] == "layer"]
            self.assertEqual([layer["args"]["layer"] for layer in layers], list(range(LAYERS)))
            for layer in layers:
                inside = children[id(layer)]
                self.assertEqual([span["name"] for span in inside], ["attention", "all-reduce", "mlp", "all-reduce"])
                self.assertEqual([span["args"] for span in inside if "layer" in span["args"]], [layer["args"]] * 2)
        for spans in children.values():
            parent = parent_of[id(spans[0])]
            if parent is not None:
                self.assertLessEqual(sum(span["dur"] for span in spans), parent["dur"] + len(spans) * ROUNDING, parent)
        for call in trace.named(rank, "all-reduce", "gather"):
            self.assertEqual(call["args"]["back-end"], "cpu")
            self.assertGreater(call["args"]["bytes"], 0)
        for wait in trace.named(rank, "wait for peers"):
            self.assertIn(parent_of[id(wait)]["name"], ("all-reduce", "gather"))
            self.assertGreater(wait["args"]["call"], 0)

    def test_ranks_wait_for_each_other_and_alone_for_nobody(self):
        model = self.model()
        for ranks in (1, 3):
            tandem("run", model, "-p", "Hello", "--raw", "--ignore-eos", "-n", NEW_TOKENS, "--tp", ranks, "--trace", self.path)
            trace = Trace(self.path)
            waits = sum(len(trace.named(rank, "wait for peers")) for rank in trace.names)
            # Of three ranks two at least come before the last, at every one of the collectives.
            self.assertGreater(waits, NEW_TOKENS) if ranks == 3 else self.assertEqual(waits, 0)

    def test_experts_are_named(self):
        model = Folder(self.folder)
        model.edit_json("config.json", lambda config: config.update(
            architectures=["MixtralForCausalLM"], model_type="mixtral", num_local_experts=4, num_experts_per_tok=2))
        result = tandem("run", f"dummy:{model.path / 'config.json'}", "-p", "Hello", "--raw", "-n", "1", "--trace", self.path)
        self.assertEqual(result.returncode, 0, result.stderr)
        trace = Trace(self.path)
        self.assertTrue(trace.named(0, "experts"))
        self.assertFalse(trace.named(0, "mlp"))

    def test_both_benches_write_one(self):
        comm = ("comm", "--devices", "cpu", "--sizes", "1K", "--calls", "3", "--samples", "2", "--op")
        runs = [(("model", GGUF, "--prompt", "16", "--tokens", "4", "--context", "8", "--samples", "1"), "decode")]
        for op in ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "gather"):
            runs.append(((*comm, op), op.replace("_", "-")))
        runs.append(((*comm, "all_reduce_norm"), "all-reduce with norm"))
        for arguments, name in runs:
            result = tandem("bench", *arguments, "--tp", "2", env={"TANDEM_TRACE": str(self.path)})
            self.assertEqual(result.returncode, 0, result.stderr)
            trace = Trace(self.path)
            for rank in range(2):
                self.assertTrue(trace.named(rank, name), name)
                trace.tree(rank)
            self.path.unlink()

    def test_a_path_that_cannot_be_written_is_refused_before_the_model_is_read(self):
        for path in (self.folder / "no" / "trace.json", self.folder):
            self.refuse("run", "no-such-model", "-p", "Hello", "--trace", path, says=("cannot write", str(path)))

    def test_a_failing_run_writes_its_trace_too(self):
        result = tandem("run", "no-such-model", "-p", "Hello", "--trace", self.path)
        self.assertEqual(result.returncode, 2)
        self.assertEqual(Trace(self.path).names, {})

    def test_ctrl_c_leaves_a_whole_trace(self):
        command = [TANDEM, "run", *map(str, endless_model(self.folder)), "-p", "Hello", "--tp", "2", "--trace", self.path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        trace = Trace(self.path)
        self.assertTrue(trace.named(0, "prefill") and trace.named(1, "prefill"))

    def test_without_the_flag_there_is_none(self):
        result = tandem("run", GGUF, "-p", "Hello", "--raw", "-n", "1")
        self.assertNotIn("trace", result.stderr)
        self.no_file_is_left()


if __name__ == "__main__":
    unittest.main()
