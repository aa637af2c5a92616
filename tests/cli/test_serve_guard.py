# SPDX-License-Identifier: Apache-2.0
"""lmfast serve --guard: what a policy says of prompts and answers, at every endpoint. A model with a token a byte is held to a text, so
that whatever is in it comes split over as many chunks as it has bytes; `lmfast guard redact` says what must come out."""
import hashlib
import json
import re

import openai
import pytest

from test_generate import write_gguf
from test_serve import CHAT, Server, body, leave_no_child, messages, model  # noqa: F401 -- fixtures
from test_serve_forms import NAMES, tool

MAIL, CARD = "bob@example.com", "4111 1111 1111 1111"
TEXT = f"Zoë wrote to {MAIL} from 10.0.0.7, tel. +49 30 901820-0, and paid with"
POLICY = ("name: personal-data\nphrases: [Project Osprey]\nmax_answer_tokens: 400\nentities:\n  DEFAULT: replace\n  IP_ADDRESS: mask\n"
          "  CREDIT_CARD: block\n  URL: keep\n")
WAYS = ["chat", "completions", "messages", "responses", "ollama chat", "ollama generate"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY)
    return path


def start(lmfast, model, folder, *more, template=NAMES):
    path = folder / "t.jinja"
    path.write_text(template)
    return Server(lmfast, "-m", model, "--name", "tiny", "--compute", "f32", "--chat-template", path, *more)


@pytest.fixture(scope="module")
def server(lmfast, model, policy, tmp_path_factory):
    s = start(lmfast, model, tmp_path_factory.mktemp("server"), "--guard", policy, "--mcp")
    yield s
    s.settles(slots_free=8, requests_active=0)
    assert s.stop() == 0


