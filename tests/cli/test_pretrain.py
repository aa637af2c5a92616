# SPDX-License-Identifier: Apache-2.0
"""lmfast pretrain: from text to a model that answers, stopped and gone on with, and what it refuses."""
import json
import math
import os
import pathlib
import random
import signal
import struct
import subprocess
import time

import pytest

SHAPE = ["--vocab-size", 300, "--hidden-size", 16, "--num-hidden-layers", 2, "--num-attention-heads", 2, "--num-key-value-heads", 1,
    "--seq-len", 24]


def sentences(n, seed=1):
    r = random.Random(seed)
    who, does, what = ["the cat", "a dog", "my 12 birds", "no one"], ["sees", "likes", "follows"], ["the moon.", "a stone.", "itself.",
        "you, too."]
    return [" ".join((r.choice(who), r.choice(does), r.choice(what))) for _ in range(n)]


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("\n".join(sentences(200)) + "\n")
    return f"{path}:split=lines"


def told(r):
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def tokens(path):
    """Documents of a shard, as its header says the file is."""
    data = path.read_bytes()
    docs, ids, text, magic = *struct.unpack("<QQQ", data[-32:-8]), data[-8:]
    assert magic == b"LMFTOK01"
    ends = struct.unpack(f"<{docs}Q", data[-32 - 8 * docs:-32])
    all_ids = struct.unpack(f"<{ids}i", data[:4 * ids])
    return [all_ids[a:b] for a, b in zip((0, *ends), ends)], text


def test_one_document_is_held_out(lmfast, book, tmp_path):
    """1 is a number of documents, and no share of them."""
    told(lmfast("pretrain", "-d", book, "-o", tmp_path / "out", *SHAPE, "--max-steps", 1, "--val-set-size", 1, "--json"))
    facts = json.loads((tmp_path / "out.prepared" / "prepared.json").read_text())
    assert facts["train"]["documents"] == 199 and facts["eval"]["documents"] == 1


def test_a_model_from_text(lmfast, book, tmp_path):
    out = tmp_path / "out"
    got = told(lmfast("pretrain", "-d", book, "-o", out, *SHAPE, "--max-steps", 60, "--lr", "1e-2", "--val-set-size", 20, "--eval-steps",
        30, "--json"))
    assert got["steps"] == 60 and got["final_loss"] < 0.5 * got["first_loss"] and not got["reused"]
    prepared = tmp_path / "out.prepared"
    facts = json.loads((prepared / "prepared.json").read_text())
    assert facts["train"]["documents"] == 180 and facts["eval"]["documents"] == 20 and facts["data"][0]["documents"] == 200
    bits = got["eval_loss"] * facts["eval"]["learned_tokens"] / math.log(2) / facts["eval"]["text_bytes"]
    assert got["bits_per_byte"] == pytest.approx(bits, rel=1e-9)
    assert 0 < got["bits_per_byte"] < 8 * 0.5 and got["parameters"] == facts["parameters"]
    logged = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1]["eval_loss"] == pytest.approx(got["eval_loss"], abs=1e-6) and [x["step"]
        for x in logged if "eval_loss" in x] == [30, 60]
    # the tokenizer gives the shards' ids, and they give the text back; each document once, in no order of the file
    vocabulary = json.loads((prepared / "tokenizer.json").read_text())["model"]["vocab"]
    letter = {v: k.replace("\u0120", " ") for k, v in vocabulary.items()}
    train, n_text = tokens(prepared / "train-00000.tokens")
    held, n_held = tokens(prepared / "eval-00000.tokens")
    assert all(d[0] == d[-1] == 0 and 0 not in d[1:-1] for d in train + held)
    texts = ["".join(letter[i] for i in d[1:-1]) for d in train + held]
    assert sorted(texts) == sorted(sentences(200)) and texts != sentences(200) and n_text + n_held == sum(map(len, texts))
    # both folders are models
    for folder in (prepared, out / "model"):
        assert told(lmfast("info", folder, "--json"))["parameters"] == got["parameters"]
    r = lmfast("generate", "-m", out / "model", "--raw", "-p", "the cat", "-n", 12, "-t", 0, "--json")
    assert any(word in told(r)["text"] for word in ("sees", "likes", "follows")), r.stdout
    assert lmfast("report", out, "-o", tmp_path / "r.html").returncode == 0 and "book.txt" in (tmp_path / "r.html").read_text()


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


