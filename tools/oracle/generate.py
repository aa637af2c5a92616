#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Generation oracle: greedy answers against transformers, with and without a PEFT adapter.

    tools/oracle/generate.py --build build/dev [--model FILE.gguf] [--n 20] [--new 64] [--ci]

Transformers reads prompt and answer in one pass: every token of the answer must be its likeliest, or as likely within 1e-3 (a
tie), and the log-probabilities must agree. Chunk sizes, company, teacher forcing, an adapter on every matrix, and the program's
own text are compared so. Products in 8 bits are measured, not demanded. Exits 1 at the first difference."""
# ci: --build {build} --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf --ci
import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
import torch
import peft
import transformers

TIE, LOGP = 1e-3, 2e-3
QUESTIONS = ["Name three colors.", "What is the capital of France?", "Write a haiku about the sea.", "Explain gravity to a child.",
             "Translate 'good morning' into German.", "List the planets.", "What is 17 plus 25?", "Who wrote Hamlet?", "Give me a recipe for bread.",
             "Why is the sky blue?", "Write a Python function that adds two numbers.", "What do bees eat?", "Tell me a joke.", "Summarise: the cat sat on the mat.",
             "What is a prime number?", "Describe Mars.", "How do I boil an egg?", "What is the opposite of hot?", "Name a famous painter.",
             "Was ist ein Haus? \u00e4\u00f6\u00fc \u4f60\u597d"]


def fail(*what):
    print("DIFFERENT:", *what)
    sys.exit(1)


def driver(args, prompts, *flags):
    text = "".join(" ".join(map(str, p)) + "\n" for p in prompts)
    run = subprocess.run([os.path.join(args.build, "driver_generate"), args.model, *map(str, flags)], input=text, stdout=subprocess.PIPE, check=True, text=True)
    out = [[(int(i), float(p)) for i, p in (w.split(":") for w in line.split())] for line in run.stdout.splitlines()]
    if len(out) != len(prompts):
        fail(f"{len(out)} answers to {len(prompts)} prompts")
    return out


def one_pass(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


def compare(model, prompts, answers, what, new):
    """Greedy, and the same log-probabilities."""
    worst, ties = 0.0, 0
    for prompt, answer in zip(prompts, answers):
        ids = [i for i, _ in answer]
        if len(ids) != new:
            fail(what, f"{len(ids)} tokens, not {new}")
        logits = one_pass(model, prompt + ids[:-1])[len(prompt) - 1:]
        logp = logits.log_softmax(-1)
        for k, (i, p) in enumerate(answer):
            best = int(logits[k].argmax())
            if i != best:
                margin = float(logits[k, best] - logits[k, i])
                if margin > TIE:
                    fail(what, f"token {k} is {i}, the likeliest is {best} by {margin:g}; prompt {prompt[:8]}...")
                ties += 1
            worst = max(worst, abs(p - float(logp[k, i])))
    if worst > LOGP:
        fail(what, f"log-probabilities differ by {worst:g}")
    print(f"{what}: {len(answers)} answers of {new} tokens are greedy, {ties} ties, log-probabilities within {worst:.2g}", flush=True)


def make_adapter(args, model, folder):
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(0)
    tuned = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.02)
    tuned.save_pretrained(folder)
    return tuned.eval()


def check_text(args, tokenizer, prompt_ids, question, answer, new):
    """The program itself: template, tokenizer and streamed text."""
    run = subprocess.run([os.path.join(args.build, "lmfast"), "generate", "--model", args.model, "--prompt", question, "--temperature", "0", "--repetition-penalty", "1",
                          "--max-tokens", str(new), "--compute", "f32", "--json"], stdout=subprocess.PIPE, check=True, text=True)
    got = json.loads(run.stdout)
    ids = [i for i, _ in answer]
    if tokenizer.eos_token_id in ids:
        ids = ids[:ids.index(tokenizer.eos_token_id) + 1]
    want = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if got["text"] != want or got["prompt_tokens"] != len(prompt_ids) or got["completion_tokens"] != len(ids):
        fail("lmfast generate", repr(got), repr(want), len(prompt_ids), len(ids))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", default="build/dev")
    p.add_argument("--model", default=os.path.expanduser("~/.cache/lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf"))
    p.add_argument("--n", type=int, default=20)
    p.add_argument("--new", type=int, default=64)
    p.add_argument("--ci", action="store_true")
    args = p.parse_args()
    n, new = (6, 24) if args.ci else (args.n, args.new)
    folder, file = os.path.split(os.path.abspath(args.model))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    torch.set_num_threads(2)
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": q}], add_generation_prompt=True, return_dict=False) for q in QUESTIONS[:n]]

    answers = driver(args, prompts, "--compute", 0, "--new", new, "--seqs", 8)
    compare(model, prompts, answers, "f32, eight at once", new)
    for i in range(min(n, 4)):
        check_text(args, tokenizer, prompts[i], QUESTIONS[i], answers[i], new)
    print("lmfast generate writes the same text")

    long = [tokenizer("The history of the sea. " * 12 + "Once upon a time", add_special_tokens=False)["input_ids"][:100 + 7 * i] for i in range(2)]
    first = None
    for chunk in (1, 3, 16, 64, 256):
        got = driver(args, long, "--compute", 0, "--new", 8, "--chunk", chunk, "--seqs", 1)
        compare(model, long, got, f"chunks of {chunk}", 8)
        first = first or got
        if [[i for i, _ in a] for a in got] != [[i for i, _ in a] for a in first]:
            fail(f"chunks of {chunk} give other tokens than chunks of 1")

    scores = driver(args, long, "--compute", 0, "--score")
    worst = 0.0
    for ids, score in zip(long, scores):
        logp = one_pass(model, ids).log_softmax(-1)
        worst = max(worst, max(abs(score[k][1] - float(logp[k - 1, ids[k]])) for k in range(1, len(ids))))
    if worst > LOGP:
        fail(f"teacher forcing: log-probabilities differ by {worst:g}")
    print(f"teacher forcing: within {worst:.2g}")

    fast = driver(args, prompts, "--compute", 1, "--new", new)
    same = total = 0
    drift = 0.0
    for prompt, answer in zip(prompts, fast):
        ids = [i for i, _ in answer]
        logits = one_pass(model, prompt + ids[:-1])[len(prompt) - 1:]
        same += int((logits.argmax(-1) == torch.tensor(ids)).sum())
        total += len(ids)
        logp = logits.log_softmax(-1)
        drift += sum(abs(p - float(logp[k, i])) for k, (i, p) in enumerate(answer))
    print(f"8-bit products: {same} of {total} tokens are the likeliest of f32, mean error of a log-probability {drift / total:.3g}")
    if same < 0.9 * total:
        fail("8-bit products choose other tokens too often")

    with tempfile.TemporaryDirectory() as tmp:
        tuned = make_adapter(args, model, tmp)
        got = driver(args, prompts[:4], "--compute", 0, "--new", new, "--adapter", tmp)
        compare(tuned, prompts[:4], got, "adapter on every matrix", new)
        if all(a[0] == b[0] for a, b in zip(got, answers)):
            fail("the adapter changes nothing")
    print("generate: all agree")


main()
