#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random command lines, 20,000 of them (or argv[2]): each ends in 0, 1 or 2, within ten seconds, with a sentence where it is not 0,
and what --json asks for is one JSON object."""
import json
import os
import random
import subprocess
import sys

WORDS = ["probe", "poke", "prob", "help", "-h", "--help", "--json", "--quiet", "-q", "--version", "--isa", "avx2", "native", "--threads", "-t", "-t3",
         "--device", "cpu", "m", "missing", "--model", "-m", "--model=", "--max-steps", "0", "1", "-1", "-s", "--max_steps=0", "--offset", "--no-shuffle",
         "--shuffle=", "--learning-rate", "1e-3", "nan", "--scheduler", "cosine", "--", "-", "---", "--=", "=", "", "--no-", "--no-json", "-=", "%s%n"]


def word(rng):
    kind = rng.random()
    if kind < 0.7:
        return rng.choice(WORDS)
    if kind < 0.85:
        w = list(rng.choice(WORDS) or "x")
        w[rng.randrange(len(w))] = chr(rng.choice([rng.randrange(1, 127), rng.randrange(128, 0x3000)]))
        return "".join(w)
    if kind < 0.95:
        return rng.choice(WORDS) + "=" + rng.choice(WORDS)
    return rng.choice("x-9=") * rng.choice([1, 63, 64, 65, 127, 128, 600, 5000])


def main():
    build, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    rng, codes = random.Random(0), {}
    for i in range(n):
        args = [os.fsencode(word(rng)) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 5, 8]))]
        if rng.random() < 0.7:
            args = [b"probe", b"--max-steps=0"] + args + [b"m"] * (rng.random() < 0.8)
        r = subprocess.run([os.path.join(build, "driver_cli"), *args], capture_output=True, stdin=subprocess.DEVNULL, timeout=10)
        codes[r.returncode] = codes.get(r.returncode, 0) + 1
        good = r.returncode in (0, 1, 2) and (r.returncode == 0 or r.stderr.startswith((b"lmfast: ", b"LMFast ", b"probe ")))
        if good and r.stdout.startswith(b"{"):
            json.loads(r.stdout)
        if not good:
            print(f"run {i}: {args} ended with {r.returncode}: {r.stderr[-2000:]!r}")
            return 1
    print(f"{n} command lines, by exit status: {dict(sorted(codes.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
