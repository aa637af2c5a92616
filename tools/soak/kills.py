#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A run that is killed with SIGKILL at random moments and resumed gives the adapter of the run that is not: 30 runs (or argv[2]),
each killed one to three times, on a formula model; SHA-256 of adapter_model.safetensors."""
import hashlib
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


def command(build, model, out):
    return [str(pathlib.Path(build) / "lmfast"), "train", "--model", str(model), "--data", str(ROOT / "tests" / "parity" / "train_rows.jsonl"), "--output", str(out),
            "--max-steps", "150", "--batch-size", "3", "--save-steps", "4", "--save-total-limit", "2", "--warmup-steps", "3", "--lora-r", "4", "--resume", "auto", "--quiet"]


def main():
    build, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 30
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        model = work / "model"
        formula.save(model)
        start = time.time()
        subprocess.run(command(build, model, work / "whole"), check=True)
        length, want = time.time() - start, digest(work / "whole")
        equal = kills = 0
        for i in range(count):
            out = work / f"run-{i}"
            for _ in range(rng.randint(1, 3)):
                process = subprocess.Popen(command(build, model, out), stderr=subprocess.DEVNULL)
                time.sleep(rng.uniform(0.05, 0.7) * length)
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                if process.wait() == 0:
                    break
            if not (out / "adapter_model.safetensors").exists() or process.returncode != 0:
                subprocess.run(command(build, model, out), check=True)
            equal += digest(out) == want
        print(f"{count} runs of {length:.1f} s, {kills} kills: {equal} equal hashes")
        print(f"kills: {equal} passed, {count - equal} failed")
        return 0 if equal == count and kills >= count // 2 else 1


if __name__ == "__main__":
    sys.exit(main())
