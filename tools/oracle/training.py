#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""training: the training curve on real weights against transformers and PEFT, f32 on both sides.

    python tools/oracle/training.py --build build/release --model M.gguf --data train.jsonl --dev dev.jsonl [--steps 30 --every 10]
        [--record tests/parity/peft_curve.json | --recorded tests/parity/peft_curve.json]

PEFT's initial A is saved by PEFT and loaded into ours (--record: ours, of seed 0, into PEFT, so that the curve that is written can
be compared with later; --recorded does that, without PyTorch); both sides take the same token ids and loss masks in the same batches and
the same learning rates. What is compared is the mean loss of the answers' tokens over the dev rows after every few steps: within
0.5 %, and before the first step within 0.01 %."""
# ci: --build {build} --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf --data {cache}/data/toolcall_train.jsonl --dev {cache}/data/toolcall_dev.jsonl --steps 6 --every 3 --dev-rows 8 --batch 4
# ci: --build {build} --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf --data {cache}/data/toolcall_train.jsonl --dev {cache}/data/toolcall_dev.jsonl --recorded {source}/tests/parity/peft_curve.json
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
R, ALPHA, LR, WARMUP, MIN_RATIO = 16, 32, 1e-3, 5, 0.1


def factor(step, steps):
    """src/train/schedule.h, linear."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    if steps <= WARMUP + 1:
        return 1.0
    return MIN_RATIO + (1 - MIN_RATIO) * (1 - (step - WARMUP) / (steps - WARMUP))


def nll(model, ids, learn):
    """Sum over the learned tokens, and their number."""
    import torch
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].float()
    target, mask = torch.tensor(ids[1:]), torch.tensor(learn[1:], dtype=torch.float32)
    return (torch.nn.functional.cross_entropy(logits, target, reduction="none") * mask).sum(), float(mask.sum())


def mean(model, samples):
    import torch
    with torch.no_grad():
        parts = [nll(model, *s) for s in samples]
    return sum(p[0].item() for p in parts) / sum(p[1] for p in parts)


def driver(a, steps, **more):
    keys = {"model": a.model, "data": a.data, "steps": steps, "r": R, "alpha": ALPHA, "batch": a.batch, "lr": LR, "schedule": "linear", "warmup": WARMUP,
            "min_ratio": MIN_RATIO, "wd": 0.01, "clip": 1.0, "seed": 0, **more}
    run = subprocess.run([str(pathlib.Path(a.build) / "driver_train_steps"), *(f"{k}={v}" for k, v in keys.items())], stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit("driver_train_steps failed")
    return [json.loads(line) for line in run.stdout.splitlines()]


def peer(a, work):
    """PEFT's model, its beginning in the folder work."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM
    torch.manual_seed(0)
    path = pathlib.Path(a.model)
    base = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    if a.record:
        driver(a, 1, lr=0, save=work)
        return PeftModel.from_pretrained(base, work, is_trainable=True)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(base, LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=names))
    model.save_pretrained(work)
    return model


def compare_recorded(a):
    """Ours with the peer's curve in a file; the rows are those of the recipe."""
    golden = json.load(open(a.recorded))
    recipe = golden["recipe"]
    assert hashlib.sha256(open(a.data, "rb").read()).hexdigest() == recipe["data_sha256"], f"{a.data} are not the rows of the recipe"
    a.batch = recipe["batch"]
    with tempfile.TemporaryDirectory() as work:
        dev = dev_rows(a, work, recipe["dev_rows"])
        points = [int(k) for k in golden["dev_loss"]]
        lines = driver(a, recipe["steps"], eval=dev, eval_at=",".join(map(str, points)))
    ours = {x["eval_step"]: x["eval_loss"] for x in lines if "eval_step" in x}
    worst = 0.0
    for step in points:
        worst = max(worst, verdict(step, ours[step], golden["dev_loss"][str(step)]))
    return worst


def dev_rows(a, work, n):
    rows = open(a.dev).read().splitlines()
    path = pathlib.Path(work) / "dev.jsonl"
    path.write_text("\n".join(rows[:n] if n else rows) + "\n")
    return path


def verdict(step, ours, theirs):
    """Difference as a part of what is allowed."""
    off, limit = abs(ours - theirs) / theirs, 1e-4 if step == 0 else 5e-3
    print(f"{'ok  ' if off < limit else 'FAIL'} after {step:3d} steps: ours {ours:.6f}, PEFT {theirs:.6f}, {100 * off:.4f} %", flush=True)
    return off / limit


def save_record(a, points, theirs):
    import peft
    import torch
    import transformers
    recipe = {"made by": "tools/oracle/training.py --record", "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__,
              "model": pathlib.Path(a.model).name, "data": pathlib.Path(a.data).name, "data_sha256": hashlib.sha256(open(a.data, "rb").read()).hexdigest(),
              "dev": pathlib.Path(a.dev).name, "dev_rows": a.dev_rows, "steps": a.steps, "batch": a.batch, "order": "of the file", "r": R, "alpha": ALPHA, "lr": LR,
              "warmup": WARMUP, "min_ratio": MIN_RATIO, "weight_decay": 0.01, "clip": 1.0, "initial A": "LMFast's of seed 0, loaded into PEFT"}
    with open(a.record, "w") as f:
        json.dump({"recipe": recipe, "dev_loss": {str(k): theirs[k] for k in points}}, f, indent=1)
        f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("LMFAST_BUILD", "build/release"))
    p.add_argument("--model", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--dev", required=True)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--every", type=int, default=10)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--dev-rows", type=int, default=0, help="0: all")
    p.add_argument("--record", help="write the peer's curve there")
    p.add_argument("--recorded", help="compare with that curve alone, without PyTorch")
    a = p.parse_args()
    worst = compare_recorded(a) if a.recorded else compare_live(a)
    print(f"training: {int(worst < 1)} passed, {int(worst >= 1)} failed")
    return 0 if worst < 1 else 1


def compare_live(a):
    import torch
    points = list(range(0, a.steps + 1, a.every))
    with tempfile.TemporaryDirectory() as work:
        model = peer(a, work)
        lines = driver(a, a.steps, eval=dev_rows(a, work, a.dev_rows), eval_at=",".join(map(str, points)), init=work)
    samples = [(x["ids"], x["learn"]) for x in lines if "sample" in x]
    dev = [(x["ids"], x["learn"]) for x in lines if "eval_sample" in x]
    steps = [x["samples"] for x in lines if "step" in x]
    ours = {x["eval_step"]: x["eval_loss"] for x in lines if "eval_step" in x}
    assert len(steps) == a.steps and sorted(ours) == points and dev
    trained = [q for q in model.parameters() if q.requires_grad]
    opt = torch.optim.AdamW(trained, lr=LR, weight_decay=0.01)
    worst, theirs = 0.0, {}
    for step in range(a.steps + 1):
        if step in ours:
            theirs[step] = mean(model, dev)
            worst = max(worst, verdict(step, ours[step], theirs[step]))
        if step == a.steps:
            break
        batch = [samples[i] for i in steps[step]]
        n = sum(sum(learn[1:]) for _, learn in batch)
        for ids, learn in batch:
            (nll(model, ids, learn)[0] / n).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in opt.param_groups:
            group["lr"] = LR * factor(step, a.steps)
        opt.step()
        opt.zero_grad()
    if a.record:
        save_record(a, points, theirs)
    return worst


if __name__ == "__main__":
    sys.exit(main())
