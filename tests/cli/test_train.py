# SPDX-License-Identifier: Apache-2.0
"""lmfast train on a formula model: it learns, refuses what it should, and loses nothing."""
import hashlib
import json
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formula") / "model"
    formula.save(folder)
    return folder


def args(model, out, *more, data=ROWS, steps=12):
    return ["train", "--model", str(model), "--data", str(data), "--output", str(out), "--max-steps", str(steps), "--batch-size", "3", "--warmup-steps", "2",
            "--lr", "1e-2", "--lora-r", "4", "--save-steps", "4", "--quiet", *more]


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_learns_and_reports(lmfast, model, tmp_path):
    r = lmfast(*args(model, tmp_path / "o", "--json", steps=40))
    assert r.returncode == 0, r.stderr
    out = json.loads(r.stdout)
    assert out["steps"] == 40 and out["final_loss"] < 0.8 * out["first_loss"]
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md", "metrics.jsonl"} <= {p.name for p in (tmp_path / "o").iterdir()}
    assert [json.loads(line)["step"] for line in (tmp_path / "o" / "metrics.jsonl").open()][-1] == 40


def test_same_bits_however_it_is_run(lmfast, model, tmp_path):
    hashes = set()
    for i, more in enumerate([[], ["--recompute"], ["--threads", "1"], ["--threads", "3"]]):
        r = lmfast(*args(model, tmp_path / str(i), "--compute", "f32", *more))
        assert r.returncode == 0, r.stderr
        hashes.add(digest(tmp_path / str(i)))
    assert len(hashes) == 1


def test_killed_and_resumed(lmfast, model, tmp_path):
    assert lmfast(*args(model, tmp_path / "whole", steps=60)).returncode == 0
    for i in range(3):
        out = tmp_path / f"killed{i}"
        p = subprocess.Popen([lmfast.path, *args(model, out, steps=60)], stderr=subprocess.DEVNULL)
        until = time.time() + 120
        while not (out / "checkpoint-4").exists() and time.time() < until:
            time.sleep(0.002)
        time.sleep(0.01 * i)
        p.kill()
        p.wait()
        r = lmfast(*args(model, out, "--resume", "auto", steps=60))
        assert r.returncode == 0 or "is complete" in r.stderr, r.stderr
        assert digest(out) == digest(tmp_path / "whole")


