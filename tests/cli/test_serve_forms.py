# SPDX-License-Identifier: Apache-2.0
"""lmfast serve: answers that must have a form. OpenAI's own client asks, Python's jsonschema judges; a tiny random model writes whatever
it may, so that all of the form is tried, and the real one shows that it is of use."""
import concurrent.futures
import json
import os
import pathlib
import random
import re
import sys

import jsonschema
import openai
import pydantic
import pytest

from test_generate import write_gguf
from test_serve import CHAT, TOOLS, Server, body, leave_no_child, messages, model  # noqa: F401 -- fixtures

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools" / "oracle"))
import schema as schemas  # noqa: E402

MODEL = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf"
PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0,
    "maximum": 99}},
          "required": ["name", "age"]}
SHORTEST = len('{"name": "", "age": 0}') + 1  # tokens of the tiny model: bytes, and the end


def tool(name, parameters=None, **more):
    return {"type": "function", "function": {"name": name, **({"parameters": parameters} if parameters else {}), **more}}


WEATHER = tool("weather", {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"type": "integer",
    "minimum": 1, "maximum": 7}}, "required": ["city"]})
CLOCK = tool("clock")


# a token a byte: only names are shown
NAMES = TOOLS.replace("{{ tools | tojson }}", "{% for t in tools %}{{ t.function.name }} {% endfor %}")


def start(lmfast, model, tmp_path_factory, template):
    path = tmp_path_factory.mktemp("template") / "t.jinja"
    path.write_text(template)
    return Server(lmfast, "-m", model, "--name", "tiny", "--max-queue", 256, "--compute", "f32", "--chat-template", path)


@pytest.fixture(scope="module")
def server(lmfast, model, tmp_path_factory):
    s = start(lmfast, model, tmp_path_factory, NAMES)
    yield s
    s.settles(slots_free=8, requests_active=0)
    assert s.stop() == 0


def ask(server, **more):
    return server.client().chat.completions.create(**body(**{"temperature": 1.5, "max_tokens": 120, **more}))


# ---- forms of text ----

@pytest.mark.parametrize("limit", [SHORTEST, SHORTEST + 4, 100])
def test_schema(server, limit):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    r = ask(server, response_format=form, max_tokens=limit, n=4)
    for k in r.choices:
        value = json.loads(k.message.content)
        jsonschema.validate(value, PERSON)
        assert k.finish_reason == "stop" and set(value) == {"name", "age"}  # what the schema does not name is not written
    assert len({k.message.content for k in ask(server, response_format=form, n=4).choices}) > 1
    chunks = list(ask(server, response_format=form, stream=True, max_tokens=limit))
    jsonschema.validate(json.loads("".join(k.choices[0].delta.content or "" for k in chunks)), PERSON)


def test_limit_that_holds_none(server):
    r, e = server.ask("POST", CHAT, body(response_format={"type": "json_schema", "json_schema": {"schema": PERSON}},
        max_tokens=SHORTEST - 1))
    assert r.status == 400 and e["error"]["param"] == "max_tokens" and f"{SHORTEST} tokens" in e["error"]["message"], e
    r, e = server.ask("POST", CHAT, body(tools=[WEATHER], tool_choice="required", max_tokens=20))
    assert r.status == 400 and e["error"]["param"] == "max_tokens", e


def test_other_forms(server):
    for more, fits in (({"guided_regex": "(ab|c){2,5}!"}, r"(ab|c){2,5}!"), ({"guided_choice": ["yes", "no", "not sure"]},
        "yes|no|not sure"),
                       ({"guided_grammar": 'root ::= "[" [0-9] ("," [0-9])* "]"'}, r"\[\d(,\d)*\]"), ({"grammar": 'root ::= "a"+ "b"'},
                           "a+b"),
                       ({"structured_outputs": {"regex": "[x-z]{3}"}}, "[x-z]{3}"), ({"structured_outputs": {"choice": ["a"]}}, "a")):
        for seed in range(3):
            text = ask(server, seed=seed, extra_body=more).choices[0].message.content
            assert re.fullmatch(fits, text), (more, text)
    for more in ({"guided_json": PERSON}, {"json_schema": PERSON}, {"structured_outputs": {"json": PERSON}}):
        jsonschema.validate(json.loads(ask(server, extra_body=more).choices[0].message.content), PERSON)
    assert isinstance(json.loads(ask(server, response_format={"type": "json_object"}).choices[0].message.content), dict)
    plain = server.client().completions.create(model="tiny", prompt="x", max_tokens=9, temperature=2, extra_body={"guided_choice": ["one",
        "two"]})
    assert plain.choices[0].text in ("one", "two")


