#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""resume: a run of `lmfast train` that goes on from a checkpoint against PyTorch's run that never stopped, on a formula model.

    python tools/oracle/resume.py --build build/dev

Ten steps with cosine decay after warm-up; the newest checkpoint is cut in half and the run goes on from the one before. The losses
that metrics.jsonl has for the steps before and after are PyTorch's within 1e-5 (they are written with six decimals), the resumed
adapter is the undisturbed one to the bit, and each checkpoint's adapter in PEFT has the loss that PEFT's own has at that step."""
# ci: --build {build}
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import gradients as golden  # noqa: E402

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
STEPS, WARMUP = 10, 2


def factor(step):
    """Cosine after warm-up (src/train/schedule.h)."""
    return (step + 1) / WARMUP if step < WARMUP else 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def train(build, model, adapter, out, *more):
    o = golden.OPTS
    subprocess.run([str(pathlib.Path(build) / "lmfast"), "train", "--model", model, "--data", golden.ROWS, "--output", out, "--init-adapter", adapter, "--lora-r",
                    str(golden.R), "--lora-alpha", str(golden.ALPHA), "--max-steps", str(STEPS), "--batch-size", str(o["batch"]), "--lr", str(o["lr"]),
                    "--weight-decay", str(o["wd"]), "--warmup-steps", str(WARMUP), "--scheduler", "cosine", "--compute", "f32", "--shuffle=false", "--save-steps", "3",
                    "--logging-steps", "1", "--quiet", *more], check=True)


def losses(out):
    """Step -> loss; what a resumed run did again counts."""
    return {x["step"]: x["loss"] for x in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())}


def compare(ours, theirs, what):
    off = max(abs(ours[s] - theirs[s]) / theirs[s] for s in theirs)
    print(f"{'ok  ' if off < 1e-5 else 'FAIL'} {what}: {len(theirs)} losses, worst difference {off:.2e}")
    return off < 1e-5 and sorted(ours) == sorted(theirs)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("LMFAST_BUILD", "build/release"))
    a = p.parse_args()
    import torch
    from transformers import AutoTokenizer
    results = []
    with tempfile.TemporaryDirectory() as work:
        folder, adapter = golden.folders("llama_lora", work)
        out, whole = pathlib.Path(work) / "out", pathlib.Path(work) / "whole"
        train(a.build, folder, adapter, whole)
        train(a.build, folder, adapter, out)
        results.append((out / "checkpoint-9").is_dir() and (out / "checkpoint-6").is_dir())
        state = out / "checkpoint-9" / "state.safetensors"
        state.write_bytes(state.read_bytes()[:1000])
        (out / "metrics.jsonl").unlink()
        (out / "adapter_model.safetensors").unlink()  # the run shall make it again
        train(a.build, folder, adapter, out, "--resume", "last")
        results.append((out / "adapter_model.safetensors").read_bytes() == (whole / "adapter_model.safetensors").read_bytes())
        model = golden.load(folder, str(adapter))
        data = golden.batches(AutoTokenizer.from_pretrained(folder), steps=STEPS)
        theirs = {}
        for step, loss, _, _ in golden.steps(model, data, golden.OPTS, factor):
            theirs[step] = loss
            if step % 3 == 0 and step < STEPS:
                with torch.no_grad():
                    mine, own = (sum(golden.nll(m, *s).item() for s in data[0]) for m in (golden.load(folder, str(whole / f"checkpoint-{step}")), model))
                results.append(abs(mine - own) < 1e-4 * own)
                print(f"{'ok  ' if results[-1] else 'FAIL'} checkpoint-{step} in PEFT: loss {mine:.5f}, PEFT's own {own:.5f}")
        results.append(compare(losses(whole), theirs, "undisturbed"))
        results.append(compare(losses(out), {s: v for s, v in theirs.items() if s > 6}, "resumed from checkpoint-6"))
    print(f"resume: {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
