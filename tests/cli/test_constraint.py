# SPDX-License-Identifier: Apache-2.0
"""lmfast generate --schema, --grammar, --regex, --choices: answers of a tiny random model fit, within any limit that holds one."""
import json
import re

import pytest

from test_generate import answer, base, model, run  # noqa: F401 -- fixtures

SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "n": {"type": "integer", "minimum": 3,
        "maximum": 40},
                                           "kind": {"enum": ["red", "green"]}}, "required": ["name", "n", "kind"],
                                                   "additionalProperties": False}
SHORTEST = len('{"name":"","n":3,"kind":"red"}') + 1  # a token a byte, and the end


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


@pytest.mark.parametrize("limit", [SHORTEST, SHORTEST + 3, 100])
def test_schema(lmfast, model, schema, limit):
    for seed in range(4):
        r = answer(lmfast, model, "-p", "hello", "-n", limit, "-t", 2, "--top-k", 0, "--top-p", 1, "--seed", seed, "--schema", schema)
        value = json.loads(r["text"])
        assert r["finish"] == "stop" and r["completion_tokens"] <= limit
        assert list(value) == ["name", "n", "kind"] and len(value["name"]) <= 12 and 3 <= value["n"] <= 40 and value["kind"] in ("red",
                "green")


def test_limit_is_refused(lmfast, model, schema):
    r = run(lmfast, "generate", "-m", model, "-p", "hello", "-n", SHORTEST - 1, "--schema", schema)
    assert r.returncode != 0 and f"{SHORTEST} tokens".encode() in r.stderr and r.stdout.strip() == b""


def test_others(lmfast, model, tmp_path):
    grammar = tmp_path / "list.gbnf"
    grammar.write_text('root ::= "[" [0-9] ("," [0-9])* "]"')
    for flags, fits in ((["--grammar", grammar], r"\[\d(,\d)*\]"), (["--regex", "(ab|c){2,5}!"], r"(ab|c){2,5}!"), (["--choices",
            "yes,no,not sure"], "yes|no|not sure")):
        text = answer(lmfast, model, "-p", "hello", "-n", 40, "-t", 2, "--seed", 3, *flags)["text"]
        assert re.fullmatch(fits, text), text


def test_each_line_begins_anew(lmfast, model):
    r = run(lmfast, "generate", "-m", model, "-i", "-n", 20, "--json", "--choices", "yes,no", stdin="one\ntwo\nthree")
    assert r.returncode == 0 and all(json.loads(line)["text"] in ("yes", "no") for line in r.stdout.splitlines() if line.startswith(b'{"'))


@pytest.mark.parametrize("text, words", [('{"not": {}}', '"not"'), ("{", "no JSON"), ('{"type": "integer", "minimum": 2, "maximum": 1}',
        "no text fits")])
def test_refusals(lmfast, model, tmp_path, text, words):
    path = tmp_path / "s.json"
    path.write_text(text)
    r = run(lmfast, "generate", "-m", model, "-p", "x", "--schema", path)
    assert r.returncode != 0 and words in r.stderr.decode() and "s.json" in r.stderr.decode()


def test_one_at_a_time(lmfast, model, schema):
    r = run(lmfast, "generate", "-m", model, "-p", "x", "--schema", schema, "--choices", "a,b")
    assert r.returncode != 0 and b"give one of" in r.stderr