REFUSED = [
    ({"guided_json": {"not": {}}}, "guided_json", '"not"'),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"patternProperties": {}}}}}, "response_format",
        '"patternProperties"'),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "integer", "minimum": 2, "maximum": 1}}}},
        "response_format", "no text fits"),
    ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": [1]}}}, "response_format", "JSON schema"),
    ({"response_format": {"type": "xml"}}, "response_format", '"xml"'), ({"response_format": "json"}, "response_format", "type"),
    ({"guided_regex": "a(?=b)"}, "guided_regex", "look-around"), ({"guided_regex": "(a"}, "guided_regex", ""), ({"guided_regex": 1},
        "guided_regex", "text"),
    ({"guided_grammar": "root ::= other"}, "guided_grammar", "other"), ({"guided_grammar": "root ::= root \"a\""}, "guided_grammar",
        "itself"),
    ({"guided_choice": []}, "guided_choice", "1 to"), ({"guided_choice": [1]}, "guided_choice", "text"), ({"guided_choice": "yes"},
        "guided_choice", "list"),
    ({"structured_outputs": [1]}, "structured_outputs", "object"), ({"structured_outputs": {"json": 3}}, "structured_outputs.json",
        "JSON schema"),
    ({"guided_regex": "a", "guided_choice": ["b"]}, "guided_choice", "guided_regex"),
    ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex", "response_format"),
    ({"response_format": {"type": "json_object"}, "ignore_eos": True}, "ignore_eos", "end"),
    ({"tools": [WEATHER], "guided_regex": "a"}, "guided_regex", "tools"),
    ({"tools": [WEATHER, tool("weather")]}, "tools", "weather"), ({"tools": [tool("")]}, "tools", "name"), ({"tools": [tool("x" * 257)]},
        "tools", "name"),
    ({"tools": [{"type": "retrieval"}]}, "tools", "type"), ({"tools": [WEATHER] * 129}, "tools", "128"),
    ({"tools": [tool("f", {"type": "object", "properties": {"x": {"contains": {}}}})]}, "tools", '"contains"'),
    ({"tools": [tool("f", {"type": "string"})]}, "tools", "no text fits"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]}, "tools", "JSON schema"),
    ({"tools": [WEATHER], "tool_choice": "any"}, "tool_choice", "required"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice", '"other"'),
    ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice", "name"),
    ({"tool_choice": "required"}, "tool_choice", "no tools"), ({"tools": [WEATHER], "parallel_tool_calls": 1}, "parallel_tool_calls",
        "true or false"),
    ({"guided_json": {"enum": list(range(20000))}}, "guided_json", "more than"),
]


@pytest.mark.parametrize("more, param, words", REFUSED, ids=[f"{p}-{i}" for i, (_, p, _) in enumerate(REFUSED)])
def test_refused(server, more, param, words):
    r, e = server.ask("POST", CHAT, body(**more))
    assert r.status == 400 and e["error"]["param"] == param and words in e["error"]["message"], e
    assert server.ask("GET", "/health")[0].status == 200


# ---- tools ----

def check_calls(calls, tools):
    by_name = {t["function"]["name"]: t["function"].get("parameters", {"type": "object", "maxProperties": 0}) for t in tools}
    for name, arguments in calls:
        jsonschema.Draft202012Validator(by_name[name], format_checker=schemas.CHECKER).validate(json.loads(arguments))
        assert isinstance(json.loads(arguments), dict)


def calls_of(server, tools, stream, **more):
    """[(name, arguments)], text, finish; of a stream put together as clients do."""
    r = ask(server, tools=tools, stream=stream, **more)
    if not stream:
        m = r.choices[0].message
        return [(c.function.name, c.function.arguments) for c in m.tool_calls or []], m.content or "", r.choices[0].finish_reason
    calls, text, finish = {}, "", None
    for k in r:
        d = k.choices[0].delta
        text += d.content or ""
        finish = k.choices[0].finish_reason or finish
        for c in d.tool_calls or []:
            if c.index not in calls:
                assert c.id and c.type == "function" and c.function.name and c.function.arguments == "" and c.index == len(calls)
                calls[c.index] = [c.function.name, ""]
            else:
                assert c.index == len(calls) - 1 and c.function.name is None
                calls[c.index][1] += c.function.arguments
    return [tuple(c) for c in calls.values()], text, finish


