#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gradients: training of the formula models against PyTorch autograd and PEFT, element by element.

    python tools/oracle/gradients.py --build build/dev [--only llama_lora]

For each case: token ids and loss masks equal to those of transformers' tokenizer and template; every element of every
gradient of the first step (greatest difference over the tensor's greatest value, and relative norm of the difference,
both within 1e-4); the losses of ten AdamW steps within 1e-5. Besides the goldens' cases: PEFT's own beginning (its A,
B zero), saved by PEFT and loaded into ours, and ours saved and loaded into PEFT: equal losses."""
# ci: --build {build}
import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402
import gradients as golden  # noqa: E402

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
NAMES = {"batch": "batch", "steps": "steps", "lr": "lr", "beta2": "beta2", "eps": "eps", "wd": "wd", "clip": "clip"}


def train(build, **keys):
    """The driver's JSON lines."""
    run = subprocess.run([str(pathlib.Path(build) / "driver_train_steps"), *(f"{k}={v}" for k, v in keys.items())], stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"driver_train_steps failed for {keys}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def check_samples(lines, data):
    ours = [(x["ids"], x["learn"]) for x in lines if "sample" in x]
    used = [ours[i] for x in lines if "step" in x for i in x["samples"]]
    theirs = [(ids, [0] + learn[1:]) for batch in data for ids, learn in batch]
    assert used == theirs, "token ids or loss masks are not those of transformers' tokenizer and template"
    return len(ours)


def compare_gradients(ours, theirs):
    worst, where = 0.0, ""
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    for name, g in theirs.items():
        d = np.abs(ours[name].astype(np.float64) - g)
        size = max(float(np.abs(g).max()), 1e-7)
        ratio = max(float(d.max()) / size, float(np.linalg.norm(d) / max(np.linalg.norm(g), 1e-7)))
        if "k_proj.bias" in name:  # softmax does not see it: the true gradient is zero, both hold rounding
            ratio = float(d.max()) / 1e-2
        if ratio > worst:
            worst, where = ratio, name
    return worst, where


def run_case(args, case, work):
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer
    peft_start, dora = case.startswith("peft_start"), case.endswith("dora")
    folder, adapter = golden.folders("llama_lora" if peft_start else case, work)
    data = golden.batches(AutoTokenizer.from_pretrained(folder))
    model = golden.load(folder, golden.R if peft_start else adapter, dora)
    if peft_start:
        adapter = pathlib.Path(work) / "start"
        model.save_pretrained(adapter)
    keys = {"model": folder, "data": golden.ROWS, "full": int(adapter is None), "dora": int(dora), "r": golden.R, "alpha": golden.ALPHA,
            "grads": pathlib.Path(work) / "grads.safetensors", **{k: golden.OPTS[v] for k, v in NAMES.items()}}
    if adapter:
        keys |= {"init": adapter, "save": pathlib.Path(work) / "trained"}
    more = golden.MORE.get(case, {})
    keys |= {k: int(v) if v is True else v for k, v in more.items() if k in ("r", "lr", "optimizer", "momentum", "nf4")}
    if case.endswith("nf4"):
        golden.to_nf4(model)
    if case.endswith("dropout"):
        keys |= {"dropout": golden.DROPOUT["dropout"], "seed": golden.DROPOUT["dropout_seed"]}
        golden.drop_as_ours(model, golden.drawn(data, len(golden.ROWS.read_text().splitlines())))
    lines = train(args.build, **keys)
    n = check_samples(lines, data)
    ours = [x for x in lines if "step" in x]
    worst_loss = 0.0
    for (step, loss, norm, grads), mine in zip(golden.steps(model, data, golden.OPTS | more), ours, strict=True):
        worst_loss = max(worst_loss, abs(mine["loss"] - loss) / loss)
        if grads:
            worst, where = compare_gradients(load_file(keys["grads"]), grads)
    text = f"{case}: {n} samples, {len(grads or load_file(keys['grads']))} tensors, worst gradient {worst:.2e} ({where}), worst of {len(ours)} losses {worst_loss:.2e}"
    good = worst < 1e-4 and worst_loss < (1e-4 if case == "llama_adamw_8bit" else 1e-5)  # a last bit may change a code
    if adapter:
        if case.endswith("dropout"):
            model.drop_no_more()
        model.eval()
        loaded = golden.load(folder, str(keys["save"]))
        good &= check_loaded(golden.to_nf4(loaded) if case.endswith("nf4") else loaded, model, data, case)
    print(("ok   " if good else "FAIL ") + text, flush=True)
    return good


def check_loaded(loaded, trained, data, case):
    """Our trained adapter in PEFT does what PEFT's trained one does."""
    import torch
    loaded.eval()
    with torch.no_grad():
        a, b = (sum(golden.nll(m, *s).item() for s in data[0]) for m in (loaded, trained))
    print(f"     {case}: our adapter in PEFT {a:.6f}, PEFT's own {b:.6f}")
    return abs(a - b) < 1e-4 * abs(b)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("LMFAST_BUILD", "build/release"))
    p.add_argument("--only")
    p.add_argument("--ci", action="store_true", help="the same: this oracle is short")
    args = p.parse_args()
    results = []
    for case in [*golden.CASES, "peft_start", "peft_start_dora"]:
        if case in ("llama_nf4", "llama_adamw_8bit") and not importlib.util.find_spec("bitsandbytes"):
            print(f"     {case}: bitsandbytes is not installed; tests/parity has what it gave")
            continue
        if not args.only or args.only == case:
            with tempfile.TemporaryDirectory() as work:
                results.append(run_case(args, case, work))
    print(f"gradients: {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
