#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mutants of all that is read from files, on a sanitized build: each fuzz target over its corpus, and whole files changed by what they
are (JSON by its values, GGUF by its fields) given to the program itself. A crash, a sanitizer's report, a leak or a hang is a fault.

    tools/soak/fuzz.py build/asan [SECONDS [SEED]]      # make asan first: cmake --preset asan && ninja -C build/asan"""
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

TARGETS = ("gguf", "rows", "safetensors", "template", "tokenizer")
CALL = {"function": {"name": "f", "arguments": {"a": [1]}}}
ROW = {"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "", "tool_calls": [CALL]}],
       "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}
ODD = [None, True, False, 0, -1, 1, 2 ** 31, 2 ** 63, -2 ** 63, 1e308, 10 ** 30, "", "\0", "é" * 300, "{{ 1 }}", [], {}, [[]], {"": None},
       "<|im_end|>"]


def places(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def mutate_json(r, value):
    """One to three values of a document exchanged, taken out, doubled or given another's place."""
    for _ in range(r.randrange(1, 4)):
        spots = [p for p in places(value) if p]
        if not spots:
            break
        *way, last = r.choice(spots[:400] if r.random() < 0.7 else spots)
        at = value
        for key in way:
            at = at[key]
        kind = r.randrange(4)
        if kind == 0:
            at[last] = r.choice(ODD)
        elif kind == 1:
            del at[last]
        elif kind == 2 and isinstance(at, list):
            at.insert(last, at[last])
        elif kind == 2:
            at[str(last) + "x"] = at[last]
        elif isinstance(at[last], (int, float)) and not isinstance(at[last], bool):
            at[last] = r.choice([at[last] + 1, at[last] * 2, -at[last], at[last] * 10 ** 9, at[last] / 3])
        elif isinstance(at[last], str):
            at[last] = at[last][: r.randrange(len(at[last]) + 1)] + r.choice(["", "\u0301", "\ufeff", "x" * 5000]) + at[last][:9]
    return value


def mutate_bytes(r, data):
    """Numbers where numbers are likely: aligned words, lengths, the file's end."""
    data = bytearray(data)
    for _ in range(r.randrange(1, 5)):
        at = r.randrange(min(len(data), 6000) if r.random() < 0.8 else len(data))
        kind = r.randrange(4)
        if kind == 0:
            data[at:at + 4] = struct.pack("<I", r.choice([0, 1, 255, 65535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]))
        elif kind == 1:
            data[at:at + 8] = struct.pack("<Q", r.choice([0, 1, 2 ** 32, 2 ** 62, 2 ** 63, 2 ** 64 - 1]))
        elif kind == 2:
            data[at] = r.randrange(256)
        else:
            del data[at:at + r.choice([1, 4, 8, 64, len(data)])]
            data = data or bytearray(b"x")
    return bytes(data)


class Run:
    def __init__(self, build, seconds, seed):
        self.build, self.end, self.r, self.faults, self.n = build, time.time() + seconds, random.Random(seed), [], {}

    def call(self, what, args, keep):
        try:
            p = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
            said = (p.stdout + p.stderr).decode(errors="replace")
            bad = p.returncode not in (0, 1, 2) or "Sanitizer" in said or "runtime error" in said
            bad |= args[0].name != "lmfast" and p.returncode != 0
            ended = p.returncode
        except subprocess.TimeoutExpired:
            bad, said, ended = True, "it hangs", None
        if bad:
            kept = pathlib.Path(tempfile.mkdtemp(prefix=f"fuzz-{what}-"))
            (shutil.copytree if keep.is_dir() else shutil.copy)(keep, kept / keep.name)
            self.faults.append(f"{what}: {' '.join(map(str, args))}: exit {ended}, {said[-400:]!r}; kept in {kept}")
        return said

    def target(self, name):
        corpus = ROOT / "fuzz" / "corpus" / name
        n = 40 if name in ("gguf", "safetensors") else 200
        said = self.call(name, [self.build / f"{name}_fuzz", "--mutate", n, self.r.randrange(1 << 30), corpus], corpus)
        words = said.split()
        self.n[name] = self.n.get(name, 0) + (int(words[-2]) if words[-1:] == ["inputs"] else 0)

    def whole(self, name, folder, model, gguf):
        case = folder / "case"
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        lmfast = self.build / "lmfast"
        if name == "folders":
            made = shutil.copytree(model, case / "m")
            file = made / self.r.choice(["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
            file.write_text(json.dumps(mutate_json(self.r, json.loads(file.read_text()))))
            args = [lmfast, *self.r.choice([["info"], ["generate", "--raw", "-p", "hi", "-n", "2", "--quiet", "-m"]]), made]
        elif name == "weights":
            made = shutil.copytree(model, case / "m")
            (made / "model.safetensors").write_bytes(mutate_bytes(self.r, (made / "model.safetensors").read_bytes()))
            args = [lmfast, "info", made]
        elif name == "files":
            made = case / "m.gguf"
            made.write_bytes(mutate_bytes(self.r, gguf))
            args = [lmfast, *self.r.choice([["info"], ["generate", "-p", "hi", "-n", "2", "--quiet", "-m"]]), made]
        else:
            rows = case / "rows.jsonl"
            rows.write_text("".join(json.dumps(mutate_json(self.r, json.loads(json.dumps(ROW)))) + "\n" for _ in range(20)))
            args = [lmfast, "train", "-m", model, "-d", rows, "-o", case / "o", "--max-steps", "1", "--bad-rows", "skip", "--quiet"]
        self.call(name, args, case)
        self.n[name] = self.n.get(name, 0) + 1


def main():
    build, seconds, seed = sys.argv[1], *(sys.argv[2:] + ["600", "1"][len(sys.argv) - 2:])
    build, seconds, seed = pathlib.Path(build).resolve(), float(seconds), int(seed)
    run = Run(build, seconds, seed)
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top)
        model = formula.save(folder / "model", layers=1)
        (model / "generation_config.json").write_text('{"eos_token_id": [261, 259]}')
        subprocess.run([str(build / "lmfast"), "export", "-m", str(model), "-o", str(folder / "m.gguf"), "--quiet"], check=True)
        gguf = (folder / "m.gguf").read_bytes()
        while time.time() < run.end and len(run.faults) < 10:
            for name in TARGETS:
                run.target(name)
            for _ in range(10):
                for name in ("folders", "weights", "files", "train rows"):
                    run.whole(name, folder, model, gguf)
    for fault in run.faults:
        print(fault)
    counts = ", ".join(f"{k} {v}" for k, v in run.n.items())
    print(f"{seconds:.0f} s, seed {seed}: {counts}: {sum(run.n.values())} mutants, {len(run.faults)} faults")
    return 1 if run.faults else 0


if __name__ == "__main__":
    sys.exit(main())
