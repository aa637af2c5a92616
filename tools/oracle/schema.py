#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_grammar --cache {cache} --walks 200
"""Constrained decoding against Python's jsonschema, over the real vocabulary.

For 50 schemas, made at random and those of the real tools of toolcall_test: walks that choose among the allowed tokens, each as likely,
with limits near the shortest answer and without, end, parse and validate; and values that another generator makes for the schema are
accepted token by token in the tokenizer's own encoding. Then keywords that must be refused by name, and hostile schemas that must be
answered in time.
--walks N in all (10,000 in soak); stops with status 1 at the first difference."""
import argparse
import datetime
import json
import os
import random
import re
import subprocess
import sys
import time

import jsonschema

CHECKER = jsonschema.FormatChecker()
for name, read in (("date-time", datetime.datetime.fromisoformat), ("time", datetime.time.fromisoformat)):
    CHECKER.checks(name, raises=ValueError)(lambda x, read=read: not isinstance(x, str) or read(x) is not None)
TYPES = {"integer": {"type": "integer"}, "float": {"type": "number"}, "number": {"type": "number"}, "string": {"type": "string"},
         "boolean": {"type": "boolean"}, "array": {"type": "array"}, "tuple": {"type": "array"}, "dict": {"type": "object"},
         "object": {"type": "object"}, "any": {}}