def test_required_and_named(server):
    tools = [WEATHER, CLOCK]
    names = set()
    for seed in range(6):
        seen = [calls_of(server, tools, stream, tool_choice="required", seed=seed, max_tokens=200) for stream in (False, True)]
        assert seen[0] == seen[1] and seen[0][2] == "tool_calls" and seen[0][1] == "" and seen[0][0]
        check_calls(seen[0][0], tools)
        names |= {name for name, _ in seen[0][0]}
    assert names == {"weather", "clock"}
    for name in ("weather", "clock"):
        calls, _, finish = calls_of(server, tools, False, tool_choice={"type": "function", "function": {"name": name}}, max_tokens=200)
        assert finish == "tool_calls" and {n for n, _ in calls} == {name}
        check_calls(calls, tools)


def test_parallel_calls(server):
    one = [len(calls_of(server, [CLOCK], True, tool_choice="required", seed=s, max_tokens=300,
        parallel_tool_calls=False)[0]) for s in range(12)]
    many = [calls_of(server, [CLOCK], bool(s % 2), tool_choice="required", seed=s, max_tokens=300, logit_bias={str(ord("<")): 9})[0]
        for s in range(6)]  # what the next call begins with
    assert one == [1] * 12 and min(len(calls) for calls in many) > 1
    for calls in many:
        check_calls(calls, [CLOCK])


def test_auto_is_free_until_a_call(server):
    tools = [WEATHER, CLOCK]
    for seed in range(10):
        calls, text, finish = calls_of(server, tools, bool(seed % 2), seed=seed, max_tokens=40)
        check_calls(calls, tools)
        assert (finish == "tool_calls") == bool(calls) and (calls or text)
    plain, text, finish = calls_of(server, tools, False, tool_choice="none")
    assert plain == [] and finish in ("length", "stop")


def test_call_or_form(server):
    """With response_format the answer is a call or a value of the schema."""
    kinds = set()
    for seed in range(20):
        calls, text, finish = calls_of(server, [CLOCK], bool(seed % 2), seed=seed,
                                       response_format={"type": "json_schema", "json_schema": {"schema": {"enum": [1]}}})
        kinds.add(bool(calls))
        assert finish == ("tool_calls" if calls else "stop")
        if not calls:
            assert isinstance(json.loads(text), int)
        check_calls(calls, [CLOCK])
    assert kinds == {True, False}


def test_many_schemas(server):
    maker, r = schemas.Maker(7), random.Random(7)
    made = []
    while len(made) < 25:
        s, _ = maker.whole()
        defs = s.pop("$defs", {})
        made.append(tool(f"f{len(made)}", {"type": "object", "properties": {"v": s}, "required": ["v"], "$defs": defs}))
    jobs = [(r.sample(made, r.randint(1, 2)), seed, r.choice([True, False])) for seed in range(100)]

    def one(job):
        tools, seed, stream = job
        try:
            return calls_of(server, tools, stream, tool_choice="required", seed=seed, max_tokens=300, parallel_tool_calls=bool(seed % 3))
        except openai.BadRequestError as e:
            assert e.param == "max_tokens" or "no text fits" in str(e), e
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        got = list(pool.map(one, jobs))
    for (tools, _, _), g in zip(jobs, got):
        if g:
            assert g[2] == "tool_calls"
            check_calls(g[0], tools)
    assert sum(g is not None for g in got) > 80


LLAMA = NAMES.replace("<call>\n{{ c.function | tojson }}\n</call>",
    "{\"name\": \"{{ c.function.name }}\", \"parameters\": {{ c.function.arguments | tojson }}}")
LIST = NAMES.replace("{% for c in m.tool_calls %}<call>\n{{ c.function | tojson }}\n</call>{% endfor %}",
                     "[CALLS][{% for c in m.tool_calls %}{{ c.function | tojson }}{% if not loop.last %}, {% endif %}{% endfor %}]")
NONE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt "
    "%}<|im_start|>assistant\n"
        "{% endif %}")


