#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of encoding, one thread: ours and HF tokenizers on the same text in one run, interleaved, medians.

    bench/tokenizer.py --driver build/release/driver_tokenize [--runs 5] FILE ...

Prints MB/s of text and the ratio. The vocabularies are the oracle's (tools/oracle/tokenizer.py). HF tokenizers is timed
as it is used: encode() of the whole text, and encode_batch() of its lines; ours is the whole text each time."""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools", "oracle"))
import tokenizer as oracle
import tempfile


def seconds(f):
    t = time.perf_counter()
    f()
    return time.perf_counter() - t


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--driver", required=True)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--cache", default=os.path.expanduser("~/.cache/lmfast"))
    ap.add_argument("--family", action="append", choices=list(oracle.FAMILIES))
    ap.add_argument("file", nargs="+")
    a = ap.parse_args()
    for family in a.family or ["smollm", "gpt-2", "llama-bpe"]:
        vocab = oracle.Vocab(family, oracle.find_file(a.cache, oracle.FAMILIES[family][1]))
        hf = vocab.hf()
        with tempfile.NamedTemporaryFile(suffix=".vocab") as f:
            vocab.dump(f.name)
            for path in a.file:
                with open(path, encoding="utf-8", newline="") as t:
                    text = t.read()
                mb, lines, times = len(text.encode()) / 1e6, text.splitlines(True), ([], [], [])
                for _ in range(a.runs):
                    times[0].append(seconds(lambda: hf.encode(text, add_special_tokens=False)))
                    times[1].append(seconds(lambda: hf.encode_batch(lines, add_special_tokens=False)))
                    out = subprocess.run([a.driver, f.name, "--bench", path, "3"], check=True, capture_output=True, text=True)
                    times[2].append(float(out.stdout.split()[0]))
                whole, batch, ours = (mb / statistics.median(t) for t in times)
                print(f"{family:10} {os.path.basename(path):20} HF encode {whole:7.1f}  HF encode_batch of lines {batch:7.1f}  ours {ours:7.1f} MB/s"
                      f"  ratio to the better {ours / max(whole, batch):6.1f}", flush=True)


if __name__ == "__main__":
    main()
