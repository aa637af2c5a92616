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
LABELLED = ROOT / "tests" / "parity" / "kto_rows.jsonl"
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
    return [{k: v for k, v in x.items() if k not in ("seconds", "clock_unix", "unix_time", "rss_bytes")} for x in metrics(out)]


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_learns_to_prefer(lmfast, model, tmp_path):
    r = lmfast(*args(model, tmp_path / "o", "--objective", "dpo", "--json", "--eval-data", PAIRS, "--eval-steps", "5", "--guards", "warn"))
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


@pytest.mark.parametrize("method, more", [(None, []), ("dpo", ["--loss-type", "robust", "--label-smoothing", "0.1"]), ("ipo", []),
                                          ("simpo", ["--simpo-gamma", "0.5"]), ("cpo", ["--loss-type", "hinge"])])
def test_align(lmfast, model, tmp_path, method, more):
    """Each method lets the chosen answers win, orpo where none is named; and is train's objective, to the bit."""
    named = ["--method", method] if method else []
    r = lmfast("align", *args(model, tmp_path / "a", *named, *more, "--json", "--guards", "warn", "--eval-data", PAIRS, "--eval-steps",
                              4, steps=8)[1:])
    assert r.returncode == 0, r.stderr
    lines = metrics(tmp_path / "a")
    first, last = lines[3], lines[7]
    assert last["eval_rewards/margins"] > first["eval_rewards/margins"] and last["eval_loss"] < first["eval_loss"]
    assert ("log_odds_chosen" in last) == (method is None)
    r = lmfast(*args(model, tmp_path / "t", "--objective", method or "orpo", *more, "--json", "--guards", "warn", "--eval-data", PAIRS,
                     "--eval-steps", 4,
                     steps=8))
    assert r.returncode == 0 and digest(tmp_path / "t") == digest(tmp_path / "a"), r.stderr


def test_labels(lmfast, model, tmp_path):
    """Good answers win over bad ones, each for itself; cut and resumed, the same bits."""
    flags = ["--method", "kto", "--quiet", "--guards", "warn", "--eval-data", LABELLED, "--eval-steps", 4, "--undesirable-weight", "1.3"]
    r = lmfast("align", *args(model, tmp_path / "a", *flags, data=LABELLED, steps=10)[1:])
    assert r.returncode == 0, r.stderr
    lines = metrics(tmp_path / "a")
    assert lines[7]["eval_rewards/margins"] > lines[3]["eval_rewards/margins"] > 0 and lines[7]["eval_loss"] < lines[3]["eval_loss"]
    assert lines[0]["kl"] == 0 and max(x["kl"] for x in lines) > 0
    out = tmp_path / "cut"
    assert lmfast("align", *args(model, out, *flags, data=LABELLED, steps=10)[1:]).returncode == 0
    (out / "adapter_model.safetensors").unlink()
    state = out / "checkpoint-8" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    r = lmfast("align", *args(model, out, *flags, "--resume", "last", data=LABELLED, steps=10)[1:])
    assert r.returncode == 0 and digest(out) == digest(tmp_path / "a"), r.stderr
    r = lmfast("align", *args(model, tmp_path / "b", "--method", "kto", data=LABELLED, steps=1)[1:])
    assert "7 rows" in r.stderr and "4 good answers, 3 bad ones" in r.stderr, r.stderr


@pytest.mark.parametrize("rows, words", [
    ([{"prompt": "a", "completion": "b", "label": True}] * 2, "all 2 rows have the label true"),
    ([{"prompt": "a", "completion": "b", "label": "x"}], '"label" is neither true nor false'),
    ([{"prompt": "a", "completion": "b"}], 'rows with "prompt", "completion" and "label" are wanted'),
    ([{"prompt": "", "completion": "b", "label": True}], '"prompt" is empty'),
])
def test_bad_labels(lmfast, model, tmp_path, rows, words):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    r = lmfast("align", *args(model, tmp_path / "o", "--method", "kto", data=tmp_path / "rows.jsonl")[1:])
    assert r.returncode == 1 and "--data: " in r.stderr and words in r.stderr, r.stderr


