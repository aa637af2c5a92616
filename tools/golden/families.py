# SPDX-License-Identifier: Apache-2.0
"""Each architecture of src/models in transformers and PEFT, with weights that are a formula: what tests/parity/family_*.json hold.

    python tools/golden/families.py [NAME ...]   # writes them again; needs torch, transformers, peft

src/train/families_test.c makes the same models in C and compares logits, and losses and gradient norms of two steps of LoRA. The cases are
those of tools/oracle/families.py: lines "oracle: {...}" in src/models/NAME.c."""
import json
import os
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402
import gradients as golden  # noqa: E402

BASE = {"vocab_size": formula.V, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "bos_token_id": 259, "eos_token_id": 261, "pad_token_id": None,
        "tie_word_embeddings": False, "use_cache": True}
OWN = ("model_type", "gguf", "llama_cpp", "why")  # keys of a case that are not transformers'
SEED, R, ALPHA, N_IDS = 1, 4, 6, 40
OPTS = {**golden.OPTS, "steps": 2}
TOKENIZER_CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": formula.SPECIAL[0], "eos_token": formula.SPECIAL[2],
                    "chat_template": formula.TEMPLATE}


def configuration(case):
    import transformers
    return transformers.AutoConfig.for_model(case["model_type"], **{**BASE, **{k: v for k, v in case.items() if k not in OWN}})


def cases():
    """(name of the architecture, number, case), and (name, 0, None) for one that names none."""
    for path in sorted((ROOT / "src" / "models").glob("*.c")):
        text = path.read_text()
        if re.search(rf"^const lmf_arch lmf_arch_{path.stem}\b", text, re.M):
            found = re.findall(r"oracle: (\{.*?\})(?= \*/|\n \* oracle|\n \*/)", text, re.S)
            found = [" ".join(m.replace("\n *", "\n").split()) for m in found]
            yield from ((path.stem, i, json.loads(m)) for i, m in enumerate(found))
            if not found:
                yield path.stem, 0, None


def fill(model):
    """Every tensor by formula; [[name, number, dims, kind]] of those that are saved."""
    import torch
    listed, seen = [], set()
    for number, (name, p) in enumerate(sorted(model.named_parameters())):
        kind = "embed" if "embed_tokens" in name else "matrix" if p.ndim > 1 else "norm" if float(p.detach().mean()) == 1 else "bias"
        p.data = torch.tensor(formula.tensor(SEED, number, tuple(p.shape), kind)).reshape(p.shape)
        if p.data_ptr() not in seen:
            listed.append([name, number, list(p.shape), kind])
        seen.add(p.data_ptr())
    model.tie_weights()
    return listed


def adapted(folder, listed):
    """A PEFT model on all linear layers with pairs by formula, and [[path, number, n_in, n_out]]."""
    import torch
    from peft import LoraConfig, get_peft_model
    model = get_peft_model(golden.load(folder), LoraConfig(r=R, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"))
    numbers, modules = {name: number for name, number, _, _ in listed}, {}
    for name, p in model.named_parameters():
        if "lora_" not in name:
            continue
        path = golden.hf_name(name).rsplit(".lora_", 1)[0]
        number = numbers[path + ".weight"]
        a = "lora_A" in name
        modules.setdefault(path, [path, number, 0, 0])[2 if a else 3] = p.shape[1 if a else 0]
        values = formula.tensor(SEED, number + (1000 if a else 2000), tuple(p.shape), "matrix" if a else "bias")
        p.data = torch.tensor(values).reshape(p.shape)
    return model, list(modules.values())


def make(case, work):
    import torch
    import transformers
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(configuration(case), attn_implementation="eager").float().eval()
    listed = fill(model)
    model.save_pretrained(work)
    (work / "tokenizer.json").write_text(json.dumps(formula.tokenizer()))
    (work / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    ids = [formula.words(SEED, 0, 0x1D5, N_IDS)[i] % formula.V for i in range(N_IDS)]
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    model, modules = adapted(work, listed)
    losses, norms = [], []
    data = golden.batches(transformers.AutoTokenizer.from_pretrained(work), steps=OPTS["steps"])
    for _, loss, norm, _ in golden.steps(model, data, OPTS):
        losses.append(loss), norms.append(norm)
    return {"config": json.loads((work / "config.json").read_text()), "tensors": listed, "modules": modules, "ids": ids,
            "logits": [[float(f"{x:.7g}") for x in logits[t]] for t in (0, N_IDS - 1)], "loss": losses, "grad_norm": norms}


def main():
    import peft
    import torch
    import transformers
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    recipe = {"made by": "tools/golden/families.py", "torch": torch.__version__, "transformers": transformers.__version__,
              "peft": peft.__version__, "seed": SEED, "rows": "tests/parity/train_rows.jsonl", "opts": OPTS, "r": R, "alpha": ALPHA}
    for name, i, case in cases():
        if case is None or (sys.argv[1:] and name not in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory() as work:
            text = json.dumps({"recipe": recipe, "case": case, **make(case, pathlib.Path(work))})
        (ROOT / "tests" / "parity" / f"family_{name}_{i}.json").write_text(text.replace("[[", "\n[[") + "\n")
        print(name, i, len(text), "bytes")


if __name__ == "__main__":
    main()