def test_damaged_checkpoint_is_passed_over(lmfast, model, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "o"
    assert lmfast(*args(model, whole)).returncode == 0
    assert lmfast(*args(model, out)).returncode == 0
    newest = sorted(out.glob("checkpoint-*"), key=lambda q: int(q.name.split("-")[1]))[-1]
    state = newest / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    r = lmfast(*args(model, out, "--resume", "last"))
    assert r.returncode == 0 and "1 damaged" in r.stderr, r.stderr
    assert digest(out) == digest(whole)


def test_interrupted_saves(lmfast, model, tmp_path):
    for sig, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        out = tmp_path / str(code)
        p = subprocess.Popen([lmfast.path, *args(model, out, "--save-steps", "0", steps=100000)], stderr=subprocess.PIPE, text=True)
        until = time.time() + 120
        while not (out / "metrics.jsonl").exists() and time.time() < until:
            time.sleep(0.01)
        time.sleep(0.3)
        p.send_signal(sig)
        err = p.communicate(timeout=120)[1]
        assert p.returncode == code and "--resume last" in err, err
        assert list(out.glob("checkpoint-*/MANIFEST.json"))


def test_full_disk_keeps_the_last_checkpoint(lmfast, model, tmp_path):
    out, whole = tmp_path / "o", tmp_path / "whole"
    assert lmfast(*args(model, whole)).returncode == 0
    assert lmfast(*args(model, out)).returncode == 0
    limit = 40000  # bytes a file: too small for the state, as if the disk were full
    r = subprocess.run([lmfast.path, *args(model, out, "--resume", "last"), "--save-steps", "1"], capture_output=True, text=True,
                       preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
    assert r.returncode == 0 and "no checkpoint at step 9: can't write" in r.stderr, r.stderr
    assert (out / "checkpoint-8" / "MANIFEST.json").exists() and not list(out.glob("**/*.tmp"))
    assert digest(out) == digest(whole)
    r = lmfast(*args(model, out, "--resume", "last"))
    assert r.returncode == 0 and digest(out) == digest(whole), r.stderr


@pytest.mark.parametrize("text, words", [
    ("", "holds no rows"),
    ("not json\n", "line 1: no JSON"),
    ('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n{"a": 1}\n', "line 2"),
    ('{"messages": [{"role": "assistant", "content": "b"}]}\n', 'has the role "assistant" after the start'),
    ('{"messages": [{"role": "user", "content": "b"}]}\n', "nothing to learn"),
    ('{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "a"}]}\n', 'has the role "user" after user'),
    ('{"prompt": "a", "completion": ""}\n', None),
])
def test_bad_rows(lmfast, model, tmp_path, text, words):
    data = tmp_path / "rows.jsonl"
    data.write_text(text)
    r = lmfast(*args(model, tmp_path / "o", data=data, steps=1))
    if words:
        assert r.returncode == 1 and words in r.stderr and "rows.jsonl" in r.stderr, r.stderr


def test_too_long_rows(lmfast, model, tmp_path):
    r = lmfast(*args(model, tmp_path / "a", "--seq-len", "20", steps=1))
    assert r.returncode == 1 and "--too-long" in r.stderr
    r = lmfast(*args(model, tmp_path / "b", "--seq-len", "60", "--too-long", "skip", "--json", steps=1))
    assert (r.returncode == 0 and json.loads(r.stdout)["rows_skipped"] >= 0) or "fits into" in r.stderr, r.stderr


def test_output_that_is_not_ours(lmfast, model, tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    r = lmfast(*args(model, out, steps=1))
    assert r.returncode == 1 and "not of a training run" in r.stderr and (out / "thesis.txt").read_text() == "mine"
    r = lmfast(*args(model, tmp_path / "none", "--resume", "last", steps=1))
    assert r.returncode == 1 and "no checkpoint" in r.stderr


def test_earlier_run_is_not_lost(lmfast, model, tmp_path):
    out = tmp_path / "o"
    assert lmfast(*args(model, out)).returncode == 0
    r = lmfast(*args(model, out))
    assert r.returncode == 1 and "--resume last" in r.stderr
    r = lmfast(*args(model, out, "--lr", "5e-3", "--resume", "last"))
    assert r.returncode == 1 and "other options" in r.stderr


def test_defaults_of_a_small_job(lmfast, model, tmp_path):
    """A run shorter than its intervals is logged and measured at its end; steps by default that are many passes are said to be that."""
    few = tmp_path / "few.jsonl"
    few.write_text("".join(line + "\n" for line in ROWS.read_text().splitlines()[:4]))
    run = ["train", "--model", model, "--data", few, "--quiet", "--val-set-size", "1", "--output"]
    r = lmfast(*run, tmp_path / "a", "--epochs", "1.5")  # a part of an epoch is steps, too
    last = json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[-1])
    assert r.returncode == 0 and (last["step"], last["epoch"]) == (2, 2) and last["eval_loss"] > 0 and "passes" not in r.stderr, r.stderr
    r = lmfast(*run, tmp_path / "b")
    assert r.returncode == 0 and "500 steps are 667 passes over 3 rows" in r.stderr, r.stderr


def steps_of(out):
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").open()]


def test_redone_steps_are_logged_once(lmfast, model, tmp_path):
    """The log of a run that was killed at step 10, past the checkpoint of step 8, in the middle of a line."""
    out, whole = tmp_path / "o", tmp_path / "whole"
    each = ["--logging-steps", "1"]
    assert lmfast(*args(model, whole, *each)).returncode == 0
    assert lmfast(*args(model, out, *each)).returncode == 0
    log = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    (out / "metrics.jsonl").write_text("".join(log[:10]) + log[10][:30])
    r = lmfast(*args(model, out, *each, "--resume", "last"))
    assert r.returncode == 0 and steps_of(out) == list(range(1, 13)), r.stderr
    without_time = [[{k: v for k, v in json.loads(line).items() if k not in ("seconds", "clock_unix", "unix_time", "rss_bytes")} for line in (f / "metrics.jsonl").open()] for f in (out, whole)]
    assert without_time[0] == without_time[1]
    (out / "metrics.jsonl").unlink()  # whoever threw it away gets the rest
    assert lmfast(*args(model, out, *each, "--resume", "last")).returncode == 0 and steps_of(out) == [9, 10, 11, 12]


def test_eval_rows_longer_than_trained_ones(lmfast, model, tmp_path):
    row = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "b"}]}\n'
    data, dev = tmp_path / "rows.jsonl", tmp_path / "dev.jsonl"
    data.write_text(row % "a" * 4)
    dev.write_text(row % "a" + row % ("a" * 200) + row % ("a" * 600))
    out = ["--eval-data", str(dev), "--eval-steps", "1", "--micro-tokens", "32", "--guards", "warn"]
    r = lmfast(*args(model, tmp_path / "a", *out, data=data, steps=2))     # 600 are more than the model's context
    assert r.returncode == 1 and f"--eval-data: {dev}, line 3: " in r.stderr and "--too-long" in r.stderr and not (tmp_path / "a" / "metrics.jsonl").exists(), r.stderr
    r = lmfast(*args(model, tmp_path / "b", *out, "--too-long", "skip", data=data, steps=2))
    assert r.returncode == 0 and f"{dev}: 1 rows were too long and left out" in r.stderr, r.stderr
    assert all("eval_loss" in line for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines())
    assert digest(tmp_path / "b") != "" and lmfast(*args(model, tmp_path / "c", "--micro-tokens", "32", data=data, steps=2)).returncode == 0
    assert digest(tmp_path / "b") == digest(tmp_path / "c")                # who looks on changes nothing


