#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --program {build}/lmfast --text {cache}/data/kjv.txt
"""lmfast pretrain against independent programs.

Tokenizer: vocabulary and merges equal those of Hugging Face's BpeTrainer on the same documents; transformers loads the folder, and "
    "its ids of
each document are those in the shards.
Training: PyTorch starts from the same first weights and takes the same pieces of documents in the same order with the same learning
rates (AdamW, weight decay on matrices alone, clipping); the loss of each step within 0.5 % and held-out bits per byte within 1 %,
    for cosine
and WSD. transformers loads the model at the end; its held-out loss is the one that was reported, within 1e-4.

    pretrain.py --program build/release/lmfast --text book.txt"""
import argparse, json, math, os, pathlib, random, struct, subprocess, sys, tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
ROOT = pathlib.Path(__file__).resolve().parents[2]
SEQ, BATCH, STEPS, LR, MIN_RATIO, WARMUP, DECAY = 48, 8, 40, 3e-3, 0.1, 6, 0.25


def run(program, *args):
    r = subprocess.run([program, "pretrain", *map(str, args), "--json", "--quiet", "--guards", "off"], capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"lmfast pretrain failed: {r.stderr}")
    return json.loads(r.stdout)


def shards(folder, name):
    """[document's ids] of all shards of that name, and the bytes of their text."""
    docs, n_text = [], 0
    for path in sorted(folder.glob(f"{name}-*.tokens")):
        data = path.read_bytes()
        n, ids, text = struct.unpack("<QQQ", data[-32:-8])
        ends, all_ids = struct.unpack(f"<{n}Q", data[-32 - 8 * n:-32]), struct.unpack(f"<{ids}i", data[:4 * ids])
        docs += [list(all_ids[a:b]) for a, b in zip((0, *ends), ends)]
        n_text += text
    return docs, n_text


def pieces(docs):
    """src/data/shards.h: at most SEQ ids, each from the last of the one before."""
    return [d[at:at + SEQ] for d in docs for at in range(0, len(d) - 1, SEQ - 1)]