@pytest.mark.parametrize("template", [LLAMA, LIST, NONE], ids=["bare", "list", "none"])
def test_other_templates(lmfast, model, tmp_path_factory, template):
    s = start(lmfast, model, tmp_path_factory, template)
    tools = [WEATHER, CLOCK]
    for seed in range(6):
        calls, text, finish = calls_of(s, tools, bool(seed % 2), tool_choice="required", seed=seed, max_tokens=160)
        assert calls and finish == "tool_calls" and text == ""
        check_calls(calls, tools)
        check_calls(calls_of(s, tools, bool(seed % 2), seed=seed, max_tokens=100)[0], tools)
    talk = messages() + [{"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "clock",
        "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "a", "content": "noon"}, {"role": "user", "content": "and now?"}]
    used = s.client().chat.completions.create(**body(messages=talk, tools=tools, max_tokens=1)).usage.prompt_tokens
    assert used > s.client().chat.completions.create(**body(messages=talk[:1], tools=tools,
        max_tokens=1)).usage.prompt_tokens + len("clocknoonand now?")
    assert s.stop() == 0


# ---- what is thought before ----

@pytest.fixture(scope="module", params=["open", "free"])
def thinker(request, lmfast, tmp_path_factory):
    """A model with tokens for thinking; the template opens it, or the model may."""
    folder = tmp_path_factory.mktemp("thinker")
    path = write_gguf(folder / "thinker.gguf", more=["<think>", "</think>"])
    template = NAMES.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif "
        "%}") if request.param == "open" else NAMES
    s = start(lmfast, path, tmp_path_factory, template)
    s.opens = request.param == "open"
    yield s
    s.settles(slots_free=8, requests_active=0)
    assert s.stop() == 0


def test_thinks_first(thinker):
    bias = None if thinker.opens else {"256": 100}
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    for seed in range(6):
        more = {"response_format": form} if seed % 2 else {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False}
        r = ask(thinker, seed=seed, max_tokens=90, logit_bias=bias, **more)
        m = r.choices[0].message
        thought = m.model_extra["reasoning_content"]
        if seed % 2:
            jsonschema.validate(json.loads(m.content), PERSON)
            assert r.choices[0].finish_reason == "stop"
        else:
            check_calls([(c.function.name, c.function.arguments) for c in m.tool_calls], [WEATHER])
            assert r.choices[0].finish_reason == "tool_calls" and not m.content
        assert r.usage.completion_tokens_details.reasoning_tokens > 0 and "</think>" not in thought
        deltas = [k.choices[0].delta for k in ask(thinker, seed=seed, max_tokens=90, logit_bias=bias, stream=True, **more)]
        assert "".join(d.model_extra.get("reasoning_content") or "" for d in deltas) == thought
        assert "".join(d.content or "" for d in deltas) == (m.content or "")
        if not seed % 2:
            assert "".join(c.function.arguments for d in deltas for c in d.tool_calls or []) == m.tool_calls[0].function.arguments
    plain = ask(thinker, max_tokens=30, logit_bias={**(bias or {}), "257": -100})  # no end of it: all is thought
    assert plain.choices[0].finish_reason in ("length", "stop") and plain.choices[0].message.content == ""


# ---- the real model ----

@pytest.fixture(scope="module")
def real(lmfast):
    if not MODEL.exists():
        pytest.skip("tools/fetch_model.py brings the model")
    s = Server(lmfast, "-m", MODEL, "--name", "smol", "--context", 1024)
    yield s
    assert s.stop() == 0


def test_real_model(real):
    class Person(pydantic.BaseModel):
        name: str
        age: int
        languages: list[str]

    c = real.client()
    r = c.chat.completions.parse(model="smol", messages=[{"role": "user",
        "content": "Bob is 34 and speaks French and Dutch. Give name, age and "
        "languages as JSON."}], response_format=Person, max_tokens=48, temperature=0)
    p = r.choices[0].message.parsed
    assert p.name.startswith("Bob") and p.age == 34 and r.choices[0].finish_reason == "stop"
    question = [{"role": "user", "content": "What is the weather in Bonn?"}]
    tools = [openai.pydantic_function_tool(type("Weather", (pydantic.BaseModel,), {"__annotations__": {"city": str}}), name="get_weather")]
    r = c.chat.completions.parse(model="smol", messages=question, tools=tools, tool_choice="required", parallel_tool_calls=False,
        max_tokens=48,
                                 temperature=0)
    call = r.choices[0].message.tool_calls[0].function
    assert call.name == "get_weather" and call.parsed_arguments.city
    with c.chat.completions.stream(model="smol", messages=question, tools=tools, tool_choice="required", parallel_tool_calls=False,
        max_tokens=48,
                                   temperature=0) as stream:
        done = [e for e in stream if e.type == "tool_calls.function.arguments.done"]
    assert [(e.name, e.arguments) for e in done] == [(call.name, call.arguments)]
