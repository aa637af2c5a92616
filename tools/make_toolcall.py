#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes toolcall_{train,dev,test}.jsonl, rows that teach a model to call a tool, and prints their folder. They are made from
the PyPI package bfcl-eval (Apache-2.0), its single-call Python questions.

    make_toolcall.py [FOLDER]     default: data/ in the cache

The split is by function name (unseen tools in dev and test): sha256(name) mod 100, below 70 train, below 80 dev. Rows made
from public evaluation data: what is trained on them is never reported as a score on that benchmark."""
import hashlib
import json
import pathlib
import sys

import wheel

PACKAGE = ("bfcl-eval", "2026.3.23", "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a")
QUESTIONS = "bfcl_eval/data/BFCL_v4_simple_python.json"
ANSWERS = "bfcl_eval/data/possible_answer/BFCL_v4_simple_python.json"
SHA256 = {
    "toolcall_train.jsonl": "76861f451290be0927618e0934756ab09230da9e3941e5d7d260969b53ee56b4",
    "toolcall_dev.jsonl": "d59f13374088adbb36712e47af132e7b486eacddcb57c405c1d7d575f7e3842d",
    "toolcall_test.jsonl": "ffca44b6d850d06c5f8a0351f67eaef2843ce8b6382a405b6d315a4ea96aad41",
}
SYSTEM = 'Answer with one JSON object {"name": ..., "arguments": {...}} that calls one of these tools:\n'


def kind(parameter):
    if "enum" in parameter:
        return "|".join(json.dumps(v, ensure_ascii=False) for v in parameter["enum"])
    return {"dict": "object", "tuple": "array"}.get(parameter["type"], parameter["type"])


def signature(function):
    required = function["parameters"].get("required", [])
    arguments = ", ".join(f"{name}: {kind(p)}{'' if name in required else '?'}"
                          for name, p in function["parameters"]["properties"].items())
    return f"{function['name']}({arguments}) - {function['description'].split('. ')[0].rstrip('.')}"


def first(accepted):
    """The first accepted value; the members of an object have lists of their own."""
    value = accepted[0]
    return {k: first(v) for k, v in value.items() if "" not in v} if isinstance(value, dict) else value


def answer(name, allowed):
    """The first accepted value of each argument; one that may be left out is left out."""
    arguments = {k: first(v) for k, v in allowed.items() if "" not in v}
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def split(name):
    part = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    return "train" if part < 70 else "dev" if part < 80 else "test"


def rows():
    with wheel.Wheel(*PACKAGE) as z:
        questions = [json.loads(line) for line in z.read(QUESTIONS).decode().splitlines()]
        answers = [json.loads(line) for line in z.read(ANSWERS).decode().splitlines()]
    truth = {a["id"]: a["ground_truth"][0] for a in answers}
    text = {"train": [], "dev": [], "test": []}
    for q in questions:
        (name, allowed), = truth[q["id"]].items()
        messages = [
            {"role": "system", "content": SYSTEM + "\n".join(signature(f) for f in q["function"])},
            {"role": "user", "content": q["question"][0][0]["content"]},
            {"role": "assistant", "content": answer(name, allowed)},
        ]
        row = {"id": q["id"], "messages": messages, "allowed": {name: allowed}}
        text[split(name)].append(json.dumps(row, ensure_ascii=False) + "\n")
    return {f"toolcall_{part}.jsonl": "".join(lines).encode() for part, lines in text.items()}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else wheel.cache_dir("data")
    print(wheel.make_rows(folder, SHA256, rows))


if __name__ == "__main__":
    main()