def test_align_is_saved_and_read(lmfast, model, tmp_path):
    """The saved configuration is train's, and does the same run from either; another method than align's is refused."""
    run = ["align", *args(model, tmp_path / "a", "--method", "cpo", "--loss-type", "hinge", "--quiet", steps=2)[1:]]
    assert lmfast(*run).returncode == 0
    saved = tmp_path / "a" / "lmfast_config.yaml"
    for command in ("train", "align"):
        assert lmfast(command, "--config", saved, "--output", tmp_path / command, "--quiet").returncode == 0
        assert digest(tmp_path / command) == digest(tmp_path / "a")
    r = lmfast("align", "--config", saved, "--set", "objective=sft", "--output", tmp_path / "n")
    assert r.returncode == 2 and 'objective is "sft", but must be one of' in r.stderr, r.stderr


def test_prompt_counts_where_asked(lmfast, model, tmp_path):
    for name, more in (("without", []), ("with", ["--nll-on-prompt"])):
        assert lmfast("align", *args(model, tmp_path / name, *more, "--quiet", steps=1)[1:]).returncode == 0
    a, b = (metrics(tmp_path / name)[0] for name in ("without", "with"))
    assert a["nll_loss"] != b["nll_loss"] and a["log_odds_ratio"] == b["log_odds_ratio"]


def test_help_of_align(lmfast):
    flags = {f["name"]: f for f in json.loads(lmfast("help", "align", "--json").stdout)["flags"]}
    assert flags["method"]["default"] == "orpo" and "sft" not in flags["method"]["choices"].split("|") and "objective" not in flags
    assert set(flags["method"]["choices"].split("|")) >= {"orpo", "dpo", "ipo", "simpo", "cpo", "kto"}
    assert flags["loss-type"]["choices"].startswith("sigmoid|hinge|robust") and flags["nll-on-prompt"]["kind"] == "bool"
    assert {f["name"] for f in json.loads(lmfast("help", "train", "--json").stdout)["flags"]} - set(flags) == {"objective"}


@pytest.mark.parametrize("rows, words", [
    ([{"prompt": "a", "chosen": "b", "rejected": "b"}], '"chosen" and "rejected" are the same'),
    ([{"prompt": "a", "rejected": "b"}], 'has "rejected" without "chosen"'),
    ([{"prompt": "a", "chosen": "b"}], 'has "chosen" without "rejected"'),
    ([{"prompt": "a", "completion": "b"}], 'rows with "chosen" and "rejected" are wanted'),
    ([{"prompt": [], "chosen": [{"role": "assistant", "content": "x"}], "rejected": "b"}], '"prompt" holds no message'),
    ([{"prompt": "", "chosen": "b", "rejected": "c"}], '"prompt" is empty'),
    ([{"chosen": "b", "rejected": "c"}], "begin with nothing that both have"),
    ([{"prompt": 3, "chosen": [{"role": "assistant", "content": "x"}], "rejected": "b"}], '"prompt" is neither text nor a list'),
    ([{"prompt": "a", "chosen": 3, "rejected": "b"}], '"chosen" is neither text nor a list'),
])
def test_bad_pairs(lmfast, model, tmp_path, rows, words):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    r = lmfast("align", *args(model, tmp_path / "o", data=tmp_path / "rows.jsonl")[1:])
    assert r.returncode == 1 and "line 1" in r.stderr and words in r.stderr, r.stderr


def test_flags_are_in_help(lmfast):
    flags = {f["name"]: f for f in json.loads(lmfast("help", "train", "--json").stdout)["flags"]}
    assert flags["objective"]["default"] == "sft" and set(flags["objective"]["choices"].split("|")) >= {"sft", "dpo"}
    assert flags["beta"]["default"] == "0.1, distill 0.5, grpo 0, simpo 2" and flags["label-smoothing"]["range"] == [0, 0.5]
    assert all("--beta X" in lmfast(command, "--help").stdout for command in ("train", "plan"))


@pytest.mark.parametrize("more, data, code, words", [
    (["--objective", "dpo", "--beta", "0"], PAIRS, 1, "--beta is 0, but must be from 1e-06"),
    (["--beta", "0.1"], ROWS, 1, "--beta is no option of the objective sft"),
    (["--nll-on-prompt", "--objective", "dpo"], PAIRS, 1, "--nll-on-prompt is no option of the objective dpo"),
    (["--objective", "cpo", "--loss-type", "robust"], PAIRS, 1,
     '--loss-type is "robust", but the objective cpo has only sigmoid|hinge'),
    (["--objective", "dpo", "--loss-type", "ipo"], PAIRS, 2, '--loss-type is "ipo", but must be one of sigmoid|hinge|robust'),
    (["--objective", "dpo", "--loss-type", "robust", "--label-smoothing", "0.5"], PAIRS, 1, "needs a label smoothing below 0.5"),
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
