# SPDX-License-Identifier: Apache-2.0
"""lmfast serve for clients of other makers, each asked by its own client: Anthropic's Messages, Ollama's interface."""
import hashlib
import json
import math
import os

import anthropic
import jsonschema
import ollama
import openai
import pytest

from test_generate import write_gguf
from test_serve import CHAT, Server, alone, leave_no_child, messages, model  # noqa: F401 -- fixtures
from test_serve_forms import CLOCK, NAMES, PERSON, WEATHER, start, tool

MESSAGES = "/v1/messages"
COLD = {"extra_body": {"temperature": 0}}  # which the client has no name for any more
SCHEMA = WEATHER["function"]["parameters"]
TOOLS = [{"name": "weather", "description": "of a city", "input_schema": SCHEMA}]


@pytest.fixture(scope="module")
def server(lmfast, model, tmp_path_factory):
    s = start(lmfast, model, tmp_path_factory, NAMES)
    yield s
    s.settles(slots_free=8, requests_active=0)
    assert s.stop() == 0


@pytest.fixture(scope="module")
def thinker(lmfast, tmp_path_factory):
    """A model with tokens of its own around what it thinks; they are all that it can be made to write at once."""
    folder = tmp_path_factory.mktemp("thinker")
    path = write_gguf(folder / "thinker.gguf", more=["<think>", "</think>"])
    template = NAMES.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n{% if enable_thinking is not defined or "
                             "enable_thinking %}<think>{% endif %}{% endif %}")
    s = start(lmfast, path, tmp_path_factory, template)
    yield s
    assert s.stop() == 0


def claude(server, **more):
    return anthropic.Anthropic(base_url=server.url, api_key=more.pop("api_key", "none"), max_retries=0, timeout=60, **more)


def stop_in(text):
    return next(k for k in text[1:] if k.isascii() and k.isprintable())


# ---- Anthropic ----

