#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --program {build}/lmfast
"""The event file of a run, read by TensorBoard's own EventAccumulator (in a virtual environment of its own): the same steps and values as
metrics.jsonl.

    tensorboard.py --program build/release/lmfast"""
import argparse, json, pathlib, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
READER = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
a.Reload()
print(json.dumps({t: [[e.step, e.value, e.wall_time] for e in a.Scalars(t)] for t in a.Tags()["scalars"]}))
"""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--program", required=True)
    a = p.parse_args()
    sys.path.insert(0, str(ROOT / "tools" / "golden"))
    import formula
    python = subprocess.run([str(ROOT / "tools" / "venv.sh"), "tensorboard"], capture_output=True, text=True, check=True).stdout.strip()
    bad = n = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        formula.save(work / "model")
        subprocess.run([a.program, "train", "--model", work / "model", "--data", ROOT / "tests/parity/train_rows.jsonl",
                        "--val-set-size", "4", "--output",
                        work / "run", "--max-steps", "30", "--logging-steps", "1", "--eval-steps", "7", "--lora-r", "2", "--quiet"],
                            check=True)
        read = json.loads(subprocess.run([python, "-c", READER, str(work / "run")], capture_output=True, text=True, check=True).stdout)
        for line in map(json.loads, (work / "run" / "metrics.jsonl").open()):
            for key, value in line.items():
                if key in ("step", "seconds", "unix_time", "clock_unix") or value is None:
                    continue
                tag = f"eval/{key[5:]}" if key.startswith("eval_") else f"train/{key}"
                got = [(v, t) for s, v, t in read.get(tag, []) if s == line["step"]]
                n += 1
                if len(got) != 1 or abs(got[0][0] - value) > 1e-6 * abs(value) or abs(got[0][1] - line["unix_time"]) > 2e-3:
                    bad += 1
                    print(f"step {line['step']}, {tag}: TensorBoard reads {got}, the log says {value} at {line['unix_time']}")
        extra = sum(len(v) for v in read.values()) - n
    print(f"{n} numbers compared, {bad} differ, {extra} more in the file")
    sys.exit(bad > 0 or extra != 0 or n < 150)


if __name__ == "__main__":
    main()
