# SPDX-License-Identifier: Apache-2.0
"""lmfast train: optimizers, going on from a named checkpoint, beyond the first end, and saving when it is asked for."""
import hashlib
import json
import pathlib
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


def args(model, out, *more, steps=12):
    return ["train", "--model", str(model), "--data", str(ROWS), "--output", str(out), "--max-steps", str(steps), "--batch-size", "3",
        "--lr", "1e-2",
            "--warmup-steps", "2", "--lora-r", "4", "--save-steps", "4", "--quiet", *more]


def digest(out):
    return hashlib.sha256((out / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_optimizers_learn(lmfast, model, tmp_path):
    seen = set()
    for name, lr in ("adamw", "1e-2"), ("adamw_8bit", "1e-2"), ("sgd", "0.5"):
        r = lmfast(*args(model, tmp_path / name, "--optimizer", name, "--lr", lr, "--lora-dropout", "0.1", "--json", steps=40))
        assert r.returncode == 0, r.stderr
        out = json.loads(r.stdout)
        assert out["final_loss"] < 0.85 * out["first_loss"], name
        assert json.loads((tmp_path / name / "adapter_config.json").read_text())["lora_dropout"] == 0.1
        seen.add(digest(tmp_path / name))
    assert len(seen) == 3


@pytest.mark.parametrize("more, sentence", [
    (["--optimizer", "adam8"], '--optimizer is "adam8", but must be one of adamw|adamw_8bit|sgd'),
    (["--momentum", "1"], "--momentum is 1, but must be from 0 to 0.999999"),
    (["--resume", "lst"], "--resume lst: there is no such folder; no, last, auto and a checkpoint's folder are possible"),
])
def test_refused(lmfast, model, tmp_path, more, sentence):
    r = lmfast(*args(model, tmp_path / "o", *more))
    assert r.returncode in (1, 2) and sentence in r.stderr and not (tmp_path / "o").exists(), r.stderr


def test_from_a_named_checkpoint(lmfast, model, tmp_path):
    whole = tmp_path / "whole"
    assert lmfast(*args(model, whole)).returncode == 0
    for i, path in enumerate((whole / "checkpoint-4", whole / "checkpoint-8", whole)):
        r = lmfast(*args(model, tmp_path / str(i), "--resume", str(path)))
        assert r.returncode == 0, r.stderr
        assert digest(tmp_path / str(i)) == digest(whole)
    r = lmfast(*args(model, tmp_path / "other", "--resume", str(whole / "checkpoint-4"), "--lr", "2e-2"))
    assert r.returncode == 1 and "lr 0.01 instead of 0.02" in r.stderr and not (tmp_path / "other").exists(), r.stderr
    (tmp_path / "empty").mkdir()
    r = lmfast(*args(model, tmp_path / "other", "--resume", str(tmp_path / "empty")))
    assert r.returncode == 1 and "holds no checkpoint to resume from" in r.stderr, r.stderr
    state = whole / "checkpoint-4" / "state.safetensors"
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    r = lmfast(*args(model, tmp_path / "other", "--resume", str(whole / "checkpoint-4")))
    assert r.returncode == 1 and "damaged" in r.stderr, r.stderr


def test_beyond_the_end(lmfast, model, tmp_path):
    out = tmp_path / "o"
    more = ["--scheduler", "linear", "--logging-steps", "1"]
    assert lmfast(*args(model, out, *more)).returncode == 0
    r = lmfast(*[a for a in args(model, out, *more, "--resume", "last", steps=20) if a != "--quiet"])
    assert r.returncode == 0 and "the run was of 12 steps and goes on from step 8 to 20" in r.stderr, r.stderr
    rates = [json.loads(line)["learning_rate"] for line in (out / "metrics.jsonl").open()]
    assert len(rates) == 20 and rates[8:] == pytest.approx([1e-2 * (20 - k) / 18 for k in range(8, 20)], rel=1e-4)
    r = lmfast(*args(model, out, *more, "--resume", "last", steps=19))
    assert r.returncode == 1 and "steps 20 instead of 19" in r.stderr, r.stderr


def test_saves_when_asked(lmfast, model, tmp_path):
    out = tmp_path / "o"
    p = subprocess.Popen([lmfast.path, *args(model, out, "--save-steps", "0", "--logging-steps", "1", steps=4000)],
        stderr=subprocess.DEVNULL)
    until = time.time() + 60
    while not (out / "metrics.jsonl").exists() and time.time() < until:
        time.sleep(0.01)
    assert not list(out.glob("checkpoint-*"))
    (out / "save").touch()
    while not list(out.glob("checkpoint-*")) and time.time() < until:
        time.sleep(0.01)
    p.terminate()
    p.wait()
    assert list(out.glob("checkpoint-*")) and not (out / "save").exists()
