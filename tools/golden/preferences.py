# SPDX-License-Identifier: Apache-2.0
"""Training on preferences by TRL's own trainers, on a formula model with an adapter: what tests/parity/align_*.json hold.

    python tools/golden/preferences.py [CASE ...]     # writes them again; needs torch, transformers, peft, trl

Tests in src/train/objectives/ train the same model in C and compare; tools/oracle/preferences.py compares live, over more steps. TRL
takes the token ids and masks of tools/golden/dpo.py, in order; its loop, its optimizer, its padding and its logs are its own."""
import json
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
import dpo as pairs_of  # noqa: E402
import gradients as golden  # noqa: E402

OPTS = {"batch": 3, "steps": 5, "lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "wd": 0.1, "clip": 1.0}
PAIR_REPORTS = ["rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected"]
ORPO_REPORTS = [*PAIR_REPORTS, "log_odds_ratio", "log_odds_chosen", "nll_loss"]
CPO_REPORTS = [*PAIR_REPORTS, "nll_loss"]
KTO_REPORTS = ["rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected", "kl"]
KTO_ROWS = ROOT / "tests" / "parity" / "kto_rows.jsonl"
# name of the case: objective, its options as LMFast has them, TRL's trainer and options, what both report
CASES = {
    "orpo": ("orpo", {"beta": 0.3}, "orpo-answer", {"beta": 0.3}, ORPO_REPORTS),
    "orpo_prompt": ("orpo", {"beta": 0.7, "nll-on-prompt": "true"}, "orpo", {"beta": 0.7}, ORPO_REPORTS),
    "ipo": ("ipo", {"beta": 0.4}, "dpo", {"beta": 0.4, "loss_type": ["ipo"]}, PAIR_REPORTS),
    "dpo_hinge": ("dpo", {"beta": 0.5, "loss-type": "hinge"}, "dpo", {"beta": 0.5, "loss_type": ["hinge"]}, PAIR_REPORTS),
    "dpo_robust": ("dpo", {"beta": 0.5, "loss-type": "robust", "label-smoothing": 0.1}, "dpo",
                   {"beta": 0.5, "loss_type": ["robust"], "label_smoothing": 0.1}, PAIR_REPORTS),
    "dpo_rpo": ("dpo", {"beta": 0.5, "rpo-alpha": 0.4}, "dpo", {"beta": 0.5, "loss_type": ["sigmoid", "sft"], "loss_weights": [1, 0.4]},
                PAIR_REPORTS),
    "cpo": ("cpo", {"beta": 0.2, "label-smoothing": 0.1}, "cpo", {"beta": 0.2, "label_smoothing": 0.1}, CPO_REPORTS),
    "cpo_hinge": ("cpo", {"beta": 0.2, "cpo-alpha": 0.5, "loss-type": "hinge"}, "cpo",
                  {"beta": 0.2, "cpo_alpha": 0.5, "loss_type": "hinge"}, CPO_REPORTS),
    "simpo": ("simpo", {"beta": 2.0, "simpo-gamma": 0.7}, "cpo", {"beta": 2.0, "simpo_gamma": 0.7, "loss_type": "simpo", "cpo_alpha": 0.0},
              PAIR_REPORTS),
    "simpo_cpo": ("simpo", {"beta": 1.5, "simpo-gamma": 0.3, "cpo-alpha": 0.6, "label-smoothing": 0.1}, "cpo",
                  {"beta": 1.5, "simpo_gamma": 0.3, "loss_type": "simpo", "cpo_alpha": 0.6, "label_smoothing": 0.1}, CPO_REPORTS),
    "kto": ("kto", {"beta": 0.3}, "kto", {"beta": 0.3}, KTO_REPORTS),
    "kto_weights": ("kto", {"beta": 0.8, "desirable-weight": 1.5, "undesirable-weight": 0.7}, "kto",
                    {"beta": 0.8, "desirable_weight": 1.5, "undesirable_weight": 0.7}, KTO_REPORTS),
}
RECORDED = ["orpo", "orpo_prompt", "ipo", "dpo_hinge", "dpo_robust", "dpo_rpo", "cpo", "simpo", "kto_weights"]


def rows_of(case):
    return KTO_ROWS if CASES[case][2] == "kto" else pairs_of.ROWS


def labelled(tokenizer):
    """[[(ids, learn), (ids, learn)] ...]: a row, and its prompt with the answer of the nearest row before it that has another prompt."""
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False)
    made = []
    for row in map(json.loads, KTO_ROWS.read_text().splitlines()):
        if isinstance(row.get("prompt"), str):
            made.append((encode(row["prompt"]), encode(row["completion"]) + [tokenizer.eos_token_id]))
            continue
        messages = row["messages"] if "messages" in row else row["prompt"] + row["completion"]
        head = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(messages, tokenize=False)
        assert whole.startswith(head)
        made.append((encode(head), encode(whole[len(head):whole.rindex("<|im_end|>") + len("<|im_end|>")])))
    sample = lambda p, a: (p + a, [0] * len(p) + [1] * len(a))
    out = []
    for i, (prompt, answer) in enumerate(made):
        other = next(made[k] for k in range(i - 1, i - len(made), -1) if made[k][0] != prompt)
        out.append([sample(prompt, answer), sample(prompt, other[1])])
    return out


def as_kto_takes_it(pairs):
    labels = [json.loads(line)["label"] for line in KTO_ROWS.read_text().splitlines()]
    rows = []
    for (own, measured), label in zip(pairs, labels, strict=True):
        (prompt, a), (same, b) = split(own), split(measured)
        assert prompt == same
        rows.append({"prompt_ids": prompt, "completion_ids": a, "KL_completion_ids": b, "label": label})
    return rows


