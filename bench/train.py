#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time of a training step: ours (lmfast train) and transformers + PEFT on the same file and rows, in one run, in turn.

    $(tools/venv.sh oracle) bench/train.py [--steps 6] [--batch-size 8] [--json]

The quickstart's recipe (tools/demo) on the toolcall rows in file order: LoRA r 16 on all seven projections, AdamW, clipping, no
recomputation. Ours packs the rows of a batch; the peer pads them to the longest, as its collators do. Tokens are those of the
rows, padding not counted, and both sides must count the same. Ours runs all steps each round; the peer, whose steps are long,
goes on by its share of them. The first step of either side is not timed. A kind of the peer whose first step takes four times
the quickest's so far is ended there and named: bf16 without instructions for it. Fails when a loss does not fall over four
steps or more."""
import argparse
import json
import os
import pathlib
import resource
import select
import subprocess
import sys
import tempfile
import time

import report

LR, WARMUP = 1e-3, 5
RECIPE = ["--lr", LR, "--lora-r", 16, "--lora-alpha", 32, "--warmup-steps", WARMUP, "--scheduler", "linear", "--min-lr-ratio", 0.1, "--weight-decay", 0.01,
          "--max-grad-norm", 1.0, "--seed", 0, "--no-shuffle"]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TOO_SLOW = 4


def name_of(dtype, attention):
    return f"PEFT {dtype} {attention}"


# ---- the peer: a process of its own for each kind, so that its peak of memory is its own ----

def peer_main(path, dtype, attention, threads):
    """Prints a line when the model is there. Reads lines of batches [[ids, first learned], ...]; answers each with {"seconds", "loss", "peak_bytes"}."""
    import warnings
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    path = pathlib.Path(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=getattr(torch, dtype), attn_implementation=attention)
    model.config.use_cache = False
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM"))
    model.train()
    weights = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(weights, lr=LR, weight_decay=0.01, fused=True)
    step = 0
    print("ready", flush=True)
    for line in sys.stdin:
        batch = json.loads(line)
        start = time.perf_counter()
        longest = max(len(ids) for ids, _ in batch)
        ids, mask, labels = (torch.full((len(batch), longest), fill) for fill in (0, 0, -100))
        for i, (row, learn) in enumerate(batch):
            ids[i, :len(row)] = torch.tensor(row)
            mask[i, :len(row)] = 1
            labels[i, learn:len(row)] = torch.tensor(row[learn:])
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        step += 1
        for group in adam.param_groups:
            group["lr"] = LR * min(1.0, step / WARMUP)
        adam.step()
        adam.zero_grad(set_to_none=True)
        value = loss.item()
        print(json.dumps({"seconds": time.perf_counter() - start, "loss": value, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


class Peer:
    def __init__(self, args, m, dtype, attention):
        self.process = subprocess.Popen([sys.executable, __file__, "--peer", dtype, attention, "--model", str(args.model), "--threads", str(m.threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "TQDM_DISABLE": "1"})
        self.steps, self.peak = [], 0
        self.line()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended with status {self.process.wait()}")
        return line

    def step(self, batch, most_seconds=None):
        """False when it takes longer; the process is ended then."""
        self.process.stdin.write(json.dumps(batch) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], most_seconds)[0]:
            self.process.kill()
            self.process.wait()
            return False
        answer = json.loads(self.line())
        self.steps.append((sum(len(ids) for ids, _ in batch), answer["seconds"], answer["loss"]))
        self.peak = answer["peak_bytes"]
        return True

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def rates(self):
        return [n / t for n, t, _ in self.steps[1:]]


# ---- rows as token ids, by HF tokenizers built from the file's vocabulary, and the file's own template ----

def batches(args, n):
    import gguf
    import jinja2
    sys.path.insert(0, str(report.ROOT / "tools" / "oracle"))
    import tokenizer as oracle
    encode = oracle.Vocab("smollm", str(args.model)).hf().encode
    field = gguf.GGUFReader(args.model).fields["tokenizer.chat_template"]
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(field.contents())
    rows, end = [], "<|im_end|>"
    with open(args.data, encoding="utf-8") as f:
        for line in f:
            messages = json.loads(line)["messages"]
            head = template.render(messages=messages[:-1], add_generation_prompt=True)
            whole = template.render(messages=messages, add_generation_prompt=False)
            if not whole.startswith(head):
                raise SystemExit("the template does not begin a row with its prompt")
            prompt = encode(head, add_special_tokens=False).ids
            rows.append((prompt + encode(whole[len(head):whole.rindex(end) + len(end)], add_special_tokens=False).ids, len(prompt)))
            if len(rows) == n * args.batch_size:
                break
    if len(rows) < n * args.batch_size:
        raise SystemExit(f"{args.data} has {len(rows)} rows, {n * args.batch_size} are needed")
    return [rows[i:i + args.batch_size] for i in range(0, len(rows), args.batch_size)]


def ours(args, m, compute, n):
    """[(tokens, seconds, loss)] of all steps, and bytes asked of the device."""
    with tempfile.TemporaryDirectory() as out:
        result = report.call_json(args.build / "lmfast", "train", "--model", args.model, "--data", args.data, "--output", out, "--max-steps", n, "--batch-size",
                                  args.batch_size, *RECIPE, "--logging-steps", 1, "--save-steps", 0, "--threads", m.threads, "--compute", compute, "--json")
        lines = [json.loads(line) for line in (pathlib.Path(out) / "metrics.jsonl").read_text().splitlines()]
    at = [{"tokens": 0, "seconds": 0.0}, *lines]
    return [(b["tokens"] - a["tokens"], b["seconds"] - a["seconds"], b["loss"]) for a, b in zip(at, lines)], result["memory_bytes"]


def check(name, steps, data):
    counted, expected = [n for n, _, _ in steps], [sum(len(ids) for ids, _ in b) for b in data[:len(steps)]]
    if counted != expected:
        raise SystemExit(f"{name} counts {counted} tokens a step, the rows have {expected}")
    if len(steps) > 3 and not steps[-1][2] < steps[0][2]:
        raise SystemExit(f"the loss of {name} does not fall: {[round(s[2], 4) for s in steps]}")


def measure(args, m, data):
    mine, memory, peers, left_out = {c: [] for c in args.compute.split(",")}, {}, {}, {}
    for kind in (k.split() for k in args.peers.split(",")):
        name = name_of(*kind)
        report.note(f"warm-up of {name}")
        most = TOO_SLOW * min(p.steps[0][1] for p in peers.values()) if peers else None
        peer = Peer(args, m, *kind)
        if peer.step(data[0], most):
            peers[name] = peer
        else:
            left_out[name] = most
    for r in range(args.rounds):
        for compute in mine:
            report.note(f"round {r + 1} of {args.rounds}: ours, {compute}")
            steps, memory[f"lmfast {compute}"] = ours(args, m, compute, args.steps + 1)
            mine[compute].append(steps)
        for name, peer in peers.items():
            report.note(f"round {r + 1} of {args.rounds}: {name}")
            for i in range(1 + r * args.steps // args.rounds, 1 + (r + 1) * args.steps // args.rounds):
                peer.step(data[i])
    for name, peer in peers.items():
        peer.close()
        memory[name] = peer.peak
        check(name, peer.steps, data)
    for compute, runs in mine.items():
        check(f"lmfast {compute}", runs[-1], data)
    return mine, peers, memory, left_out


def main():
    p = report.parser(__doc__)
    p.add_argument("--data", type=pathlib.Path, default=report.CACHE / "data" / "toolcall_train.jsonl")
    p.add_argument("--steps", type=int, default=6, help="timed ones")
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--compute", help="of ours; default: auto, and f32 where the processor has instructions for bf16, without which auto is f32")
    p.add_argument("--peers", default="float32 sdpa,float32 eager,bfloat16 sdpa,bfloat16 eager", help="dtype and attention of each kind")
    p.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.peer:
        return peer_main(args.model, *args.peer, args.threads)
    if args.steps < args.rounds:
        raise SystemExit("--steps must be --rounds or more")
    import gguf
    m = report.Machine(args)
    args.compute = args.compute or ("auto,f32" if {"avx512-bf16", "amx-bf16"} & m.features else "auto")
    data = batches(args, args.steps + 1)
    mine, peers, memory, left_out = measure(args, m, data)
    weights = sum(int(t.n_elements) for t in gguf.GGUFReader(args.model).tensors if t.name.startswith("blk.") and len(t.shape) == 2)
    results = []
    for compute, runs in mine.items():
        rates = [n / t for steps in runs for n, t, _ in steps[1:]]
        # frozen weights: a product forward and one for the gradient of its input, two operations a weight each
        limit = m.share_of_registers("f32", 4 * weights * report.median(rates))
        results.append(report.result(f"training, {args.batch_size} rows a step, LoRA r 16 on 7 projections, AdamW, {args.model.name}", "tok/s", rates, compute,
                                     {name: peer.rates() for name, peer in peers.items()}, name_of("float32", "sdpa"), limit))
    losses = {f"lmfast {c}": [s[2] for s in runs[-1]] for c, runs in mine.items()} | {n: [s[2] for s in p.steps] for n, p in peers.items()}
    versions = {"lmfast": m.version, **{k: report.version_of(k) for k in ("torch", "transformers", "peft")}}
    report.show(args, m, versions, results, losses=losses, memory_bytes=memory, left_out_seconds=left_out)


if __name__ == "__main__":
    main()
