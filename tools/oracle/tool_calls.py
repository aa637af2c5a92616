#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --program {build}/lmfast --cache {cache} --requests 200
"""The server's answers that must have a form, against Python's jsonschema, by the real model at temperature 1.

50 sets of tools: made at random, and those of toolcall_test's rows. Each request asks for calls (required, one by name, or as the model
likes, streamed or whole) or for a value of a schema; each answer must end by itself, parse and fit, whatever the limit that was taken.
--requests N (10,000 in soak); stops with status 1 at the first answer that does not fit."""
import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import threading

import jsonschema

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import schema as schemas  # noqa: E402


class Server:
    def __init__(self, program, *args):
        self.process = subprocess.Popen([program, "serve", "--port", "0", "--json", "--quiet", *map(str, args)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(json.loads(self.process.stdout.readline())["url"].rsplit(":", 1)[1])
        self.local = threading.local()

    def ask(self, body):
        """(status, the answer as one object, put together where it was streamed)"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        c.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        text = r.read()
        c.close()
        if r.status != 200 or not body.get("stream"):
            return r.status, json.loads(text)
        message, finish, calls, done = {"content": ""}, None, {}, 0
        for line in text.decode().split("\n"):
            if line == "data: [DONE]":
                done += 1
            elif line.startswith("data: "):
                e = json.loads(line[6:])
                if "error" in e:
                    return 500, e
                k = e["choices"][0]
                message["content"] += k["delta"].get("content") or ""
                finish = k["finish_reason"] or finish
                for d in k["delta"].get("tool_calls", []):
                    f = calls.setdefault(d["index"], {"function": {"name": "", "arguments": ""}})["function"]
                    f["name"] += d["function"].get("name") or ""
                    f["arguments"] += d["function"].get("arguments") or ""
        assert done == 1, text[-200:]
        message["tool_calls"] = [calls[i] for i in sorted(calls)]
        return 200, {"choices": [{"message": message, "finish_reason": finish}]}


def fail(what, *more):
    print("DIFFERS:", what, *("\n  " + str(x)[:2000] for x in more))
    sys.exit(1)


def tool(name, parameters):
    return {"type": "function", "function": {"name": name, "description": f"Does what {name} says", "parameters": parameters}}


def sets_of_tools(cache, r):
    maker, out = schemas.Maker(11), []
    while len(out) < 30:
        s, _ = maker.whole()
        defs = s.pop("$defs", {})
        out.append([tool(f"make_{len(out)}", {"type": "object", "properties": {"value": s}, "required": ["value"], "$defs": defs})])
    for s in r.sample(schemas.tool_schemas(os.path.join(cache, "data", "toolcall_test.jsonl")), 20):
        out.append([tool(c["properties"]["name"]["const"], c["properties"]["arguments"]) for c in s.get("anyOf", [s])])
    return out


def check(body, answer):
    """What is wrong with it, or None."""
    k = answer["choices"][0]
    m, calls = k["message"], k["message"].get("tool_calls") or []
    by_name = {t["function"]["name"]: t["function"]["parameters"] for t in body.get("tools", [])}
    choice = body.get("tool_choice", "auto")
    try:
        for c in calls:
            value = json.loads(c["function"]["arguments"])
            jsonschema.Draft202012Validator(by_name[c["function"]["name"]], format_checker=schemas.CHECKER).validate(value)
        if "response_format" in body:
            form = body["response_format"]["json_schema"]["schema"]
            jsonschema.Draft202012Validator(form, format_checker=schemas.CHECKER).validate(json.loads(m["content"]))
    except (ValueError, KeyError, jsonschema.ValidationError, RecursionError) as e:
        return e
    if "response_format" in body:
        return None if k["finish_reason"] == "stop" else f"ended by {k['finish_reason']}"
    if choice == "auto" and not calls:
        return None
    if not calls or k["finish_reason"] != "tool_calls":
        return f"{len(calls)} calls, ended by {k['finish_reason']}"
    if isinstance(choice, dict) and {c["function"]["name"] for c in calls} != {choice["function"]["name"]}:
        return "another tool than the one by name"
    return None


def make_requests(n, cache):
    r = random.Random(3)
    sets = sets_of_tools(cache, r)
    for i in range(n):
        tools = sets[i % len(sets)]
        body = {"messages": [{"role": "user", "content": r.choice(["Do it.", "What can you do?", "Call a tool.",
            "Give me some value, please."])}],
                "temperature": 1, "seed": i, "stream": bool(i // 50 % 2), "max_tokens": r.choice([40, 64, 96])}
        kind = i // 7 % 4
        if kind == 3:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": tools[0]["function"]["parameters"]}}
        else:
            body["tools"], body["parallel_tool_calls"] = tools, bool(i % 3)
            body["tool_choice"] = ["required", "auto", {"type": "function", "function": {"name": tools[-1]["function"]["name"]}}][kind]
        yield body


def run(server, body):
    status, answer = server.ask(body)
    if status == 400 and answer["error"]["param"] == "max_tokens":  # the limit can hold none: one that can is told
        body["max_tokens"] = int(re.search(r"has (\d+) tokens", answer["error"]["message"])[1])
        status, answer = server.ask(body)
    if status == 400 and "no text fits" in answer["error"]["message"]:
        return "none fits"
    if status != 200:
        fail("a request was not answered", json.dumps(body), answer)
    wrong = check(body, answer)
    if wrong:
        fail("an answer does not fit", wrong, json.dumps(body), answer)
    return "calls" if answer["choices"][0]["message"].get("tool_calls") else "text"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", required=True)
    p.add_argument("--cache", default=os.path.expanduser("~/.cache/lmfast"))
    p.add_argument("--requests", type=int, default=200)
    a = p.parse_args()
    server = Server(a.program, "-m", os.path.join(a.cache, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"), "--context", 2048,
        "--max-sequences", 16,
                    "--max-queue", 64)
    seen = {}
    try:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for kind in pool.map(lambda b: run(server, b), make_requests(a.requests, a.cache)):
                seen[kind] = seen.get(kind, 0) + 1
    finally:
        server.process.terminate()
        server.process.wait()
    if seen.get("calls", 0) < a.requests // 3 or seen.get("text", 0) < a.requests // 10:
        fail("too few of one kind", seen)
    print(f"{a.requests} requests over 50 sets of tools: all fit ({', '.join(f'{n} {k}' for k, n in sorted(seen.items()))})")


if __name__ == "__main__":
    main()
