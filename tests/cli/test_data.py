# SPDX-License-Identifier: Apache-2.0
"""lmfast data show and check, and training on files of several forms."""
import gzip
import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formula") / "model"
    formula.save(folder)
    return folder


def data(lmfast, model, what, *more):
    return lmfast("data", what, "--model", model, *more)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"instruction": "Add", "input": "1 2", "output": "3"}\n{"instruction": "Hi", "output": ""}\n')
    (tmp_path / "s.json").write_text('[{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]')
    (tmp_path / "p.csv").write_text('prompt,completion\nx,"y, z"\nx,"y, z"\n')
    (tmp_path / "t.txt").write_text("One line.\n\nAnother.\n")
    return tmp_path


def test_show_marks_what_is_trained(lmfast, model, files):
    r = data(lmfast, model, "show", "--data", files / "a.jsonl", "--quiet")
    assert r.stdout.splitlines()[:6] == [f"--- {files}/a.jsonl, line 1: 28 tokens, 2 trained", "<|im_start|>user\\n", "Add\\n",
        "1 2<|im_end|>\\n",
                                         "<|im_start|>assistant\\n", "[[3<|im_end|>]]"], r.stdout
    r = data(lmfast, model, "show", "--data", files / "a.jsonl", "--quiet", "--color", "always", "--rows", "1")
    assert "\033[30;42m3<|im_end|>\033[0m" in r.stdout and r.stdout.count("---") == 1
    r = data(lmfast, model, "show", "--data", files / "a.jsonl", "--quiet", "--tokens", "--rows", "1")
    lines = [line.split() for line in r.stdout.splitlines()[1:-1]]
    assert len(lines) == 28 and lines[-2:] == [["26", "51", "trained", "3"], ["27", "261", "trained", "<|im_end|>"]]
    r = data(lmfast, model, "show", "--data", files / "a.jsonl", "--json", "--row", "2")
    rows = json.loads(r.stdout)["rows"]
    assert [x["line"] for x in rows] == [2] and "".join(rows[0]["pieces"]).endswith("assistant\n<|im_end|>")
    assert rows[0]["trained"] == [0] * (len(rows[0]["ids"]) - 1) + [1]


def test_nothing_of_a_file_reaches_the_terminal_raw(lmfast, model, tmp_path):
    path = tmp_path / "evil.jsonl"
    path.write_text(json.dumps({"text": "a\x1b[31mred\x07\u202e"}) + "\n")
    for more in [], ["--tokens"]:
        r = data(lmfast, model, "show", "--data", path, *more)
        assert r.returncode == 0 and not set("\x1b\x07\u202e") & set(r.stdout)


def test_check_counts(lmfast, model, files):
    r = data(lmfast, model, "check", "--data", files / "a.jsonl", "--data", f"{files}/p.csv:weight=2", "--data", files / "s.json", "--data",
             files / "t.txt", "--json")
    assert r.returncode == 0, r.stderr
    out = json.loads(r.stdout)
    a, p, s, t = out["files"]
    assert [f["form"] for f in out["files"]] == ["alpaca", "completion", "sharegpt", "text"]
    assert [f["usable_rows"] for f in out["files"]] == [2, 2, 1, 1]
    assert (a["empty_answers"], a["first_empty_answer"], p["duplicates"], p["first_duplicate"]) == (1, 2, 1, 2)
    assert out["rows"] == 2 + 2 * 2 + 1 + 1
    assert 0 < out["trained_share"] < 1 and out["shortest"] <= out["median"] <= out["longest"] and 0.5 < out["packing_fill"] <= 1
    r = data(lmfast, model, "check", "--data", files / "a.jsonl", "--data", files / "p.csv", "--drop-empty", "--drop-duplicates")
    assert r.stdout.startswith("2 rows an epoch, ")
    assert f"{files}/a.jsonl: 1 rows have an empty answer (line 2), and are left out" in r.stderr
    assert f"{files}/p.csv: 1 rows were there before (record 2 is as 1 was), and are left out" in r.stderr


