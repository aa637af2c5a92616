#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Masks of llguidance beside ours, one run, one core: bench/peers/llguidance_mask.py [BUILD] [--rounds N].

Both compile each schema of bench/mask_cases.json anew in every round and take the same tokens of the same answers; each
mask is timed alone.
llguidance gets its vocabulary from the same file, writes masks through a pointer (no copies),
        and whitespace as ours allows. JSON on stdout."""
import argparse
import importlib.metadata
import json
import pathlib
import statistics
import subprocess
import sys
import time

import gguf
import llguidance
import numpy

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent.parent / "tools" / "oracle"))
import tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = pathlib.Path.home() / ".cache/lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf"


def byte_of():
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in itself]
    return {**{chr(b): b for b in itself}, **{chr(256 + i): b for i, b in enumerate(rest)}}


class Vocabulary:
    def __init__(self, path):
        fields = gguf.GGUFReader(path).fields
        get = lambda key: fields["tokenizer.ggml." + key].contents()
        table = byte_of()
        kinds = get("token_type")
        self.tokens = [b"\xff" + t.encode() if k == 3 else bytes(table[c] for c in t) for t, k in zip(get("tokens"), kinds)]
        self.special_token_ids = [i for i, k in enumerate(kinds) if k == 3]
        self.eos_token_id, self.bos_token_id = get("eos_token_id"), get("bos_token_id")
        self.hf = tokenizer.Vocab("smollm", str(path)).hf()

    def __call__(self, text):
        return self.hf.encode(text.decode("utf-8", "replace") if isinstance(text, bytes) else text, add_special_tokens=False).ids


def summary(x):
    x = sorted(x)
    return {"n": len(x), "mean_us": statistics.fmean(x), "p50_us": x[len(x) // 2], "p99_us": x[len(x) - 1 - len(x) // 100], "max_us": x[-1]}


def measure(cases, rounds, model):
    vocabulary = Vocabulary(model)
    t = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary), n_vocab=len(vocabulary.tokens))
    bits = numpy.zeros((len(vocabulary.tokens) + 31) // 32, dtype=numpy.int32)
    masks, compiles, own = [], [], [[] for _ in cases]
    clock = time.thread_time_ns
    for _ in range(rounds):
        for i, case in enumerate(cases):
            schema = json.dumps({**case["schema"], "x-guidance": {"whitespace_flexible": False, "item_separator": ", ",
                    "key_separator": ": "}})
            begin = clock()
            grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
            first = llguidance.LLMatcher(t, grammar)
            compiles.append((clock() - begin) / 1e3)
            assert not first.is_error(), first.get_error()
            for k, tokens in enumerate(case["tokens"]):
                m = first if k == 0 else llguidance.LLMatcher(t, grammar)
                for token in [*tokens, None]:
                    begin = clock()
                    m.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
                    masks.append((clock() - begin) / 1e3)
                    own[i].append(masks[-1])
                    if token is None:
                        break
                    assert bits[token // 32] >> (token % 32) & 1, (case["name"], b"".join(vocabulary.tokens[i] for i in tokens),
                            vocabulary.tokens[token])
                    m.consume_token(token)
    return {"program": "llguidance " + importlib.metadata.version("llguidance"), "mask": summary(masks), "compile": summary(compiles),
            "cases": [{"name": c["name"], "mask": summary(o)} for c, o in zip(cases, own)]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", nargs="?", default=str(ROOT / "build/release"))
    p.add_argument("--model", default=str(MODEL))
    p.add_argument("--rounds", type=int, default=20)
    a = p.parse_args()
    ours = json.loads(subprocess.run([a.build + "/bench_mask", a.model, str(ROOT / "bench/mask_cases.json"), str(a.rounds)], check=True,
            capture_output=True).stdout)
    peer = measure(ours["cases"], a.rounds, a.model)
    for c in ours["cases"]:
        c.pop("tokens"), c.pop("schema"), c.pop("answers")
    ratio = {"mask_mean": ours["mask"]["mean_us"] / peer["mask"]["mean_us"], "mask_p99": ours["mask"]["p99_us"] / peer["mask"]["p99_us"],
             "compile_mean": ours["compile"]["mean_us"] / peer["compile"]["mean_us"]}
    print(json.dumps({"processor": ours["processor"], "rounds": a.rounds, "vocabulary": len(Vocabulary(a.model).tokens), "ours": ours,
            "peer": peer,
                      "ratio": ratio, "goal": {"mask_mean": 1 / 4, "mask_p99": 1 / 6, "compile_mean": 1}}, indent=1))


if __name__ == "__main__":
    main()