class Driver:
    def __init__(self, program, model):
        self.p = subprocess.Popen([program, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **q):
        begin = time.perf_counter()
        self.p.stdin.write(json.dumps(q).encode() + b"\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            sys.exit(f"the driver stopped with status {self.p.wait()} at {json.dumps(q)[:2000]}")
        self.seconds = time.perf_counter() - begin
        return json.loads(line)


def fail(what, *more):
    print("DIFFERS:", what, *("\n  " + str(m) for m in more))
    sys.exit(1)


def tool_schemas(path):
    """The tools of each row: one call, by name, with its arguments."""
    out = []
    for line in open(path, encoding="utf-8"):
        calls = []
        for name, arguments in re.findall(r"^([\w.]+)\((.*?)\) - ", json.loads(line)["messages"][0]["content"], re.M):
            props = dict(re.findall(r"(\w+): (\w+\??)", arguments))
            calls.append({"type": "object", "required": ["name", "arguments"], "additionalProperties": False, "properties": {
                "name": {"const": name},
                "arguments": {"type": "object", "properties": {k: TYPES[v.rstrip("?")] for k, v in props.items()},
                        "additionalProperties": False,
                              "required": [k for k, v in props.items() if not v.endswith("?")]}}})
        if calls:
            out.append(calls[0] if len(calls) == 1 else {"anyOf": calls})
    return out


class Maker:
    """Schemas with values that fit them, made together: the values know nothing of automata."""
    PATTERNS = [("^[a-z]{2,5}$", lambda r: "".join(r.choice("abcxyz") for _ in range(r.randint(2, 5)))),
                ("^(foo|bar)-\\d+$", lambda r: r.choice(["foo", "bar"]) + "-" + str(r.randint(0, 10**6))),
                ("[A-Z]", lambda r: r.choice(["xA", "A", "qqZé\"\\\n"])),
                ("^[^\"\\\\]*$", lambda r: r.choice(["", "a b", "né€😀"])),
                ("^\\w+@\\w+\\.com$", lambda r: r.choice(["me@x.com", "A_1@b2.com"])),
                ("^\\S{1,8}$", lambda r: r.choice(["a", "äöü", "a\"b", "x\\y", "12345678"]))]
    FORMATS = {"date": ["2024-02-29", "1999-12-31"], "time": ["23:59:59Z", "01:02:03.5+01:00"], "date-time": ["2024-02-29T00:00:00Z"],
               "uuid": ["123e4567-e89b-12d3-a456-426614174000"], "email": ["a.b@example.com"], "ipv4": ["0.0.0.0", "255.1.20.3"],
               "ipv6": ["::", "2001:db8::1", "1:2:3:4:5:6:7:8"]}

    def __init__(self, seed):
        self.r = random.Random(seed)

    def text(self, least=0, most=12):
        pool = ["a", "Z", "0", " ", "\"", "\\", "/", "\n", "\t", "\x7f", "é", "€", "😀", "{", "}", ",", ":", "\u2028"]
        return "".join(self.r.choice(pool) for _ in range(self.r.randint(least, most)))

    def schema(self, depth=0):
        """(schema, function that makes a value)"""
        r = self.r
        kinds = ["string", "length", "pattern", "format", "integer", "bounds", "number", "real", "multiple", "enum", "const", "boolean",
                "null"]
        kinds += ["object", "object", "array", "tuple", "any of", "one of", "all of", "map", "tree", "free"] * 2 if depth < 3 else []
        return getattr(self, "make_" + r.choice(kinds).replace(" ", "_"))(depth)

    def make_string(self, depth):
        return {"type": "string"}, self.text

    def make_length(self, depth):
        a = self.r.randint(0, 6)
        b = a + self.r.randint(0, 30)
        return {"type": "string", "minLength": a, "maxLength": b}, lambda: self.text(a, b)

    def make_pattern(self, depth):
        p, f = self.r.choice(self.PATTERNS)
        return {"type": "string", "pattern": p}, lambda: f(self.r)

    def make_format(self, depth):
        f = self.r.choice(list(self.FORMATS))
        return {"type": "string", "format": f}, lambda: self.r.choice(self.FORMATS[f])

    def make_integer(self, depth):
        return {"type": "integer"}, lambda: self.r.choice([0, -1, 7, 10**12, -self.r.randint(0, 10**9)])

    def make_bounds(self, depth):
        a = self.r.randint(-1200, 1200)
        b = a + self.r.choice([0, 1, 9, 77, 1000, 10**6])
        return {"type": "integer", "minimum": a, "maximum": b}, lambda: self.r.randint(a, b)

    def make_number(self, depth):
        return {"type": "number"}, lambda: self.r.choice([0, 1.5, -0.25, 1e20, 2.5e-7, 123456.789, 42])

    def make_real(self, depth):
        a = self.r.choice([-3.75, -1, 0, 0.5, 9.99])
        b = a + self.r.choice([0.25, 1, 10, 123.5])
        strict = self.r.random() < 0.5
        return ({"type": "number", "exclusiveMinimum" if strict else "minimum": a, "exclusiveMaximum" if strict else "maximum": b},
                lambda: (a + b) / 2 if strict else self.r.choice([a, b, (a + b) / 2]))

    def make_multiple(self, depth):
        k = self.r.choice([2, 3, 5, 7, 10, 25, 64])
        return {"type": "integer", "multipleOf": k, "minimum": -1000, "maximum": 5000}, lambda: k * self.r.randint(-1000 // k + 1,
                5000 // k)

    def make_enum(self, depth):
        v = [self.text(), 1, 2.5, None, True, {"a": [1, "x"]}, "red", "green", "greenish", []]
        self.r.shuffle(v)
        v = v[:self.r.randint(1, 6)]
        return {"enum": v}, lambda: self.r.choice(v)

    def make_const(self, depth):
        v = self.r.choice(["x", 12, -0.5, {"k": None}, [1, 2], False])
        return {"const": v}, lambda: v

    def make_boolean(self, depth):
        return {"type": "boolean"}, lambda: self.r.random() < 0.5

    def make_null(self, depth):
        return {"type": ["null", "boolean"]}, lambda: self.r.choice([None, True])

    def make_free(self, depth):
        return self.r.choice([True, {}, {"title": "anything"}]), lambda: self.r.choice([{"a": [1, {"b": None}]}, "x", [], {}, 3.5, [[[]]]])

    def make_object(self, depth):
        n = self.r.randint(0, 5)
        names = self.r.sample(["id", "name", "näme", "a\"b", "value", "x", "items", "type", "very long key", ""], n)
        parts = {k: self.schema(depth + 1) for k in names}
        required = [k for k in names if self.r.random() < 0.6]
        more = self.r.choice([False, False, True, "typed"])
        s = {"type": "object", "properties": {k: p[0] for k, p in parts.items()}, "required": required}
        if more != True or self.r.random() < 0.5:
            s["additionalProperties"] = {"type": "integer"} if more == "typed" else more

        def value():
            v = {k: p[1]() for k, p in parts.items() if k in required or self.r.random() < 0.5}
            for i in range(self.r.randint(0, 2) if more else 0):
                v[self.r.choice(["ident", "nam", "z\n", "value2"]) + str(i)] = 3
            return v
        return s, value

    def make_map(self, depth):
        part = self.schema(depth + 1)
        least, most = self.r.choice([(0, None), (1, None), (0, 2), (1, 3)])
        s = {"type": "object", "additionalProperties": part[0], "minProperties": least}
        if most is not None:
            s["maxProperties"] = most
        return s, lambda: {f"k{i}": part[1]() for i in range(self.r.randint(least, 3 if most is None else most))}

    def make_array(self, depth):
        part = self.schema(depth + 1)
        least = self.r.randint(0, 2)
        most = least + self.r.randint(0, 3)
        s = {"type": "array", "items": part[0], "minItems": least}
        if self.r.random() < 0.7:
            s["maxItems"] = most
        return s, lambda: [part[1]() for _ in range(self.r.randint(least, most))]

    def make_tuple(self, depth):
        parts = [self.schema(depth + 1) for _ in range(self.r.randint(1, 3))]
        s = {"type": "array", "prefixItems": [p[0] for p in parts], "items": False, "minItems": self.r.randint(0, len(parts))}
        return s, lambda: [p[1]() for p in parts][:self.r.randint(s["minItems"], len(parts))]

    def make_any_of(self, depth):
        parts = [self.schema(depth + 1) for _ in range(self.r.randint(1, 3))]
        return {"anyOf": [p[0] for p in parts]}, lambda: self.r.choice(parts)[1]()

    def make_one_of(self, depth):
        parts = [self.schema(depth + 1) for _ in range(self.r.randint(1, 3))]
        return ({"oneOf": [{"type": "object", "properties": {"kind": {"const": f"k{i}"}, "of": p[0]}, "required": ["kind", "of"]}
                           for i, p in enumerate(parts)]},
                lambda: (lambda i: {"kind": f"k{i}", "of": parts[i][1]()})(self.r.randrange(len(parts))))

    def make_all_of(self, depth):
        a, b = self.schema(depth + 1), self.schema(depth + 1)
        return ({"allOf": [{"type": "object", "properties": {"a": a[0]}, "required": ["a"]}, {"properties": {"b": b[0], "a": True}}]},
                lambda: {"a": a[1](), **({"b": b[1]()} if self.r.random() < 0.6 else {})})

    def make_tree(self, depth):
        name = f"node{self.r.randrange(10**9)}"
        s = {"$ref": f"#/$defs/{name}"}
        self.defs[name] = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"type": "null"},
                {"$ref": f"#/$defs/{name}"}]}},
                           "required": ["value", "next"], "additionalProperties": False}

        def value(d=0):
            return {"value": d, "next": None if d > 2 or self.r.random() < 0.4 else value(d + 1)}
        return s, value

    def whole(self):
        self.defs = {}
        s, f = self.schema()
        if not isinstance(s, dict):
            return self.whole()
        return {**s, "$defs": self.defs} if self.defs else s, f


