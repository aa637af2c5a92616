# SPDX-License-Identifier: Apache-2.0
"""Direct Preference Optimization of the formula models by PyTorch (transformers, PEFT), from the paper's formula: what
tests/parity/dpo_*.json hold.

    python tools/golden/dpo.py            # writes them again; needs torch, transformers, peft

src/train/dpo_test.c trains the same models in C and compares; tools/oracle/dpo.py compares with TRL's DPOTrainer, live. The
reference is the model as it starts, its adapter included."""
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import gradients as golden  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "dpo_rows.jsonl"
OPTS = {"batch": 3, "steps": 8, "lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "wd": 0.1, "clip": 1.0}
CASES = {"llama_lora": {"beta": 0.5, "label-smoothing": 0.0}, "llama_full": {"beta": 0.2, "label-smoothing": 0.1}}
REPORTS = ["rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected"]
NLL = "nll_loss"  # of the chosen answers' tokens; TRL's DPOTrainer does not log it


def text_pair(row):
    """prompt, [chosen, rejected] of a row of texts."""
    chosen, rejected = row["chosen"], row["rejected"]
    if "prompt" in row:
        return row["prompt"], [chosen, rejected]
    n = len(os.path.commonprefix([chosen, rejected]))
    n -= chosen[:n].endswith(" ")
    return chosen[:n], [chosen[n:], rejected[n:]]


def message_pair(row):
    """prompt, [chosen, rejected] of a row of messages, a text standing for one message."""
    answers = [[{"role": "assistant", "content": x}] if isinstance(x, str) else x for x in (row["chosen"], row["rejected"])]
    prompt = row.get("prompt")
    if isinstance(prompt, str) and answers[0][0]["role"] == "assistant":
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list):
        n = next(i for i, (a, b) in enumerate(zip(*answers)) if a != b)
        prompt, answers = answers[0][:n], [a[n:] for a in answers]
    return prompt, answers


def pairs(tokenizer, rows=ROWS):
    """[[(ids, learn), (ids, learn)] ...], chosen first. An answer ends with its end token."""
    out = []
    for row in map(json.loads, pathlib.Path(rows).read_text().splitlines()):
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
        if all(isinstance(row.get(k, ""), str) for k in ("prompt", "chosen", "rejected")):
            prompt, answers = text_pair(row)
            both = [(encode(prompt), encode(a) + [tokenizer.eos_token_id]) for a in answers]
        else:
            prompt, answers = message_pair(row)
            head = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
            both = []
            for a in answers:
                whole = tokenizer.apply_chat_template(prompt + a, tokenize=False)
                assert whole.startswith(head)
                both.append((encode(head), encode(whole[len(head):whole.rindex("<|im_end|>") + len("<|im_end|>")])))
        out.append([(p + a, [0] * len(p) + [1] * len(a)) for p, a in both])
    return out


def batches(data, batch, steps):
    out, at = [], 0
    for _ in range(steps):
        out.append(list(range(at, min(at + batch, len(data)))))
        at = at + batch if at + batch < len(data) else 0
    return out


def steps(model, data, plan, opts, beta, smoothing):
    """Yields (step, loss, norm, reports, gradients of the first step or None); data are pairs, plan their numbers by step."""
    import torch
    from torch.nn.functional import logsigmoid
    named = [(golden.hf_name(n), p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [{"params": [p for _, p in named if p.ndim > 1], "weight_decay": opts["wd"]}, {"params": [p for _,
            p in named if p.ndim == 1], "weight_decay": 0.0}]
    adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=opts["lr"], betas=(opts["beta1"], opts["beta2"]), eps=opts["eps"])
    logp = lambda sample: -golden.nll(model, *sample)
    with torch.no_grad():
        reference = [[logp(sample) for sample in pair] for pair in data]
    for step, numbers in enumerate(plan):
        adam.zero_grad()
        loss, sums, nll = 0.0, [0.0] * len(REPORTS), 0.0
        n_chosen = sum(sum(data[i][0][1][1:]) for i in numbers)
        for i in numbers:
            mine = [logp(sample) for sample in data[i]]
            reward = [beta * (m - r) for m, r in zip(mine, reference[i])]
            margin = reward[0] - reward[1]
            part = -((1 - smoothing) * logsigmoid(margin) + smoothing * logsigmoid(-margin)) / len(numbers)
            part.backward()
            loss += part.item()
            nll -= mine[0].item() / n_chosen
            row = [*reward, float(margin > 0), margin, *mine]
            sums = [s + float(torch.as_tensor(x).detach()) / len(numbers) for s, x in zip(sums, row)]
        grads = {n: p.grad.detach().clone().numpy() for n, p in named} if step == 0 else None
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in named], opts["clip"]).item()
        adam.step()
        yield step + 1, loss, norm, dict(zip(REPORTS, sums)) | {NLL: nll}, grads


def main():
    import peft
    import torch
    import transformers
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    for case, own in CASES.items():
        recipe = {"made by": "tools/golden/dpo.py", "torch": torch.__version__, "transformers": transformers.__version__,
                  "peft": peft.__version__,
                  "seed": 1, "rows": "tests/parity/dpo_rows.jsonl", "opts": OPTS, "r": golden.R, "alpha": golden.ALPHA, **own}
        with tempfile.TemporaryDirectory() as work:
            folder, adapter = golden.folders(case, work)
            data = pairs(transformers.AutoTokenizer.from_pretrained(folder))
            lines = []
            plan = batches(data, OPTS["batch"], OPTS["steps"])
            for step, loss, norm, reports, grads in steps(golden.load(folder, adapter), data, plan, OPTS, own["beta"],
                                                          own["label-smoothing"]):
                lines.append({"loss": loss, "grad_norm": norm, **reports})
                first = {n: golden.digest(g) for n, g in grads.items()} if grads else first
        text = json.dumps({"recipe": recipe, "case": case, "steps": lines, "gradients": first})
        text = text.replace('"model.', '\n"model.').replace('"lm_head', '\n"lm_head').replace('{"loss', '\n{"loss')
        (ROOT / "tests" / "parity" / f"dpo_{case}.json").write_text(text + "\n")
        print(case, len(text), "bytes; loss", lines[0]["loss"], "->", lines[-1]["loss"], lines[-1])


if __name__ == "__main__":
    main()
