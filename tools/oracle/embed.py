#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Vectors oracle: /v1/embeddings against transformers: the mean of the last hidden states over all tokens, of length 1.

    tools/oracle/embed.py --build build/dev --model FILE.gguf

Short and long texts, alone and together, must agree within 1e-4 a member. Exits 1 at the first difference."""
# ci: --build {build} --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
import argparse
import base64
import json
import os
import struct
import subprocess
import sys
import urllib.request

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
import torch
import transformers

TEXTS = ["Name three colors.", "x", "Warum ist der Himmel blau? \u4f60\u597d", "A longer text, which has many words. " * 40]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    model = transformers.AutoModelForCausalLM.from_pretrained(os.path.dirname(args.model), gguf_file=os.path.basename(args.model),
                                                              dtype=torch.float32).eval()
    server = subprocess.Popen([os.path.join(args.build, "lmfast"), "serve", "-m", args.model, "--port", "0", "--json", "-q",
                               "--compute", "f32"],
                              stdout=subprocess.PIPE, text=True)
    try:
        url = json.loads(server.stdout.readline())["url"]

        def ask(path, body):
            request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
            return json.load(urllib.request.urlopen(request))
        together = ask("/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"})["data"]
        worst = 0.0
        for text, row in zip(TEXTS, together):
            ids = ask("/tokenize", {"prompt": text})["tokens"]
            with torch.no_grad():
                states = model.model(torch.tensor([ids])).last_hidden_state[0]
            want = torch.nn.functional.normalize(states.mean(0), dim=0).tolist()
            raw = base64.b64decode(row["embedding"])
            for got in (struct.unpack(f"<{len(raw) // 4}f", raw), ask("/v1/embeddings", {"input": text})["data"][0]["embedding"]):
                difference = max(abs(a - b) for a, b in zip(got, want, strict=True))
                worst = max(worst, difference)
                if difference > 1e-4:
                    print(f"DIFFERENT: {text[:20]!r} by {difference:g}")
                    sys.exit(1)
        print(f"{len(TEXTS)} texts, alone and together: within {worst:.2g}")
    finally:
        server.terminate()
        server.wait()


main()