@pytest.fixture(scope="module")
def redacted(lmfast, policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")

    def run(text):
        (folder / "t.txt").write_text(text)
        r = lmfast("guard", "redact", folder / "t.txt", "--policy", policy)
        assert r.returncode == 0, r.stderr
        return r.stdout
    return run


def written(server, way, text, stream, prompt="hello"):
    """What an endpoint writes that is held to the text, and why it ended; all bytes of the reply, too."""
    value = {"enum": [text]}  # JSON's string where an endpoint knows schemas only
    path, ask = {
        "chat": (CHAT, {"messages": messages(prompt), "guided_choice": [text]}),
        "completions": ("/v1/completions", {"prompt": prompt, "guided_choice": [text]}),
        "messages": ("/v1/messages", {"messages": messages(prompt), "output_format": {"type": "json_schema", "schema": value}}),
        "responses": ("/v1/responses", {"input": prompt, "max_output_tokens": 300,
                                        "text": {"format": {"type": "json_schema", "name": "t", "schema": value}}}),
        "ollama chat": ("/api/chat", {"messages": messages(prompt), "format": value}),
        "ollama generate": ("/api/generate", {"prompt": prompt, "format": value})}[way]
    r, raw = server.ask("POST", path, {"model": "tiny", "max_tokens": 300, "stream": stream, **ask})
    assert r.status == 200, raw
    assert re.fullmatch(r"personal-data sha256:[0-9a-f]{16}", r.headers["X-LMFast-Guard"])
    parts = [json.loads(line.removeprefix("data: ")) for line in raw.decode().splitlines()
             if line.startswith(("data: {", "{"))] if stream and isinstance(raw, bytes) else [raw]
    out, end = "", None
    for p in parts:
        if way in ("chat", "completions"):
            for k in p["choices"]:
                m = k.get("delta") or k.get("message") or {"content": k.get("text")}
                out, end = out + (m.get("content") or ""), k["finish_reason"] or end
        elif way == "messages":
            out += "".join(b["text"] for b in p.get("content", [])) + p.get("delta", {}).get("text", "")
            end = p.get("delta", p).get("stop_reason") or end
        elif way == "responses":
            out += p["delta"] if p.get("type") == "response.output_text.delta" else ""
            whole = p.get("response", p)
            whole.pop("text", None)  # the request's own, which is told again
            if whole.get("status") in ("completed", "incomplete") and "output" in whole:
                said = "".join(c["text"] for item in whole["output"] for c in item["content"])
                assert out in ("", said)
                out, end = said, (whole["incomplete_details"] or {}).get("reason", "completed")
        else:
            out += p.get("response") or p.get("message", {}).get("content", "")
            end = p.get("done_reason", end)
    if way not in ("chat", "completions") and out:
        out = json.loads(out)
    return out, end, json.dumps(parts, ensure_ascii=False)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_answers_pass_the_policy(server, redacted, way, stream):
    text = TEXT + " cash at https://example.com/a?b=1."
    out, end, raw = written(server, way, text, stream)
    assert out == redacted(text) and "<EMAIL_ADDRESS> from ********, tel. <PHONE_NUMBER>" in out and "https://example.com/a?b=1" in out
    assert MAIL not in raw and "10.0.0.7" not in raw and end in ("stop", "end_turn", "completed")
    out, end, raw = written(server, way, f"{TEXT} {CARD} then", stream)
    assert end in ("content_filter", "refusal") and MAIL not in raw and "4111" not in raw and "then" not in raw
    if way in ("chat", "completions"):
        assert out == redacted(TEXT + " ")  # what came before is there
    else:
        assert out == ""  # JSON comes whole, or not
    assert written(server, way, "of  project\nOSPREY", stream)[1] in ("content_filter", "refusal")


@pytest.mark.parametrize("text", [MAIL, f"{MAIL} ", f"x {MAIL}", f"a{MAIL}.", "bob@example", "tel. 030 9018200", "not@all", "10.0.0.7.8",
                                  "4111 1111 1111 1112", "Project Ospreys", "<EMAIL_ADDRESS>"])
def test_streams_end_as_whole_texts_do(server, redacted, text):
    for stream in (False, True):
        assert written(server, "chat", text, stream)[:2] == (redacted(text), "stop")


def seen(server, **ask):
    """The prompt as the model reads it."""
    r, j = server.ask("POST", "/tokenize", {"return_token_strs": True, **ask})
    assert r.status == 200, j
    return "".join(j["token_strs"])


def test_prompts_pass_the_policy(server):
    said = seen(server, messages=messages(f"I am {MAIL}, at 10.0.0.7."))
    assert "I am <EMAIL_ADDRESS>, at ********." in said
    call = {"id": "1", "type": "function", "function": {"name": "send", "arguments": json.dumps({"to": MAIL, "ip": ["10.0.0.7", 7]})}}
    talk = [*messages("go"), {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "bob@exam"}, {"type": "text", "text": "ple.com"}]}]
    said = seen(server, messages=talk)
    assert '"<EMAIL_ADDRESS>"' in said and "********" in said and "ple.com" not in said and said.count("<EMAIL_ADDRESS>") == 2
    assert seen(server, prompt=f"to {MAIL}") == "to <EMAIL_ADDRESS>"
    r, j = server.ask("POST", "/v1/completions", {"prompt": f"to {MAIL}", "echo": True, "max_tokens": 1})
    assert j["choices"][0]["text"].startswith("to <EMAIL_ADDRESS>")
    ids = [ord(c) for c in f"to {MAIL}"]  # a token a byte
    r, j = server.ask("POST", "/v1/completions", {"prompt": ids, "max_tokens": 1})
    assert r.status == 400 and "as token ids" in j["error"]["message"]
    assert server.ask("POST", "/v1/completions", {"prompt": ids[:6], "max_tokens": 1})[0].status == 200


@pytest.mark.parametrize("path, ask, where", [
    (CHAT, {"messages": messages(f"pay {CARD}")}, "messages[0]"), (CHAT, {"messages": [*messages(), *messages(f"{CARD}")]}, "messages[1]"),
    (CHAT, {"messages": messages(), "tools": [tool("pay", {"type": "object", "properties": {CARD: {}}})]}, "tools"),
    (CHAT, {"messages": messages(), "tools": [tool("pay", {"type": "object", "properties": {"a": {"const": int(CARD.replace(" ", ""))}}})]},
     "tools"),
    ("/v1/completions", {"prompt": f"pay {CARD}"}, "prompt"),
    ("/v1/completions", {"prompt": ["a", f"pay {CARD}"], "stream": True}, "prompt"),
    ("/v1/messages", {"messages": messages(f"pay {CARD}"), "max_tokens": 4}, "messages[0]"),
    ("/v1/messages", {"messages": messages(), "system": f"pay {CARD}", "max_tokens": 4}, "messages[0]"),
    ("/v1/messages/count_tokens", {"messages": messages(f"pay {CARD}")}, "messages[0]"),
    ("/v1/responses", {"input": f"pay {CARD}"}, "messages[0]"), ("/api/chat", {"messages": messages(CARD)}, "messages[0]"),
    ("/api/generate", {"prompt": CARD}, "messages[0]"), ("/api/generate", {"prompt": CARD, "raw": True}, "prompt"),
    ("/v1/embeddings", {"input": ["a", CARD]}, "prompt"), ("/api/embed", {"input": CARD}, "prompt"),
    ("/api/embeddings", {"prompt": CARD}, "prompt"), ("/tokenize", {"prompt": CARD}, "prompt")])
