#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server under load and faults, on a tiny random model, on this machine alone; each part stops at the first thing that is wrong.

  streams     2,000 at once: none lost, crossed or reordered: each is what its prompt's answer is
  aborted     10,000 clients that leave at every phase; then every slot is free and the cache whole
  overload    20 times what it takes: the rest gets 429, what was taken is whole, memory stays
  drains      200 starts that are ended under load: no accepted stream is cut
  invariant   1,000 requests alone and among random neighbours: the same tokens and log-probabilities
Counts are for BUILD as argv[1]; argv[2], a number from 0 to 1, makes them smaller."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import resource
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
from test_generate import write_gguf  # noqa: E402

BUILD, SHARE = pathlib.Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
CHAT = "/v1/chat/completions"


def wrong(what, *more):
    raise SystemExit(f"WRONG: {what} {' '.join(map(str, more))[:2000]}")


class Server:
    def __init__(self, model, *args):
        self.process = subprocess.Popen([BUILD / "lmfast", "serve", "-m", model, "--name", "tiny", "--port", "0", "--json", "--quiet",
            *map(str, args)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.port = int(json.loads(self.process.stdout.readline())["url"].rsplit(":", 1)[1])

    def ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        c.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        text = r.read()
        c.close()
        return r.status, text

    def metrics(self):
        return {k: float(v) for k, _, v in (line.partition(" ") for line in self.ask("GET",
            "/metrics")[1].decode().splitlines() if line[0] != "#")}

    def settles(self, before):
        end = time.time() + 60
        while time.time() < end:
            m = self.metrics()
            if m["lmfast_requests_active"] == 0 and all(m[f"lmfast_{k}"] == before[f"lmfast_{k}"] for k in ("slots_free",
                "cache_tokens_free")):
                return m
            time.sleep(0.05)
        wrong("it does not come to rest", {k: v for k, v in m.items() if before.get(k) != v})

    def memory(self):
        return int(next(line for line in open(f"/proc/{self.process.pid}/status") if line.startswith("VmRSS")).split()[1]) * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=120):
            wrong("it ended with status", self.process.returncode)


def body(text, n, **more):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": n, "temperature": 0, "ignore_eos": True, **more}


def stream(server, text, n):
    """(status, text, whole)"""
    status, raw = server.ask("POST", CHAT, body(text, n, stream=True))
    if status != 200:
        return status, "", False
    events = [json.loads(line[6:]) for line in raw.decode().split("\n") if line.startswith("data: {")]
    said = "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])
    return status, said, raw.endswith(b"data: [DONE]\n\n") and events[-1]["choices"][0]["finish_reason"] == "length"


def prompts(n):
    return [f"{random.Random(i).getrandbits(64):x}" * (1 + i % 3) for i in range(n)]


def streams(model):
    n = int(2000 * SHARE)
    s = Server(model, "--compute", "f32", "--max-sequences", 64, "--max-queue", 100000, "--max-connections", 5000)
    before, asked = s.metrics(), prompts(min(n, 100))
    want = {p: stream(s, p, 24) for p in asked}
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        got = list(pool.map(lambda i: (asked[i % len(asked)], stream(s, asked[i % len(asked)], 24)), range(n)))
    for p, g in got:
        if g != want[p] or not g[2]:
            wrong("a stream differs", p, want[p], g)
    s.settles(before)
    s.stop()
    return f"{n} streams at once"


def aborted(model):
    n, r = int(10000 * SHARE), random.Random(1)
    s = Server(model, "--max-sequences", 4, "--max-queue", 100000)
    before = s.settles(s.metrics())
    data = json.dumps(body("hello", 200, stream=True)).encode()
    whole = (f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        "{len(data)}\r\n\r\n").encode() + data
    for i in range(n):
        c = socket.create_connection(("127.0.0.1", s.port))
        cut = r.choice([0, r.randrange(len(whole)), len(whole), len(whole)])
        c.sendall(whole[:cut])
        if cut == len(whole) and r.random() < 0.4:
            c.settimeout(20)
            for _ in range(r.randrange(1, 6)):
                c.recv(r.choice([1, 300, 5000]))
        if r.random() < 0.5:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif r.random() < 0.3:
            c.shutdown(socket.SHUT_WR)
        c.close()
        if i % 500 == 0 and s.ask("GET", "/health")[0] != 200:
            wrong("it does not answer")
    s.settles(before)
    s.stop()
    return f"{n} clients that left"


def overload(model):
    n = int(4000 * SHARE)
    s = Server(model, "--max-sequences", 4, "--max-queue", 16)
    before = s.metrics()
    stream(s, "warm", 60)
    memory, seen = s.memory(), {}
    with concurrent.futures.ThreadPoolExecutor(400) as pool:
        for status, _, ended in pool.map(lambda i: stream(s, f"question {i}", 60), range(n)):
            seen[status] = seen.get(status, 0) + 1
            if status not in (200, 429) or (status == 200 and not ended):
                wrong("an answer under overload", status, ended)
    grown = s.memory() - memory >> 20
    if not seen.get(200) or not seen.get(429) or grown > 64:
        wrong("under overload", seen, grown, "MiB more")
    s.settles(before)
    s.stop()
    return f"{n} requests, 400 at once: {seen[200]} whole, {seen[429]} shed, memory grew {grown} MiB"


def drains(model):
    n = max(1, int(200 * SHARE))
    for i in range(n):
        s = Server(model, "--max-sequences", 4, "--max-queue", 100)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            jobs = [pool.submit(lambda k=k: stream(s, f"{i} {k}", 150)) for k in range(12)]
            time.sleep(random.Random(i).random() * 0.1)
            s.process.send_signal(signal.SIGTERM)
            for j in jobs:
                try:
                    status, _, ended = j.result()
                except OSError:
                    continue  # it came too late to be accepted
                if status == 200 and not ended:
                    wrong("a drained stream was cut", i)
        if s.process.wait(timeout=60):
            wrong("a drain ended with status", s.process.returncode)
    return f"{n} drains under load"


def invariant(model):
    n, r = int(1000 * SHARE), random.Random(2)
    s = Server(model, "--invariant", "--max-sequences", 16, "--max-queue", 1000)
    asked = [body(p, 12, logprobs=True, top_logprobs=2, seed=i, temperature=[0, 1][i % 2]) for i, p in enumerate(prompts(max(1, n // 20)))]
    tokens = lambda b: [(t["token"], t["logprob"]) for t in json.loads(s.ask("POST", CHAT, b)[1])["choices"][0]["logprobs"]["content"]]
    alone = [tokens(b) for b in asked]
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        noise = lambda: s.ask("POST", CHAT, body("x" * r.randrange(1, 300), r.randrange(1, 60)))
        jobs = []
        for i in range(n):
            jobs.append((i % len(asked), pool.submit(tokens, asked[i % len(asked)])))
            pool.submit(noise)
        for i, j in jobs:
            if j.result() != alone[i]:
                wrong("among neighbours an answer differs", i, alone[i], j.result())
    s.stop()
    return f"{n} requests alone and among neighbours"


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    folder = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"lmfast-soak-serve-{os.getpid()}"
    folder.mkdir()
    model = write_gguf(folder / "tiny.gguf")
    for part in (streams, aborted, overload, drains, invariant):
        begin = time.time()
        print(f"{part.__name__}: {part(model)}, {time.time() - begin:.0f} s", flush=True)
    (folder / "tiny.gguf").unlink()
    folder.rmdir()


if __name__ == "__main__":
    main()