def test_messages(lmfast, model, server):
    c = claude(server)
    plain = server.ask("POST", CHAT, {"messages": messages(), "max_tokens": 24, "temperature": 0})[1]
    want = plain["choices"][0]["message"]["content"]
    r = c.messages.create(model="tiny", messages=messages(), max_tokens=24, **COLD)
    assert [b.type for b in r.content] == ["text"] and r.content[0].text == want and r.role == "assistant" and r.model == "tiny"
    assert r.stop_reason == {"stop": "end_turn", "length": "max_tokens"}[plain["choices"][0]["finish_reason"]] and r.stop_sequence is None
    u = r.usage
    assert u.input_tokens + u.cache_read_input_tokens == plain["usage"]["prompt_tokens"]
    assert u.output_tokens == plain["usage"]["completion_tokens"]
    with c.messages.stream(model="tiny", messages=messages(), max_tokens=24, **COLD) as stream:
        events = list(stream)
        assert "".join(e.text for e in events if e.type == "text") == want
        whole = stream.get_final_message()
    assert whole.content[0].text == want and whole.stop_reason == r.stop_reason and whole.usage.output_tokens == u.output_tokens
    raw = [e.type for e in c.messages.create(model="tiny", messages=messages(), max_tokens=24, **COLD, stream=True)]
    assert raw[:2] == ["message_start", "content_block_start"] and raw[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(raw[2:-3]) == {"content_block_delta"}
    stop = stop_in(want)
    r = c.messages.create(model="tiny", messages=messages(), max_tokens=24, **COLD, stop_sequences=["zzz", stop])
    assert (r.content[0].text, r.stop_reason, r.stop_sequence) == (want[:want.index(stop)], "stop_sequence", stop)


def test_messages_prompt(server):
    """Each part of a conversation reaches the template as the same parts of a chat do."""
    chat = lambda m, **more: server.ask("POST", "/tokenize", {"messages": m, **more})[1]["count"]
    count = lambda m, **more: claude(server).messages.count_tokens(model="tiny", messages=m, **more).input_tokens
    user = messages("hi")
    assert count(user) == chat(user)
    assert count(user, system="be brief") == chat([{"role": "system", "content": "be brief"}, *user])
    assert count(user, system=[{"type": "text", "text": "be brief"}]) == chat([{"role": "system", "content": "be brief"}, *user])
    assert count([{"role": "system", "content": "be brief"}, *user]) == chat([{"role": "system", "content": "be brief"}, *user])
    assert count(user, tools=TOOLS) == chat(user, tools=[WEATHER]) > count(user) == count(user, tools=TOOLS, tool_choice={"type": "none"})
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bonn"}}
    result = lambda **k: {"type": "tool_result", "tool_use_id": "t1", "content": "rain", **k}
    talk = lambda *parts: [*user, {"role": "assistant", "content": [call]}, {"role": "user", "content": list(parts)}]
    same = [*user, {"role": "assistant", "content": None, "tool_calls": [{"id": "t1", "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}]}, {"role": "tool", "tool_call_id": "t1", "content": "rain"}]
    assert count(talk(result()), tools=TOOLS) == chat(same, tools=[WEATHER])
    assert count(talk(result(is_error=True)), tools=TOOLS) > count(talk(result()), tools=TOOLS)
    assert count(talk(result(content=[{"type": "text", "text": "rain"}])), tools=TOOLS) == chat(same, tools=[WEATHER])
    more = [*same, {"role": "user", "content": "so?"}]
    assert count(talk(result(), {"type": "text", "text": "so?"}), tools=TOOLS) == chat(more, tools=[WEATHER])
    assert count([*user, *messages("there")]) == chat([{"role": "user", "content": [{"type": "text", "text": "hi"},
                                                                                     {"type": "text", "text": "there"}]}])


def test_messages_tools(server):
    c = claude(server)
    ask = {"model": "tiny", "messages": messages(), "max_tokens": 200, "tools": TOOLS}
    r = c.messages.create(**ask, tool_choice={"type": "any", "disable_parallel_tool_use": True})
    calls = [b for b in r.content if b.type == "tool_use"]
    assert len(calls) == 1 and calls[0].name == "weather" and r.stop_reason == "tool_use" and calls[0].id.startswith("toolu_")
    jsonschema.validate(calls[0].input, SCHEMA)
    with c.messages.stream(**ask, tool_choice={"type": "tool", "name": "weather"}) as stream:
        kinds = [e.type for e in stream]
        r = stream.get_final_message()
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == len(r.content) and r.stop_reason == "tool_use"
    for b in r.content:
        jsonschema.validate(b.input, SCHEMA)
    assert len({b.id for b in r.content}) == len(r.content)
    r = c.messages.create(model="tiny", messages=messages(), max_tokens=120, extra_body={"output_config": {"format": {
        "type": "json_schema", "schema": PERSON}}})
    jsonschema.validate(json.loads(r.content[0].text), PERSON)


def test_messages_thinking(thinker):
    """What stands before </think> is a block of its own; the template hears whether it is wanted."""
    c = claude(thinker)
    ask = {"model": "tiny", "messages": messages(), "max_tokens": 40, **COLD}
    r = c.messages.create(**ask)
    assert r.content[0].type == "thinking" and r.content[0].thinking
    with c.messages.stream(**ask) as stream:
        list(stream)
        assert stream.get_final_message().content == r.content
    off = c.messages.create(**ask, thinking={"type": "disabled"})
    assert all(b.type == "text" for b in off.content)


def wrong_messages(**more):
    return {"model": "tiny", "messages": messages(), "max_tokens": 4, **more}


WRONG = [
    ({"max_tokens": None}, "max_tokens"), ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": "9"}, "max_tokens"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"), ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": "king", "content": "x"}]}, "user, assistant or system"),
    ({"messages": [{"role": "system", "content": 3}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"), ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, '"image"'),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}]}, "no tool_use"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}]}, "tool_use"),
    ({"messages": [*messages(), {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                   *messages()]}, 'the call "a"'),
    ({"messages": [*messages(), {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": "x"}]}]}, "input"),
    ({"messages": [*messages(), {"role": "assistant", "content": "I"}]}, "last message"), ({"temperature": 3}, "temperature"),
    ({"temperature": "1"}, "temperature"), ({"top_p": 2}, "top_p"), ({"top_k": 1.5}, "top_k"), ({"stream": 1}, "stream"),
    ({"stop_sequences": "x"}, "stop_sequences"), ({"stop_sequences": [""]}, "stop"), ({"stop_sequences": ["a"] * 17}, "16"),
    ({"system": 3}, "system"), ({"system": [{"type": "image"}]}, "system"), ({"tools": 3}, "tools"),
    ({"tools": [{"name": "f"}]}, "input_schema"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
    ({"tools": [{"name": "", "input_schema": {}}]}, "tools[0]"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"), ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "g"}}, '"g"'),
    ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice"), ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "does not think"), ({"thinking": {"type": "much"}}, "thinking"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config"), ({"output_config": 3}, "output_config"),
    ({"container": "x"}, "container"),
]


@pytest.mark.parametrize("i", range(len(WRONG)))
def test_messages_wrong(server, i):
    more, says = WRONG[i]
    r, e = server.ask("POST", MESSAGES, wrong_messages(**more))
    assert r.status == 400 and e["type"] == "error" and e["error"]["type"] == "invalid_request_error" and says in e["error"]["message"], e


def test_messages_errors(lmfast, model, server):
    with pytest.raises(anthropic.NotFoundError) as e:
        claude(server).messages.create(model="other", messages=messages(), max_tokens=4)
    assert e.value.body["error"]["type"] == "not_found_error" and '"other"' in e.value.body["error"]["message"]
    with pytest.raises(anthropic.BadRequestError):
        claude(server).messages.create(model="tiny", messages=messages("x" * 4000), max_tokens=4)
    r, e = server.ask("GET", MESSAGES)
    assert r.status == 405 and e["type"] == "error"
    r, e = server.ask("POST", MESSAGES, "{", None)
    assert r.status == 400 and e["error"]["type"] == "invalid_request_error"
    r, e = server.ask("POST", MESSAGES, wrong_messages(), {"Origin": "http://evil.example"})
    assert r.status == 403


def test_keys_and_counts(lmfast, model):
    """The key where each client sends it; what is asked through any door is counted."""
    s = Server(lmfast, "-m", model, "--name", "tiny", "--api-key", "secret-of-16-bytes")
    assert claude(s, api_key="secret-of-16-bytes").messages.create(model="tiny", messages=messages(), max_tokens=2).usage.output_tokens == 2
    with pytest.raises(anthropic.AuthenticationError) as e:
        claude(s, api_key="another").messages.create(model="tiny", messages=messages(), max_tokens=2)
    assert e.value.body["error"]["type"] == "authentication_error"
    o = ollama.Client(host=s.url, headers={"Authorization": "Bearer secret-of-16-bytes"})
    assert o.generate("tiny", "hi", options={"num_predict": 3}).eval_count == 3
    with pytest.raises(ollama.ResponseError) as e:
        ollama.Client(host=s.url).list()
    assert e.value.status_code == 401
    text = s.ask("GET", "/metrics", headers={"Authorization": "Bearer secret-of-16-bytes"})[1].decode()
    assert "lmfast_completion_tokens_total 5\n" in text
    assert s.stop() == 0


# ---- Ollama ----

GREEDY = {"temperature": 0, "num_predict": 24}


def test_ollama(lmfast, model, server):
    c = ollama.Client(host=server.url)
    plain = server.ask("POST", CHAT, {"messages": messages(), "max_tokens": 24, "temperature": 0})[1]
    want = plain["choices"][0]["message"]["content"]
    r = c.chat("tiny", messages(), options=GREEDY)
    assert r.message.content == want and r.message.role == "assistant" and r.done and r.model == "tiny"
    assert r.done_reason == plain["choices"][0]["finish_reason"] and r.total_duration >= r.eval_duration > 0
    assert (r.prompt_eval_count, r.eval_count) == (plain["usage"]["prompt_tokens"], plain["usage"]["completion_tokens"])
    parts = list(c.chat("tiny:latest", messages(), options=GREEDY, stream=True))
    assert "".join(p.message.content for p in parts) == want and [p.done for p in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == r.eval_count and parts[0].eval_count is None
    assert c.generate("tiny", "hello", options=GREEDY).response == want
    assert "".join(p.response for p in c.generate("tiny", "hello", options=GREEDY, stream=True)) == want
    raw = alone(lmfast, model, "hello", 12)  # as a conversation, so not the same
    text = server.client().completions.create(model="tiny", prompt="hello", temperature=0, max_tokens=12).choices[0].text
    assert c.generate("tiny", "hello", raw=True, options={**GREEDY, "num_predict": 12}).response == text != raw["text"]
    assert c.generate("tiny", "hello", system="be brief").prompt_eval_count > r.prompt_eval_count
    assert c.generate("tiny", "").done_reason == "load" and c.chat("tiny", []).done_reason == "load"
    assert c.generate("tiny", "hello", options=GREEDY, keep_alive="5m").done
    stop = c.generate("tiny", "hello", options={**GREEDY, "stop": [stop_in(want)]})
    assert stop.response == want[:want.index(stop_in(want))] and stop.done_reason == "stop"
    r, text = server.ask("POST", "/api/chat", {"model": "tiny", "messages": messages(), "options": GREEDY})
    assert r.getheader("Content-Type") == "application/x-ndjson"  # a stream unless it is asked otherwise
    assert [json.loads(k)["done"] for k in text.decode().splitlines()][-2:] == [False, True]
    top = c.chat("tiny", messages(), options=GREEDY, logprobs=True, top_logprobs=2)
    assert len(top.logprobs) == top.eval_count and top.logprobs[0].top_logprobs[0].logprob == top.logprobs[0].logprob


def test_ollama_forms(server):
    c = ollama.Client(host=server.url)
    for stream in (False, True):
        r = c.chat("tiny", messages(), format=PERSON, options={"num_predict": 120}, stream=stream)
        text = "".join(p.message.content for p in r) if stream else r.message.content
        jsonschema.validate(json.loads(text), PERSON)
    assert isinstance(json.loads(c.generate("tiny", "x", format="json", options={"num_predict": 150}).response), dict)


@pytest.fixture(scope="module")
def caller(lmfast, tmp_path_factory):
    """A model with a token for what begins a call, so that it comes by chance."""
    path = write_gguf(tmp_path_factory.mktemp("caller") / "caller.gguf", more=["<call>"])
    s = start(lmfast, path, tmp_path_factory, NAMES)
    yield s
    assert s.stop() == 0


def test_ollama_tools(server, caller):
    """Calls come whole, their arguments as objects, streamed or not; what was called goes back as such. Of a schema the client carries
    types and enums alone."""
    c = ollama.Client(host=caller.url)
    city = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Bonn", "Oslo"]}}, "required": ["city"]}
    schemas = {"clock": {"type": "object", "properties": {}}, "weather": city}
    tools = [CLOCK, tool("weather", city)]
    for stream in (False, True):
        seen = spoken = 0
        for seed in range(12):
            r = c.chat("tiny", messages(), tools=tools, options={"num_predict": 200, "temperature": 1.9, "top_k": 0, "top_p": 1,
                                                                            "seed": seed}, stream=stream)
            parts = list(r) if stream else [r]
            calls = [k.function for p in parts for k in p.message.tool_calls or []]
            text = "".join(p.message.content for p in parts)
            assert "<call>" not in text and parts[-1].done
            for call in calls:
                jsonschema.validate(dict(call.arguments), schemas[call.name])
            seen, spoken = seen + len(calls), spoken + bool(text)
        assert seen > 3 and spoken
    c = ollama.Client(host=server.url)
    call = {"function": {"name": "weather", "arguments": {"city": "Bonn"}}}
    talk = [*messages(), {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "rain", "tool_name": "weather"}]
    same = [*messages(), {"role": "assistant", "content": None, "tool_calls": [{"id": "t1", "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}]}, {"role": "tool", "tool_call_id": "t1", "content": "rain"}]
    n = c.chat("tiny", talk, tools=[WEATHER], options=GREEDY).prompt_eval_count
    assert n == server.ask("POST", "/tokenize", {"messages": same, "tools": [WEATHER]})[1]["count"]


def test_ollama_thinking(thinker):
    c = ollama.Client(host=thinker.url)
    r = c.chat("tiny", messages(), options=GREEDY)
    assert r.message.thinking and r.message.content == ""
    parts = list(c.chat("tiny", messages(), options=GREEDY, stream=True, think=True))
    assert "".join(p.message.thinking or "" for p in parts) == r.message.thinking
    assert not c.chat("tiny", messages(), options=GREEDY, think=False).message.thinking
    assert "thinking" in c.show("tiny").capabilities


def test_ollama_models(server, model):
    c = ollama.Client(host=server.url)
    listed = c.list().models
    assert [m.model for m in listed] == ["tiny"] and listed[0].size == os.path.getsize(model) and len(listed[0].digest) == 64
    assert listed[0].details.family == "llama" and listed[0].details.quantization_level == "F32"
    running = c.ps().models
    assert [m.model for m in running] == ["tiny"] and running[0].context_length == 512
    shown = c.show("tiny")
    assert shown.modelinfo["llama.context_length"] == 512 and "im_start" in shown.template
    assert shown.capabilities == ["completion", "embedding", "tools"]
    assert server.ask("GET", "/api/version")[1]["version"] == server.ask("GET", "/version")[1]["version"]
    for ask in (lambda: c.pull("x"), lambda: c.push("x"), lambda: c.copy("a", "b"),
                lambda: c.delete("x"), lambda: c.create("x", from_="y")):
        with pytest.raises(ollama.ResponseError) as e:
            ask()
        assert e.value.status_code == 501 and "not implemented" in e.value.error
    with pytest.raises(ollama.ResponseError) as e:
        c.show("other")
    assert e.value.status_code == 404 and '"other"' in e.value.error
    r, _ = server.ask("HEAD", "/")
    assert r.status == 200


WRONG_OLLAMA = [
    ({"model": None}, "model"), ({"model": 3}, "model"), ({"messages": None}, "messages"), ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": "king", "content": "x"}]}, "role"), ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]}, "images"), ({"stream": "yes"}, "stream"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]}, "arguments"),
    ({"messages": [{"role": "assistant", "tool_calls": 3}]}, "tool_calls"), ({"format": "xml"}, "format"), ({"format": 3}, "format"),
    ({"options": 3}, "options"), ({"options": {"temperature": "hot"}}, "temperature"), ({"options": {"temperature": 9}}, "temperature"),
    ({"options": {"mirostat": 2}}, "mirostat"), ({"options": {"repeat_last_n": 64}}, "repeat_last_n"),
    ({"options": {"num_predict": 0}}, "num_predict"),
    ({"options": {"num_predict": 1.5}}, "num_predict"), ({"options": {"seed": "x"}}, "seed"), ({"options": {"stop": 3}}, "stop"),
    ({"options": {"top_k": 1.5}}, "top_k"), ({"keep_alive": "soon"}, "keep_alive"), ({"keep_alive": []}, "keep_alive"),
    ({"keep_alive": "5x"}, "keep_alive"),
    ({"think": "high"}, "think"), ({"think": True}, "thinking"), ({"tools": 3}, "tools"), ({"tools": [1]}, "tools[0]"),
    ({"logprobs": 3}, "logprobs"), ({"top_logprobs": 3}, "top_logprobs"), ({"template": "x"}, "template"), ({"context": [1]}, "context"),
]


@pytest.mark.parametrize("i", range(len(WRONG_OLLAMA)))
def test_ollama_wrong(server, i):
    more, says = WRONG_OLLAMA[i]
    r, e = server.ask("POST", "/api/chat", {"model": "tiny", "messages": messages(), "options": {"num_predict": 2}, **more})
    assert r.status == 400 and list(e) == ["error"] and says in e["error"], (r.status, e)


def test_ollama_refusals(server):
    ask = lambda **k: server.ask("POST", "/api/generate", {"model": "tiny", "prompt": "x", **k})
    for more, says in (({"prompt": 3}, "prompt"), ({"system": 3}, "system"), ({"raw": 3}, "raw"), ({"images": ["AA"]}, "images"),
                       ({"suffix": "x"}, "suffix")):
        r, e = ask(**more)
        assert r.status == 400 and says in e["error"], (more, e)
    r, e = ask(prompt="", keep_alive=0)
    assert r.status == 501 and "stays loaded" in e["error"]
    assert ask(model="other")[0].status == 404 and server.ask("GET", "/api/chat")[1] == {"error": "/api/chat takes POST, not GET"}


# ---- OpenAI's Responses ----

RESPONSES = "/v1/responses"
FUNCTION = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}


def response(server, **more):
    return server.client().responses.create(**{"model": "tiny", "input": "hello", "temperature": 0, "max_output_tokens": 24, **more})


def test_responses(server):
    plain = server.ask("POST", CHAT, {"messages": messages(), "max_tokens": 24, "temperature": 0})[1]
    want = plain["choices"][0]["message"]["content"]
    r = response(server)
    assert r.output_text == want and [i.type for i in r.output] == ["message"] and r.model == "tiny" and r.error is None
    assert r.status == {"stop": "completed", "length": "incomplete"}[plain["choices"][0]["finish_reason"]]
    assert (r.usage.input_tokens, r.usage.output_tokens) == (plain["usage"]["prompt_tokens"], plain["usage"]["completion_tokens"])
    said = lambda input, **k: response(server, input=input, max_output_tokens=1, **k).usage.input_tokens
    chat = lambda m, **k: server.ask("POST", "/tokenize", {"messages": m, **k})[1]["count"]
    assert said("hi", instructions="be brief") == chat([{"role": "system", "content": "be brief"}, *messages("hi")])
    assert said([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]) == said("hi") == chat(messages("hi"))
    assert said([{"role": "developer", "content": "be brief"}, {"type": "message", "role": "user", "content": "hi"}]) == said("hi",
        instructions="be brief")
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Bonn"}'}
    talk = [*messages("hi"), call, {"type": "function_call_output", "call_id": "c1", "output": "rain"}]
    same = [*messages("hi"), {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}]}, {"role": "tool", "tool_call_id": "c1", "content": "rain"}]
    assert said(talk, tools=[FUNCTION]) == chat(same, tools=[WEATHER])
    top = response(server, include=["message.output_text.logprobs"], top_logprobs=2)
    logprobs = top.output[0].content[0].logprobs
    assert len(logprobs) == top.usage.output_tokens and logprobs[0].top_logprobs[0].logprob == logprobs[0].logprob


ORDER = ["created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
         "output_item.done"]


def test_responses_stream(server):
    r = response(server)
    events = list(response(server, stream=True, include=["message.output_text.logprobs"]))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    kinds = [e.type.removeprefix("response.") for e in events]
    assert list(dict.fromkeys(kinds)) == [*ORDER, r.status]
    deltas = [e for e in events if e.type == "response.output_text.delta"]
    assert "".join(e.delta for e in deltas) == r.output_text == next(e.text for e in events if e.type == "response.output_text.done")
    last = events[-1].response
    assert last.output_text == r.output_text and last.usage.output_tokens == r.usage.output_tokens and last.status == r.status
    told = last.output[0].content[0].logprobs
    assert len(told) == last.usage.output_tokens and [k.logprob for k in told][:3] == [
        k.logprob for e in deltas for k in e.logprobs][:3]
    stop = {"extra_body": {"stop": stop_in(r.output_text)}}
    with server.client().responses.stream(model="tiny", input="hello", temperature=0, max_output_tokens=24, **stop) as s:
        list(s)  # the client itself builds the response from the events, and minds their order
        assert s.get_final_response().output_text == response(server, **stop).output_text != r.output_text
    r, text = server.ask("POST", RESPONSES, {"input": "hello", "max_output_tokens": 2, "stream": True})
    lines = text.decode().split("\n\n")
    assert all(k.split("\n")[0] == "event: " + json.loads(k.split("data: ")[1])["type"] for k in lines if k)
    assert "[DONE]" not in text.decode()


def test_responses_tools(server):
    for stream in (False, True):
        ask = {"tools": [FUNCTION], "tool_choice": "required", "max_output_tokens": 200, "temperature": 1.2, "stream": stream}
        r = response(server, **ask)
        if stream:
            events = list(r)
            r = events[-1].response
            done = [e for e in events if e.type == "response.function_call_arguments.done"]
            assert [e.arguments for e in done] == [i.arguments for i in r.output] and all(e.item_id == i.id for e, i in zip(done, r.output))
            for e, i in zip(done, r.output):
                assert "".join(d.delta for d in events if d.type == "response.function_call_arguments.delta" and
                               d.item_id == i.id) == i.arguments
        assert r.output and all(i.type == "function_call" and i.name == "weather" for i in r.output) and r.status == "completed"
        for i in r.output:
            jsonschema.validate(json.loads(i.arguments), SCHEMA)
        results = [{"type": "function_call_output", "call_id": i.call_id, "output": "rain"} for i in r.output]
        more = response(server, input=results, previous_response_id=r.id, tools=[FUNCTION], tool_choice="none")
        assert more.previous_response_id == r.id and more.usage.input_tokens > len("rain")
        again = response(server, input=[*messages(), *[i.model_dump() for i in r.output], *results], tools=[FUNCTION], tool_choice="none")
        assert again.output_text == more.output_text and again.usage.input_tokens == more.usage.input_tokens
    form = {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}
    r = response(server, text={"format": form}, max_output_tokens=120)
    jsonschema.validate(json.loads(r.output_text), PERSON)


def test_responses_thinking(thinker):
    r = response(thinker)
    assert r.output[0].type == "reasoning" and r.output[0].content[0].text and r.usage.output_tokens_details.reasoning_tokens > 0
    events = list(response(thinker, stream=True))
    assert "".join(e.delta for e in events if e.type == "response.reasoning_text.delta") == r.output[0].content[0].text
    assert all(i.type == "message" for i in response(thinker, reasoning={"effort": "none"}).output)


def test_responses_kept(lmfast, model, tmp_path):
    """Whoever asked may go on, also after a restart where a file keeps them; nobody else, and not from what was not to be kept."""
    keys = tmp_path / "keys.json"
    entry = lambda name: {"name": name, "sha256": hashlib.sha256((name + "-has-a-key-of-16").encode()).hexdigest()}
    keys.write_text(json.dumps({"keys": [entry("ada"), entry("bob")]}))
    serve = lambda: Server(lmfast, "-m", model, "--name", "tiny", "--api-keys", keys, "--responses", tmp_path / "kept.db")
    s = serve()
    of = lambda name: s.client(api_key=name + "-has-a-key-of-16").responses
    ask = {"model": "tiny", "temperature": 0, "max_output_tokens": 5}
    first = of("ada").create(input="hello", instructions="be brief", **ask)
    second = of("ada").create(input="and?", previous_response_id=first.id, **ask)
    talk = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": first.output_text}, {"role": "user", "content": "and?"}]
    whole = of("ada").create(input=talk, store=False, **ask)
    assert (second.output_text, second.usage.input_tokens) == (whole.output_text, whole.usage.input_tokens)  # without the old instructions
    assert s.stop() == 0
    s = serve()
    assert of("ada").retrieve(second.id).output_text == second.output_text
    third = of("ada").create(input="so?", previous_response_id=second.id, **ask)
    assert third.usage.input_tokens > second.usage.input_tokens
    for who, which in (("bob", first), ("ada", whole)):
        with pytest.raises(openai.BadRequestError) as e:
            of(who).create(input="x", previous_response_id=which.id, **ask)
        assert e.value.code == "previous_response_not_found" and e.value.param == "previous_response_id"
        with pytest.raises(openai.NotFoundError):
            of(who).retrieve(which.id)
    with pytest.raises(openai.NotFoundError):
        of("bob").delete(first.id)
    of("ada").delete(first.id)
    with pytest.raises(openai.NotFoundError):
        of("ada").retrieve(first.id)
    assert s.stop() == 0
    other = tmp_path / "other.db"
    other.write_bytes(b"no data base" * 200)
    r = lmfast("serve", "-m", model, "--port", "0", "--responses", other)
    assert r.returncode and "not a database" in r.stderr


WRONG_RESPONSES = [
    ({"input": None}, "input"), ({"input": ""}, "input"), ({"input": []}, "input"), ({"input": [1]}, "input"), ({"input": 3}, "input"),
    ({"input": [{"role": "king", "content": "x"}]}, "input"), ({"input": [{"role": "user", "content": 3}]}, "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input"), ({"input": [{"type": "function_call", "name": "f"}]}, "input"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"), ({"instructions": 3}, "instructions"),
    ({"max_output_tokens": 0}, "max_output_tokens"), ({"max_output_tokens": "9"}, "max_output_tokens"), ({"temperature": 3}, "temperature"),
    ({"stream": "yes"}, "stream"), ({"store": "yes"}, "store"), ({"tools": 3}, "tools"), ({"tools": [{"type": "web_search"}]}, "tools"),
    ({"tools": [{"type": "function"}]}, "tools"), ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
    ({"text": 3}, "text"), ({"text": {"format": {"type": "xml"}}}, "text"), ({"include": ["file_search_call.results"]}, "include"),
    ({"include": 3}, "include"), ({"top_logprobs": 2}, "top_logprobs"), ({"truncation": "auto"}, "truncation"),
    ({"background": True}, "background"),
    ({"conversation": "x"}, "conversation"), ({"previous_response_id": "resp_none"}, "previous_response_id"),
    ({"previous_response_id": 3}, "previous_response_id"), ({"reasoning": 3}, "reasoning"), ({"max_tool_calls": 3}, "max_tool_calls"),
]


@pytest.mark.parametrize("i", range(len(WRONG_RESPONSES)))
def test_responses_wrong(server, i):
    more, param = WRONG_RESPONSES[i]
    r, e = server.ask("POST", RESPONSES, {"model": "tiny", "input": "x", "max_output_tokens": 2, **more})
    assert r.status == 400 and e["error"]["param"] == param and e["error"]["message"], (r.status, e)


# ---- vectors ----

def unit(v):
    return abs(math.fsum(x * x for x in v) - 1) < 1e-5


def close(a, b, by=1e-5):
    return len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) < by


def test_embeddings(server):
    c = server.client()
    texts = ["hello", "a longer text, of several words " * 12, "hello", "x"]
    r = c.embeddings.create(model="tiny", input=texts)  # base64, which the client asks for and decodes
    assert [d.index for d in r.data] == [0, 1, 2, 3] and all(len(d.embedding) == 32 and unit(d.embedding) for d in r.data)
    assert r.data[0].embedding == r.data[2].embedding and not close(r.data[0].embedding, r.data[3].embedding, 0.1)
    assert r.usage.prompt_tokens == r.usage.total_tokens == sum(map(len, texts))  # a token a byte
    plain = c.embeddings.create(model="tiny", input=texts, encoding_format="float")
    for a, b, text in zip(r.data, plain.data, texts):
        assert close(a.embedding, b.embedding, 1e-7)
        alone = c.embeddings.create(model="tiny", input=text).data[0].embedding
        assert close(a.embedding, alone)  # whatever else is computed, and known, beside
    ids = c.embeddings.create(model="tiny", input=[list(texts[0].encode())]).data[0].embedding
    assert close(ids, r.data[0].embedding)
    short = c.embeddings.create(model="tiny", input="hello", dimensions=5).data[0].embedding
    size = math.sqrt(math.fsum(x * x for x in r.data[0].embedding[:5]))
    assert unit(short) and close(short, [x / size for x in r.data[0].embedding[:5]])
    many = c.embeddings.create(model="tiny", input=[f"text {i}" for i in range(300)])
    assert len(many.data) == 300 and close(many.data[299].embedding, c.embeddings.create(model="tiny", input="text 299").data[0].embedding)
    o = ollama.Client(host=server.url)
    assert close(o.embed("tiny", "hello").embeddings[0], ids) and close(o.embed("tiny", texts).embeddings[3], r.data[3].embedding)
    assert close(o.embeddings("tiny", "hello").embedding, ids) and o.embed("tiny", texts).prompt_eval_count == r.usage.prompt_tokens
    long = "y" * 1000
    cut = o.embed("tiny", long).embeddings[0]
    assert close(cut, o.embed("tiny", long[:511]).embeddings[0])
    with pytest.raises(ollama.ResponseError):
        o.embed("tiny", long, truncate=False)


WRONG_EMBEDDINGS = [({"input": None}, "input"), ({"input": ""}, "input"), ({"input": []}, "input"), ({"input": 3}, "input"),
                    ({"input": ["a", 3]}, "input"), ({"input": [[9999]]}, "input"), ({"input": ["a"] * 2049}, "input"),
                    ({"input": "x" * 600}, "prompt"), ({"dimensions": 33}, "dimensions"), ({"dimensions": 0}, "dimensions"),
                    ({"dimensions": "5"}, "dimensions"),
                    ({"encoding_format": "hex"}, "encoding_format"),
                    ({"encoding_format": 3}, "encoding_format")]


@pytest.mark.parametrize("i", range(len(WRONG_EMBEDDINGS)))
def test_embeddings_wrong(server, i):
    more, param = WRONG_EMBEDDINGS[i]
    r, e = server.ask("POST", "/v1/embeddings", {"model": "tiny", "input": "x", **more})
    assert r.status == 400 and e["error"]["param"] == param, (r.status, e)
    if "input" in more and more["input"] != [[9999]]:
        r, e = server.ask("POST", "/api/embed", {"model": "tiny", "input": "x", "truncate": False, **more})
        assert r.status == 400 and list(e) == ["error"], e
