#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --program {build}/lmfast --cache {cache}
"""Clients of others, as they are, beside the server with the real model: openai and the ai SDK for JavaScript, langchain-openai, and
lm-eval's local-completions with a task and a tokenizer of this machine. They live in an environment of their own; Node is a wheel."""
import argparse
import hashlib
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent / "clients"
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
ROWS = [("The capital of France is", " Paris", " banana"), ("The opposite of hot is", " cold", " purple"),
        ("Two plus two is", " four", " window"),
        ("The sun rises in the", " east", " spoon"), ("A dog is an", " animal", " equation"), ("Water freezes into", " ice", " music"),
        ("Fish live in the", " water", " ceiling"), ("Monday is followed by", " Tuesday", " carrots")]
TASK = """task: obvious
dataset_path: json
dataset_kwargs:
  data_files: {{test: {rows}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{text}}}}"
doc_to_target: 0
doc_to_choice: choices
target_delimiter: ""
metric_list:
  - metric: acc
"""


def fail(*what):
    print("DIFFERS:", *what)
    sys.exit(1)


def run(what, *args, env=None, good=True):
    r = subprocess.run([str(a) for a in args], capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=300)
    if (r.returncode == 0) != good:
        fail(what, "ended with", r.returncode, r.stdout[-3000:], r.stderr[-3000:])
    return r.stdout + r.stderr


def node_modules(cache, bin_folder):
    """Those of package-lock.json, kept by its hash."""
    lock = (HERE / "package-lock.json").read_bytes()
    folder = pathlib.Path(cache) / f"npm-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        env = {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
        run("npm", bin_folder / "npm", "ci", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", env=env)
        (folder / "complete").touch()
    return folder


def javascript(url, cache, bin_folder):
    folder = node_modules(cache, bin_folder)
    shutil.copy(HERE / "clients.mjs", folder / "clients.mjs")  # where it finds its modules
    print(run("clients.mjs", bin_folder / "node", folder / "clients.mjs", url, "small").strip().splitlines()[-1])


def ask(url, body):
    r = urllib.request.Request(url + "/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(r))["choices"][0]["logprobs"]


def harness(url, tokenizer, python):
    """What lm-eval makes of the log-probabilities: the sums are those of the tokens, the likelier choice is the one that is true."""
    with tempfile.TemporaryDirectory() as top:
        top = pathlib.Path(top)
        (top / "rows.jsonl").write_text("".join(json.dumps({"text": t, "choices": [a, b]}) + "\n" for t, a, b in ROWS))
        (top / "obvious.yaml").write_text(TASK.format(rows=top / "rows.jsonl"))
        env = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(top / "hf"), "OPENAI_API_KEY": "none", "TOKENIZERS_PARALLELISM": "false"}
        of = f"base_url={url}/completions,tokenizer={tokenizer},tokenizer_backend=huggingface,max_retries=1"
        args = lambda model: [python, "-m", "lm_eval", "run", "--model", "local-completions", "--tasks", "obvious", "--include_path", top,
                              "--batch_size", 4, "--model_args", f"model={model},{of}"]
        run("lm-eval", *args("small"), "--output_path", top / "out", "--log_samples", env=env)
        samples = [json.loads(x) for f in (top / "out").rglob("samples_obvious_*.jsonl") for x in f.read_text().splitlines()]
        if len(samples) != len(ROWS):
            fail("lm-eval has", len(samples), "samples, not", len(ROWS))
        for s in samples:
            text, *choices = ROWS[s["doc_id"]]
            for (got,), choice in zip(s["resps"], choices):
                r = ask(url, {"model": "small", "prompt": text + choice, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0})
                want = sum(p for p, at in zip(r["token_logprobs"], r["text_offset"]) if len(text) <= at < len(text + choice))
                if not math.isclose(float(got[0]), want, abs_tol=1e-2):
                    fail("lm-eval's sum", got, "is not that of the tokens", want, text + choice)
        right = sum(s["acc"] for s in samples)
        if right < len(ROWS) - 1:
            fail("the likelier choice is the true one in", right, "of", len(ROWS))
        if "not served here" not in run("lm-eval", *args("other"), env=env, good=False):
            fail("lm-eval does not tell why another model is refused")
        print(f"lm-eval, local-completions: {right:.0f} of {len(ROWS)} rows, sums and errors as it expects them")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", required=True)
    p.add_argument("--cache", default=os.path.expanduser("~/.cache/lmfast"))
    a = p.parse_args()
    python = subprocess.run([ROOT / "tools" / "venv.sh", "clients"], capture_output=True, text=True, check=True).stdout.strip()
    model = os.path.join(a.cache, "models", MODEL)
    server = subprocess.Popen([a.program, "serve", "-m", model, "--name", "small", "--port", "0", "--json", "--quiet", "--compute", "f32"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(server.stdout.readline())["url"] + "/v1"
        javascript(url, a.cache, pathlib.Path(python).parent)
        print(run("langchain", python, HERE / "langchain.py", url, "small").strip().splitlines()[-1])
        with tempfile.TemporaryDirectory() as top:
            tokenizer = os.path.join(top, "model")
            run("export", a.program, "export", "-m", model, "-o", tokenizer, "--format", "hf", "--quant", "f16", "--no-verify", "--quiet")
            harness(url, tokenizer, python)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
