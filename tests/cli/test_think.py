# SPDX-License-Identifier: Apache-2.0
"""lmfast think: what is chosen, and why, worked out again here from the answers that it tells; on a tiny model, and once on the real one
where it is there (tools/fetch_model.py)."""
import json
import math
import os
import pathlib
import re

import pytest
from test_generate import write_gguf

REAL = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf"

QUESTION = "How many?"
TINY = ("--temperature", "1", "--top-p", "1", "--top-k", "0", "--compute", "f32", "--threads", "2", "--seed", "3", "--max-tokens", "24")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("think") / "tiny.gguf")


def think(lmfast, *args):
    run = lmfast("think", *args, "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def taken(answer):
    chosen = [a for a in answer["answers"] if a["chosen"]]
    assert len(chosen) == 1 and chosen[0]["text"] == answer["answer"]
    return chosen[0]


def ended(answer):
    return [a for a in answer["answers"] if a["finish"] == "stop"]


# A stop text makes random letters end; with it some answers come to their end and some do not.
STOP = ("--stop", "c", "--max-tokens", "60")


def test_best_of_n(lmfast, model):
    by = {"logp": lambda a: a["logp"], "longest": lambda a: a["tokens"], "shortest": lambda a: -a["tokens"]}
    choices = set()
    for name, worth in by.items():
        got = think(lmfast, "-m", model, "--method", "best-of-n", "--by", name, "--n", "20", *TINY, *STOP, QUESTION)
        assert len(got["answers"]) == 20 and 2 < len(ended(got)) < 20
        best = max(ended(got), key=lambda a: (worth(a), a["logp"]))
        assert taken(got) == best
        assert got["tokens"] == sum(a["tokens"] for a in got["answers"])
        choices.add(got["answer"])
    assert len(choices) > 1  # the three are not one


def test_an_answer_is_its_own(lmfast, model):
    """The same of a seed, whatever is written beside it, and not that of another seed."""
    got = {n: think(lmfast, "-m", model, "--method", "best-of-n", "--n", n, *TINY, QUESTION) for n in (3, 8)}
    texts = {n: [a["text"] for a in g["answers"]] for n, g in got.items()}
    assert texts[3] == texts[8][:3] and len(set(texts[8])) == 8
    other = think(lmfast, "-m", model, "--method", "best-of-n", "--n", 3, *TINY, QUESTION, "--seed", "4")
    assert not set(texts[8]) & {a["text"] for a in other["answers"]}


def test_greedy_is_generate(lmfast, model):
    got = think(lmfast, "-m", model, "--method", "greedy", *TINY, QUESTION)
    want = lmfast("generate", "-m", model, "-p", QUESTION, *TINY, "--temperature", "0", "--json")
    assert got["answer"] == json.loads(want.stdout)["text"] and got["tokens"] == json.loads(want.stdout)["completion_tokens"]
    steps = think(lmfast, "-m", model, "--method", "cot", *TINY, QUESTION)
    asked = QUESTION + "\nThink step by step. Then write the answer alone on the last line, behind ####."
    want = lmfast("generate", "-m", model, "-p", asked, *TINY, "--temperature", "0", "--json")
    assert steps["answer"] == json.loads(want.stdout)["text"]
    assert steps["prompt_tokens"] == json.loads(want.stdout)["prompt_tokens"] > got["prompt_tokens"]


def winner(answers):
    """The final answer with most votes; of a tie the one with the likeliest answer."""
    finals = [a["final"] for a in answers if a["final"] is not None]
    return max(set(finals), key=lambda f: (finals.count(f), max(a["logp"] for a in answers if a["final"] == f)))


def test_vote_and_adaptive(lmfast, model):
    """Adaptive comes to what the vote comes to, with no more answers."""
    args = ("-m", model, "--n", "31", *TINY, *STOP, "--final", "number")
    n_votes, n_early = [], 0
    for seed in range(6):
        vote = think(lmfast, *args, "--seed", seed, "--method", "vote", QUESTION)
        for a in ended(vote):
            assert a["votes"] == (0 if a["final"] is None else sum(b["final"] == a["final"] for b in ended(vote)))
            assert a["final"] is None or float(a["final"]) == float(re.findall(r"\d+(?:\.\d+)?", a["text"])[-1]) or "-" in a["text"]
        assert all(a["final"] is None and a["votes"] == 0 for a in vote["answers"] if a["finish"] != "stop")
        assert vote["final"] == winner(ended(vote))
        assert taken(vote)["logp"] == max(a["logp"] for a in ended(vote) if a["final"] == vote["final"])
        n_votes.append(taken(vote)["votes"])
        adaptive = think(lmfast, *args, "--seed", seed, "--method", "adaptive", QUESTION)
        assert adaptive["final"] == vote["final"] and adaptive["tokens"] <= vote["tokens"]
        over = [a for a in adaptive["answers"] if a["finish"] != "decided"]
        if len(over) < 31:  # the rest could not have turned it
            others = [a["votes"] for a in ended(adaptive) if a["final"] != adaptive["final"]]
            n_early += 1
            assert taken(adaptive)["votes"] - max(others, default=0) > 31 - len(over)
        assert [a["text"] for a in adaptive["answers"] if a["finish"] != "decided"] == [
            b["text"] for a, b in zip(adaptive["answers"], vote["answers"]) if a["finish"] != "decided"]
    assert max(n_votes) > 1 and n_early
    # all of one mind: 16 decide 31
    sure = ("-m", model, "--n", "31", *TINY, "--temperature", "0.001", "--final", "text", "--max-tokens", "60")
    text = think(lmfast, *sure, "--method", "greedy", QUESTION)["answer"]
    letter = next(c for c in text[1:] if "!" <= c <= "~" and c not in text[0])
    vote, adaptive = (think(lmfast, *sure, "--stop", letter, "--method", m, QUESTION) for m in ("vote", "adaptive"))
    assert adaptive["final"] == vote["final"] is not None and taken(vote)["votes"] == 31
    assert len(adaptive["answers"]) == 16 and adaptive["tokens"] < vote["tokens"]


def test_budget(lmfast, model):
    got = think(lmfast, "-m", model, "--method", "best-of-n", "--n", "4", "--budget", "40", *TINY, QUESTION)
    assert 40 <= got["tokens"] < 44 and {a["finish"] for a in got["answers"]} == {"budget"}
    assert got["why"].startswith("none came to its end")


def test_verifier_and_rows(lmfast, model, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"messages": [{"role": "user", "content": f"Question {i}"}],
                                        "answer": "x"}) + "\n" for i in range(9)))
    answers = tmp_path / "answers.jsonl"
    args = ("think", "-m", model, "--data", rows, "--method", "best-of-n", "--verifier", "regex:[a-m]", "--measure", "regex:[0-9:?]=2",
            *TINY, "--max-tokens", "6", "--limit", "8", "--answers", answers, "--json")
    run = lmfast(*args)
    assert run.returncode == 0, run.stderr
    total, lines = json.loads(run.stdout), [json.loads(line) for line in answers.read_text().splitlines()]
    assert total["rows"] == len(lines) == 8 and [line["line"] for line in lines] == list(range(1, 9))
    measured = []
    for line in lines:
        for a in line["answers"]:
            assert a["score"] == bool(re.search("[a-m]", a["text"]))
        assert taken(line)["score"] == max(a["score"] for a in ended(line) or line["answers"])
        measured.append(2.0 * bool(re.search("[0-9:?]", line["answer"])))
        assert line["measured"] == measured[-1]
    mean = sum(measured) / 8
    assert total["score"] == mean and 0 < mean < 2
    assert math.isclose(total["standard_error"], math.sqrt(sum((m - mean) ** 2 for m in measured) / 7 / 8), abs_tol=1e-12)
    each = [[2 * bool(re.search("[0-9:?]", a["text"])) for a in line["answers"]] for line in lines]
    assert math.isclose(total["mean_of_answers"], sum(sum(e) / len(e) for e in each) / 8)
    assert math.isclose(total["best_of_answers"], sum(map(max, each)) / 8)
    again = lmfast(*args)
    assert again.returncode == 1 and "exists" in again.stderr and len(answers.read_text().splitlines()) == 8


