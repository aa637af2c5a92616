#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the methods of lmfast think on SmolLM2-135M-Instruct (Q4_1), and prints docs/REASONING.md.

    reasoning.py BUILD [--sums 100] [--calls 81] [--threads 2] [--note TEXT] > docs/REASONING.md

Tasks: calls of unseen tools (tools/make_toolcall.py, its test rows) and sums and products made here from a fixed seed. A row counts as
right when the answer is one call, of the right function (its values aside: this model gets none of them all right), or when it ends on the
right number."""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCHEMA = {"type": "object", "required": ["name", "arguments"], "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}}}
METHODS = [
    ("greedy", ("--method", "greedy")),
    ("cot", ("--method", "cot")),
    ("best of 8 by log-probability", ("--method", "best-of-n", "--by", "logp")),
    ("best of 8 by verifier", ("--method", "best-of-n")),
    ("vote of 8", ("--method", "vote")),
    ("adaptive, 8 at most", ("--method", "adaptive")),
]


def output(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout.strip()


def arithmetic(path, n):
    rng = random.Random(20)
    with open(path, "w") as f:
        for _ in range(n):
            a, b = rng.randint(2, 30), rng.randint(2, 30)
            sign, value = rng.choice([("+", a + b), ("-", a - b), ("*", a * b)])
            f.write(json.dumps({"messages": [{"role": "user", "content": f"What is {a} {sign} {b}? Answer with the number alone."}],
                                "answer": str(value)}) + "\n")


def measure(args, model, data, task, method):
    """task: measure, verifier, final, tokens."""
    name, flags = method
    verifier = ("--verifier", task["verifier"]) if "verifier" in name else ()
    run = subprocess.run([str(c) for c in (args.build / "lmfast", "think", "-m", model, "-d", data, "--limit", task["rows"], "--n", 8,
                                           "--seed", 1,
                                           "--threads", args.threads, "--max-tokens", task["tokens"], "--final", task["final"], *flags,
                                           *verifier, "--measure", task["measure"], "--json", "-q")], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{name}: {run.stderr}")
    return json.loads(run.stdout)


def table(args, model, data, task):
    rows = ["| method | right | ± | had the best been taken | answers | tokens | seconds |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for method in METHODS:
        got = measure(args, model, data, task, method)
        rows.append(f"| {method[0]} | {got['score']:.3f} | {got['standard_error']:.3f} | {got['best_of_answers']:.3f} | "
                    f"{got['answers']} | {got['tokens']} "
                    f"| {got['seconds']:.1f} |")
        print(rows[-1], file=sys.stderr)
    return rows, got["rows"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--sums", type=int, default=100, help="rows")
    p.add_argument("--calls", type=int, default=81, help="rows")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--note", default="", help="a sentence about the machine")
    args = p.parse_args()
    model = output(sys.executable, ROOT / "tools" / "fetch_model.py")
    calls = pathlib.Path(output(sys.executable, ROOT / "tools" / "make_toolcall.py")) / "toolcall_test.jsonl"
    with tempfile.TemporaryDirectory() as tmp:
        sums, schema = pathlib.Path(tmp) / "sums.jsonl", pathlib.Path(tmp) / "call.json"
        arithmetic(sums, args.sums)
        schema.write_text(json.dumps(SCHEMA))
        parts = [
            ("Sums and products",
             "Numbers to 30, `+`, `-` and `*`. The verifier that chooses knows the answer (`number`): that row is what could be had "
             "at most, and no method to use.", sums, {"rows": args.sums, "measure": "number", "verifier": "number", "final": "number",
                                                      "tokens": 80}),
            ("Calls of unseen tools", "The verifier that chooses is the form of a call (`json_schema`): it knows no right answer. Right is "
             "one call of the right function (`tool_call:name`).", calls,
             {"rows": args.calls, "measure": "tool_call:name", "verifier": f"json_schema:{schema}", "final": "json", "tokens": 64}),
        ]
        out = []
        for title, about, data, task in parts:
            rows, n = table(args, model, data, task)
            out += ["", f"## {title}", "", f"{n} rows. {about}", "", *rows]
    print("\n".join(["# Does thinking more than once help?", "",
                     "Made by `tools/reasoning.py`: SmolLM2-135M-Instruct as Q4_1 without an adapter, temperature 0.7, top-k 50, "
                                 "top-p 0.9, fixed seeds.",
                     "*Right* is the share of rows whose taken answer is right, ± its standard error; *had the best been taken* "
                                 "the share in which any",
                     f"answer was. Seconds are those of the questions, one at a time, on {args.threads} threads. {args.note}".rstrip(),
                         *out]))


if __name__ == "__main__":
    main()
