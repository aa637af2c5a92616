# SPDX-License-Identifier: Apache-2.0
"""Gradients and ten AdamW steps of the formula models by PyTorch (transformers, PEFT): what tests/parity/gradients_*.json hold.

    python tools/golden/gradients.py [CASE ...]     # writes them again; needs torch, transformers, peft

src/train/gradients_test.c trains the same models in C and compares; tools/oracle/gradients.py compares every element, live. A
gradient is kept as its norm, its products with two vectors of random numbers (formula.signed(7, j, 0xd0, n)) and eight elements."""
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"
OPTS = {"batch": 4, "steps": 10, "lr": 3e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "wd": 0.1, "clip": 1.0}
R, ALPHA = 4, 8
CASES = {"llama_full": {}, "llama_tied_full": {"tied": True}, "llama_lora": {}, "qwen2_full": {"bias": True}, "qwen2_lora": {"bias": True},
         "llama_dropout": {}, "llama_dora": {}, "llama_nf4": {}, "llama_sgd": {}, "llama_adamw_8bit": {}}
DROPOUT = {"dropout": 0.3, "dropout_seed": 0x123456789}
# what differs from the recipe; nf4 and adamw_8bit need bitsandbytes,
# whose moments have blocks for each parameter: with rank 8 all are whole
MORE = {"llama_dropout": DROPOUT, "llama_nf4": {"nf4": True}, "llama_sgd": {"optimizer": "sgd", "momentum": 0.9, "lr": 0.3},
        "llama_dora": {"dora": True},
        "llama_adamw_8bit": {"optimizer": "adamw_8bit", "r": 8}}


def batches(tokenizer, rows=ROWS, batch=OPTS["batch"], steps=OPTS["steps"]):
    """[[(ids, learn), ...] ...] in file order, each epoch anew; learn marks assistants' texts and their end token."""
    samples = []
    for line in pathlib.Path(rows).read_text().splitlines():
        messages, ids, learn = json.loads(line)["messages"], [], []
        for i, m in enumerate(messages):
            if m["role"] != "assistant":
                continue
            head = tokenizer.apply_chat_template(messages[:i], tokenize=False, add_generation_prompt=True)
            whole = tokenizer.apply_chat_template(messages[:i + 1], tokenize=False)
            assert whole.startswith(head)
            answer = whole[len(head):whole.rindex("<|im_end|>") + len("<|im_end|>")]
            prompt = tokenizer.encode(head, add_special_tokens=False)[len(ids):]
            mine = tokenizer.encode(answer, add_special_tokens=False)
            ids, learn = ids + prompt + mine, learn + [0] * len(prompt) + [1] * len(mine)
        samples.append((ids, learn))
    out, at = [], 0
    for _ in range(steps):
        out.append(samples[at:at + batch])
        at = at + batch if at + batch < len(samples) else 0
    return out


def load(folder, lora=None, dora=False):
    """The folder's model in f32; lora: a PEFT folder, or a rank for PEFT's own beginning."""
    import torch
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(2)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.train()
    if isinstance(lora, int):
        from peft import LoraConfig, get_peft_model
        torch.manual_seed(5)
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = get_peft_model(model, LoraConfig(r=lora, lora_alpha=2 * lora, lora_dropout=0.0, target_modules=names, task_type="CAUSAL_LM",
                                                 use_dora=dora))
    elif lora:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, lora, is_trainable=True)
    return model


def hf_name(name):
    """Without what PEFT puts around it."""
    return name.removeprefix("base_model.model.").replace(".default.weight", ".weight")


def to_nf4(model):
    """bitsandbytes' values in place of those of each layer's matrices whose rows are whole blocks."""
    import bitsandbytes.functional as bnb
    for name, p in model.named_parameters():
        if "layers." in name and p.ndim == 2 and p.shape[1] % 64 == 0 and "lora_" not in name:
            p.data = bnb.dequantize_4bit(*bnb.quantize_4bit(p.data, blocksize=64, quant_type="nf4", compress_statistics=True))
    return model


def philox(key, low, high):
    """Philox4x32-10 of 64-bit keys and counters, arrays or numbers: [..., 4] words."""
    import numpy as np
    key, low, high = np.broadcast_arrays(*(np.asarray(x, np.uint64) for x in (key, low, high)))
    word, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    k0, k1, c0, c1, c2, c3 = key & word, key >> shift, low & word, low >> shift, high & word, high >> shift
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> shift) ^ c1 ^ k0, p1 & word, (p0 >> shift) ^ c3 ^ k1, p0 & word
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & word, (k1 + np.uint64(0xBB67AE85)) & word
    return np.stack([c0, c1, c2, c3], -1)


