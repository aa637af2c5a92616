#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GRPO on sums of two digits with a real model: the reward must rise, and more sums that were held out must be right.

    tools/soak/grpo.py build/release [STEPS]

Of the 81 sums of 1 to 9, 61 are prompts of lmfast reason with the reward number; greedy answers to the other 20 are graded before and
after, by the last number in each. Prints a line a tenth of the run."""
import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def write_rows(work):
    pairs = [(a, b) for a in range(1, 10) for b in range(1, 10)]
    random.Random(7).shuffle(pairs)
    for name, part in (("train", pairs[:61]), ("test", pairs[61:])):
        with open(work / f"{name}.jsonl", "w") as f:
            for a, b in part:
                f.write(json.dumps({"messages": [{"role": "user", "content": f"What is {a} + {b}? Answer with the number alone."},
                                                 {"role": "assistant", "content": str(a + b)}]}) + "\n")


def held_out(lmfast, model, work, *more):
    """How many of the held-out sums are right."""
    answers = work / "answers.jsonl"
    subprocess.run([lmfast, "eval", "-m", model, "-d", work / "test.jsonl", "--max-new-tokens", "8", "--answers", answers, *more],
        check=True,
                   stdout=subprocess.DEVNULL)
    wanted = [int(json.loads(line)["messages"][-1]["content"]) for line in open(work / "test.jsonl")]
    given = [re.findall(r"-?\d+(?:\.\d+)?", json.loads(line)["answer"] or "") for line in open(answers)]
    answers.unlink()
    return sum(bool(g) and float(g[-1]) == w for g, w in zip(given, wanted, strict=True)), len(wanted)


def run(lmfast, model, work, steps):
    write_rows(work)
    right, n = held_out(lmfast, model, work)
    print(f"held out before: {right} of {n} right", flush=True)
    subprocess.run([lmfast, "reason", "-m", model, "-d", work / "train.jsonl", "--reward", "number", "-o", work / "out", "--overwrite",
                    "--max-completion-length", "8", "--batch-size", "16", "--max-steps", str(steps), "--lr", "2e-4", "--scheduler",
                    "constant", "--save-steps", "0"], check=True, stderr=subprocess.DEVNULL)
    lines = [json.loads(line) for line in open(work / "out" / "metrics.jsonl")]
    tenth = max(1, len(lines) // 10)
    mean = lambda part, name: sum(x[name] for x in part) / len(part)
    for i in range(0, len(lines), tenth):
        part = lines[i:i + tenth]
        print(f"steps {i + 1:4d} to {i + len(part):4d}: reward {mean(part, 'reward'):.3f}, groups without spread "
              f"{mean(part, 'frac_reward_zero_std'):.2f}, sampler to trainer {mean(part, 'sampling/sampling_logp_difference/mean'):.4f}")
    after, n = held_out(lmfast, model, work, "--adapter", work / "out")
    print(f"held out after: {after} of {n} right")
    return 0 if mean(lines[-tenth:], "reward") > mean(lines[:tenth], "reward") + 0.2 and after >= right else 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("steps", type=int, nargs="?", default=40)
    a = p.parse_args()
    fetched = subprocess.run([sys.executable, ROOT / "tools/fetch_model.py"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    with tempfile.TemporaryDirectory() as work:
        return run(a.build / "lmfast", fetched[-1], pathlib.Path(work), a.steps)


if __name__ == "__main__":
    sys.exit(main())
