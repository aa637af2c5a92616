# SPDX-License-Identifier: Apache-2.0
"""Distillation by TRL's own loss (GKDTrainer.generalized_jsd_loss) on formula models: what tests/parity/distill_*.json hold.

    python tools/golden/distill.py [CASE ...]     # writes them again; needs torch, transformers, peft, trl

src/train/objectives/distill_test.c trains the same student beside the same teacher in C; tools/oracle/distill.py compares live, over more
steps. Rows are padded here, on either side, and packed there; masks and shifts are TRL's."""
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
import formula  # noqa: E402
import gradients as golden  # noqa: E402

OPTS = dict(golden.OPTS, steps=5, lr=2e-3, eps=1e-6)
TEACHER = {"seed": 3, "layers": 3, "bias": True}  # a qwen2, deeper than the student
# the student of tools/golden/gradients.py, and the objective's options
CASES = {
    "forward": ("llama_lora", {"alpha": 0.7, "temperature": 2.0}),
    "reverse": ("llama_lora", {"alpha": 1.0, "temperature": 1.0, "divergence": "reverse"}),
    "js": ("llama_lora", {"alpha": 0.5, "temperature": 0.9, "divergence": "js", "beta": 0.3}),
    "forward_full": ("llama_full", {"alpha": 0.5, "temperature": 3.0}),
    "js_tied_full": ("llama_tied_full", {"alpha": 1.0, "temperature": 1.0, "divergence": "js"}),
    "taid": ("llama_lora", {"alpha": 0.8, "temperature": 1.5, "taid-start": 0.3}),
}
RECORDED = ["forward", "reverse", "js", "js_tied_full", "taid"]


def beta_of(options):
    """TRL's number for a divergence."""
    return {"forward": 0.0, "reverse": 1.0, "js": options.get("beta", 0.5)}[options.get("divergence", "forward")]


def padded(samples, right=True):
    """Ids, attention mask and labels of a batch."""
    import torch
    long = max(len(ids) for ids, _ in samples)
    rows = []
    for ids, learn in samples:
        pad = [0] * (long - len(ids))
        labels = [i if k else -100 for i, k in zip(ids, learn)]
        row = (ids, [1] * len(ids), labels)
        rows.append([x + y if right else y + x for x, y in zip(row, (pad, pad, [-100] * len(pad)))])
    return [torch.tensor(x) for x in zip(*rows)]


def losses(student, teacher, samples, options, progress, right=True):
    """Loss, and TRL's divergence (times temperature squared) and the cross-entropy in it."""
    import torch
    from trl.experimental.gkd import GKDTrainer
    ids, mask, labels = padded(samples, right)
    place = (mask.cumsum(1) - 1).clamp(min=0)
    take = dict(input_ids=ids, attention_mask=mask, position_ids=place, use_cache=False)
    own = student(**take).logits[:, :-1]
    with torch.no_grad():
        other = teacher(**take).logits[:, :-1, :own.shape[-1]]  # rows of a larger embedding are no tokens
    start = options.get("taid-start", 1.0)
    share = start + (1 - start) * progress
    other = share * other + (1 - share) * own.detach()
    t, labels = options["temperature"], labels[:, 1:]
    kl = t * t * GKDTrainer.generalized_jsd_loss(own, other, labels, beta=beta_of(options), temperature=t)
    nll = torch.nn.functional.cross_entropy(own.reshape(-1, own.shape[-1]), labels.reshape(-1))
    return options["alpha"] * kl + (1 - options["alpha"]) * nll, kl, nll


def steps(student, teacher, data, options, opts):
    """Yields (numbers of the step, gradients of the first or None)."""
    import torch
    named = [(golden.hf_name(n), p) for n, p in student.named_parameters() if p.requires_grad]
    groups = [{"params": [p for _, p in named if p.ndim > 1], "weight_decay": opts["wd"]},
              {"params": [p for _, p in named if p.ndim == 1], "weight_decay": 0.0}]
    adam = torch.optim.AdamW([g for g in groups if g["params"]], lr=opts["lr"], betas=(opts["beta1"], opts["beta2"]), eps=opts["eps"])
    teacher.eval()
    for step, batch in enumerate(data):
        adam.zero_grad()
        loss, kl, nll = losses(student, teacher, batch, options, step / len(data), right=step % 2 == 0)
        loss.backward()
        grads = None if step else {n: p.grad.detach().clone().numpy() for n, p in named}
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in named], opts["clip"]).item()
        adam.step()
        yield {"step": step + 1, "loss": loss.item(), "grad_norm": norm, "kl": kl.item(), "nll": nll.item()}, grads


def folders(case, work):
    """Student, adapter (None: all weights are trained), teacher."""
    student, adapter = golden.folders(CASES[case][0], work)
    return student, adapter, formula.save(pathlib.Path(work) / "teacher", **TEACHER)


def run(case, work, opts, teacher_folder=None):
    from transformers import AutoTokenizer
    student, adapter, teacher = folders(case, work)
    data = golden.batches(AutoTokenizer.from_pretrained(student), batch=opts["batch"], steps=opts["steps"])
    out, first = [], None
    for numbers, grads in steps(golden.load(student, adapter), golden.load(teacher_folder or teacher), data, CASES[case][1], opts):
        out.append(numbers)
        first = grads or first
    return out, first


def main():
    import peft
    import torch
    import transformers
    import trl
    for case in sys.argv[1:] or RECORDED:
        with tempfile.TemporaryDirectory() as work:
            lines, grads = run(case, work, OPTS)
        student, options = CASES[case]
        recipe = {"made by": "tools/golden/distill.py", "trl": trl.__version__, "torch": torch.__version__,
                  "transformers": transformers.__version__, "peft": peft.__version__, "student": student, "teacher": TEACHER,
                  "rows": str(golden.ROWS.relative_to(ROOT)), "options": options, "opts": OPTS, "r": golden.R, "alpha": golden.ALPHA}
        text = json.dumps({"recipe": recipe, "steps": [{k: v for k, v in x.items() if k != "step"} for x in lines],
                           "gradients": {n: golden.digest(g) for n, g in grads.items()}})
        text = text.replace('"model.', '\n"model.').replace('"lm_head', '\n"lm_head').replace('{"loss', '\n{"loss')
        (ROOT / "tests" / "parity" / f"distill_{case}.json").write_text(text + "\n")
        print(case, len(text), "bytes;", lines[0], "->", lines[-1])


if __name__ == "__main__":
    main()
