#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training speed beside transformers + PEFT, in one run, interleaved: the quickstart's recipe (batch 8, LoRA r 16 on all projections,
AdamW, no recomputation) on the same GGUF and rows. Tokens are counted without padding on both sides. Medians over rounds.

    $(tools/venv.sh oracle) bench/train.py --build build/release --model M.gguf --data train.jsonl [--rounds 3 --steps 4]"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TRANSFORMERS_VERBOSITY"] = "error"


def ours(a, compute):
    with tempfile.TemporaryDirectory() as out:
        run = subprocess.run([f"{a.build}/lmfast", "train", "-m", a.model, "-d", a.data, "-o", out, "--max-steps", str(a.steps), "--batch-size", "8", "--lr", "1e-3", "--warmup-steps",
                              "5", "--compute", compute, "--threads", str(a.threads), "--no-shuffle", "--save-steps", "0", "--quiet", "--json"], stdout=subprocess.PIPE, text=True, check=True)
    r = json.loads(run.stdout)
    return r["tokens_per_second"], r["first_loss"], r["final_loss"]


class Peer:
    def __init__(self, a, dtype, attention):
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer
        path = pathlib.Path(a.model)
        self.torch, tok = torch, AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=getattr(torch, dtype), attn_implementation=attention)
        self.model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
        self.opt = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.01)
        self.rows = []
        for line in list(open(a.data))[:8 * a.steps]:
            m = json.loads(line)["messages"]
            prompt = tok(tok.apply_chat_template(m[:-1], tokenize=False, add_generation_prompt=True), add_special_tokens=False)["input_ids"]
            answer = tok(m[-1]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
            self.rows.append((prompt + answer, [-100] * len(prompt) + answer))

    def run(self, steps):
        torch, n, start, losses = self.torch, 0, time.perf_counter(), []
        for k in range(steps):
            b = self.rows[8 * k:8 * k + 8]
            width = max(len(ids) for ids, _ in b)
            pad = lambda x, fill: torch.tensor([v + [fill] * (width - len(v)) for v in x])  # noqa: E731
            loss = self.model(input_ids=pad([x for x, _ in b], 0), labels=pad([y for _, y in b], -100), attention_mask=pad([[1] * len(x) for x, _ in b], 0)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.opt.step()
            self.opt.zero_grad()
            losses.append(loss.item())
            n += sum(len(x) for x, _ in b)
        return n / (time.perf_counter() - start), losses[0], losses[-1]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build/release")
    p.add_argument("--model", required=True)
    p.add_argument("--data", required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--peers", default="bfloat16 eager,float32 sdpa")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    import peft
    import torch
    import transformers
    torch.set_num_threads(a.threads)
    sides = {f"LMFast {c}": (lambda c=c: ours(a, c)) for c in ("auto", "f32")}
    for spec in a.peers.split(","):
        peer = Peer(a, *spec.split())
        peer.run(1)
        sides[f"transformers + PEFT {spec}"] = lambda peer=peer: peer.run(a.steps)
    speeds, losses = {k: [] for k in sides}, {}
    for _ in range(a.rounds):
        for name, run in sides.items():
            speed, first, last = run()
            speeds[name].append(speed)
            losses[name] = (first, last)
    median = {k: statistics.median(v) for k, v in speeds.items()}
    best = max(v for k, v in median.items() if not k.startswith("LMFast"))
    if a.json:
        print(json.dumps({"tokens_per_second": median, "all": speeds, "loss": losses}))
        return 0
    print(f"\ntraining, {a.threads} threads, {a.rounds} rounds of {a.steps} steps of 8 rows; torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}\n")
    print("| side | tokens/s, median (all) | ratio to the best peer | loss |\n| --- | --- | --- | --- |")
    for k in sides:
        print(f"| {k} | {median[k]:.0f} ({', '.join(f'{x:.0f}' for x in speeds[k])}) | {median[k] / best:.2f} | {losses[k][0]:.3f} -> {losses[k][1]:.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