def split(sample):
    ids, learn = sample
    first = learn.index(1)
    assert all(learn[first:])
    return ids[:first], ids[first:]


def as_dpo_takes_it(pairs):
    """[[(ids, learn), (ids, learn)] ...] for TRL's DPOTrainer, tokenized already."""
    rows = []
    for pair in pairs:
        (prompt, a), (same, b) = map(split, pair)
        assert prompt == same
        rows.append({"prompt_ids": prompt, "chosen_ids": a, "rejected_ids": b})
    return rows


def as_cpo_takes_it(pairs):
    """For the trainers that came before it."""
    rows = []
    for pair in pairs:
        row = {}
        for name, sample in zip(("chosen", "rejected"), pair):
            prompt, answer = split(sample)
            row |= {f"{name}_input_ids": prompt + answer, f"{name}_attention_mask": [1] * len(prompt + answer),
                    f"{name}_labels": [-100] * len(prompt) + answer, "prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
        rows.append(row)
    return rows


def classes(kind):
    """Trainer and configuration."""
    import torch
    if kind == "dpo":
        from trl import DPOConfig, DPOTrainer
        return DPOTrainer, DPOConfig, as_dpo_takes_it
    if kind == "kto":
        from trl import KTOConfig, KTOTrainer
        return KTOTrainer, KTOConfig, as_kto_takes_it
    if kind == "cpo":
        from trl.experimental.cpo import CPOConfig, CPOTrainer
        return CPOTrainer, CPOConfig, as_cpo_takes_it
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class AnswerAlone(ORPOTrainer):
        """The chosen answer's own loss over the answer, as the paper has it: TRL's logits, with its own labels of the answer."""
        def concatenated_forward(self, model, batch):
            chosen_logps, rejected_logps, chosen_logits, rejected_logits, _ = super().concatenated_forward(model, batch)
            labels = batch["chosen_labels"][:, 1:]
            logits = chosen_logits[:, :labels.shape[1]]
            nll = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
            return chosen_logps, rejected_logps, chosen_logits, rejected_logits, nll

    return ORPOTrainer if kind == "orpo" else AnswerAlone, ORPOConfig, as_cpo_takes_it


def train(case, folder, adapter, pairs, opts, out):
    """TRL's logs of each step, and the gradients of the first before clipping."""
    from datasets import Dataset, disable_progress_bars
    from torch.utils.data import SequentialSampler
    from transformers import AutoTokenizer, PrinterCallback
    _, _, kind, own, _ = CASES[case]
    base, config_class, take = classes(kind)
    disable_progress_bars()
    grads = {}

    class InOrder(base):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

        def training_step(self, model, *args, **kwargs):
            loss = super().training_step(model, *args, **kwargs)
            if not grads:
                grads.update({golden.hf_name(n): p.grad.detach().clone().numpy() for n, p in model.named_parameters() if p.requires_grad})
            return loss

    config = config_class(output_dir=str(out), max_length=512, seed=0, max_steps=opts["steps"],
                          per_device_train_batch_size=opts["batch"], gradient_accumulation_steps=1, gradient_checkpointing=False,
                          optim="adamw_torch", learning_rate=opts["lr"], lr_scheduler_type="constant", warmup_steps=0,
                          weight_decay=opts["wd"], max_grad_norm=opts["clip"], adam_epsilon=opts["eps"], use_cpu=True, bf16=False,
                          logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True, remove_unused_columns=False, **own)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    row = {"prompt": "a", "completion": "b"} if kind == "kto" else {"prompt": "a", "chosen": "b", "rejected": "c"}
    placeholder = Dataset.from_list([row | ({"label": i % 2 == 0} if kind == "kto" else {}) for i in range(len(pairs))])
    t = InOrder(model=golden.load(folder, adapter), args=config, processing_class=tokenizer, train_dataset=placeholder)
    t.remove_callback(PrinterCallback)
    t.train_dataset = Dataset.from_list(take(pairs))
    t.train()
    logs = [x for x in t.state.log_history if "loss" in x]
    assert len(logs) == opts["steps"]
    return logs, grads


def main():
    import peft
    import torch
    import transformers
    import trl
    with tempfile.TemporaryDirectory() as work:
        folder, adapter = golden.folders("llama_lora", work)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        for case in sys.argv[1:] or RECORDED:
            data = labelled(tokenizer) if rows_of(case) == KTO_ROWS else pairs_of.pairs(tokenizer)
            objective, options, kind, own, reports = CASES[case]
            recipe = {"made by": "tools/golden/preferences.py", "trl": trl.__version__, "torch": torch.__version__,
                      "transformers": transformers.__version__, "peft": peft.__version__, "seed": 1,
                      "rows": str(rows_of(case).relative_to(ROOT)),
                      "trl trainer": kind, "trl options": own, "objective": objective, "options": options, "opts": OPTS, "r": golden.R,
                      "alpha": golden.ALPHA}
            logs, grads = train(case, folder, adapter, data, OPTS, pathlib.Path(work) / "out")
            lines = [{k: float(x[k]) for k in ["loss", "grad_norm", *reports] if k in x} for x in logs]
            text = json.dumps({"recipe": recipe, "steps": lines, "gradients": {n: golden.digest(g) for n, g in grads.items()}})
            text = text.replace('"model.', '\n"model.').replace('"lm_head', '\n"lm_head').replace('{"loss', '\n{"loss')
            (ROOT / "tests" / "parity" / f"align_{case}.json").write_text(text + "\n")
            print(case, len(text), "bytes;", lines[0], "->", lines[-1])


if __name__ == "__main__":
    main()
