#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""distill: the objective of that name against TRL's loss of GKD, live, on formula models: rows padded there, packed here.

    python tools/oracle/distill.py --build build/dev [CASE ...]

For each case of tools/golden/distill.py, beside its own teacher and one of another width and family: loss, norm, divergence and
cross-entropy of the first five steps within 1e-4, every element of the first step's gradients within 1e-4 of it and of the tensor's size,
and the loss of 20 steps within 0.5 %. Planted: a loss without the shift, with the mean of each row's mean, and with the prompt counted must
each differ."""
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
import distill as golden  # noqa: E402
import gradients  # noqa: E402

OPTS = dict(golden.OPTS, steps=20)
EXACT_STEPS = 5  # behind these, roundings of both sides have grown


def wide_teacher(folder, student):
    """A qwen2 of another width with the student's tokenizer, random."""
    import shutil
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
    torch.manual_seed(11)
    n = len(AutoTokenizer.from_pretrained(student))
    config = Qwen2Config(hidden_size=96, intermediate_size=160, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3,
                         vocab_size=n + 26, max_position_embeddings=512, initializer_range=0.3, tie_word_embeddings=True)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pathlib.Path(student) / name, folder)
    return folder


def ours(build, student, adapter, teacher, case, grads, micro):
    keys = {"model": student, "teacher": teacher, "data": gradients.ROWS, "objective": "distill", "r": gradients.R,
            "alpha": gradients.ALPHA,
            "full": int(adapter is None), "batch": OPTS["batch"], "steps": OPTS["steps"], "lr": OPTS["lr"], "wd": OPTS["wd"],
            "eps": OPTS["eps"], "clip": OPTS["clip"], "grads": grads, "micro": micro}
    keys |= {"init": adapter} if adapter else {}
    keys |= {f"opt.{k}": v for k, v in golden.CASES[case][1].items()}
    run = subprocess.run([str(pathlib.Path(build) / "driver_train_steps"), *(f"{k}={v}" for k, v in keys.items())],
                         stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit("driver_train_steps failed")
    return [json.loads(line) for line in run.stdout.splitlines() if '"step"' in line]


def compare(case, mine, theirs, grads, their_grads):
    import numpy as np
    worst, where, curve, worst_grad = 0.0, "", 0.0, 0.0
    for a, b in zip(mine, theirs, strict=True):
        curve = max(curve, abs(a["loss"] - b["loss"]) / max(abs(b["loss"]), 1e-3))
        for name in ["loss", "grad_norm", "kl", "nll"] if a["step"] <= EXACT_STEPS else []:
            off = abs(a[name] - b[name]) / max(abs(b[name]), 1e-3)
            if off > worst:
                worst, where = off, f"{name} of step {a['step']}: {a[name]:.6g}, TRL has {b[name]:.6g}"
    assert set(grads) == set(their_grads)
    for name, want in their_grads.items():
        scale = np.abs(want) + np.sqrt(np.mean(np.square(want)))
        worst_grad = max(worst_grad, float(np.max(np.abs(grads[name] - want) / np.maximum(scale, 1e-9))))
    good = worst < 1e-4 and worst_grad < 1e-4 and curve < 5e-3
    print(f"{'ok  ' if good else 'FAIL'} {case}: loss {theirs[0]['loss']:.6f} -> {theirs[-1]['loss']:.6f}, worst difference {worst:.1e} "
          f"({where}), gradients {worst_grad:.1e}, {OPTS['steps']} steps' losses {curve:.1e}")
    return good


def planted(student, teacher, right):
    """Mistakes that a comparison must see: each changes the first step's loss by more than the tolerance."""
    import torch
    from transformers import AutoTokenizer
    from trl.experimental.gkd import GKDTrainer
    batch = gradients.batches(AutoTokenizer.from_pretrained(student), steps=1)[0]
    s, t = gradients.load(student), gradients.load(teacher)
    with torch.no_grad():
        ids, mask, labels = golden.padded(batch)
        own, other = s(input_ids=ids, attention_mask=mask).logits, t(input_ids=ids, attention_mask=mask).logits
        jsd = lambda a, b, y: GKDTrainer.generalized_jsd_loss(a, b, y, beta=0.0).item()
        rows = [jsd(own[i:i + 1, :-1], other[i:i + 1, :-1], labels[i:i + 1, 1:]) for i in range(len(batch))]
        wrong = {"no shift": jsd(own, other, labels), "mean of means": sum(rows) / len(rows),
                 "prompts counted": jsd(own[:, :-1], other[:, :-1], ids.masked_fill(mask == 0, -100)[:, 1:]),
                 "models swapped": jsd(other[:, :-1], own[:, :-1], labels[:, 1:])}
    good = all(abs(v - right) > 1e-3 * right for v in wrong.values())
    print(f"{'ok  ' if good else 'FAIL'} planted: right {right:.5f},", ", ".join(f"{k} {v:.5f}" for k, v in wrong.items()))
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("LMFAST_BUILD", "build/release"))
    p.add_argument("case", nargs="*")
    a = p.parse_args()
    import safetensors.numpy
    import trl
    results = []
    for case in a.case or golden.CASES:
        with tempfile.TemporaryDirectory() as work:
            student, adapter, teacher = golden.folders(case, work)
            wide = wide_teacher(pathlib.Path(work) / "wide", student)
            for name, folder, micro in ((case, teacher, 0), (f"{case}, another width, small micro-batches", wide, 160)):
                mine = ours(a.build, student, adapter, folder, case, pathlib.Path(work) / "g.safetensors", micro)
                theirs, their_grads = golden.run(case, work, OPTS, folder)
                results.append(compare(name, mine, theirs, safetensors.numpy.load_file(pathlib.Path(work) / "g.safetensors"), their_grads))
            if case == "forward_full":
                results.append(planted(student, teacher, golden_kl(a.build, student, teacher)))
    print(f"distill (TRL {trl.__version__}): {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


def golden_kl(build, student, teacher):
    """Ours, of the first step, at temperature 1."""
    keys = {"model": student, "teacher": teacher, "data": gradients.ROWS, "objective": "distill", "full": 1, "batch": 4, "steps": 1,
            "opt.temperature": 1}
    run = subprocess.run([str(pathlib.Path(build) / "driver_train_steps"), *(f"{k}={v}" for k, v in keys.items())], stdout=subprocess.PIPE,
                         text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])["kl"]


if __name__ == "__main__":
    sys.exit(main())