def test_blocked_prompts_are_refused(server, path, ask, where):
    r, j = server.ask("POST", path, {"model": "tiny", **ask})
    said = json.dumps(j)
    assert r.status == 400 and "blocks CREDIT_CARD" in said and where in said and "4111" not in said, said
    assert r.headers["X-LMFast-Guard"].startswith("personal-data ")
    if path.startswith("/v1/") and "error" in j and "code" in j["error"]:
        assert j["error"]["code"] == "content_filter"


def call_of(server, arguments, stream):
    tools = [tool("send", {"type": "object", "properties": arguments, "required": list(arguments)})]
    r = server.client().chat.completions.create(**body(messages=messages(), tools=tools, tool_choice="required", max_tokens=300,
                                                       parallel_tool_calls=False, stream=stream))
    if not stream:
        m = r.choices[0].message
        return "".join(c.function.arguments for c in m.tool_calls or []), r.choices[0].finish_reason, m.content or ""
    out, text, end = "", "", None
    for k in r:
        d = k.choices[0].delta
        out += "".join(c.function.arguments or "" for c in d.tool_calls or [])
        text, end = text + (d.content or ""), k.choices[0].finish_reason or end
    return out, end, text


@pytest.mark.parametrize("stream", [False, True])
def test_arguments_of_calls(server, stream):
    out, end, text = call_of(server, {"to": {"const": f"a\n{MAIL}"}, "n": {"const": 3}, "what": {"const": "hello"}}, stream)
    assert end == "tool_calls" and text == "" and json.loads(out) == {"to": "a\n<EMAIL_ADDRESS>", "n": 3, "what": "hello"}
    out, end, text = call_of(server, {"card": {"type": "string", "pattern": "^4[1]{3}( [1]{4}){3}$"}}, stream)
    assert (out, end, text) == ("", "content_filter", "")


def test_nothing_goes_around_it(server):
    for more in ({"logprobs": True}, {"logprobs": True, "top_logprobs": 2, "stream": True}):
        r, j = server.ask("POST", CHAT, body(**more))
        assert r.status == 400 and j["error"]["param"] == "logprobs"
    assert server.ask("POST", "/v1/completions", {"prompt": "a", "logprobs": 0})[0].status == 400
    several = server.client().chat.completions.create(**body(n=3, max_tokens=100, extra_body={"guided_choice": [f"to {MAIL}"]}))
    assert [k.message.content for k in several.choices] == ["to <EMAIL_ADDRESS>"] * 3
    split = {"prompt": "to bob@exam", "echo": True, "guided_choice": ["ple.com now"], "max_tokens": 60}
    for stream in (False, True):  # half of it in the prompt
        _, raw = server.ask("POST", "/v1/completions", {**split, "stream": stream})
        texts = [raw] if not stream else [json.loads(x[6:]) for x in raw.decode().splitlines() if x.startswith("data: {")]
        assert "".join(t["choices"][0]["text"] for t in texts) == "to <EMAIL_ADDRESS> now"
    r, j = server.ask("POST", "/v1/responses", {"input": f"I am {MAIL}", "max_output_tokens": 4})
    kept = server.ask("POST", "/v1/responses", {"input": "and?", "previous_response_id": j["id"], "max_output_tokens": 4})[1]
    assert kept["status"] in ("completed", "incomplete")


def test_mcp(server):
    ask = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "generate", "arguments": {
        "prompt": "a", "schema": {"enum": [f"to {MAIL}"]}}}}
    r, j = server.ask("POST", "/mcp", ask, {"Accept": "application/json, text/event-stream"})
    assert "EMAIL_ADDRESS" in json.dumps(j) and MAIL not in json.dumps(j), j
    ask["params"] = {"name": "generate", "arguments": {"prompt": CARD}}
    r, j = server.ask("POST", "/mcp", ask, {"Accept": "application/json, text/event-stream"})
    assert "blocks CREDIT_CARD" in json.dumps(j), j


