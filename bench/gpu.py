#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""LoRA training and decoding on a GPU beside the peers, on the same shapes in one run: models of random bf16 weights are made here.

    bench/gpu.py --program build/release/lmfast --out gpu.json --train 135m:16x2048 135m:2x2048 1.1b:2x2048 --decode 135m 1.1b
    --no-peer leaves transformers + PEFT out; --compile adds them compiled. --full and --recompute name jobs of --train's form."""
import argparse
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "peers"))
HERE = pathlib.Path(__file__).parent
SHOWN = ("who", "job", "tokens_per_second", "gib", "first_loss", "last_loss", "results", "error")


def call(*command):
    """The JSON object that the program prints, or {"error": its last line}."""
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600)
    lines = [x for x in r.stdout.splitlines() if x.startswith("{")]
    if r.returncode or not lines:
        return {"error": (r.stderr.strip().splitlines() or ["exit %d" % r.returncode])[-1][:300]}
    return json.loads(lines[-1])


def make_model(folder, shape):
    import torch
    import transformers
    from gpu_train import SHAPES
    if (folder / "config.json").exists():
        return folder
    torch.manual_seed(0)
    config = transformers.LlamaConfig(max_position_embeddings=8192, **SHAPES[shape])
    transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="2GB")
    write_tokenizer(folder, config.vocab_size)
    return folder


def write_tokenizer(folder, n):
    """Bytes, and names of nothing up to the size of the vocabulary: a model folder is not whole without one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = alphabet + ["<unused%d>" % i for i in range(n - len(alphabet))]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="build/release/lmfast")
    p.add_argument("--models", type=pathlib.Path, default=pathlib.Path("/tmp/lmfast-gpu-models"))
    p.add_argument("--out", type=pathlib.Path)
    p.add_argument("--train", nargs="*", default=[])
    p.add_argument("--full", nargs="*", default=[])
    p.add_argument("--recompute", nargs="*", default=[])
    p.add_argument("--decode", nargs="*", default=[])
    p.add_argument("--streams", default="1,8,64")
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--no-peer", action="store_true")
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    a.models.mkdir(parents=True, exist_ok=True)
    found = []

    def keep(row):
        found.append(row)
        print(json.dumps({k: row[k] for k in SHOWN if row.get(k) is not None}), flush=True)
        if a.out:
            a.out.write_text(json.dumps(found, indent=1))

    jobs = [(j, ()) for j in a.train] + [(j, ("--method", "full")) for j in a.full] + [(j, ("--recompute",)) for j in a.recompute]
    for job, extra in jobs:
        shape, size = job.split(":")
        rows, tokens = size.split("x")
        model = make_model(a.models / shape, shape)
        name = " ".join((job, *extra))
        ours = call(a.program, "bench", "train", "--model", model, "--device", "cuda", "--batch-size", rows, "--seq-len", tokens,
                    "--steps", a.steps, "--json", "--quiet", *extra)
        keep({**ours, "who": "lmfast", "job": name, "gib": ours.get("memory_bytes", 0) / 2**30})
        if not a.no_peer and not extra:
            for flags in [()] + [("--compile",)] * a.compile:
                peer = call(sys.executable, HERE / "peers/gpu_train.py", "--shape", shape, "--rows", rows, "--tokens", tokens,
                            "--steps", a.steps, *flags)
                keep({**peer, "who": "transformers + PEFT" + " compiled" * bool(flags), "job": name, "gib": peer.get("peak_gib")})
    for shape in a.decode:
        model = make_model(a.models / shape, shape)
        ours = call(a.program, "bench", "--model", model, "--device", "cuda", "--streams", a.streams, "--prompts", 1, "--runs", 3,
                    "--json", "--quiet")
        keep({**ours, "who": "lmfast", "job": "decode " + shape})
    return any("error" in row for row in found)


if __name__ == "__main__":
    sys.exit(main())