def test_again(lmfast, book, tmp_path):
    """The same text and settings: prepared once, the same bits; by the saved configuration, with other workers, too."""
    first = told(lmfast("pretrain", "-d", book, "-o", tmp_path / "a", *SHAPE, "--max-steps", 5, "--json", "--threads", 1))
    again = told(lmfast("pretrain", "-d", book, "-o", tmp_path / "b", *SHAPE, "--max-steps", 5, "--json", "--prepared",
        tmp_path / "a.prepared"))
    assert again["reused"] and again["final_loss"] == first["final_loss"] and weights(tmp_path / "a") == weights(tmp_path / "b")
    told(lmfast("pretrain", "--config", tmp_path / "a" / "lmfast_config.yaml", "-o", tmp_path / "c", "--json", "--threads", 3))
    assert weights(tmp_path / "a") == weights(tmp_path / "c")
    for name in ("train-00000.tokens", "tokenizer.json", "model.safetensors"):
        assert (tmp_path / "a.prepared" / name).read_bytes() == (tmp_path / "c.prepared" / name).read_bytes()
    other = told(lmfast("pretrain", "-d", book, "-o", tmp_path / "d", *SHAPE, "--max-steps", 5, "--json", "--seed", 7))
    assert weights(tmp_path / "d") != weights(tmp_path / "a") and other["parameters"] == first["parameters"]