def check_walks(driver, schema, n, seed, done):
    validator = jsonschema.Draft202012Validator(schema, format_checker=CHECKER)
    shortest = driver.ask(shortest=True)
    if "error" in shortest:
        fail("no shortest answer", schema, shortest)
    least = shortest["n_tok"]
    refused = driver.ask(walk=seed, limit=least - 1)
    if "can't hold" not in refused.get("error", ""):
        fail("a limit below the shortest answer was taken", schema, refused, shortest)
    for i in range(n):
        limit = least + [0, 1, 2, 5, 17, 40, 120, 300][i % 8]
        got = driver.ask(walk=seed + i, limit=limit)
        if "error" in got or not got["ended"] or got["n_tok"] > limit:
            fail("a walk did not end well", schema, limit, got)
        try:
            value = json.loads(got["text"])
            validator.validate(value)
        except (ValueError, jsonschema.ValidationError, RecursionError) as e:
            fail("an answer is not valid", schema, got, e)
        done.append(got["n_tok"])


def check_values(driver, schema, make, n, r, seen):
    validator = jsonschema.Draft202012Validator(schema, format_checker=CHECKER)
    for _ in range(n):
        value = make()
        if not validator.is_valid(value):
            continue  # one of several ways that the generator only tries
        form = r.choice([{}, {"separators": (",", ":")}, {"separators": (", ", ":")}])
        text = json.dumps(value, ensure_ascii=False, **form)
        got = driver.ask(accepts=text)
        if not got["ok"]:
            fail("a valid value is refused", schema, text, got)
        seen.append(text)


