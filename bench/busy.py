#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Decoding and training on a machine that others use too: do workers that meet at barriers get their fair share?

    python3 bench/busy.py [--loops 0,1,2,4] [--work decode,train] [--team 2] [--rounds 3] [--json]

Beside N busy loops, and with all workers bound to one processor (a worker's processor is taken), two things run in turn: a team of
T workers, and T programs of one worker at once. The programs never wait for each other, so the sum of their rates is the share that
the scheduler gives to T threads: the fair share, whatever else the machine does meanwhile. It is shown beside the plain one,
processors / (T + N). got is the team's rate over that sum: under 0.8, meeting costs too much. Rates are medians; the load that was seen
stands beside them."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import report

LOOP = "while True: pass"
ENOUGH = 0.8


def command(args, work, threads, out):
    program = [args.build / "lmfast"]
    if work == "decode":
        return [*program, "bench", "--model", args.model, "--prompts", 1, "--runs", 1, "--prompt-tokens", 16, "--new-tokens", args.new_tokens,
                "--streams", 1, "--threads", threads, "--json"]
    return [*program, "train", "--model", args.model, "--data", args.data, "--output", out, "--max-steps", args.steps + 1, "--batch-size", 1,
            "--seq-len", 256, "--too-long", "truncate", "--no-shuffle", "--logging-steps", 1, "--save-steps", 0, "--threads", threads, "--json"]


def rate(work, text, out):
    """Tokens a second, without start and first step."""
    if work == "decode":
        return json.loads(text)["results"][0]["decode_tokens_per_second"]
    lines = [json.loads(line) for line in (pathlib.Path(out) / "metrics.jsonl").read_text().splitlines()]
    return (lines[-1]["tokens"] - lines[0]["tokens"]) / (lines[-1]["seconds"] - lines[0]["seconds"])


def together(args, work, copies, threads, core):
    """The sum of the rates of so many programs at once."""
    with tempfile.TemporaryDirectory() as folder:
        outs = [os.path.join(folder, str(i)) for i in range(copies)]
        bound = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
        running = [subprocess.Popen([str(c) for c in command(args, work, threads, out)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True, preexec_fn=bound) for out in outs]
        ends = [p.communicate() for p in running]
        for p, (_, said) in zip(running, ends):
            if p.returncode:
                raise SystemExit(f"lmfast {work} failed with status {p.returncode}: {said[-2000:]}")
        return sum(rate(work, text, out) for (text, _), out in zip(ends, outs))


def measure(args, work, n_loops, core):
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(n_loops)]
    teams, singles, loads = [], [], []
    try:
        for _ in range(args.rounds):
            teams.append(together(args, work, 1, args.team, core))
            singles.append(together(args, work, args.team, 1, core))
            loads.append(os.getloadavg()[0])
    finally:
        for p in loops:
            p.kill()
            p.wait()
    return {"work": work, "loops": n_loops, "one_processor": core is not None, "team": report.median(teams), "programs": report.median(singles),
            "got": report.median([t / s for t, s in zip(teams, singles)]), "load": max(loads), "teams": teams, "singles": singles}


def main():
    p = report.parser(__doc__)
    p.add_argument("--loops", default="0,1,2,4")
    p.add_argument("--work", default="decode,train")
    p.add_argument("--team", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--new-tokens", type=int, default=96)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--data", type=pathlib.Path, default=report.CACHE / "data" / "toolcall_train.jsonl")
    args = p.parse_args()
    processors = sorted(os.sched_getaffinity(0))
    counts = sorted({0, *map(int, args.loops.split(","))})
    rows = []
    for work in args.work.split(","):
        quiet = None
        for n, core in [*((n, None) for n in counts), (0, processors[0])]:
            r = measure(args, work, n, core)
            quiet = quiet or r
            r["of_quiet"] = r["team"] / quiet["team"]
            r["plain_share"] = 1 / len(processors) if r["one_processor"] else min(1, len(processors) / (args.team + n))
            rows.append(r)
            place = "one processor" if r["one_processor"] else f"{n} loops"
            report.note(f"{work:6} {place:13} team {r['team']:8.1f} tokens/s, {args.team} programs {r['programs']:8.1f}, got {r['got']:.2f} "
                        f"{'' if r['got'] >= ENOUGH else 'LESS THAN 0.8 '}of the share; of quiet {r['of_quiet']:.2f} (plain share {r['plain_share']:.2f}); load {r['load']:.1f}")
    if args.json:
        print(json.dumps({"team": args.team, "processors": len(processors), "rounds": args.rounds, "results": rows}))


if __name__ == "__main__":
    main()
