#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""GRPO on sums of two digits with a real model: the reward must rise, and more sums that were held out must be right.

    tools/soak/grpo.py build/release [STEPS [SEED ...]]      # default: 40 steps, seeds 1, 2 and 3

Of the 81 sums of 1 to 9, 61 are prompts of lmfast reason with the reward number; greedy answers to the other 20 are graded before and
after, by the last number in each. Beside it SFT on the answers of the same 61 rows, for as many tokens as GRPO learned from, with the
same adapter, learning rate and seed. Prints a line a fifth of each run."""
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
    subprocess.run([lmfast, "eval", "-m", model, "-d", work / "test.jsonl", "--max-new-tokens", "8", "--quiet", "--answers", answers,
                    *more], check=True, stdout=subprocess.DEVNULL)
    wanted = [int(json.loads(line)["messages"][-1]["content"]) for line in open(work / "test.jsonl")]
    given = [re.findall(r"-?\d+(?:\.\d+)?", json.loads(line)["answer"] or "") for line in open(answers)]
    answers.unlink()
    return sum(bool(g) and float(g[-1]) == w for g, w in zip(given, wanted, strict=True)), len(wanted)


def call(lmfast, command, model, work, out, steps, seed, *more):
    subprocess.run([lmfast, command, "-m", model, "-d", work / "train.jsonl", "-o", out, "--overwrite", "--batch-size", "16",
                    "--max-steps", str(steps), "--lr", "2e-4", "--scheduler", "constant", "--save-steps", "0", "--logging-steps", "1",
                    "--seed", seed, *more],
                   check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in open(out / "metrics.jsonl")]


def mean(lines, name):
    return sum(x[name] for x in lines) / len(lines)


def run(lmfast, model, work, steps, seed):
    """Rewards of the first and the last fifth, tokens of both methods, and how many held-out sums are right after each."""
    lines = call(lmfast, "reason", model, work, work / "grpo", steps, seed, "--reward", "number", "--max-completion-length", "8")
    fifth = max(1, len(lines) // 5)
    for i in range(0, len(lines), fifth):
        part = lines[i:i + fifth]
        print(f"seed {seed}, steps {i + 1:4d} to {i + len(part):4d}: reward {mean(part, 'reward'):.3f}, groups without spread "
              f"{mean(part, 'frac_reward_zero_std'):.2f}, sampler to trainer {mean(part, 'sampling/sampling_logp_difference/mean'):.4f}",
              flush=True)
    after, n = held_out(lmfast, model, work, "--adapter", work / "grpo")
    a_step = call(lmfast, "train", model, work, work / "sft", 1, seed, "--guards", "off")[0]["tokens"]
    sft = call(lmfast, "train", model, work, work / "sft", max(1, round(lines[-1]["tokens"] / a_step)), seed, "--guards", "off")
    alone, n = held_out(lmfast, model, work, "--adapter", work / "sft")
    print(f"seed {seed}, held out after: GRPO {after} of {n} right, {lines[-1]['tokens']} tokens; SFT {alone} of {n}, {sft[-1]['tokens']} "
          f"tokens in {len(sft)} steps", flush=True)
    return mean(lines[:fifth], "reward"), mean(lines[-fifth:], "reward"), after / n, alone / n


def spread(x):
    m = sum(x) / len(x)
    error = (sum((v - m) ** 2 for v in x) / max(1, len(x) - 1) / len(x)) ** 0.5
    return f"{m:.3f} +- {error:.3f}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("steps", type=int, nargs="?", default=40)
    p.add_argument("seed", nargs="*", default=["1", "2", "3"])
    a = p.parse_args()
    fetched = subprocess.run([sys.executable, ROOT / "tools/fetch_model.py"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    lmfast, model = a.build / "lmfast", fetched[-1]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        write_rows(work)
        right, n = held_out(lmfast, model, work)
        print(f"held out before: {right} of {n} right", flush=True)
        results = [run(lmfast, model, work, a.steps, seed) for seed in a.seed]
    first, last, grpo, sft = (list(x) for x in zip(*results, strict=True))
    print(f"\n| {len(a.seed)} seeds | mean and standard error |\n| --- | --- |\n| reward, first fifth of the steps | {spread(first)} |\n"
          f"| reward, last fifth | {spread(last)} |\n| held out right, before | {right / n:.3f} |\n| after GRPO | {spread(grpo)} |\n"
          f"| after SFT on the answers, as many tokens | {spread(sft)} |")
    good = [y > x + 0.2 and after * n >= right for x, y, after in zip(first, last, grpo, strict=True)]
    print(f"grpo: {sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
