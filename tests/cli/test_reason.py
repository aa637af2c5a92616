# SPDX-License-Identifier: Apache-2.0
"""lmfast reason: answers are sampled, judged and learned from in one process; a run that is cut goes on to the same bits; what is
wrong is said."""
import hashlib
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

PROMPTS = [{"prompt": [{"role": "user", "content": f"What is {a} + 3?"}], "answer": a + 3} for a in range(6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("formula") / "model")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "prompts.jsonl"
    path.write_text("".join(json.dumps(p) + "\n" for p in PROMPTS))
    return path


def args(model, rows, out, *more, steps=6, reward=("regex:[a-e]",)):
    rewards = [x for r in reward for x in ("--reward", r)]
    return ["reason", "-m", model, "-d", rows, "-o", out, "--max-steps", steps, "--num-generations", "4", "-b", "8", *rewards,
            "--max-completion-length", "8", "--lr", "5e-3", "--lora-r", "4", "--compute", "f32", "--save-steps", "2", *more]


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def without_time(out):
    return [{k: v for k, v in x.items() if k not in ("seconds", "clock_unix", "unix_time", "rss_bytes") and not k.startswith("seconds_")}
            for x in metrics(out)]


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_reward_rises(lmfast, model, prompts, tmp_path):
    """Answers with a letter that one in several has at first become the rule; what is kept says so, answer by answer."""
    out = tmp_path / "o"
    r = lmfast(*args(model, prompts, out, "--json", "--max-completion-length", "4", "-b", "16", steps=30, reward=["regex:[a-e]=2",
        "length:8"]))
    assert r.returncode == 0, r.stderr
    lines, told = metrics(out), json.loads(r.stdout)
    assert [x["step"] for x in lines] == list(range(1, 31))
    first, last = (sum(x["reward"] for x in part) / 5 for part in (lines[:5], lines[-5:]))
    assert first < 1.4 and last > first + 0.4, (first, last)
    assert told["reward"] == pytest.approx(lines[-1]["reward"], rel=1e-5)
    for x in lines:
        assert x["reward"] == pytest.approx(2 * x["rewards/regex:_a-e_/mean"] + x["rewards/length:8/mean"], abs=1e-5)
        assert 1 <= x["completions/mean_length"] <= 4 and 0 <= x["completions/clipped_ratio"] <= 1 and x["kl"] == 0
    kept = [json.loads(line) for line in (out / "samples.jsonl").open()]
    assert len(kept) == 30 * 16 and {k["line"] for k in kept} == set(range(1, 7))
    for step in (1, 30):
        mine = [k for k in kept if k["step"] == step]
        for group in (mine[i:i + 4] for i in range(0, 16, 4)):
            assert len({k["line"] for k in group}) == 1
            assert all(k["reward"] == 2 * any(c in k["answer"] for c in "abcde") for k in group)
            rewards = [k["reward"] for k in group]
            mean, std = sum(rewards) / 4, (sum((x - sum(rewards) / 4) ** 2 for x in rewards) / 3) ** 0.5
            assert [k["advantage"] for k in group] == pytest.approx([(x - mean) / (std + 1e-4) for x in rewards], abs=1e-4)
        assert sum(k["tokens"] for k in mine) / 16 == pytest.approx(lines[step - 1]["completions/mean_length"], rel=1e-5)


RFT = ["--method", "rft", "--reward-threshold", "0.5", "--no-mask-truncated-completions"]


def test_good_answers_are_rows(lmfast, model, prompts, tmp_path):
    """rft: answers with a letter that few have at first become the rule; what is learned is what the threshold says, each text once."""
    out = tmp_path / "o"
    r = lmfast(*args(model, prompts, out, "--json", *RFT, "--max-completion-length", "4", "-b", "16", steps=30))
    assert r.returncode == 0, r.stderr
    lines = metrics(out)
    first, last = (sum(x["reward"] for x in part) / 5 for part in (lines[:5], lines[-5:]))
    assert first < 0.6 and last > first + 0.25, (first, last)
    kept = [json.loads(line) for line in (out / "samples.jsonl").open()]
    groups = [kept[i:i + 4] for i in range(0, len(kept), 4)]
    assert len(groups) == 30 * 4 and any(not k["accepted"] for k in kept)
    for group in groups:
        good = [k["answer"] for k in group if k["reward"] >= 0.5]
        assert all(k["reward"] >= 0.5 for k in group if k["accepted"]) and {k["answer"] for k in group if k["accepted"]} == set(good)
    for i, x in enumerate(lines):
        assert x["frac_accepted"] == pytest.approx(sum(k["accepted"] for k in kept[16 * i:16 * i + 16]) / 16, abs=1e-5)


def test_best_of_a_group(lmfast, model, prompts, tmp_path):
    """rft, best: one answer a group, that with most reward; answers that were cut are not learned unless wanted."""
    r = lmfast(*args(model, prompts, tmp_path / "a", *RFT, "--accept", "best", "--reward-threshold", "-10", reward=["length:8,8"]))
    assert r.returncode == 0, r.stderr
    kept = [json.loads(line) for line in (tmp_path / "a" / "samples.jsonl").open()]
    for group in (kept[i:i + 4] for i in range(0, len(kept), 4)):
        assert [k["reward"] for k in group if k["accepted"]] == [max(k["reward"] for k in group)]
    r = lmfast(*args(model, prompts, tmp_path / "b", "--method", "rft", "--reward-threshold", "-10", steps=2))
    kept = [json.loads(line) for line in (tmp_path / "b" / "samples.jsonl").open()]
    assert r.returncode == 0 and not all(k["ended"] for k in kept) and all(k["ended"] for k in kept if k["accepted"])
    r = lmfast(*args(model, prompts, tmp_path / "c", *RFT, "--reward-threshold", "2", steps=2))
    assert r.returncode == 0 and r.stderr.count("no answer of this step has a reward of 2") == 1, r.stderr
    assert [(x["frac_accepted"], x["grad_norm"]) for x in metrics(tmp_path / "c")] == [(0, 0)] * 2


@pytest.mark.parametrize("more", [[], ["--num-iterations", "2", "--beta", "0.1", "--loss-type", "grpo"], RFT])
def test_cut_and_resumed(lmfast, model, prompts, tmp_path, more):
    """Ctrl-C at a step, and a kill between steps: log, samples and adapter are those of the run that was let be."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    flags = [*more, "--quiet"]
    assert lmfast(*args(model, prompts, whole, *flags, steps=12)).returncode == 0
    command = [lmfast.path, *map(str, args(model, prompts, cut, *flags, steps=12))]
    p = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (cut / "metrics.jsonl").exists() and p.poll() is None:
        time.sleep(0.005)
    p.send_signal(signal.SIGINT)
    told = p.communicate(timeout=120)[1]
    assert p.returncode == 130 or p.returncode == 0, told
    if p.returncode == 130:
        assert "--resume last goes on" in told
        saved = int(sorted(x.name for x in cut.glob("checkpoint-*"))[-1].split("-")[1])
        assert saved % (2 if "--num-iterations" in more else 1) == 0 and saved <= 12
    r = lmfast(*args(model, prompts, cut, *flags, "--resume", "last", steps=12)) if p.returncode else None
    assert not r or r.returncode == 0, r.stderr
    assert digest(cut) == digest(whole) and without_time(cut) == without_time(whole)
    assert (cut / "samples.jsonl").read_text() == (whole / "samples.jsonl").read_text()
    if "--beta" in more:
        lines = metrics(whole)
        assert lines[0]["clip_ratio/region_mean"] == 0 and lines[0]["kl"] == 0 and lines[-1]["kl"] > 0
        assert any(x["clip_ratio/region_mean"] > 0 for x in lines[1::2])
        assert all(a["reward"] == b["reward"] for a, b in zip(lines[::2], lines[1::2]))


def test_masked_answers_count_nowhere(lmfast, model, prompts, tmp_path):
    """A step of one batch has as many learned tokens as its batch, so both ways to share a loss among tokens are one."""
    runs = []
    for kind in ("dapo", "bnpo"):
        out = tmp_path / kind
        r = lmfast(*args(model, prompts, out, "--mask-truncated-completions", "--loss-type", kind,
                         "--max-completion-length", "64", "--quiet", steps=3))
        assert r.returncode == 0, r.stderr
        runs.append(metrics(out))
    assert any(0 < x["completions/clipped_ratio"] < 1 and x["grad_norm"] > 0 for x in runs[0])
    for a, b in zip(*runs):
        assert (a["loss"], a["grad_norm"]) == pytest.approx((b["loss"], b["grad_norm"]), rel=1e-4)


def test_plan_knows(lmfast, model, prompts, tmp_path):
    """What the run takes, its sampler included, and that of other lengths and numbers of answers."""
    plan = lambda *more: json.loads(lmfast("plan", "-m", model, "-d", prompts, "--objective", "grpo", "--num-generations", "4", "-b", "8",
                                           "--max-steps", "1", "--lora-r", "4", "--compute", "f32", "--json", *more).stdout)
    r = lmfast(*args(model, prompts, tmp_path / "o", "--json", steps=1))
    want = plan("--max-completion-length", "8")
    assert json.loads(r.stdout)["memory_bytes"] == want["memory_bytes"], r.stderr
    assert want["serve_bytes"] > 0 and plan("--max-completion-length", "64")["memory_bytes"] > want["memory_bytes"]


def test_resume_refuses_other_prompts(lmfast, model, prompts, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text(prompts.read_text().replace('"answer": 3', '"answer": 4'))
    out = tmp_path / "o"
    assert lmfast(*args(model, prompts, out, "--quiet")).returncode == 0
    (out / "adapter_model.safetensors").unlink()
    r = lmfast(*args(model, other, out, "--resume", "last"))
    assert r.returncode == 1 and "other training data" in r.stderr, r.stderr


JUDGE = """import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    assert set(asked) == {"answer", "reference", "row", "tokens"} and str(asked["row"]["answer"]) == asked["reference"]
    print(json.dumps({"score": len(asked["answer"]) / 8}), flush=True)
"""


def test_a_program_judges(lmfast, model, prompts, tmp_path):
    judge, late = tmp_path / "judge.py", tmp_path / "late"
    judge.write_text(JUDGE)
    r = lmfast(*args(model, prompts, tmp_path / "a", steps=3, reward=[f"process:{sys.executable} {judge}"]))
    assert r.returncode == 0, r.stderr
    kept = [json.loads(line) for line in (tmp_path / "a" / "samples.jsonl").open()]
    assert len({k["reward"] for k in kept}) > 2 and all(k["reward"] == len(k["answer"]) / 8 for k in kept)
    late.write_text(f"read line; if [ -e {tmp_path}/once ]; then echo 1; exec cat >/dev/null; fi; touch {tmp_path}/once; exit 5")
    r = lmfast(*args(model, prompts, tmp_path / "b", steps=3, reward=[f"process:sh {late}"]))
    assert r.returncode == 1 and "ended with status 5 and gave no score" in r.stderr and not (tmp_path / "b" / "samples.jsonl").exists()
    (tmp_path / "once").unlink()
    r = lmfast(*args(model, prompts, tmp_path / "c", "--reward-policy", "skip", "--reward-timeout", "0.5", steps=1,
        reward=[f"process:sh {late}"]))
    assert r.returncode == 1 and "not answered within 0.5 seconds" in r.stderr and "no group of the step could be graded" in r.stderr
    assert "a group is left out" in r.stderr and "ended with status 5" in r.stderr


@pytest.mark.parametrize("flags, words", [
    (["--reward", "nonesuch"], 'there is no verifier "nonesuch"; there are: exact, format'),
    ([*RFT, "--reward", "nonesuch"], 'there is no verifier "nonesuch"'),
    ([*RFT, "--reward", "number", "--beta", "0.1"], "beta"),
    (["--reward", "number", "--accept", "best"], "accept"),
    (["--reward", "regex:("], "can't be read"),
    (["--reward", "number", "-b", "6"], "a step of 6 answers does not hold whole groups of 4"),
    (["--reward", "number", "--eval-data", "x.jsonl"], "has no loss on rows"),
    (["--reward", "number", "--max-completion-length", "9999"], "more than the model's context"),
    (["--reward", "number", "--invariant", "--compute", "fast"], "--invariant goes with --compute f32"),
])
def test_refused(lmfast, model, prompts, tmp_path, flags, words):
    command = args(model, prompts, tmp_path / "o", reward=[])
    r = lmfast(*command, *flags)
    assert r.returncode in (1, 2) and words in r.stderr, r.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("program, words", [
    ("exit 3", "ended with status 3 and gave no score"),
    ("/no/such/program", "ended with status 127 and gave no score"),
    ("while read x; do echo hello; done", 'wrote no score, {"score": NUMBER} or a number, but: hello'),
    ("while read x; do echo '[1]'; done", "wrote no score"),
    ("sleep 60", "has not answered within 0.3 seconds"),
])
@pytest.mark.parametrize("method", [[], RFT], ids=["grpo", "rft"])
def test_bad_judges(lmfast, model, prompts, tmp_path, method, program, words):
    """A program that dies, is not there, writes no score or is late: one sentence that names it, and nothing is left behind."""
    out = tmp_path / "o"
    r = lmfast(*args(model, prompts, out, *method, "--reward-timeout", "0.3" if "sleep" in program else "30", "--quiet",
                     reward=[f"process:{program}"]))
    assert r.returncode == 1 and f'"{program}"' in r.stderr and words in r.stderr and not out.exists(), r.stderr
    assert "an answer to the prompt of line" in r.stderr and "the reward process:" in r.stderr


def test_rewards_are_for_who_samples(lmfast, model, tmp_path):
    rows = ROOT / "tests" / "parity" / "train_rows.jsonl"
    r = lmfast("train", "-m", model, "-d", rows, "-o", tmp_path / "o", "--reward", "number")
    assert r.returncode == 1 and "samples nothing" in r.stderr
    r = lmfast("train", "-m", model, "-d", rows, "-o", tmp_path / "o", "--objective", "grpo")
    assert r.returncode == 1 and "needs --reward" in r.stderr
    r = lmfast("reason", "-m", model, "-d", rows, "-o", tmp_path / "o")
    assert r.returncode == 2 and "--reward" in r.stderr


def test_answer_missing(lmfast, model, tmp_path):
    """A row that can't be judged is no zero: the run stops, or leaves its group out, and where all are so stops too."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "one"}\n{"prompt": "two", "answer": "2"}\n')
    flags = ["--no-shuffle", "-b", "8"]
    r = lmfast(*args(model, rows, tmp_path / "a", *flags, reward=["number"]))
    assert r.returncode == 1 and "the prompt of line 1" in r.stderr and "the row's answer is no number" in r.stderr
    r = lmfast(*args(model, rows, tmp_path / "b", *flags, "--reward-policy", "skip", steps=2, reward=["number"]))
    assert r.returncode == 0 and "a group is left out" in r.stderr, r.stderr
    assert [x["groups_not_graded"] for x in metrics(tmp_path / "b")] == [1, 2]
    kept = [json.loads(line) for line in (tmp_path / "b" / "samples.jsonl").open()]
    assert all((k["reward"] is None) == (k["line"] == 1) for k in kept)
    rows.write_text('{"prompt": "one"}\n')
    r = lmfast(*args(model, rows, tmp_path / "c", *flags, "--reward-policy", "skip", reward=["number"]))
    assert r.returncode == 1 and "no group of the step could be graded" in r.stderr