def test_refusals(lmfast, model, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "q"}]}\n')
    for args, words in [
        ((), "give a question"), ((QUESTION, "--data", rows), "not both"), ((QUESTION, "--by", "logp"), "--method best-of-n"),
        ((QUESTION, "--method", "best-of-n", "--by", "verifier"), "needs a --verifier"),
        ((QUESTION, "--verifier", "nobody"), 'no verifier "nobody"'), ((QUESTION, "--temperature", "0"), "--method greedy"),
        ((QUESTION, "--limit", "3"), "--data"), ((QUESTION, "--n", "0"), "--n"), ((QUESTION, "--n", "257"), "--n"),
        ((QUESTION, "--method", "longest"), "--method"), (("--data", rows, "--system", "s"), "--system"),
        (("--data", rows, "--verifier", "number", "--method", "best-of-n"), "rows.jsonl, line 1"),
        (("--data", tmp_path / "none.jsonl"), "none.jsonl"), ((QUESTION, "--context", "9"), "context"),
    ]:
        run = lmfast("think", "-q", "-m", model, "--max-tokens", "8", *args)
        assert run.returncode != 0 and words in run.stderr and len(run.stderr.strip().splitlines()) == 1, (args, run.stderr)


@pytest.mark.skipif(not REAL.exists(), reason="no model in the cache")
def test_log_probability_is_that_of_eval(lmfast, tmp_path):
    """The mean log-probability of an answer is minus the loss of the same answer as a row."""
    got = think(lmfast, "-m", REAL, "--method", "best-of-n", "--n", "4", "--compute", "f32", "--max-tokens", "40", "--threads", "2",
                "What is the capital of France?")
    answer = ended(got)[0]
    row = tmp_path / "row.jsonl"
    row.write_text(json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"},
                                            {"role": "assistant", "content": answer["text"]}]}) + "\n")
    run = lmfast("eval", "-m", REAL, "--data", row, "--compute", "f32", "--max-new-tokens", "1", "--threads", "2", "--json")
    assert run.returncode == 0, run.stderr
    assert math.isclose(json.loads(run.stdout)["loss"], -answer["logp"], rel_tol=1e-4, abs_tol=1e-4)