def test_stopped(lmfast, book, tmp_path):
    """Ctrl-C saves; the run that goes on ends in the bits of the one that was not stopped."""
    args = ["-d", book, *SHAPE, "--max-steps", 400, "--scheduler", "wsd", "--val-set-size", 5, "--eval-steps", 100]
    straight, out = tmp_path / "straight", tmp_path / "out"
    told(lmfast("pretrain", *args, "-o", straight, "--json"))
    p = subprocess.Popen([lmfast.path, "pretrain", *map(str, args), "-o", out, "--logging-steps", "1"], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    while p.poll() is None and not (out / "metrics.jsonl").exists():
        time.sleep(0.002)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and "saved. --resume last goes on" in err, err
    step = int(err.split("stopped at step ")[1].split()[0])
    assert 0 < step < 400
    got = told(lmfast("pretrain", *args, "-o", out, "--json", "--resume", "last"))
    assert got["steps"] == 400 and got["reused"] and weights(out) == weights(straight)


def test_stopped_while_preparing(lmfast, tmp_path):
    (tmp_path / "big.txt").write_text("\n".join(f"{s} {i}{i * 7919 % 1000003}x{i * 104729 % 1000033}" for i,
        s in enumerate(sentences(60000))))
    args = ["pretrain", "-d", f"{tmp_path}/big.txt:split=lines", "-o", str(tmp_path / "o"), "--vocab-size", "30000", "--hidden-size",
        "8", "--num-attention-heads", "1"]
    p = subprocess.Popen([lmfast.path, *args], stderr=subprocess.PIPE, text=True)
    while p.poll() is None and not any(n.startswith(".o.prepared.lmf-") for n in os.listdir(tmp_path)):
        time.sleep(0.002)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and "nothing is left of what was prepared" in err, err
    assert os.listdir(tmp_path) == ["big.txt"]


def test_several_files(lmfast, tmp_path):
    """Rows, tables and text together; a held-out file of its own."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in sentences(30, 2)))
    (tmp_path / "b.csv").write_text("id,body\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate(sentences(30, 3))))
    (tmp_path / "c.txt").write_text("\n\n".join(sentences(30, 4)))
    (tmp_path / "d.txt").write_text("the cat likes a stone.")
    got = told(lmfast("pretrain", "-d", tmp_path / "a.jsonl", "-d", f"{tmp_path}/b.csv:text=body", "-d",
        f"{tmp_path}/c.txt:split=paragraphs", "--eval-data",
                      tmp_path / "d.txt", "-o", tmp_path / "o", *SHAPE, "--max-steps", 2, "--json"))
    facts = json.loads((tmp_path / "o.prepared" / "prepared.json").read_text())
    assert facts["train"]["documents"] == 90 and facts["eval"] == {**facts["eval"], "documents": 1, "text_bytes":
        22} and got["bits_per_byte"] > 0
    got = told(lmfast("pretrain", "-d", tmp_path / "a.jsonl", "--val-set-size", 0, "-o", tmp_path / "p", *SHAPE, "--max-steps", 2,
        "--json"))
    assert got["bits_per_byte"] is None and not list((tmp_path / "p.prepared").glob("eval*"))


@pytest.mark.parametrize("flags, words", [
    (["--hidden-size", 30, "--num-attention-heads", 4], ["--hidden-size 30 is no multiple of --num-attention-heads 4"]),
    (["--hidden-size", 9, "--num-attention-heads", 3, "--num-key-value-heads", 1], ["a head is not even"]),
    (["--num-key-value-heads", 3, "--num-attention-heads", 8, "--hidden-size", 64],
        ["--num-attention-heads 8 is no multiple of --num-key-value-heads 3"]),
    (["--val-set-size", 500], ["holds out 500 of 200 documents", "split=paragraphs"]),
    (["--val-set-size", 0.1, "--eval-data", __file__], ["give one of them"]),
    (["--max-steps", 0, "--epochs", 0], ["nothing would be learned"]),
    (["--lr", 0], ["--lr is 0"]),
    (["--eval-data", "/nowhere.txt"], ["--eval-data: ", "/nowhere.txt"]),
])
def test_refused_settings(lmfast, book, tmp_path, flags, words):
    r = lmfast("pretrain", "-d", book, "-o", tmp_path / "o", *SHAPE, *flags, "--quiet")
    assert r.returncode == 1 and r.stderr.count("\n") == 1 and all(w in r.stderr for w in words), r.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name, text, words", [
    ("a.txt", "one document", ["--val-set-size 0.01 holds out 1 of 1 documents"]), ("a.txt", "", ["--data: ", "holds no rows"]),
    ("a.jsonl", '{"text": "a"}\n{"text": "b"}\n{"prompt": "a", "completion": "b"}\n', ["line 3", "pre-training takes plain text"]),
    ("a.jsonl", '{"text": 3}\n', ["line 1"]), ("a.jsonl", "no rows\n", ["line 1"]), ("a.bin", "\x7fELF\0\0", ["--data: "]),
        ("a.txt:weight=2", "a\n\nb", ["weight=", "once an epoch"]),
])
def test_refused_text(lmfast, tmp_path, name, text, words):
    (tmp_path / name.split(":")[0]).write_text(text)
    r = lmfast("pretrain", "-d", tmp_path / name, "-o", tmp_path / "o", *SHAPE, "--max-steps", 1, "--quiet")
    assert r.returncode == 1 and r.stderr.count("\n") == 1 and all(w in r.stderr for w in words), r.stderr
    assert not (tmp_path / "o").exists() and not (tmp_path / "o.prepared").exists()


def test_what_lies_there(lmfast, book, tmp_path):
    """Of others nothing is touched, of an earlier pretrain only with --overwrite; damage is found."""
    args = ["pretrain", "-d", book, "-o", tmp_path / "o", *SHAPE, "--max-steps", 2, "--quiet"]
    prepared = tmp_path / "o.prepared"
    prepared.mkdir()
    (prepared / "mine.txt").write_text("x")
    r = lmfast(*args)
    assert r.returncode == 1 and "that no pretrain made; it is left alone" in r.stderr and [p.name
        for p in prepared.iterdir()] == ["mine.txt"]
    (prepared / "mine.txt").unlink()
    assert lmfast(*args).returncode == 0
    r = lmfast(*args)
    assert r.returncode == 1 and "--overwrite replaces it" in r.stderr
    r = lmfast(*args, "--vocab-size", 280)
    assert r.returncode == 1 and "made of other text or with other settings; --overwrite makes it again" in r.stderr
    (prepared / "mine.txt").write_text("x")
    r = lmfast(*args, "--vocab-size", 280, "--overwrite")
    assert r.returncode == 1 and "mine.txt" in r.stderr and not list(tmp_path.glob(".*")), r.stderr
    (prepared / "mine.txt").unlink()
    assert lmfast(*args, "--vocab-size", 280, "--overwrite").returncode == 0
    assert len(json.loads((prepared / "tokenizer.json").read_text())["model"]["vocab"]) == 280 and not list(tmp_path.glob(".*"))
    shard = prepared / "train-00000.tokens"
    shard.write_bytes(shard.read_bytes()[:-8])
    r = lmfast(*args, "--vocab-size", 280, "--overwrite")
    assert r.returncode == 1 and "is no shard of tokens, or damaged" in r.stderr
    shard.unlink()
    r = lmfast(*args, "--vocab-size", 280, "--overwrite")
    assert r.returncode == 1 and "holds no train-00000.tokens" in r.stderr


def test_small_text(lmfast, tmp_path):
    """A vocabulary that the text can't fill is said, not made up."""
    (tmp_path / "a.txt").write_text("ab ab\nab ab")
    r = lmfast("pretrain", "-d", f"{tmp_path}/a.txt:split=lines", "-o", tmp_path / "o", *SHAPE, "--max-steps", 1, "--val-set-size", 0,
        "--guards", "off")
    assert r.returncode == 0 and "the text gives 259 tokens, not --vocab-size 300" in r.stderr, r.stderr
    assert json.loads((tmp_path / "o" / "model" / "config.json").read_text())["vocab_size"] == 259
