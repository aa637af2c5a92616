#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --build {build}
"""attention: `lmfast attention` against transformers' eager attentions, for every architecture of src/models.

    tools/oracle/attention.py --build build/release [--only phi3]

transformers makes each case of tools/golden/families.py with weights by formula (grouped heads, windows, normed queries and keys, layers
without rotation among them) and gives the attentions of a text with its tokenizer; ours are those of --maps:

- every layer, head, row and key within 1e-4, and the ids and the likeliest next tokens with their probabilities;
- one --layer, and one --head of it, have the same bits as in the file of all;
- rollout (Abnar and Zuidema 2020) as numpy computes it from transformers' attentions.
A window that hides nothing, or maps that are flat, fail: then the comparison would see nothing. Needs torch, transformers, safetensors."""
import argparse
import importlib.machinery
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402

family = importlib.machinery.SourceFileLoader("golden_families", str(ROOT / "tools" / "golden" / "families.py")).load_module()
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(2)
TEXTS = ["a", "the hen", "Attention, as far as it goes: which of these letters did the model look at in the end?"]
LIMIT = 1e-4
failures = 0


def report(name, good, text):
    global failures
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)


def ours(folder, text, *more):
    """What --json says and the maps."""
    with tempfile.TemporaryDirectory() as work:
        r = subprocess.run([str(ARGS.build / "lmfast"), "attention", "-m", folder, "--raw", "--prompt", text, "--maps", f"{work}/maps",
                            "--json", *map(str, more)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(r.stderr[-400:])
        return json.loads(r.stdout), load_file(f"{work}/maps")


def make(case, folder):
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(family.configuration(case), attn_implementation="eager").float().eval()
    family.fill(model)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(formula.tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps(family.TOKENIZER_CONFIG))
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def rollout(attentions):
    out = np.eye(attentions[0].shape[-1])
    for a in attentions:
        a = a.astype(np.float64).mean(0) + np.eye(a.shape[-1])
        out = (a / a.sum(-1, keepdims=True)) @ out
    return out


def check_text(name, folder, model, tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        out = model(torch.tensor([ids]), output_attentions=True, use_cache=False)
    want = [a[0].numpy() for a in out.attentions]
    said, maps = ours(folder, text)
    got = [maps[f"layers.{i}.attention"] for i in range(len(want))]
    gap = max(float(np.abs(a - b).max()) for a, b in zip(got, want, strict=True))
    report(f"{name}, {len(ids)} tokens", gap <= LIMIT and maps["input_ids"].tolist() == ids and [t["id"] for t in said["tokens"]] == ids and
           all(a.shape == b.shape for a, b in zip(got, want)), f"{len(want)} layers of {len(want[0])} heads, greatest difference {gap:.1e}")
    p = torch.softmax(out.logits[0, -1].double(), -1)
    top = torch.topk(p, len(said["next"]))
    gap = max(abs(float(p[g["id"]]) - g["probability"]) for g in said["next"])
    report(f"{name}, {len(ids)} tokens: next", gap < 1e-5 and
           abs(sum(g["probability"] for g in said["next"]) - float(top.values.sum())) < 1e-4,
           f"greatest difference of a probability {gap:.1e}")
    gap = float(np.abs(np.array(said["rollout"]) - rollout(want)[-1]).max())
    report(f"{name}, {len(ids)} tokens: rollout", gap < 1e-5 and np.allclose(maps["rollout"], said["rollout"], atol=1e-7),
           f"greatest difference {gap:.1e}")
    return want, maps


def check(name, case, folder):
    model = make(case, folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        want, maps = check_text(name, folder, model, tokenizer, text)
    n, last = want[0].shape[-1], len(want) - 1
    spread = max(float(w[:, -1].max() - w[:, -1].min()) for w in want)
    report(f"{name}: maps differ from flat ones", spread > 3 / n, f"up to {spread:.2f} between keys of a row")
    windows = {int((w[:, -1] > 0).sum(-1).max()) for w in want}
    hides = bool(getattr(model.config, "sliding_window", None)) and getattr(model.config, "use_sliding_window", True)
    report(f"{name}: windows", not hides or min(windows) < n, f"of {n} rows the last sees {sorted(windows)}")
    said, one = ours(folder, TEXTS[-1], "--layer", last)
    report(f"{name}: --layer {last}", sorted(one) == ["attention", "input_ids", f"layers.{last}.attention"] and "rollout" not in said and
           np.array_equal(one[f"layers.{last}.attention"], maps[f"layers.{last}.attention"]) and
           np.abs(np.array(said["attention"]) - want[last][:, -1].mean(0)).max() < LIMIT, "the same bits as among all")
    _, head = ours(folder, TEXTS[-1], "--layer", last, "--head", 3)
    report(f"{name}: --head 3", np.array_equal(head[f"layers.{last}.attention"][0], maps[f"layers.{last}.attention"][3]),
           "the same bits as among all")


def main():
    n = 0
    for stem, i, case in family.cases():
        if ARGS.only and stem not in ARGS.only.split(","):
            continue
        if case is None:
            continue  # tools/oracle/families.py complains of it
        n += 1
        with tempfile.TemporaryDirectory() as work:
            try:
                check(f"{stem} {i}", case, pathlib.Path(work))
            except Exception as e:  # noqa: BLE001  (one family's failure is a line, the others go on)
                report(f"{stem} {i}", False, f"{type(e).__name__}: {str(e)[-500:]}")
    report("cases", n > 0, f"{n} of src/models")
    print("attention:", "all equal" if not failures else f"{failures} differences")
    return failures != 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--only")
    ARGS = parser.parse_args()
    sys.exit(main())
