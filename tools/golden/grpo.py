# SPDX-License-Identifier: Apache-2.0
"""One step of TRL's GRPOTrainer on given answers, on a formula model with an adapter: what tests/parity/grpo_*.json hold.

    python tools/golden/grpo.py [CASE ...]     # writes them again; needs torch, transformers, peft, trl

src/train/objectives/grpo_test.c takes the same step in C and compares; tools/oracle/grpo.py compares live, on other answers. Prompts,
answers, advantages and how far the older weights and the base were off are drawn by a seed; log-probabilities, loss, clipping, means and
gradients are TRL's own (_get_per_token_logps_and_entropies, _compute_loss), padded, in as many micro-batches as a case has."""
import json
import os
import pathlib
import random
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
import gradients as golden  # noqa: E402

MAX_TOK, BATCH = 12, 4
# name: TRL's options, which are ours with a dash; micro-batches; whether the older weights' log-probabilities are given
CASES = {
    "dapo": ({"loss_type": "dapo", "epsilon_high": 0.28}, 2, True),
    "grpo": ({"loss_type": "grpo", "beta": 0.3}, 2, True),
    "bnpo": ({"loss_type": "bnpo", "epsilon": 0.1}, 3, True),
    "dr_grpo": ({"loss_type": "dr_grpo", "beta": 0.1, "temperature": 0.7}, 1, False),
    "dapo_kl": ({"loss_type": "dapo", "beta": 0.5, "temperature": 1.3}, 1, True),
}
RECORDED = ["dapo", "grpo", "bnpo", "dr_grpo"]
REPORTS = ["kl", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean"]


def draw(case, seed, vocab):
    """Answers with what an objective wants of them but log-probabilities; some are cut off and masked, as TRL masks them."""
    rng = random.Random(f"{case} {seed}")
    out = []
    for _ in range(CASES[case][1] * BATCH):
        n = rng.randint(1, MAX_TOK)
        out.append({"prompt": [rng.randrange(vocab) for _ in range(rng.randint(2, 9))], "answer": [rng.randrange(vocab) for _ in range(n)],
                    "advantage": rng.uniform(-1.5, 1.5), "masked": rng.random() < 0.2,
                    "off_old": [rng.gauss(0, 0.3) for _ in range(n)], "off_base": [rng.gauss(0, 0.4) for _ in range(n)]})
    out[0]["masked"] = False
    return out


def trainer(case, folder, adapter, out):
    from datasets import Dataset, disable_progress_bars
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer
    options, n_micro, _ = CASES[case]
    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    config = GRPOConfig(output_dir=str(out), per_device_train_batch_size=BATCH, gradient_accumulation_steps=n_micro, num_generations=BATCH,
                        max_completion_length=MAX_TOK, use_cpu=True, bf16=False, report_to=[], disable_tqdm=True,
                        gradient_checkpointing=False, **options)
    t = GRPOTrainer(model=golden.load(folder, adapter), reward_funcs=lambda completions, **_: [0.0] * len(completions), args=config,
                    processing_class=tokenizer, train_dataset=Dataset.from_list([{"prompt": "a"}] * BATCH))
    t.current_gradient_accumulation_steps = n_micro
    t.model.train()
    return t


def padded(rows, side):
    """Rows of numbers as TRL pads them, and the mask."""
    import torch
    width = max(map(len, rows))
    full = [[0] * (width - len(r)) + list(r) if side == "left" else list(r) + [0] * (width - len(r)) for r in rows]
    mask = [[0] * (width - len(r)) + [1] * len(r) if side == "left" else [1] * len(r) + [0] * (width - len(r)) for r in rows]
    return torch.tensor(full), torch.tensor(mask)


def step(case, folder, adapter, answers, out):
    """TRL's loss and reports, its gradients, and the answers with the log-probabilities that they were made from."""
    import torch
    _, n_micro, has_old = CASES[case]
    t = trainer(case, folder, adapter, out)
    n_tok = sum(len(a["answer"]) for a in answers if not a["masked"])
    loss, sums = 0.0, {}
    for k in range(n_micro):
        part = answers[k * BATCH:(k + 1) * BATCH]
        prompt, prompt_mask = padded([a["prompt"] for a in part], "left")
        answer, mask = padded([a["answer"] for a in part], "right")
        ids, attention = torch.cat([prompt, answer], 1), torch.cat([prompt_mask, mask], 1)
        with torch.no_grad():
            logps = t._get_per_token_logps_and_entropies(t.model, ids, attention, answer.shape[1])[0]
        for a, row in zip(part, logps, strict=True):
            a["logp"] = row[:len(a["answer"])].tolist()
            a["old"] = [x + y for x, y in zip(a["logp"], a["off_old"])]
            a["base"] = [x + y for x, y in zip(a["logp"], a["off_base"])]
        learned = mask * torch.tensor([[0 if a["masked"] else 1] for a in part])
        inputs = {"prompt_ids": prompt, "prompt_mask": prompt_mask, "completion_ids": answer, "completion_mask": learned,
                  "advantages": torch.tensor([a["advantage"] for a in part]), "num_items_in_batch": torch.tensor(n_tok),
                  "ref_per_token_logps": padded([a["base"] for a in part], "right")[0]}
        if has_old:
            inputs["old_per_token_logps"] = padded([a["old"] for a in part], "right")[0]
        # masked answers are attended to by themselves alone: TRL's own masking hides their tokens from attention, and trains none of them
        mine = t._compute_loss(t.model, inputs)
        mine.backward()
        loss += mine.item()
        share = sum(len(a["answer"]) for a in part if not a["masked"]) / max(n_tok, 1)
        for name in REPORTS:
            if t._metrics["train"][name]:
                sums[name] = sums.get(name, 0.0) + share * t._metrics["train"][name][-1]
    grads = {golden.hf_name(n): p.grad.detach().numpy() for n, p in t.model.named_parameters() if p.requires_grad and "ref" not in n}
    return {"loss": loss, **sums}, grads


def as_given(answers):
    return [{k: a[k] for k in ("prompt", "answer", "advantage", "masked", "old", "base", "logp")} for a in answers]


def main():
    import peft
    import torch
    import transformers
    import trl
    with tempfile.TemporaryDirectory() as work:
        folder, adapter = golden.folders("llama_lora", work)
        vocab = transformers.AutoConfig.from_pretrained(folder).vocab_size
        for case in sys.argv[1:] or RECORDED:
            answers = draw(case, 1, vocab)
            numbers, grads = step(case, folder, adapter, answers, pathlib.Path(work) / "out")
            options, n_micro, has_old = CASES[case]
            recipe = {"made by": "tools/golden/grpo.py", "trl": trl.__version__, "torch": torch.__version__,
                      "transformers": transformers.__version__, "peft": peft.__version__, "seed": 1, "trl options": options,
                      "options": {k.replace("_", "-"): v for k, v in options.items()} |
                                 {"max-completion-length": MAX_TOK, "num-generations": BATCH, "num-iterations": 1 + has_old},
                      "batch": BATCH, "batches": n_micro, "r": golden.R, "alpha": golden.ALPHA}
            text = json.dumps({"recipe": recipe, "step": numbers, "answers": as_given(answers),
                               "gradients": {n: golden.digest(g) for n, g in grads.items()}})
            for mark in ('"model.', '{"prompt"', '"answers"', '"gradients"', '"step"'):
                text = text.replace(mark, "\n" + mark)
            (ROOT / "tests" / "parity" / f"grpo_{case}.json").write_text(text + "\n")
            print(case, len(text), "bytes;", numbers)


if __name__ == "__main__":
    main()
