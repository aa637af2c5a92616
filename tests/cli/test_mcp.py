# SPDX-License-Identifier: Apache-2.0
"""lmfast mcp and lmfast serve --mcp: the protocol's own client on both transports, in both eras; raw messages for what no client sends."""
import asyncio
import contextlib
import hashlib
import json
import math
import subprocess
import time

import jsonschema
import mcp
import pytest

from test_generate import write_gguf
from test_serve import CHAT, Server, leave_no_child, messages, model  # noqa: F401 -- fixtures
from test_serve_forms import PERSON

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


@pytest.fixture(scope="module")
def server(lmfast, model):
    s = Server(lmfast, "-m", model, "--name", "tiny", "--compute", "f32", "--mcp")
    yield s
    s.settles(slots_free=8, requests_active=0)
    assert s.stop() == 0


@pytest.fixture(params=["stdio-legacy", "stdio-auto", "http-legacy", "http-auto"])
def door(request, lmfast, model, server):
    """How to open a client: over which transport, in which era."""
    transport, mode = request.param.split("-")
    if transport == "http":
        return lambda: mcp.Client(server.url + "/mcp", mode=mode)
    program = mcp.StdioServerParameters(command=lmfast.path, args=["mcp", "-m", model, "--name", "tiny", "--compute", "f32"])
    return lambda: mcp.Client(program, mode=mode)


def run(door, work):
    async def main():
        async with door() as client:
            return await work(client)
    return asyncio.run(asyncio.wait_for(main(), 100))


def test_client(door, server):
    want = server.ask("POST", CHAT, {"messages": messages(), "max_tokens": 8, "temperature": 0})[1]
    text = want["choices"][0]["message"]["content"]

    async def work(c):
        tools = {t.name: t for t in (await c.list_tools()).tools}
        assert list(tools) == ["chat", "classify", "embed", "generate", "tokenize"]
        ask = {"messages": messages(), "max_tokens": 8, "temperature": 0}
        r = await c.call_tool("chat", ask)
        assert not r.is_error and r.content[0].text == text == r.structured_content["text"]
        assert r.structured_content["completion_tokens"] == want["usage"]["completion_tokens"]
        pieces = []

        async def progress(n, total, message):
            pieces.append((n, message))
        r = await c.call_tool("chat", ask, progress_callback=progress)
        assert "".join(m for _, m in pieces) == text == r.structured_content["text"] and [n for n, _ in pieces] == list(
            range(1, len(pieces) + 1))
        plain = server.client().completions.create(model="tiny", prompt="hello", temperature=0, max_tokens=8).choices[0].text
        assert (await c.call_tool("generate", {"prompt": "hello", "max_tokens": 8, "temperature": 0})).structured_content["text"] == plain
        r = await c.call_tool("generate", {"prompt": "x", "schema": PERSON, "max_tokens": 120})
        jsonschema.validate(json.loads(r.structured_content["text"]), PERSON)
        assert (await c.call_tool("tokenize", {"text": "hi"})).structured_content == {"tokens": [104, 105], "count": 2}
        v = (await c.call_tool("embed", {"texts": ["hello", "x"]})).structured_content["embeddings"]
        same = server.client().embeddings.create(model="tiny", input=["hello", "x"]).data
        assert all(abs(a - b) < 1e-5 for one, other in zip(v, same) for a, b in zip(one, other.embedding, strict=True))
        for name, t in tools.items():
            jsonschema.Draft202012Validator.check_schema(t.input_schema)
            jsonschema.Draft202012Validator.check_schema(t.output_schema)
        listed = [str(r.uri) for r in (await c.list_resources()).resources]
        assert listed == ["model://info", "model://card", "metrics://server"]
        info = json.loads((await c.read_resource("model://info")).contents[0].text)
        assert info["name"] == "tiny" and info["layers"] == 2
        assert "tiny" in (await c.read_resource("model://card")).contents[0].text
        assert "lmfast_slots " in (await c.read_resource("metrics://server")).contents[0].text
        assert [p.name for p in (await c.list_prompts()).prompts] == ["summarize", "explain"]
        assert (await c.get_prompt("summarize", {"text": "the sea"})).messages[0].content.text.endswith("the sea")
        for name, arguments, says in (("chat", {"messages": []}, "messages"),
                                      ("chat", {"messages": messages(), "temperature": 9}, "temperature"),
                                      ("generate", {}, "prompt"), ("embed", {"texts": []}, "texts"), ("tokenize", {}, "text"),
                                      ("classify", {"text": "x", "choices": ["a"]}, "choices"),
                                      ("classify", {"choices": ["a", "b"]}, "text"),
                                      ("generate", {"prompt": "x" * 600}, "600 tokens"),
                                      ("generate", {"prompt": "x", "max_tokens": 0}, "max_tokens")):
            r = await c.call_tool(name, arguments)
            assert r.is_error and says in r.content[0].text, (name, r)
        with pytest.raises(mcp.MCPError):
            await c.call_tool("nothing", {})
        with pytest.raises(mcp.MCPError):
            await c.read_resource("model://other")
        with pytest.raises(mcp.MCPError):
            await c.get_prompt("other")
    run(door, work)