def test_thoughts_pass_the_policy(lmfast, tmp_path):
    path = write_gguf(tmp_path / "thinker.gguf", more=["<think>", "</think>"])
    policy = tmp_path / "p.yaml"
    policy.write_text("phrases: [a]\nentities:\n  BLOCKED_PHRASE: mask\n")
    s = start(lmfast, path, tmp_path, "--guard", policy,
              template=NAMES.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"))
    for stream in (False, True):
        bias = {"97": 100, "32": 100}  # "a" and " ", each until the other was written as often
        ask = body(max_tokens=60, frequency_penalty=2, logit_bias=bias, stream=stream)
        r, raw = s.ask("POST", CHAT, ask)
        parts = [raw] if not stream else [json.loads(x[6:]) for x in raw.decode().splitlines() if x.startswith("data: {")]
        out = "".join(str(m.get("reasoning_content") or "")
                      for p in parts for m in [p["choices"][0].get("delta") or p["choices"][0].get("message") or {}])
        assert "*" in out and not re.search(r"(^|[^a])a([^a]|$)", out), out
    assert s.stop() == 0


def test_each_key_has_its_policy(lmfast, model, policy, tmp_path):
    strict = tmp_path / "strict.yaml"
    strict.write_text("name: strict\nmax_prompt_tokens: 60\nmax_answer_tokens: 5\nentities:\n  DEFAULT: block\n")
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [
        {"name": "ada", "sha256": hashlib.sha256(b"ada's key").hexdigest(), "guard": "strict.yaml"},
        {"name": "bob", "sha256": hashlib.sha256(b"bob's key").hexdigest(), "metrics": True}]}))
    s = start(lmfast, model, tmp_path, "--api-keys", keys, "--guard", policy)
    with pytest.raises(openai.BadRequestError) as e:
        s.client(api_key="ada's key").chat.completions.create(**body(messages=messages(MAIL)))
    assert e.value.code == "content_filter" and e.value.response.headers["x-lmfast-guard"].startswith("strict ")
    r = s.client(api_key="bob's key").chat.completions.with_raw_response.create(**body(messages=messages(MAIL)))
    assert r.headers["x-lmfast-guard"].startswith("personal-data ")
    short = s.client(api_key="ada's key").chat.completions.create(**body(max_tokens=50, logit_bias={"97": 100}))
    assert short.usage.completion_tokens == 5 and short.choices[0].finish_reason == "length"
    with pytest.raises(openai.BadRequestError, match="lets 60 pass"):
        s.client(api_key="ada's key").chat.completions.create(**body(messages=messages("x" * 60)))
    text = s.ask("GET", "/metrics", headers={"Authorization": "Bearer bob's key"})[1].decode()
    assert re.search(r'lmfast_guard_findings_total\{policy="strict sha256:\w+",way="in",entity="EMAIL_ADDRESS",operator="block"\} 1', text)
    assert re.search(r'lmfast_guard_findings_total\{policy="personal-data sha256:\w+",way="in",entity="EMAIL_ADDRESS",'
                     r'operator="replace"\} 1', text)
    assert re.search(r'lmfast_guard_blocked_total\{policy="strict sha256:\w+",way="in"\} 1', text)
    assert re.search(r'lmfast_guard_texts_total\{policy="strict sha256:\w+",way="out"\} 1', text)
    assert s.stop() == 0


def test_off_is_told(lmfast, model, tmp_path):
    s = start(lmfast, model, tmp_path)
    assert s.ask("POST", CHAT, body())[0].headers["X-LMFast-Guard"] == "off"
    assert s.stop() == 0


@pytest.mark.parametrize("text, says", [("entities:\n  EMAIL: mask\n", "no entity is called EMAIL"), (None, "gone.yaml"),
                                        ("entities:\n  URL: hide\n", "no operator is called hide"),
                                        ("on: true\n", "no setting is called on")])
def test_wrong_policies_do_not_start(lmfast, model, tmp_path, text, says):
    path = tmp_path / "gone.yaml"
    if text:
        path.write_text(text)
    for more in (["serve", "--port", 0], ["mcp"]):
        r = lmfast(*more, "-m", model, "--guard", path)
        assert r.returncode == 1 and says in r.stderr and r.stdout == "", r.stderr
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "guard": "gone.yaml"}]}))
    r = lmfast("serve", "--port", 0, "-m", model, "--api-keys", keys)
    assert r.returncode == 1 and says in r.stderr and "http" not in r.stdout