REFUSED = {"patternProperties": {"patternProperties": {"^a": {}}}, "not": {"not": {}}, "if": {"if": {}, "then": {}},
        "contains": {"contains": {}},
           "uniqueItems": {"uniqueItems": True}, "dependentRequired": {"dependentRequired": {}}, "propertyNames": {"propertyNames": {}},
           "unevaluatedProperties": {"unevaluatedProperties": False}, "$dynamicRef": {"$dynamicRef": "#x"}, "nonsense": {"nonsense": 1},
           "format": {"format": "idn-email"}, "$ref": {"$ref": "http://example.com/x"}, "multipleOf": {"multipleOf": 0.1},
           "pattern": {"pattern": "(?=x)"}, "oneOf": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}


def nest(n):
    s = {}
    for _ in range(n):
        s = {"type": "array", "items": s}
    return s


HOSTILE = [{"pattern": "^(a+)+$"}, {"pattern": "(a|a)*b(a|a){20}"}, {"pattern": "((a{0,100}){0,100}){0,100}"}, {"pattern": "(x+x+)+y"},
           {"pattern": "(.*a){30}"}, {"pattern": "^(a|b)*a(a|b){60}$"}, {"pattern": "((((.{0,99}){0,99}){0,99}){0,99})z"},
                   {"pattern": "a{99999}"},
           {"allOf": [{"pattern": f"(a|b)*a(a|b){{{i}}}"} for i in range(12)]}, {"$ref": "#"}, {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
           {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}},
                   "$ref": "#/$defs/a"},
           {"$defs": {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 3} if i < 20 else {} for i in range(21)}, "$ref": "#/$defs/a0"},
           {"type": "object", "properties": {f"p{i}": {} for i in range(3000)}, "minProperties": 2000}, nest(31), nest(60), nest(400),
           {"enum": [f"{i}" * 20 for i in range(9000)]}, {"enum": list(range(20000))}, {"minLength": 10**9}, {"pattern": "x{1,50000}",
                   "minLength": 40000},
           {"type": "array", "minItems": 10**9}, {"type": "integer", "multipleOf": 999983, "minimum": 1}, {"type": "integer",
                   "minimum": 10, "maximum": 9},
           {"required": ["a"], "properties": {"a": False}}, {"pattern": "[\\W\\D\\S]{1,1000}"}, {"format": "ipv6", "pattern": "f",
                   "minLength": 20},
           {"type": "object", "required": ["x"], "properties": {"x": {"$ref": "#"}}, "additionalProperties": False}]


def check_refused(driver):
    for word, schema in REFUSED.items():
        got = driver.ask(schema=schema)
        if f'"{word}"' not in got.get("error", ""):
            fail("a keyword is not refused by its name", schema, got)
    worst = 0
    for schema in HOSTILE:
        text = json.dumps(schema)[:100] if schema != HOSTILE[16] else "nest(400)"
        got = driver.ask(schema=schema)
        seconds = driver.seconds
        if "error" not in got:
            for seed in range(2):
                driver.ask(walk=seed, limit=200)
                seconds += driver.seconds
        worst = max(worst, seconds)
        if seconds > 5:
            fail("a hostile schema took too long", text, seconds, got)
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--driver", required=True)
    p.add_argument("--cache", default=os.path.expanduser("~/.cache/lmfast"))
    p.add_argument("--walks", type=int, default=200)
    p.add_argument("--schemas", type=int, default=50)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    driver = Driver(a.driver, os.path.join(a.cache, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"))
    tools = tool_schemas(os.path.join(a.cache, "data", "toolcall_test.jsonl"))
    r, done, seen, unlike = random.Random(a.seed), [], [], 0
    maker, schemas = Maker(a.seed), []
    while len(schemas) < a.schemas - 20:
        schemas.append(maker.whole())
    schemas += [(s, None) for s in r.sample(tools, 20)]
    worst = 0
    for i, (schema, make) in enumerate(schemas):
        got = driver.ask(schema=schema)
        if "error" in got:
            if "may hold at once" in got["error"]:
                unlike += 1
                continue
            fail("a schema is refused", schema, got)
        worst = max(worst, got["us"])
        check_walks(driver, schema, -(-a.walks // len(schemas)), a.seed * 1000003 + 10007 * i, done)
        if make:
            check_values(driver, schema, make, max(10, a.walks // len(schemas)), r, seen)
    if len(done) < a.walks * 0.9 or len(seen) < 100:
        fail(f"only {len(done)} walks and {len(seen)} values were tried")
    print(f"{len(schemas)} schemas, {len(done)} answers of {sum(done)} tokens, all valid; {len(seen)} values accepted; "
          f"slowest schema {worst:.0f} us; hostile schemas at most {check_refused(driver):.2f} s; {unlike} left out as not decidable")


if __name__ == "__main__":
    main()
