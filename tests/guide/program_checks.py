"""Checks of `tandem run`, `check MODEL`, `bench`, `config show` over tiny models."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from row import ROOT  # first: it tells where the others are
from cli_rig import GGUF, Folder, TANDEM, tandem

CHECK = unittest.TestCase()


def output(*args, **keywords):
    run = tandem(*args, **keywords)
    CHECK.assertEqual(run.returncode, 0, run.stderr)
    return run.stdout


def answer(*flags, **keywords):
    run = tandem("run", GGUF, "-p", "Hello", "-n", "4", "--temperature", "0", "--ignore-eos", *flags, **keywords)
    CHECK.assertEqual(run.returncode, 0, run.stderr)
    return run


def refusal(*args, **keywords):
    run = tandem(*args, **keywords)
    CHECK.assertEqual((run.returncode, run.stdout), (2, ""), run.stderr)
    return run.stderr


def plan(*flags):
    return json.loads(output("check", GGUF, "--json", *flags))


def settings(*flags, **environment):
    return json.loads(output("config", "show", "--json", *flags, env=environment))


def logs_by_subsystem_and_level():
    calls = r"T comm: \[rank 1 \S+\] all-reduce"
    CHECK.assertRegex(answer("--tp", "2", env={"EXLLAMA_P2P_VERBOSE": "1"}).stderr, calls)
    CHECK.assertRegex(answer("--tp", "2", "--log-level", "comm=trace").stderr, calls)
    CHECK.assertNotIn("comm:", answer("--tp", "2", "--log-level", "model=trace").stderr)


def logs_have_time_rank_device_and_call():
    CHECK.assertRegex(answer("--tp", "2", "--devices", "cpu:0,cpu:1", "--log-level", "comm=trace").stderr,
                      r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} T comm: \[rank 1 cpu:1\] all-reduce, \d+ bytes, call 3$")


def leaves_the_last_lines_of_ranks_when_one_fails():
    """Nobody can be in time. Lines of debug, which --log-level does not print."""
    log = refusal("run", GGUF, "-p", "Hello", "--raw", "--tp", "3", "--timeout", "1e-9")
    CHECK.assertRegex(log, r"(?m)^  \S+ D comm: group of 3 ranks")
    CHECK.assertRegex(log, r"(?m)^  \S+ \w comm: \[rank \d cpu:\d\] .*group aborted")
    CHECK.assertRegex(log, r"(?m)^error\[timeout\]: .*rank \d waits for")


def trace_of(*flags):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trace.json")
        answer("--tp", "2", "--trace", file, *flags)
        return [event for event in json.loads(file.read_text())["traceEvents"] if event["ph"] == "X"]


def traces_layers_and_collectives_of_each_rank():
    events = trace_of()
    for rank in (0, 1):
        mine = [event for event in events if event["tid"] == rank]
        CHECK.assertLessEqual({"prefill", "decode", "layer", "attention", "mlp", "all-reduce"}, {e["name"] for e in mine})
        CHECK.assertTrue(all(event["dur"] >= 0 for event in mine))
        CHECK.assertTrue(all(e["args"]["bytes"] > 0 for e in mine if e["name"] == "all-reduce"))
    CHECK.assertEqual({e["args"]["job"] for e in events if e["name"] == "sample"}, {1})


def logs_what_was_chosen_in_one_line():
    log = answer("--tp", "2", "--log-level", "comm=info").stderr
    CHECK.assertEqual(len(re.findall("(?m)I comm: 2 ranks on .*: cpu is the back-end that serves them$", log)), 1, log)


def counts_bytes_on_each_rank():
    short, long = plan("--tp", "2", "--max-seq-len", "256"), plan("--tp", "2", "--max-seq-len", "512")
    for each in (short, long):
        total = sum(value for rank in each["ranks"] for key, value in rank.items() if key.endswith("_bytes"))
        CHECK.assertEqual(total, each["needed_bytes"])
        CHECK.assertTrue(all(rank["attention_bytes"] and rank["mlp_bytes"] for rank in each["ranks"]))
    for a, b in zip(short["ranks"], long["ranks"]):
        CHECK.assertEqual(2 * a["cache_bytes"], b["cache_bytes"])


def says_before_loading_that_a_model_does_not_fit():
    with tempfile.TemporaryDirectory() as folder:
        model = Folder(folder)  # 150 TB
        model.edit_json("config.json", lambda config: config.update(num_hidden_layers=1000, intermediate_size=2**27))
        run = tandem("check", f"dummy:{model.path / 'config.json'}", "--tp", "2")
    CHECK.assertEqual(run.returncode, 1, run.stderr)
    CHECK.assertRegex(run.stdout, r"needs \d+\.\d MB of \d+\.\d MB available: does not fit\nhint: a smaller --max-seq-len")


def shows_values_and_origins():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tandem").mkdir()
        Path(folder, "tandem", "settings.json").write_text('{"max_seq_len": 77, "threads": 3, "tp": 5}')
        shown = settings("--tp", "3", TANDEM_THREADS="2", TANDEM_TP="4", XDG_CONFIG_HOME=folder)
        CHECK.assertEqual(shown["max_seq_len"]["value"], "77")
        CHECK.assertIn("settings.json", shown["max_seq_len"]["origin"])
    CHECK.assertEqual(shown["tp"], {"value": "3", "origin": "flag --tp"})
    CHECK.assertEqual(shown["threads"], {"value": "2", "origin": "environment TANDEM_THREADS"})
    CHECK.assertEqual(shown["timeout"], {"value": "10", "origin": "default"})


def reads_the_guides_buffer_size():
    name = "EXLLAMA_P2P_BUFFER_SIZE"
    CHECK.assertEqual(settings(**{name: "67108864"})["p2p_buffer_size"], {"value": "67108864", "origin": f"environment {name}"})
    CHECK.assertEqual(settings(**{name: "64M"})["p2p_buffer_size"]["value"], "64M")
    for wrong in ("64MB", "-1", "9999999999G"):
        CHECK.assertIn(name, refusal("config", "show", env={name: wrong}))


def reads_the_guides_master_address():
    name = "EXLLAMA_MASTER_ADDR"
    CHECK.assertEqual(settings()["master_addr"], {"value": "127.0.0.1", "origin": "default"})
    CHECK.assertEqual(settings(**{name: "10.0.0.7"})["master_addr"], {"value": "10.0.0.7", "origin": f"environment {name}"})


def reads_the_guides_master_port():
    name = "EXLLAMA_MASTER_PORT"
    CHECK.assertEqual(settings(**{name: "29500"})["master_port"], {"value": "29500", "origin": f"environment {name}"})
    CHECK.assertIn(name, refusal("config", "show", env={name: "http"}))


def several_engines_run_beside_each_other():
    """With the same port set: threads of one process open none."""
    command = [TANDEM, "run", str(GGUF), "-p", "Hello", "-n", "4", "--tp", "2", "--temperature", "0"]
    env = {**os.environ, "EXLLAMA_MASTER_PORT": "29500"}
    engines = [subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True) for _ in range(2)]
    texts = [engine.communicate(timeout=60)[0] for engine in engines]
    CHECK.assertEqual([engine.returncode for engine in engines], [0, 0])
    CHECK.assertTrue(texts[0])
    CHECK.assertEqual(texts[0], texts[1])


def chooses_by_default():
    CHECK.assertEqual(settings()["tp_backend"], {"value": "auto", "origin": "default"})
    CHECK.assertIn("auto chooses", output("check", "--devices", "cpu"))


def knows_the_names_of_back_ends():
    for name in ("p2p", "nccl", "native"):
        CHECK.assertIn("[no-gpu]", tandem("check", "--devices", "cpu", "--tp-backend", name).stdout)
    for name in ("auto", "cpu"):
        output("check", "--devices", "cpu", "--tp-backend", name)
    message = refusal("run", GGUF, "-p", "Hello", "--tp-backend", "ncll")
    CHECK.assertIn("known are auto, p2p, nccl, native, cpu", message)


def a_forced_back_end_fails_loudly():
    for ranks in ("1", "2"):
        message = refusal("run", GGUF, "-p", "Hello", "--devices", "cpu", "--tp", ranks, "--tp-backend", "p2p")
        CHECK.assertIn('"p2p"', message)
        CHECK.assertIn("cpu", message)


def a_back_end_and_devices_imply_tensor_parallelism():
    report = json.loads(answer("--devices", "cpu:0,cpu:1", "--tp-backend", "cpu", "--json").stdout)
    CHECK.assertEqual((report["tp"], report["backend"]), (2, "cpu"))


def takes_lists_of_devices():
    CHECK.assertEqual([rank["device"] for rank in plan("--devices", "cpu:5,cpu:1,cpu:3")["ranks"]], ["cpu:5", "cpu:1", "cpu:3"])
    for device in ("97", "cuda:97", "GPU-00005a00-0000-4000-8000-0000000000ff", "0000:fe:1f.0"):
        CHECK.assertIn(f'"{device}"', refusal("check", "--devices", device))
    CHECK.assertIn("is not a device", refusal("check", "--devices", "gpu7"))
    CHECK.assertIn("listed twice", refusal("check", "--devices", "cpu:1,cpu:1"))


def takes_a_length_and_keeps_whole_pages():
    each = [plan("--max-seq-len", length) for length in ("1", "256", "257")]
    CHECK.assertEqual([p["max_seq_len"] for p in each], [1, 256, 257])
    one, full, next_page = (p["ranks"][0]["cache_bytes"] for p in each)
    CHECK.assertEqual((one, 2 * full), (full, next_page))
    CHECK.assertEqual([p["cache_tokens"] for p in each], [256, 256, 512])
    rounded, exact = (tandem("check", GGUF, "--max-seq-len", length).stdout for length in ("257", "256"))
    CHECK.assertIn("whole pages of 256 tokens: 512 a sequence", rounded)
    CHECK.assertNotIn("whole pages", exact)
    CHECK.assertIn("positions that", refusal("check", GGUF, "--max-seq-len", "999999"))


def plans_for_a_batch():
    one, three = plan("--max-seq-len", "256"), plan("--max-seq-len", "256", "--max-batch-size", "3")
    CHECK.assertEqual((one["max_batch_size"], three["max_batch_size"]), (1, 3))
    CHECK.assertEqual(3 * one["ranks"][0]["cache_bytes"], three["ranks"][0]["cache_bytes"])
    CHECK.assertIn("expected 1 to", refusal("check", GGUF, "--max-batch-size", "0"))
    CHECK.assertIn("MODEL", refusal("check", "--max-batch-size", "2"))


def answers_alike_at_every_count():
    answers = {answer("--tp", ranks).stdout for ranks in ("1", "3", "7", "16")}
    CHECK.assertEqual(len(answers), 1, answers)
    CHECK.assertIn("17", refusal("run", GGUF, "-p", "Hello", "--tp", "17"))


def runs_without_a_gpu():
    report = json.loads(answer("--devices", "cpu", "--tp", "2", "--json").stdout)
    CHECK.assertEqual((report["backend"], report["tp"], report["new_tokens"]), ("cpu", 2, 4))
    CHECK.assertTrue(report["text"])


def tells_times_apart():
    report = json.loads(answer("--tp", "2", "--json").stdout)
    for time in ("time_load_s", "time_prefill_s", "time_to_first_token_s", "time_decode_s"):
        CHECK.assertGreater(report[time], 0, time)
    CHECK.assertGreaterEqual(report["time_to_first_token_s"], report["time_prefill_s"])
    speed = r"\d+ tokens, [\d.]+ tokens/s"
    CHECK.assertRegex(answer().stderr, rf"first token \d+ ms \| prefill {speed} \| decode {speed}")


def bench_model(samples):
    text = output("bench", "model", GGUF, "--prompt", "16", "--tokens", "4", "--context", "8", "--samples", samples,
                  "--json", "-")
    return {record["name"]: record for record in map(json.loads, text.splitlines())}


def measures_prompt_and_decode_apart():
    records = bench_model(1)
    CHECK.assertEqual(records["prefill"]["prompt"], 16)
    CHECK.assertEqual((records["decode"]["context"], records["decode"]["batch"]), (8, 1))
    for name in ("prefill", "decode"):
        CHECK.assertGreater(records[name]["tokens_per_s"], 0)


def benchmarks_carry_samples():
    records = bench_model(3)
    for record in (records["decode"], records["prefill"]):
        samples = sorted(record["samples"])
        CHECK.assertEqual((len(samples), record["median"]), (3, samples[1]))
        CHECK.assertAlmostEqual(record["spread"], (samples[-1] - samples[0]) / samples[1])


def bench_comm(*flags):
    text = output("bench", "comm", "--devices", "cpu", "--tp", "2", "--samples", "3", "--calls", "2", "--json", "-",
                  *flags)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def times_collectives_by_size():
    records = bench_comm("--op", "all_reduce,broadcast", "--sizes", "1K:16K")
    CHECK.assertEqual({(record["name"], record["bytes"]) for record in records},
                      {(op, size) for op in ("all_reduce", "broadcast") for size in (1024, 4096, 16384)})
    for record in records:
        CHECK.assertEqual(len(record["samples"]), 3)
        CHECK.assertGreaterEqual(record["median"], record["least"])


def benchmarks_say_where_and_how_they_were_run():
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("a.jsonl", "b.jsonl")]
        for file in files:
            output("bench", "comm", "--devices", "cpu", "--tp", "2", "--samples", "2", "--calls", "2", "--sizes", "4K",
                   "--json", file)
        (record,) = map(json.loads, files[0].read_text().splitlines())
        for key in ("command", "commit", "machine", "world_size", "backend", "dtype", "unix_time"):
            CHECK.assertTrue(record[key], key)
        compared = subprocess.run([sys.executable, ROOT / "tools/dev", "compare", *files], capture_output=True, text=True)
    CHECK.assertEqual((compared.returncode, len(compared.stdout.splitlines())), (0, 2), compared.stderr)


def needs_no_library_but_libc():
    run = subprocess.run([sys.executable, ROOT / "tests/install/shared_libraries.py", TANDEM], capture_output=True, text=True)
    CHECK.assertEqual(run.returncode, 0, run.stdout + run.stderr)


def toolkit_minimum():
    (minimum,) = re.findall(r"set\(TANDEM_CUDA_MINIMUM ([\d.]+)\)", (ROOT / "cmake/TandemCuda.cmake").read_text())
    return minimum


def states_one_minimum_for_cuda():
    for page in ("CONTRIBUTING.md", "docs/how-to/troubleshooting.md"):
        CHECK.assertEqual(set(re.findall(r"toolkit(?: of)? (\d+\.\d+)", (ROOT / page).read_text())), {toolkit_minimum()}, page)
