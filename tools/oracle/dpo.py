#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""dpo: preference training against TRL's DPOTrainer, on a formula model with an adapter.

    python tools/oracle/dpo.py --build build/dev

Rows: the token ids that TRL makes of prompt, chosen and rejected are ours, for each form in tests/parity/dpo_rows.jsonl. TRL takes files
of one form, so each row goes alone, and a text beside messages is written out as the message that it stands for; what a template writes
behind the end of the last turn belongs to TRL's answer and not to ours. Training: TRL's own loop over these pairs, with the reference
that it makes (a copy of the adapter as it starts): losses and all that it logs under the same names within 1e-4."""
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
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
import dpo as golden  # noqa: E402
import gradients  # noqa: E402

BATCH, STEPS, LR, BETA = 4, 8, 2e-3, 0.3


def ours(build, **keys):
    """Pairs of (ids, learn), and the steps."""
    keys |= {"data": golden.ROWS, "objective": "dpo", "opt.beta": BETA, "r": gradients.R, "alpha": gradients.ALPHA, "batch": BATCH,
             "steps": STEPS, "lr": LR,
             "wd": 0.1, "clip": 1.0}
    run = subprocess.run([str(pathlib.Path(build) / "driver_train_steps"), *(f"{k}={v}" for k, v in keys.items())],
                         stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit("driver_train_steps failed")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    samples = [(x["ids"], x["learn"]) for x in lines if "sample" in x]
    return list(zip(samples[::2], samples[1::2], strict=True)), [x for x in lines if "step" in x]


def as_trl_takes_it(row):
    """Texts beside messages written out."""
    if all(isinstance(row.get(k, ""), str) for k in ("prompt", "chosen", "rejected")):
        return row
    prompt, answers = golden.message_pair(row)
    if "prompt" not in row:
        return row
    return {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}


def trainer(folder, adapter, rows, out, data=None):
    """TRL's trainer; data: pairs that are tokens already, in place of what it makes of the rows."""
    from datasets import Dataset, disable_progress_bars
    from torch.utils.data import SequentialSampler
    from transformers import AutoTokenizer, PrinterCallback
    from trl import DPOConfig, DPOTrainer
    disable_progress_bars()

    class InOrder(DPOTrainer):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

    config = DPOConfig(output_dir=str(out), beta=BETA, max_length=None, seed=0, max_steps=STEPS,
                       per_device_train_batch_size=BATCH, gradient_accumulation_steps=1, gradient_checkpointing=False,
                       optim="adamw_torch", learning_rate=LR, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.1,
                       max_grad_norm=1.0, use_cpu=True, bf16=False, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    t = InOrder(model=gradients.load(folder, adapter), args=config, processing_class=tokenizer, train_dataset=Dataset.from_list(rows))
    t.remove_callback(PrinterCallback)
    if data:
        t.train_dataset = Dataset.from_list(data)
    return t


def check_rows(folder, adapter, pairs, work):
    end = "<|im_end|>"
    n = 0
    for row, pair in zip(map(json.loads, golden.ROWS.read_text().splitlines()), pairs, strict=True):
        t = trainer(folder, adapter, [as_trl_takes_it(row)], pathlib.Path(work) / "rows")
        made, last = t.train_dataset[0], t.processing_class.convert_tokens_to_ids(end)
        for key, (ids, learn) in zip(("chosen_ids", "rejected_ids"), pair, strict=True):
            answer = made[key]
            answer = answer[:len(answer) - answer[::-1].index(last)]  # without what stands behind the turn's end
            theirs = made["prompt_ids"] + answer
            mask = [0] * len(made["prompt_ids"]) + [1] * len(answer)
            if ids != theirs or learn[1:] != mask[1:]:
                text = t.processing_class.decode
                print(f"FAIL rows: {key} of {row}:\n  ours   {text(ids)!r}\n  theirs {text(theirs)!r}")
                return False
            n += 1
    print(f"ok   rows: {n} sequences, token ids and masks are TRL's")
    return True


def check_training(folder, adapter, pairs, steps, work):
    def split(sample):
        ids, learn = sample
        first = learn.index(1)
        assert all(learn[first:])
        return ids[:first], ids[first:]
    data = []
    for chosen, rejected in pairs:
        (prompt, a), (same, b) = split(chosen), split(rejected)
        assert prompt == same
        data.append({"prompt_ids": prompt, "chosen_ids": a, "rejected_ids": b})
    placeholder = [{"prompt": "a", "chosen": "b", "rejected": "c"}] * len(data)
    t = trainer(folder, adapter, placeholder, pathlib.Path(work) / "run", data)
    t.train()
    logs = [x for x in t.state.log_history if "loss" in x]
    assert len(logs) == len(steps) == STEPS
    worst, where = 0.0, ""
    for mine, theirs in zip(steps, logs, strict=True):
        for name in ["loss", "grad_norm", *golden.REPORTS]:
            if name == "rewards/accuracies" and mine["step"] == 1:
                continue  # every margin is zero there but for rounding
            off = abs(mine[name] - float(theirs[name])) / max(1, abs(float(theirs[name])))
            if off > worst:
                worst, where = off, f"{name} of step {mine['step']}: {mine[name]:.6g}, TRL has {float(theirs[name]):.6g}"
    print(f"{'ok  ' if worst < 1e-4 else 'FAIL'} training: {STEPS} steps, loss {logs[0]['loss']:.6f} -> {logs[-1]['loss']:.6f}, "
          f"worst difference {worst:.2e} ({where})")
    return worst < 1e-4


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.environ.get("LMFAST_BUILD", "build/release"))
    a = p.parse_args()
    import trl
    with tempfile.TemporaryDirectory() as work:
        folder, adapter = gradients.folders("llama_lora", work)
        pairs, steps = ours(a.build, model=folder, init=adapter)
        results = [check_rows(folder, adapter, pairs, work), check_training(folder, adapter, pairs, steps, work)]
    print(f"dpo (TRL {trl.__version__}): {sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
