# SPDX-License-Identifier: Apache-2.0
"""lmfast train --objective: flags from the objectives' own tables, what is reported, warm-up, and a preference run that is cut and
goes on."""
import hashlib
import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS, PAIRS = ROOT / "tests" / "parity" / "train_rows.jsonl", ROOT / "tests" / "parity" / "dpo_rows.jsonl"
REPORTS = ["rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("formula") / "model")


def args(model, out, *more, data=PAIRS, steps=10):
    return ["train", "-m", model, "-d", data, "-o", out, "--max-steps", steps, "-b", "4", "--lr", "5e-3", "--lora-r", "4", "--save-steps",
            "4", "--logging-steps", "1",
            "--compute", "f32", *more]


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def without_time(out):
    return [{k: v for k, v in x.items() if k not in ("seconds", "clock_unix")} for x in metrics(out)]


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_learns_to_prefer(lmfast, model, tmp_path):
    r = lmfast(*args(model, tmp_path / "o", "--objective", "dpo", "--json", "--eval-data", PAIRS, "--eval-steps", "5"))
    assert r.returncode == 0, r.stderr
    lines, told = metrics(tmp_path / "o"), json.loads(r.stdout)
    assert [x["step"] for x in lines] == list(range(1, 11))
    assert abs(lines[0]["loss"] - 0.693147) < 1e-5 and lines[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert lines[-1]["loss"] < 0.4 and lines[-1]["rewards/accuracies"] == 1 and lines[-1]["rewards/margins"] > 0.5
    assert all(set(REPORTS) <= set(x) for x in lines)
    assert [x["step"] for x in lines if "eval_loss" in x] == [5, 10]
    assert {f"eval_{name}" for name in REPORTS} <= set(lines[9]) and lines[9]["eval_loss"] < lines[4]["eval_loss"] < 0.6
    assert told["rewards/accuracies"] == 1 and told["final_loss"] == pytest.approx(lines[-1]["loss"], abs=1e-6)
    assert told["rewards/margins"] == pytest.approx(told["rewards/chosen"] - told["rewards/rejected"], rel=1e-6)


def test_progress_and_count(lmfast, model, tmp_path):
    r = lmfast(*args(model, tmp_path / "o", "--objective", "dpo", steps=2))
    assert r.returncode == 0, r.stderr
    assert f"{PAIRS}: 8 rows, " in r.stderr and "right " in r.stderr and "margin " in r.stderr
    r = lmfast(*args(model, tmp_path / "s", data=ROWS, steps=2))
    assert r.returncode == 0 and "margin" not in r.stderr and not set(REPORTS) & set(metrics(tmp_path / "s")[0])


def test_cut_and_resumed(lmfast, model, tmp_path):
    """From an adapter that is not the base model: the reference is the start, not where the run was cut."""
    start, flags = tmp_path / "start", ["--objective", "dpo", "--beta", "0.3", "--quiet"]
    assert lmfast(*args(model, start, "--quiet", data=ROWS, steps=3)).returncode == 0
    assert lmfast(*args(model, tmp_path / "whole", *flags, "--init-adapter", start)).returncode == 0
    out = tmp_path / "cut"
    assert lmfast(*args(model, out, *flags, "--init-adapter", start)).returncode == 0
    (out / "adapter_model.safetensors").unlink()  # the run shall make it again
    state = out / "checkpoint-8" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    r = lmfast(*args(model, out, *flags, "--resume", "last"))
    assert r.returncode == 1 and "another adapter to start from" in r.stderr, r.stderr
    r = lmfast(*args(model, out, *flags, "--init-adapter", start, "--beta", "0.2", "--resume", "last"))
    assert r.returncode == 1 and "made with other options" in r.stderr, r.stderr
    r = lmfast(*args(model, out, *flags, "--init-adapter", start, "--resume", "last"))
    assert r.returncode == 0 and digest(out) == digest(tmp_path / "whole"), r.stderr
    assert without_time(out) == without_time(tmp_path / "whole")


def test_flags_are_in_help(lmfast):
    flags = {f["name"]: f for f in json.loads(lmfast("help", "train", "--json").stdout)["flags"]}
    assert flags["objective"]["default"] == "sft" and set(flags["objective"]["choices"].split("|")) >= {"sft", "dpo"}
    assert flags["beta"]["default"] == "0.1" and flags["label-smoothing"]["range"] == [0, 0.5]
    assert "--beta X" in lmfast("train", "--help").stdout and "--beta" not in lmfast("plan", "--help").stdout


@pytest.mark.parametrize("more, data, code, words", [
    (["--objective", "dpo", "--beta", "0"], PAIRS, 2, "--beta is 0, but must be from 1e-06"),
    (["--beta", "0.1"], ROWS, 1, "--beta is no option of --objective sft"),
    (["--objective", "dpo"], ROWS, 1, 'line 1: rows with "chosen" and "rejected" are wanted here'),
    ([], PAIRS, 1, 'line 1: rows with "messages", or'),
    (["--objective", "ppo"], PAIRS, 2, "--objective is \"ppo\", but must be one of"),
    (["--objective", "dpo", "--eval-data", ROWS], PAIRS, 1, "--eval-data"),
    (["--warmup-steps", "11"], ROWS, 1, "a warm-up of 11 steps in a run of 10"),
])
def test_refused(lmfast, model, tmp_path, more, data, code, words):
    r = lmfast(*args(model, tmp_path / "o", *more, data=data))
    assert r.returncode == code and words in r.stderr and "adapter_model" not in str(list(tmp_path.rglob("*"))), r.stderr


def test_warm_up_is_a_share(lmfast, model, tmp_path):
    """5 % of 40 steps: the full rate from the second step on, where 50 steps would end the run below it."""
    r = lmfast(*args(model, tmp_path / "o", "--quiet", "--scheduler", "constant", data=ROWS, steps=40))
    assert r.returncode == 0, r.stderr
    assert [x["learning_rate"] for x in metrics(tmp_path / "o")][:4] == [0.0025, 0.005, 0.005, 0.005]


def test_plan_of_pairs(lmfast, model):
    def planned(*more):
        r = lmfast("plan", "-m", model, "--json", *more)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)
    pairs = planned("--objective", "dpo", "-d", PAIRS)
    assert pairs["rows"] == 8
    one, two = (planned("--rows", "8", "--seq-len", "64", "--objective", o) for o in ("sft", "dpo"))
    assert one["rows"] == two["rows"] == 8 and two["tokens"] == 2 * one["tokens"] and two["memory_bytes"] > one["memory_bytes"]
