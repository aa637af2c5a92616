#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the methods of lmfast think on SmolLM2-135M-Instruct (Q4_1), and prints docs/REASONING.md.

    reasoning.py BUILD [--adapter DIR] [--rows 40] [--calls 81] [--threads 1] [--note TEXT] > docs/REASONING.md

Tasks: calls of unseen tools (tools/make_toolcall.py, its test rows) with the adapter of tools/demo, which is trained by its recipe where
none is given (some minutes), and three tasks of reasoning-gym from a fixed seed without it."""
import argparse
import json
import math
import pathlib
import runpy
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCHEMA = {"type": "object", "required": ["name", "arguments"], "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}}}
ONE = [("greedy", "greedy"), ("cot", "cot"), ("adaptive, 8 at most", "adaptive")]
# of eight sampled answers the one that has most; one that did not end comes last, ties go to the likelier, as agent/think.h says
CHOICES = [("best of 8 by log-probability", lambda a: a["logp"]), ("best of 8 by verifier", lambda a: a["score"]),
           ("vote of 8", lambda a: a["votes"] if a["final"] is not None else 0)]


def output(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout.strip()


GYM = """
import json, sys, reasoning_gym
for x in reasoning_gym.create_dataset(sys.argv[1], size=int(sys.argv[2]), seed=20, **json.loads(sys.argv[3])):
    print(json.dumps({"messages": [{"role": "user", "content": x["question"]}], "answer": str(x["answer"])}))