def test_classify(door, server):
    """The log-probability of a choice is what /v1/completions tells of its tokens behind the same prompt."""
    async def work(c):
        r = (await c.call_tool("classify", {"text": "hi", "choices": ["yes", "no", "maybe"]})).structured_content
        ids = server.ask("POST", "/tokenize", {"messages": messages("hi")})[1]["tokens"]
        logps = []
        for one in r["probabilities"]:
            told = server.client().completions.create(model="tiny", prompt=ids + list(one["choice"].encode()), echo=True, max_tokens=0,
                                                      logprobs=1).choices[0].logprobs
            assert abs(sum(told.token_logprobs[len(ids):]) - one["logprob"]) < 1e-4
            logps.append(one["logprob"])
        whole = math.fsum(math.exp(p - max(logps)) for p in logps)
        assert all(abs(one["probability"] - math.exp(p - max(logps)) / whole) < 1e-6 for one, p in zip(r["probabilities"], logps))
        assert r["choice"] == r["probabilities"][logps.index(max(logps))]["choice"]
    run(door, work)


def test_many_at_once(door):
    """Each answer goes to who asked for it."""
    async def work(c):
        rows = [[k] * (1 + k % 7) for k in range(60)]
        texts = ["".join(map(chr, (97 + x % 26 for x in row))) for row in rows]
        ask = lambda i, t: ("tokenize", {"text": t}) if i % 2 else ("generate", {"prompt": t, "max_tokens": 3, "temperature": 0})
        got = await asyncio.gather(*(c.call_tool(*ask(i, t)) for i, t in enumerate(texts)))
        for i, (t, r) in enumerate(zip(texts, got)):
            assert r.structured_content.get("count", r.structured_content.get("prompt_tokens")) == len(t), (i, r)
    run(door, work)


def test_cancel(server):
    """A stream that is closed gives its slot back at once."""
    async def work(c):
        task = asyncio.create_task(c.call_tool("generate", {"prompt": "x", "max_tokens": 480, "temperature": 1.9}))
        await asyncio.sleep(0.05)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    run(lambda: mcp.Client(server.url + "/mcp"), work)
    server.settles(slots_free=8, requests_active=0)


# ---- messages that no client sends ----

class Pipe:
    def __init__(self, lmfast, model, *args):
        self.process = subprocess.Popen([lmfast.path, "mcp", "-m", model, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def say(self, message):
        self.process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, message):
        self.say(message)
        return self.hear()

    def end(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.process.stderr.close()
        return code, [json.loads(k) for k in rest.splitlines()]  # whatever came on standard output was protocol


def request(method, id=1, meta=META, **params):
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, **({"_meta": meta} if meta else {})}}


def test_stdio_messages(lmfast, model):
    p = Pipe(lmfast, model)
    for wrong, code, id in (("{", -32700, None), ("[1]", -32700, None), ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, -32600, 1),
                            ({"jsonrpc": "2.0", "id": [1], "method": "ping"}, -32600, None),
                            ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, -32600, None),
                            ({"jsonrpc": "2.0", "id": 4, "method": 5}, -32600, 4),
                            ({"jsonrpc": "2.0", "id": 4, "method": "ping", "params": [1]}, -32600, 4),
                            ({"jsonrpc": "2.0", "id": "a", "method": "nothing"}, -32601, "a"), (request("ping"), -32601, 1),
                            (request("tools/list", meta={**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}), -32022, 1),
                            (request("tools/list", meta={"io.modelcontextprotocol/protocolVersion": "2026-07-28"}), -32602, 1),
                            (request("tools/list", meta={**META, "io.modelcontextprotocol/protocolVersion": 7}), -32602, 1),
                            (request("tools/call"), -32602, 1), (request("tools/call", name="chat", arguments=[1]), -32602, 1),
                            (request("initialize", meta=None), -32602, 1), ("x" * (5 << 20), -32700, None)):
        r = p.ask(wrong)
        assert r["error"]["code"] == code and r["id"] == id and r["error"]["message"], (str(wrong)[:80], r)
        assert "2026-07-28" in r["error"]["data"]["supported"] if code == -32022 else True
    for asked, got in (("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("1999-01-01", "2025-11-25"),
                       ("2026-07-28", "2025-11-25")):
        assert p.ask(request("initialize", meta=None, protocolVersion=asked))["result"]["protocolVersion"] == got
    p.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
    p.say({"jsonrpc": "2.0", "id": 77, "result": {}})  # an answer to nothing
    assert p.ask(request("ping", id=2, meta=None))["result"] == {}
    for id in ("long", "other"):  # the later one stands first in the list of calls
        p.say(request("tools/call", id=id, meta=None, name="generate", arguments={"prompt": "x", "max_tokens": 480, "temperature": 1.9}))
    p.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "long"}})
    first = p.ask(request("tools/call", id="short", name="tokenize", arguments={"text": "a"}))
    p.say(request("tools/call", id="last", name="generate", arguments={"prompt": "x", "max_tokens": 20}))
    code, rest = p.end()
    # what was asked is answered; what was cancelled is not
    assert code == 0 and sorted(r["id"] for r in [first, *rest]) == ["last", "other", "short"]


