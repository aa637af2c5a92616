#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""preferences: align's objectives against TRL's trainers, live, on a formula model with an adapter.

    python tools/oracle/preferences.py --build build/dev [CASE ...]

For each case of tools/golden/preferences.py: loss, norm and all that TRL logs under the same names within 1e-4 (of the value, or of 1 where
it is smaller) over the first steps, every element of the first step's gradients within 1e-4 of it and of the tensor's size, and the loss of
20 steps within 0.5 %."""
# ci: --build {build}
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import preferences as golden  # noqa: E402
import gradients  # noqa: E402

OPTS = dict(golden.OPTS, steps=20)
EXACT_STEPS = 5  # behind these, roundings of both sides have grown


def ours(build, folder, adapter, case, grads):
    objective, options = golden.CASES[case][:2]
    keys = {"model": folder, "init": adapter, "data": golden.rows_of(case), "objective": objective, "r": gradients.R,
            "alpha": gradients.ALPHA,
            "batch": OPTS["batch"], "steps": OPTS["steps"], "lr": OPTS["lr"], "wd": OPTS["wd"], "eps": OPTS["eps"], "clip": OPTS["clip"],
            "grads": grads}
    keys |= {f"opt.{k}": v for k, v in options.items()}
    run = subprocess.run([str(pathlib.Path(build) / "driver_train_steps"), *(f"{k}={v}" for k, v in keys.items())],
                         stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit("driver_train_steps failed")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    samples = [(x["ids"], x["learn"]) for x in lines if "sample" in x]
    return list(zip(samples[::2], samples[1::2], strict=True)), [x for x in lines if "step" in x]


def compare(case, mine, theirs, grads, their_grads):
    import numpy as np
    worst, where, curve = 0.0, "", 0.0
    for a, b in zip(mine, theirs, strict=True):
        curve = max(curve, abs(a["loss"] - b["loss"]) / max(abs(b["loss"]), 1e-3))
        if a["step"] > EXACT_STEPS:
            continue
        for name in ["loss", "grad_norm", *golden.CASES[case][4]]:
            if name == "rewards/accuracies" and a["step"] == 1 and golden.CASES[case][2] == "dpo":
                continue  # every margin is zero there but for rounding
            if name not in b:
                continue  # of a kind that the step has none of
            off = abs(a[name] - float(b[name])) / max(1, abs(float(b[name])))
            if off > worst:
                worst, where = off, f"{name} of step {a['step']}: {a[name]:.6g}, TRL has {float(b[name]):.6g}"
    worst_grad = 0.0
    assert set(grads) == set(their_grads)
    for name, want in their_grads.items():
        scale = np.abs(want) + np.sqrt(np.mean(np.square(want)))
        worst_grad = max(worst_grad, float(np.max(np.abs(grads[name] - want) / np.maximum(scale, 1e-9))))
    good = worst < 1e-4 and worst_grad < 1e-4 and curve < 5e-3
    print(f"{'ok  ' if good else 'FAIL'} {case}: loss {theirs[0]['loss']:.6f} -> {theirs[-1]['loss']:.6f}, worst difference {worst:.1e} "
          f"({where}), gradients {worst_grad:.1e}, {OPTS['steps']} steps' losses {curve:.1e}")
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("LMFAST_BUILD", "build/release"))
    p.add_argument("case", nargs="*")
    a = p.parse_args()
    import safetensors.numpy
    import trl
    results = []
    with tempfile.TemporaryDirectory() as work:
        folder, adapter = gradients.folders("llama_lora", work)
        for case in a.case or golden.CASES:
            pairs, mine = ours(a.build, folder, adapter, case, pathlib.Path(work) / "g.safetensors")
            theirs, their_grads = golden.train(case, folder, adapter, pairs, OPTS, pathlib.Path(work) / "out")
            results.append(compare(case, mine, theirs, safetensors.numpy.load_file(pathlib.Path(work) / "g.safetensors"), their_grads))
    print(f"preferences (TRL {trl.__version__}): {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