def drop_as_ours(model, order, share=DROPOUT["dropout"], seed=DROPOUT["dropout_seed"]):
    """PEFT's dropout modules with the masks of src/ops/dropout/dropout.h. order: (step, sample) of each forward pass to come."""
    import numpy as np
    import torch
    now, order = [], iter(order)

    class Mask(torch.nn.Module):
        def __init__(self, stream):
            super().__init__()
            self.stream = stream

        def forward(self, x):
            step, item = now
            r = philox(seed, item << 32 | np.arange(x.shape[-2], dtype=np.uint64), step << 32 | self.stream)
            row = r[:, 1] << np.uint64(32) | r[:, 0]
            words = philox(row[:, None], np.arange((x.shape[-1] + 3) // 4, dtype=np.uint64)[None], 0)
            words = words.reshape(len(row), -1)[:, :x.shape[-1]]
            keep = (words >> np.uint64(8)).astype(np.float64) * 2.0**-24 >= np.float32(share)
            return x * torch.from_numpy(keep.astype(np.float32)) / (1 - share)

    # A and B are neighbours among the parameters, which go by kind, then by layer
    layers = [m for m in model.modules() if hasattr(m, "lora_dropout") and len(m.lora_dropout)]
    n_kinds, n_layers = 7, len(layers) // 7
    for i, layer in enumerate(layers):
        layer.lora_dropout["default"] = Mask(2 * (i % n_kinds * n_layers + i // n_kinds))
    hook = model.register_forward_pre_hook(lambda *_: now.__setitem__(slice(None), next(order)))

    def stop():
        hook.remove()
        for layer in layers:
            layer.lora_dropout["default"] = torch.nn.Identity()
    model.drop_no_more = stop
    return model


def drawn(data, n_samples):
    """(step, sample) of each forward pass over batches()."""
    at = 0
    for step, batch in enumerate(data):
        for _ in batch:
            yield step, at % n_samples
            at += 1


def nll(model, ids, learn):
    """Sum over the learned tokens."""
    import torch
    x = torch.tensor([ids])
    logits = model(input_ids=x, use_cache=False).logits[0, :-1]
    each = torch.nn.functional.cross_entropy(logits, x[0, 1:], reduction="none")
    return (each * torch.tensor(learn[1:], dtype=torch.float32)).sum()


def steps(model, data, opts, factor=lambda step: 1.0):
    """Yields (step, loss, norm before clipping, gradients of the first step or None) after each AdamW step."""
    import torch
    named = [(hf_name(n), p) for n, p in model.named_parameters() if p.requires_grad]
    decays = [p for n, p in named if p.ndim > 1 or "magnitude" in n]  # as transformers' Trainer has it
    groups = [{"params": decays, "weight_decay": opts["wd"]},
              {"params": [p for n, p in named if p.ndim == 1 and "magnitude" not in n], "weight_decay": 0.0}]
    groups = [g for g in groups if g["params"]]
    if opts.get("optimizer") == "sgd":
        adam = torch.optim.SGD(groups, lr=opts["lr"], momentum=opts["momentum"])
    elif opts.get("optimizer") == "adamw_8bit":
        import bitsandbytes
        adam = bitsandbytes.optim.AdamW8bit(groups, lr=opts["lr"], betas=(opts["beta1"], opts["beta2"]), eps=opts["eps"], min_8bit_size=0)
    else:
        adam = torch.optim.AdamW(groups, lr=opts["lr"], betas=(opts["beta1"], opts["beta2"]), eps=opts["eps"])
    for step, batch in enumerate(data):
        n_learn = sum(sum(learn[1:]) for _, learn in batch)
        loss = 0.0
        adam.zero_grad()
        for ids, learn in batch:
            part = nll(model, ids, learn) / n_learn
            part.backward()
            loss += part.item()
        grads = {n: p.grad.detach().clone().numpy() for n, p in named} if step == 0 else None
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in named], opts["clip"] or float("inf")).item()
        for g in adam.param_groups:
            g["lr"] = opts["lr"] * factor(step)
        adam.step()
        yield step + 1, loss, norm, grads


def folders(case, work):
    """The case's model and adapter (None: all weights are trained)."""
    model = formula.save(pathlib.Path(work) / "model", **CASES[case])
    adapter = formula.save_adapter(pathlib.Path(work) / "adapter", MORE.get(case, {}).get("r", R),
        ALPHA, dora=case.endswith("dora")) if not case.endswith("full") else None
    return model, adapter


def digest(grad, cache={}):
    import numpy as np
    g = grad.astype(np.float64).ravel()
    for j in range(2):
        if len(cache.get(j, ())) < g.size:
            cache[j] = np.array(formula.signed(7, j, 0xD0, g.size))
    at = [int(i) for i in np.linspace(0, g.size - 1, 8)]
    return {"norm": float(np.linalg.norm(g)), "dots": [float(g @ cache[j][:g.size]) for j in range(2)], "at": at, "values": [float(g[i]) for i in at]}


def main():
    import peft
    import torch
    import transformers
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    recipe = {"made by": "tools/golden/gradients.py", "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__,
              "seed": 1, "rows": "tests/parity/train_rows.jsonl", "opts": OPTS, "r": R, "alpha": ALPHA}
    for case in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as work:
            folder, adapter = folders(case, work)
            data = batches(transformers.AutoTokenizer.from_pretrained(folder))
            losses, norms = [], []
            model = load(folder, adapter)
            if case.endswith("nf4"):
                to_nf4(model)
            if case.endswith("dropout"):
                drop_as_ours(model, drawn(data, len(ROWS.read_text().splitlines())))
            for step, loss, norm, grads in steps(model, data, OPTS | MORE.get(case, {})):
                losses.append(loss), norms.append(norm)
                first = {n: digest(g) for n, g in grads.items()} if grads else first
        text = json.dumps({"recipe": recipe | MORE.get(case, {}), "case": case, "loss": losses, "grad_norm": norms, "gradients": first})
        (ROOT / "tests" / "parity" / f"gradients_{case}.json").write_text(text.replace('"model.', '\n"model.').replace('"lm_head', '\n"lm_head') + "\n")
        print(case, len(text), "bytes; loss", losses[0], "->", losses[-1])


if __name__ == "__main__":
    main()