def test_stops_where_nothing_is_finite(lmfast, model, tmp_path):
    """A last norm so large that logits overflow: three steps without a finite loss end the run, one or two do not."""
    huge, out = formula.save(tmp_path / "huge"), tmp_path / "o"
    tensors = formula.weights()
    for i in range(formula.D):
        tensors["model.norm.weight"][1][i] = 3e38
    formula.save_safetensors(huge / "model.safetensors", tensors)
    each = ["--save-steps", "1", "--logging-steps", "1", "--json"]
    r = lmfast(*args(huge, out, *each))
    assert r.returncode == 1 and "step 3: for 3 steps in a row the gradients were not finite" in r.stderr and "data lines " in r.stderr, r.stderr
    assert steps_of(out) == [1, 2] and "null" in (out / "metrics.jsonl").read_text() and not (out / "adapter_model.safetensors").exists()
    r = lmfast(*args(huge, tmp_path / "short", *each, steps=2))
    assert r.returncode == 1 and "no step had finite gradients" in json.loads(r.stdout)["error"]["message"], r.stderr  # no adapter that learned nothing
    assert not (tmp_path / "short" / "adapter_model.safetensors").exists()


def test_goes_back_once(lmfast, tmp_path):
    """Queries and keys so large that an adapter which grows soon gives products beyond f32: back to a checkpoint, on, and the end."""
    large, out = formula.save(tmp_path / "large"), tmp_path / "o"
    tensors = formula.weights()
    for i in range(formula.D):
        tensors["model.layers.0.input_layernorm.weight"][1][i] *= 1e16
    formula.save_safetensors(large / "model.safetensors", tensors)
    r = lmfast(*args(large, out, "--save-steps", "1", "--logging-steps", "1", "--lr", "1", "--guards", "off", "--compute", "f32", steps=30))
    told = re.findall(r"step (\d+): the gradients were not finite \(loss \S+ norm nan; data lines [\d, ]+\): it changed nothing, "
                      r"(\d+) of", r.stderr)
    back = re.findall(r"step (\d+): .* for the third time in a row \(data lines [\d, ]+\): .* checkpoint of step (\d+) again",
                      r.stderr)
    assert r.returncode == 1 and len(told) == 4 and [n for _, n in told[:2]] == ["1", "2"] and len(back) == 1, r.stderr
    assert int(back[0][1]) == int(back[0][0]) - 4 and int(told[2][1]) == 5, r.stderr      # 3 bad steps and a good one were lost
    assert "for 3 steps in a row the gradients" in r.stderr.splitlines()[-1], r.stderr    # a second time ends it
    assert not (out / "adapter_model.safetensors").exists()