def same_tokenizer(program, work, name, docs, vocab, least):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer
    rows = work / f"{name}.jsonl"
    rows.write_text("".join(json.dumps({"text": d}, ensure_ascii=False) + "\n" for d in docs))
    run(program, "-d", rows, "-o", work / name, "--vocab-size", vocab, "--min-frequency", least, "--hidden-size", 8,
        "--num-hidden-layers", 1,
        "--num-attention-heads", 1, "--seq-len", 16, "--max-steps", 1, "--val-set-size", 0)
    prepared = work / f"{name}.prepared"
    peer = Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    peer.train_from_iterator(docs, trainers.BpeTrainer(vocab_size=vocab, min_frequency=least, special_tokens=["<|endoftext|>"],
        show_progress=False,
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    want, got = json.loads(peer.to_str())["model"], json.loads((prepared / "tokenizer.json").read_text())["model"]
    equal = want["vocab"] == got["vocab"] and [tuple(m) for m in want["merges"]] == [tuple(m) for m in got["merges"]]
    loaded = AutoTokenizer.from_pretrained(prepared)
    ids = sorted(loaded(d)["input_ids"] + [0] for d in docs)
    ours = sorted(shards(prepared, "train")[0])
    print(f"tokenizer {name}: {len(got['vocab'])} tokens, {len(got['merges'])} merges {'equal' if equal else 'DIFFER'}; "
          f"{len(docs)} documents' ids {'equal' if ids == ours else 'DIFFER'}")
    return equal and ids == ours


def factor(step, kind):
    """src/train/schedule.h."""
    warmup = WARMUP
    if step < warmup:
        return (step + 1) / warmup
    if kind == "wsd":
        warmup = max(STEPS - math.ceil(DECAY * STEPS), warmup)
        if step < warmup:
            return 1.0
    at = (step - warmup) / (STEPS - warmup)
    return MIN_RATIO + (1 - MIN_RATIO) * (0.5 * (1 + math.cos(math.pi * at)) if kind == "cosine" else 1 - math.sqrt(at))


def nll(model, batch):
    """Sum over all predicted ids, and their number; a piece sees nothing of the others."""
    import torch
    n = max(map(len, batch))
    ids = torch.tensor([b + [0] * (n - len(b)) for b in batch])
    mask = torch.tensor([[1] * len(b) + [0] * (n - len(b)) for b in batch])
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    learned = mask[:, 1:].flatten().float()
    return (each * learned).sum(), learned.sum()


def held_out(model, docs):
    import torch
    with torch.no_grad():
        parts = [nll(model, [p]) for p in pieces(docs)]
    return sum(p[0].item() for p in parts), sum(p[1].item() for p in parts)


def same_training(program, work, text, kind):
    import torch
    from transformers import AutoModelForCausalLM
    out = work / kind
    got = run(program, "-d", f"{text}:split=lines", "-o", out, "--vocab-size", 600, "--hidden-size", 48, "--num-hidden-layers", 2,
        "--num-attention-heads", 4,
              "--num-key-value-heads", 2, "--seq-len", SEQ, "--batch-size", BATCH, "--max-steps", STEPS, "--lr", LR, "--scheduler", kind,
                  "--min-lr-ratio",
              MIN_RATIO, "--warmup-steps", WARMUP, "--decay-ratio", DECAY, "--weight-decay", 0.1, "--no-shuffle", "--compute", "f32",
                  "--logging-steps", 1,
              "--val-set-size", 40, "--save-type", "f32")
    prepared = pathlib.Path(f"{out}.prepared")
    train, (eval_docs, n_text) = pieces(shards(prepared, "train")[0]), shards(prepared, "eval")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(prepared, dtype=torch.float32)
    matrices, others = [p for p in model.parameters() if p.dim() > 1], [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=LR,
        betas=(0.9, 0.95), eps=1e-8)
    logged = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    worst = 0
    for step in range(STEPS):
        batch = [train[(step * BATCH + i) % len(train)] for i in range(BATCH)]
        for group in optimizer.param_groups:
            group["lr"] = LR * factor(step, kind)
        total, n = nll(model, batch)
        (total / n).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        worst = max(worst, abs(logged[step] / (total / n).item() - 1))
    total, n = held_out(model, eval_docs)
    peer_bits, bits = total / math.log(2) / n_text, got["bits_per_byte"]
    total, n = held_out(AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32), eval_docs)
    reported = abs(total / n - got["eval_loss"])
    fine = worst < 5e-3 and abs(bits / peer_bits - 1) < 0.01 and reported < 1e-4
    print(f"training {kind}: {STEPS} steps, loss {logged[0]:.4f} -> {logged[-1]:.4f}, farthest from PyTorch's {100 * worst:.3f} %; "
        f"held out {bits:.4f} bits a byte, "
          f"PyTorch {peer_bits:.4f} ({100 * (bits / peer_bits - 1):+.3f} %); transformers reads {total / n:.5f}, reported "
              f"{got['eval_loss']:.5f}"
          f"{'' if fine else ': TOO FAR'}")
    return fine


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--program", required=True)
    p.add_argument("--text", required=True)
    a = p.parse_args()
    r = random.Random(3)
    book = [line for line in pathlib.Path(a.text).read_text().split("\n") if line]
    code = "".join(f.read_text() for f in sorted((ROOT / "src/base").glob("*.c")))
    noise = ["".join(r.choice("aab abc  \n\t019éß漢字🙂'sIT-") for _ in range(r.randrange(1, 300))) for _ in range(300)]
    cases = [("book", book, 3000, 2), ("every_pair", book[:200], 4000, 1), ("code", [code[i:i + 5000] for i in range(0, len(code),
        5000)], 4000, 2),
             ("noise", noise, 1500, 1), ("letters", ["abababab", "aaaaaaa", "a", "baba"], 300, 1)]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        held = [same_tokenizer(a.program, work, *c) for c in cases] + [same_training(a.program, work, a.text, k) for k in ("cosine", "wsd")]
    print(f"pretrain: {sum(held)} of {len(held)} hold")
    return not all(held)


if __name__ == "__main__":
    sys.exit(main())
