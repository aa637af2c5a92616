#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""grpo: the objective grpo against TRL's GRPOTrainer, live, on a formula model with an adapter.

    python tools/oracle/grpo.py --build build/dev [--seeds 3] [CASE ...]

For each case of tools/golden/grpo.py, on answers that the goldens don't hold: loss, clipping and KL within 1e-4 (of the value, or of 0.1
where it is smaller), every element of the gradients within 1e-4 of it and of the tensor's size."""
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
import grpo as golden  # noqa: E402
import gradients  # noqa: E402


def ours(build, folder, adapter, case, answers, grads):
    options, n_micro, has_old = golden.CASES[case]
    options = options | {"max_completion_length": golden.MAX_TOK, "num_generations": golden.BATCH, "num_iterations": 1 + has_old}
    given = grads.parent / "answers.json"
    given.write_text(json.dumps({"answers": golden.as_given(answers)}))
    keys = {"model": folder, "init": adapter, "data": gradients.ROWS, "objective": "grpo", "r": gradients.R, "alpha": gradients.ALPHA,
            "batch": golden.BATCH, "accum": n_micro, "steps": 1, "answers": given, "grads": grads}
    keys |= {f"opt.{k.replace('_', '-')}": v for k, v in options.items()}
    run = subprocess.run([str(pathlib.Path(build) / "driver_train_steps"), *(f"{k}={v}" for k, v in keys.items())],
                         stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit("driver_train_steps failed")
    return next(x for x in map(json.loads, run.stdout.splitlines()) if "step" in x)


def compare(case, seed, mine, theirs, grads, their_grads):
    import numpy as np
    assert set(grads) == set(their_grads)
    worst = max((abs(mine[k] - v) / max(0.1, abs(v)), f"{k} {mine[k]:.6g}, TRL has {v:.6g}") for k, v in theirs.items())
    worst_grad = 0.0
    for name, want in their_grads.items():
        scale = np.abs(want) + np.sqrt(np.mean(np.square(want)))
        worst_grad = max(worst_grad, float(np.max(np.abs(grads[name] - want) / np.maximum(scale, 1e-9))))
    good = worst[0] < 1e-4 and worst_grad < 1e-4
    print(f"{'ok  ' if good else 'FAIL'} {case} {seed}: loss {theirs['loss']:.6f}, worst difference {worst[0]:.1e} ({worst[1]}), "
          f"gradients {worst_grad:.1e}", flush=True)
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("LMFAST_BUILD", "build/release"))
    p.add_argument("--seeds", type=int, default=2)
    p.add_argument("case", nargs="*")
    a = p.parse_args()
    import safetensors.numpy
    import transformers
    import trl
    results = []
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        folder, adapter = gradients.folders("llama_lora", work)
        vocab = transformers.AutoConfig.from_pretrained(folder).vocab_size
        for case in a.case or golden.CASES:
            for seed in range(2, 2 + a.seeds):
                answers = golden.draw(case, seed, vocab)
                theirs, their_grads = golden.step(case, folder, adapter, answers, work / "out")
                mine = ours(a.build, folder, adapter, case, answers, work / "g.safetensors")
                results.append(compare(case, seed, mine, theirs, safetensors.numpy.load_file(work / "g.safetensors"), their_grads))
    print(f"grpo (TRL {trl.__version__}): {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