"""


def train(args, model, data, folder):
    recipe = runpy.run_path(str(ROOT / "tools" / "demo"))["RECIPE"]
    output(args.build / "lmfast", "train", "--model", model, "--data", data / "toolcall_train.jsonl", "--output", folder, "--epochs", 3,
           *recipe, "--json")
    return folder


def think(args, task, *flags):
    adapter = ("--adapter", task["adapter"]) if task.get("adapter") else ()
    run = subprocess.run([str(c) for c in (args.build / "lmfast", "think", "-m", task["model"], *adapter, "-d", task["data"], "--seed", 1,
                                           "--threads", args.threads, "--max-tokens", task["tokens"], "--final", task["final"], *flags,
                                           "--json", "-q")], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{flags}: {run.stderr}")
    return json.loads(run.stdout)


def line(name, right, best, answers, tokens, seconds):
    n, mean = len(right), sum(right) / len(right)
    error = math.sqrt(sum((r - mean) ** 2 for r in right) / (n - 1) / n) if n > 1 else 0
    text = f"| {name} | {mean:.3f} | {error:.3f} | {best:.3f} | {answers} | {tokens} | {seconds:.1f} |"
    print(text, file=sys.stderr, flush=True)
    return text


def run(args, task, tmp, name, method, *flags):
    """What the command says of all rows, and its answers, a row each."""
    path = tmp / f"{task['name']}-{name}.jsonl"
    got = think(args, task, "--limit", task["rows"], "--n", 8, "--method", method, "--answers", path, *flags)
    return got, [json.loads(text) for text in path.read_text().splitlines()]


def table(args, task, tmp):
    out = ["| method | right | ± | had the best been taken | answers | tokens | seconds |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, method in ONE:
        got, rows = run(args, task, tmp, method, method, "--measure", task["measure"])
        out.append(line(name, [r["measured"] for r in rows], got["best_of_answers"], got["answers"], got["tokens"], got["seconds"]))
    # the same eight answers serve all three choices; of the judges the first has weight 1, what is measured none
    judges = [f"{task['verifier']}=1"] + ([f"{task['measure']}=0"] if task["measure"] != task["verifier"] else [])
    got, rows = run(args, task, tmp, "eight", "best-of-n", "--by", "verifier", *(f for j in judges for f in ("--verifier", j)))
    right = lambda a: a["scores"][task["measure"]]
    best = sum(max(map(right, r["answers"])) for r in rows) / len(rows)
    for name, worth in CHOICES:
        taken = [max(r["answers"], key=lambda a: (a["finish"] == "stop", worth(a), a["logp"])) for r in rows]
        if "verifier" in name and not all(a["chosen"] for a in taken):
            raise SystemExit("lmfast think chooses otherwise than this page says")
        out.append(line(name, [right(a) for a in taken], best, got["answers"], got["tokens"], got["seconds"]))
    return out, len(rows)


def cost(args, task, rounds=3):
    """Seconds of eight sampled answers by those of one, of the same rows, in turn: the median of the rounds and its range."""
    ratios = []
    for _ in range(rounds):
        one, eight = (think(args, task, "--limit", 4, "--method", "best-of-n", "--by", "logp", "--n", n) for n in (1, 8))
        ratios.append(eight["seconds"] / one["seconds"])
    ratios.sort()
    return ratios[rounds // 2], ratios[0], ratios[-1], eight["tokens"] / one["tokens"]


def tasks(args, tmp):
    model = output(sys.executable, ROOT / "tools" / "fetch_model.py")
    data = pathlib.Path(output(sys.executable, ROOT / "tools" / "make_toolcall.py"))
    python = output(ROOT / "tools" / "venv.sh", "reasoning")
    schema = tmp / "call.json"
    schema.write_text(json.dumps(SCHEMA))
    yield {"name": "calls", "title": "Calls of unseen tools, with the demo's adapter",
           "about": "Right is one call of the right function with right arguments (`tool_call`). "
           "The verifier that chooses is the form of a call (`json_schema`): it knows no right answer.",
           "model": model, "adapter": args.adapter or train(args, model, data, tmp / "adapter"), "data": data / "toolcall_test.jsonl",
           "rows": args.calls, "measure": "tool_call", "verifier": f"json_schema:{schema}", "final": "json", "tokens": 64}
    for name, settings, about in [("chain_sum", {"max_terms": 3, "max_digits": 2}, "Sums and differences of two or three numbers of one "
                                   "or two digits."),
                                  ("gcd", {}, "The greatest common divisor of two numbers below 1,000."),
                                  ("letter_counting", {}, "How often a letter stands in a text.")]:
        path = tmp / f"{name}.jsonl"
        path.write_text(output(python, "-c", GYM, name, args.rows, json.dumps(settings)) + "\n")
        yield {"name": name, "title": f"reasoning-gym's {name}", "model": model, "data": path, "rows": args.rows, "measure": "number",
               "verifier": "number", "final": "number", "tokens": 48,
               "about": f"{about} The verifier that chooses knows the answer (`number`): that row is what could be had at most, and no "
               "method to use."}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--adapter", type=pathlib.Path, help="for the calls, as tools/demo trains it; left out: it is trained now")
    p.add_argument("--rows", type=int, default=40, help="of each task of reasoning-gym")
    p.add_argument("--calls", type=int, default=81, help="rows")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--note", default="", help="a sentence about the machine")
    args = p.parse_args()
    out, costs = [], []
    with tempfile.TemporaryDirectory() as tmp:
        for task in tasks(args, pathlib.Path(tmp)):
            rows, n = table(args, task, pathlib.Path(tmp))
            out += ["", f"## {task['title']}", "", f"{n} rows. {task['about']}", "", *rows]
            costs.append(f"| {task['title']} | %.2f | %.2f to %.2f | %.2f |" % cost(args, task))
            print(costs[-1], file=sys.stderr)
    page = f"""# Does thinking more than once help?

Made by `tools/reasoning.py`: SmolLM2-135M-Instruct as Q4_1, temperature 0.7, top-k 50, top-p 0.9, fixed seeds. *Right* is the share of
rows whose taken answer is right, ± its standard error; *had the best been taken* the share in which any answer was. The three choices of
eight share their answers, and so their tokens and seconds. Seconds are those of the questions, one at a time, threads: {args.threads}.
Rows are few: most differences are within two standard errors. {args.note}"""
    print("\n".join([page.rstrip(), *out, "", "## What eight answers cost", "",
                     "Seconds of eight sampled answers to a question by those of one, and tokens by tokens: four rows, both in turn, three",
                     "times; median and range.",
                     "The one is another sample than each of the eight, so that its tokens are not an eighth of theirs.",
                     "", "| task | seconds | range | tokens |", "| --- | --- | --- | --- |", *costs]))


if __name__ == "__main__":
    main()
