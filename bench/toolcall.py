#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many rows of toolcall_test a model answers right over HTTP, greedily: freely, and held to the schema of the row's tool.

    $(tools/venv.sh test) bench/toolcall.py [--model FILE] [--json]

valid: the answer is one JSON object. name: its name is the tool's. exact: and each argument has one of the row's accepted values, those
that are required are there, no others are. tok/s: tokens of all answers by the time of all, eight at once. The rows are public data."""
import argparse
import concurrent.futures
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools" / "oracle"))
import report  # noqa: E402
import schema as schemas  # noqa: E402
from tool_calls import Server  # noqa: E402


def judge(text, allowed):
    try:
        value = json.loads(text)
    except ValueError:
        return 0, 0, 0
    if not isinstance(value, dict):
        return 0, 0, 0
    name = value.get("name")
    if not isinstance(name, str) or name not in allowed:
        return 1, 0, 0
    arguments, accepted = value.get("arguments"), allowed[name]
    exact = isinstance(arguments, dict) and all(k in accepted and v in accepted[k] for k, v in arguments.items()) and all(
        k in arguments or "" in v for k, v in accepted.items())
    return 1, 1, int(exact)


def measure(server, rows, forms):
    def one(i):
        body = {"messages": rows[i]["messages"][:-1], "temperature": 0, "max_tokens": 96}
        if forms:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "call", "schema": forms[i]}}
        status, answer = server.ask(body)
        if status != 200:
            raise SystemExit(f"row {i}: {answer}")
        return judge(answer["choices"][0]["message"]["content"], rows[i]["allowed"]), answer["usage"]["completion_tokens"]
    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(one, range(len(rows))))
    seconds = time.perf_counter() - begin
    share = lambda k: round(sum(g[0][k] for g in got) / len(got), 3)
    return {"valid": share(0), "name": share(1), "exact": share(2), "tokens_per_second": round(sum(g[1] for g in got) / seconds, 1)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default=str(report.ROOT / "build" / "release" / "lmfast"))
    p.add_argument("--model", default=str(report.MODEL))
    p.add_argument("--rows", default=str(report.CACHE / "data" / "toolcall_test.jsonl"))
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    rows = [json.loads(line) for line in open(a.rows, encoding="utf-8")]
    forms = schemas.tool_schemas(a.rows)
    server = Server(a.program, "-m", a.model, "--context", 2048)
    try:
        result = {"rows": len(rows), "free": measure(server, rows, None), "schema": measure(server, rows, forms)}
    finally:
        server.process.terminate()
        server.process.wait()
    print(json.dumps(result) if a.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