def test_stdio_errors_leave_stdout_clean(lmfast, model, tmp_path):
    for args in (("-m", tmp_path / "none.gguf"), ("-m", model, "--context", 9999999), ("-m", model, "--nothing"), ()):
        r = lmfast("mcp", *args)
        assert r.returncode and r.stdout == "" and r.stderr
    r = lmfast("mcp", "-m", model, input="")
    assert (r.returncode, r.stdout) == (0, "")
    text = tmp_path / "messages.txt"
    text.write_text(json.dumps(request("tools/call", name="tokenize", arguments={"text": "a"})))  # a file, and no end of line
    with text.open() as f:
        r = subprocess.run([lmfast.path, "mcp", "-m", model], stdin=f, capture_output=True, text=True, timeout=60)
    assert json.loads(r.stdout)["result"]["structuredContent"]["count"] == 1


def test_http(lmfast, model, server):
    head = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    ask = lambda message, headers=None: server.ask("POST", "/mcp", message, headers)
    r, e = ask(request("tools/list"), head)
    assert r.status == 200 and len(e["result"]["tools"]) == 5 and e["result"]["resultType"] == "complete"
    for headers in ({}, {**head, "MCP-Protocol-Version": "2025-11-25"}, {**head, "Mcp-Method": "ping"}, {"Mcp-Method": "tools/list"}):
        r, e = ask(request("tools/list"), headers)
        assert r.status == 400 and e["error"]["code"] == -32020, (headers, e)
    call = request("tools/call", name="tokenize", arguments={"text": "a"})
    assert ask(call, {**head, "Mcp-Method": "tools/call"})[0].status == 400  # its name is missing
    assert ask(call, {**head, "Mcp-Method": "tools/call", "Mcp-Name": "tokenize"})[0].status == 200
    r, e = ask(request("nothing"), {**head, "Mcp-Method": "nothing"})
    assert r.status == 404 and e["error"]["code"] == -32601
    r, e = ask("{")
    assert r.status == 400 and e["error"]["code"] == -32700
    r, e = ask({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert r.status == 202 and e == b""
    assert server.ask("GET", "/mcp")[0].status == 405 and server.ask("DELETE", "/mcp")[0].status == 405
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ask(call, {**head, "Mcp-Method": "tools/call", "Mcp-Name": "tokenize", **headers})[0].status == 403
    assert ask(call, {"Content-Type": "text/plain"})[0].status == 415
    off = Server(lmfast, "-m", model, "--api-key", "a-key-of-16-bytes")
    key = {"Authorization": "Bearer a-key-of-16-bytes"}
    assert off.ask("POST", "/mcp", request("tools/list"))[0].status == 401
    r, e = off.ask("POST", "/mcp", request("tools/list"), key)
    assert r.status == 404 and "--mcp" in e["error"]["message"]
    assert off.stop() == 0


def test_metrics_are_for_keys_that_have_the_right(lmfast, model, tmp_path):
    keys = tmp_path / "keys.json"
    entry = lambda name, **rights: {"name": name, "sha256": hashlib.sha256((name + "-has-a-key-of-16").encode()).hexdigest(), **rights}
    keys.write_text(json.dumps({"keys": [entry("ada", metrics=True), entry("bob")]}))
    s = Server(lmfast, "-m", model, "--mcp", "--api-keys", keys)
    for name, may in (("ada", True), ("bob", False)):
        r, e = s.ask("POST", "/mcp", request("resources/read", meta=None, uri="metrics://server"),
                     {"Authorization": f"Bearer {name}-has-a-key-of-16"})
        assert ("result" in e and "lmfast_slots " in e["result"]["contents"][0]["text"]) if may else e["error"]["code"] == -32002, e
    assert s.stop() == 0


@pytest.mark.parametrize("seconds", [0, 0.03])
def test_ends_with_a_signal(lmfast, model, monkeypatch, seconds):
    """Whenever it comes; freed memory is overwritten, so that what is used behind its end is seen."""
    monkeypatch.setenv("MALLOC_PERTURB_", "165")
    p = Pipe(lmfast, model)
    assert p.ask(request("tools/list"))["id"] == 1
    for k in range(60):  # more than can be answered while it waits
        p.say(request("tools/call", id=2 + k, name="generate", arguments={"prompt": "x", "max_tokens": 480, "temperature": 1.9}))
    time.sleep(seconds)
    p.process.terminate()
    assert p.process.wait(timeout=20) == 0
    p.process.stdout.close()
    p.process.stderr.close()
    p.process.stdin.close()
