# SPDX-License-Identifier: Apache-2.0
"""lmfast train on a formula model: it learns, refuses what it should, and loses nothing."""
import hashlib
import json
import pathlib
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
        until = time.time() + 20
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
        until = time.time() + 20
        while not (out / "metrics.jsonl").exists() and time.time() < until:
            time.sleep(0.01)
        time.sleep(0.3)
        p.send_signal(sig)
        err = p.communicate(timeout=20)[1]
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
