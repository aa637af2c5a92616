#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Does a teacher help? SmolLM2 without every second layer is trained whole on the same rows of text, once on their tokens alone and
again beside the whole model as its teacher, for equally many tokens; what counts is the loss on verses that neither saw.
Runs for an hour or more.

    tools/soak/distill.py BUILD [STEPS [SEED ...]]      # default: 30 steps, seeds 1, 2 and 3

Needs the model and text of tools/fetch_model.py and tools/make_kjv.sh. Prints each command and figure; the last lines are the table of
docs/soak/distill.md."""
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lmfast"
MODEL, TEXT = CACHE / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf", CACHE / "data" / "kjv.txt"
VERSES = 4  # a row
STUDENT, KL = ["distill", "--student", "half"], ["--alpha", "0.9", "--temperature"]
METHODS = {"rows alone": ["train", "--model", "half"], "teacher": [*STUDENT, "--teacher", MODEL, *KL, "1"],
           "teacher, temperature 2": [*STUDENT, "--teacher", MODEL, *KL, "2"],
           "labels of 64 tokens": [*STUDENT, "--teacher-labels", "labels", *KL, "1"]}


def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in header.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for k, (dtype, shape, data) in tensors.items():
        header[k] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)


def drop_layers(folder, out):
    """Layers 0, 2, 4 ... of a Hugging Face folder."""
    out.mkdir()
    for f in folder.iterdir():
        if f.suffix == ".json" and "index" not in f.name:
            (out / f.name).write_bytes(f.read_bytes())
    kept = {}
    for part in sorted(folder.glob("*.safetensors")):
        for name, tensor in read_safetensors(part).items():
            layer = re.match(r"model\.layers\.(\d+)\.(.*)", name)
            if not layer:
                kept[name] = tensor
            elif int(layer[1]) % 2 == 0:
                kept[f"model.layers.{int(layer[1]) // 2}.{layer[2]}"] = tensor
    write_safetensors(out / "model.safetensors", kept)
    config = json.loads((out / "config.json").read_text())
    config["num_hidden_layers"] = (config["num_hidden_layers"] + 1) // 2
    (out / "config.json").write_text(json.dumps(config))


def run(*command):
    print("$", *command, flush=True)
    subprocess.run([str(x) for x in command], check=True, stdout=subprocess.DEVNULL)


def held_out(folder):
    """Cross-entropy of the held-out rows behind the last step, and the tokens of the run."""
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").open()]
    last = [x for x in lines if "eval_loss" in x][-1]
    return last.get("eval_nll", last["eval_loss"]), last["tokens"]


def main():
    program, steps = pathlib.Path(sys.argv[1]) / "lmfast", int(sys.argv[2]) if len(sys.argv) > 2 else 30
    seeds = sys.argv[3:] or ["1", "2", "3"]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        verses = TEXT.read_text().splitlines()[:-1]
        rows = [" ".join(verses[i:i + VERSES]) for i in range(0, len(verses) - VERSES + 1, VERSES)]
        test = rows[-24:]
        for name, part in (("train", rows[:-24]), ("test", test)):
            (work / f"{name}.jsonl").write_text("".join(json.dumps({"text": x}) + "\n" for x in part))
        run(program, "export", "--model", MODEL, "--format", "hf", "--quant", "bf16", "--output", work / "whole", "--quiet")
        drop_layers(work / "whole", work / "half")
        common = ["--data", work / "train.jsonl", "--eval-data", work / "test.jsonl", "--eval-steps", "1000", "--batch-size", "4",
                  "--save-steps", "0", "--logging-steps", "1", "--guards", "off", "--too-long", "truncate", "--seq-len", "256", "--quiet"]
        start = {}
        for name, model in (("teacher", MODEL), ("student at the start", work / "half")):
            out = work / name.replace(" ", "-")
            run(program, "train", "--model", model, *common, "--max-steps", "1", "--lr", "1e-12", "--lora-r", "1", "--output", out)
            start[name] = held_out(out)[0]
            print(f"{name}: held-out loss {start[name]:.4f}", flush=True)
        run(program, "teacher-labels", "--teacher", MODEL, "--data", work / "train.jsonl", "--too-long", "truncate", "--seq-len", "256",
            "--temperature", "1", "--output", work / "labels", "--quiet")
        losses = {}
        for seed in seeds:
            for name, method in METHODS.items():
                out = work / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
                method = [work / x if x in ("half", "labels") else x for x in method]
                run(program, *method, *common, "--method", "full", "--max-steps", steps, "--lr", "3e-4", "--seed", seed,
                    "--output", out)
                loss, tokens = held_out(out)
                losses.setdefault(name, []).append(loss)
                print(f"seed {seed}, {name}: held-out loss {loss:.4f} after {tokens} tokens", flush=True)
        gap = start["student at the start"] - start["teacher"]
        print(f"\n| trained on | held-out loss, {len(seeds)} seeds, +- standard error | of the gap to the teacher |\n| --- | --- | --- |")
        for name, x in losses.items():
            mean = sum(x) / len(x)
            error = (sum((v - mean) ** 2 for v in x) / max(1, len(x) - 1) / len(x)) ** 0.5
            print(f"| {name} | {mean:.4f} +- {error:.4f} | {100 * (start['student at the start'] - mean) / gap:.1f} % |")
    mean = {name: sum(x) / len(x) for name, x in losses.items()}
    good = [mean[name] < mean["rows alone"] for name in ("teacher", "labels of 64 tokens")]
    print(f"distill: {sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