def test_a_training_configuration_will_do(lmfast, model, files):
    config = files / "run.yaml"
    config.write_text(f"base_model: {model}\ndatasets:\n  - path: {files}/a.jsonl\n    type: alpaca\n  - path: {files}/p.csv\n    "
        "ds_type: csv\n"
                      "    weight: 0.5\nlearning_rate: 1e-3\noutput_dir: out\nlora_r: 4\nrl:\nbeta: 0.3\n")
    r = lmfast("data", "check", "--config", config, "--json")
    assert r.returncode == 0, r.stderr
    assert [(f["form"], f["weight"]) for f in json.loads(r.stdout)["files"]] == [("alpaca", 1), ("completion", 0.5)]
    r = lmfast("data", "check", "--config", config, "--set", "learnin_rate=3")
    assert r.returncode == 2 and "--set: unknown key learnin_rate; did you mean learning_rate?" in r.stderr


def test_trains_on_a_mix(lmfast, model, files):
    with gzip.open(files / "p.csv.gz", "wt") as f:
        f.write((files / "p.csv").read_text())
    r = lmfast("train", "--model", model, "--data", files / "a.jsonl", "--data", files / "p.csv.gz", "--data", files / "s.json",
        "--val-set-size", "1",
               "--output", files / "o", "--max-steps", "4", "--eval-steps", "2", "--lora-r", "2", "--lr", "1e-2")
    assert r.returncode == 0, r.stderr
    assert "4 rows an epoch, 1 held out" in r.stderr or "3 rows an epoch, 2 held out" in r.stderr
    lines = [json.loads(x) for x in (files / "o" / "metrics.jsonl").open()]
    assert [x["step"] for x in lines if "eval_loss" in x] == [2, 4] and lines[-1]["eval_loss"] > 0


def test_a_book(lmfast, model, files):
    (files / "book.txt").write_text("In the beginning. " * 200)
    r = lmfast("train", "--model", model, "--data", files / "book.txt", "--output", files / "o", "--max-steps", "2", "--seq-len", "128")
    assert r.returncode == 1 and "more than the 128 of a sequence; --too-long split goes on with it in pieces" in r.stderr
    r = lmfast("train", "--model", model, "--data", files / "book.txt", "--output", files / "o", "--max-steps", "2", "--seq-len", "128",
               "--too-long", "split", "--lora-r", "2", "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["steps"] == 2


@pytest.mark.parametrize("spec, sentence", [
    ("a.jsonl:type=alpacca", "has type=alpacca, but alpaca, sharegpt, messages, completion, text, segments and preference are known"),
    ("a.jsonl:weight=-1", "has weight=-1, but a weight is a number above 0, at most 1000"),
    ("a.jsonl:file=xls", "has file=xls, but json, csv and text are known"),
    ("a.jsonl:instruction=question", 'line 1: the row has no key "question", which is to be its "instruction"'),
    ("a.jsonl:type=sharegpt", 'line 1: "conversations" is no list of turns'),
    ("missing.csv", "missing.csv"),
])
def test_refused(lmfast, model, files, spec, sentence):
    r = data(lmfast, model, "check", "--data", f"{files}/{spec}")
    assert r.returncode == 1 and "--data: " in r.stderr and sentence in r.stderr


def test_one_way_to_measure(lmfast, model, files):
    r = lmfast("train", "--model", model, "--data", files / "a.jsonl", "--eval-data", files / "s.json", "--val-set-size", "0.5",
        "--output", files / "o")
    assert r.returncode == 1 and "--val-set-size holds rows of --data out, and --eval-data gives others: give one of them" in r.stderr
    r = lmfast("train", "--model", model, "--data", files / "s.json", "--val-set-size", "0.5", "--output", files / "o")
    assert r.returncode == 1 and "1 rows are to be held out of 1: none would be left to train on" in r.stderr
    assert not (files / "o").exists()
