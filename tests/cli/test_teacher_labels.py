# SPDX-License-Identifier: Apache-2.0
"""lmfast teacher-labels, and distill --teacher-labels: equal to the teacher itself where all tokens are kept, refused where anything
differs."""
import json
import pathlib
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
def student(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("formula") / "student")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("formula") / "teacher", seed=3, layers=3, bias=True)


@pytest.fixture(scope="module")
def labels(lmfast, teacher, tmp_path_factory):
    """Of 64 tokens each."""
    out = tmp_path_factory.mktemp("labels") / "l"
    r = lmfast("teacher-labels", "--teacher", teacher, "-d", ROWS, "-o", out, "--compute", "f32", "--json")
    assert r.returncode == 0, r.stderr
    told = json.loads(r.stdout)
    assert told["labels"] == 744 and told["top_k"] == 64 and len(told["digest"]) == 64
    return out


def args(student, out, *more, steps=6):
    return ["distill", "--student", student, "-d", ROWS, "-o", out, "--max-steps", steps, "--lr", "5e-3", "--lora-r", "4",
            "--save-steps", "2", "--logging-steps", "1", "--compute", "f32", "--guards", "warn", "--quiet", *more]


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def adapter(out):
    return (out / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("flags", [[], ["--divergence", "reverse"], ["--divergence", "js", "--alpha", "1"]])
def test_all_tokens_are_the_teacher(lmfast, student, teacher, tmp_path, flags):
    r = lmfast("teacher-labels", "--teacher", teacher, "-d", ROWS, "-o", tmp_path / "l", "-k", "264", "--type", "f32", "--compute", "f32")
    assert r.returncode == 0 and "744 labels of 264 tokens each" in r.stderr, r.stderr
    assert lmfast(*args(student, tmp_path / "online", "--teacher", teacher, *flags)).returncode == 0
    r = lmfast(*args(student, tmp_path / "offline", "--teacher-labels", tmp_path / "l", *flags))
    assert r.returncode == 0, r.stderr
    for a, b in zip(metrics(tmp_path / "online"), metrics(tmp_path / "offline"), strict=True):
        for name in ("loss", "kl", "nll", "grad_norm"):
            assert b[name] == pytest.approx(a[name], rel=1e-5), name


def test_more_tokens_come_nearer(lmfast, student, teacher, tmp_path):
    """Never more than the teacher's own divergence; f16 loses little."""
    kl = {}
    for k, kind in ((8, "f16"), (64, "f16"), (64, "f32"), (200, "f16"), (264, "f32")):
        out = tmp_path / f"{k}{kind}"
        r = lmfast("teacher-labels", "--teacher", teacher, "-d", ROWS, "-o", out, "-k", k, "--type", kind, "--temperature",
                   "0.5", "--quiet")
        assert r.returncode == 0, r.stderr
        r = lmfast(*args(student, tmp_path / f"run{k}{kind}", "--teacher-labels", out, "--temperature", "0.5", steps=1))
        assert r.returncode == 0, r.stderr
        kl[k, kind] = metrics(tmp_path / f"run{k}{kind}")[0]["kl"]
    assert kl[8, "f16"] < kl[64, "f16"] < kl[200, "f16"] < kl[264, "f32"] * 1.001
    assert kl[64, "f16"] == pytest.approx(kl[64, "f32"], rel=2e-3)
    assert kl[64, "f32"] == pytest.approx(kl[264, "f32"], rel=0.15)


def test_killed_and_resumed(lmfast, student, teacher, labels, tmp_path):
    """With a teacher, and with its labels: kill -9, then the same adapter as a run that was let alone."""
    for name, flags in (("teacher", ["--teacher", teacher, "--taid-start", "0.5"]), ("labels", ["--teacher-labels", labels])):
        whole, out = tmp_path / f"{name}-whole", tmp_path / name
        command = args(student, out, *flags, "--save-steps", "1", "--resume", "auto", steps=60)
        assert lmfast(*args(student, whole, *flags, "--save-steps", "1", steps=60)).returncode == 0
        killed = 0
        for wait in (1, 7, 20):
            p = subprocess.Popen([lmfast.path, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while p.poll() is None and not any(int(x.name[11:]) > wait for x in out.glob("checkpoint-*[0-9]")):
                time.sleep(0.002)
            killed += p.poll() is None
            p.send_signal(signal.SIGKILL)
            p.wait()
        assert killed
        r = lmfast(*command)
        assert r.returncode == 0 or "is complete" in r.stderr, r.stderr
        assert adapter(out) == adapter(whole)


def test_held_out_rows_have_no_labels(lmfast, student, labels, tmp_path):
    r = lmfast(*args(student, tmp_path / "o", "--teacher-labels", labels, "--eval-data", ROWS, "--eval-steps", "3"))
    assert r.returncode == 0, r.stderr
    last = metrics(tmp_path / "o")[-1]
    assert last["eval_kl"] is None and last["eval_loss"] == pytest.approx(last["eval_nll"]) and last["kl"] > 0


def test_refusals(lmfast, student, teacher, labels, tmp_path):
    out = tmp_path / "o"

    def refused(*command, code=1):
        r = lmfast(*command)
        assert r.returncode == code and not out.exists(), r.stderr
        assert r.stderr.count("\n") == 1, r.stderr
        return r.stderr

    def copy(name):
        there = tmp_path / name
        there.mkdir()
        for f in labels.iterdir():
            (there / f.name).write_bytes(f.read_bytes())
        return there

    train = lambda folder, *more: refused(*args(student, out, "--teacher-labels", folder, *more))
    assert "temperature of 2, and --temperature is 1" in train(labels, "--temperature", "1")
    assert "--taid-start mixes all logits" in train(labels, "--taid-start", "0.5")
    assert "one of both" in train(labels, "--teacher", teacher)
    assert "of other data, or with other settings of rows" in train(labels, "--train-on", "all")
    assert "holds no labels of a teacher" in train(tmp_path)
    flipped = copy("flipped")
    shard = flipped / "labels-00000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    assert "labels-00000.safetensors is damaged: its hash is not the one in manifest.json" in train(flipped)
    edited = copy("edited")
    (edited / "manifest.json").write_text((edited / "manifest.json").read_text().replace('"temperature": 2.0', '"temperature": 1.0'))
    assert "was changed after it was written" in train(edited, "--temperature", "1")
    other = formula.save(tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["!"], vocabulary["\""] = vocabulary["\""], vocabulary["!"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "with another tokenizer" in refused(*args(other, out, "--teacher-labels", labels))
    spoken = formula.save(tmp_path / "spoken")
    config = json.loads((spoken / "tokenizer_config.json").read_text())
    (spoken / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": config["chat_template"].replace("\n", "\n\n")}))
    assert "with another chat template" in refused(*args(spoken, out, "--teacher-labels", labels))
    make = ["teacher-labels", "--teacher", teacher, "-d", ROWS, "--quiet", "-o"]
    assert "--top-k is 265, and the vocabulary has 264 tokens" in refused(*make, out, "-k", "265")
    assert "is not empty" in refused(*make, labels)
    assert "another vocabulary" in refused(*make, out, "--student", other)
    assert "sft does not" in refused("train", "-m", student, "-d", ROWS, "-o", out, "--quiet", "--teacher-labels", labels)


def test_rows_as_for_the_student(lmfast, student, teacher, tmp_path):
    spoken = formula.save(tmp_path / "spoken")
    config = json.loads((spoken / "tokenizer_config.json").read_text())
    (spoken / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": config["chat_template"].replace("\n", "\n\n")}))
    r = lmfast("teacher-labels", "--teacher", teacher, "--student", spoken, "-d", ROWS, "-o", tmp_path / "l", "--quiet")
    assert r.returncode == 0, r.stderr
    r = lmfast(*args(spoken, tmp_path / "o", "--teacher-labels", tmp_path / "l", steps=2))
    assert r.returncode == 0, r.stderr