def full(model, out, *more, steps=12):
    return args(model, out, "--method", "full", "--lr", "1e-3", *more, steps=steps)


def model_digest(folder):
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def test_all_weights(lmfast, model, tmp_path):
    r = lmfast(*full(model, tmp_path / "o", "--json", steps=30))
    assert r.returncode == 0, r.stderr
    out = json.loads(r.stdout)
    assert out["final_loss"] < 0.7 * out["first_loss"]
    names = {p.name for p in (tmp_path / "o" / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "lmfast_export.json"} <= names
    assert not (tmp_path / "o" / "adapter_config.json").exists()
    again = lmfast(*full(tmp_path / "o" / "model", tmp_path / "p", "--json", "--no-shuffle", steps=2))  # what was written has learnt
    first = lmfast(*full(model, tmp_path / "q", "--json", "--no-shuffle", steps=2))
    assert json.loads(again.stdout)["first_loss"] < 0.7 * json.loads(first.stdout)["first_loss"]
    for kind, size in ("bf16", 2), ("f16", 2), ("f32", 4):
        r = lmfast(*full(model, tmp_path / kind, "--save-type", kind, steps=2))
        assert r.returncode == 0, r.stderr
        assert abs((tmp_path / kind / "model" / "model.safetensors").stat().st_size / size / 103000 - 1) < 0.2


def test_all_weights_killed_and_resumed(lmfast, model, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "o"
    assert lmfast(*full(model, whole, steps=40)).returncode == 0
    p = subprocess.Popen([lmfast.path, *full(model, out, steps=40)], stderr=subprocess.DEVNULL)
    until = time.time() + 120
    while not (out / "checkpoint-4").exists() and time.time() < until:
        time.sleep(0.002)
    p.kill()
    p.wait()
    r = lmfast(*full(model, out, "--resume", "auto", steps=40))
    assert r.returncode == 0 or "is complete" in r.stderr, r.stderr
    assert model_digest(out) == model_digest(whole)
    r = lmfast(*full(model, out, steps=40))
    assert r.returncode == 1 and "--overwrite replaces it" in r.stderr
    (out / "model" / "notes.txt").write_text("mine")
    r = lmfast(*full(model, out, "--overwrite", steps=40))
    assert r.returncode == 1 and "notes.txt" in r.stderr and (out / "model" / "notes.txt").read_text() == "mine"
    (out / "model" / "notes.txt").unlink()
    assert lmfast(*full(model, out, "--overwrite", steps=40)).returncode == 0 and model_digest(out) == model_digest(whole)


@pytest.mark.parametrize("more, sentence", [
    (["--scheduler", "wds"], '--scheduler is "wds", but must be one of linear|cosine|constant|wsd; did you mean wsd?'),
    (["--decay-ratio", "2"], "--decay-ratio is 2, but must be from 0 to 1"),
    (["--method", "ful"], '--method is "ful", but must be one of lora|full; did you mean full?'),
    (["--save-type", "q4_1"], '--save-type is "q4_1", but must be one of auto|f32|bf16|f16'),
    (["--lora-dropout", "1"], "--lora-dropout is 1, but must be from 0 to 0.999"),
    (["--lora-dropout", "0.1", "--method", "full"], "it is of what LoRA pairs see, and there are none"),
    (["--lora-dropout", "0.1", "--activations", "bf16"], "it is there for activations in f32"),
    (["--method", "full", "--init-adapter", "x"], "all weights are trained: there is no adapter to start from"),
])
def test_refused_options(lmfast, model, tmp_path, more, sentence):
    r = lmfast(*args(model, tmp_path / "o", *more))
    assert r.returncode in (1, 2) and sentence in r.stderr and not (tmp_path / "o").exists()


def test_stable_then_down(lmfast, model, tmp_path):
    assert lmfast(*args(model, tmp_path / "o", "--scheduler", "wsd", "--decay-ratio", "0.5", "--logging-steps", "1")).returncode == 0
    rates = [json.loads(line)["learning_rate"] for line in (tmp_path / "o" / "metrics.jsonl").open()]
    assert rates == pytest.approx([5e-3] + [1e-2] * 5 + [1e-2 * (1 - (k / 6) ** 0.5) for k in range(6)])
