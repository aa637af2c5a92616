#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads include/lmfast/*.h: what they declare and what they say about it. The headers are written so that this small reader is enough; what
it does not understand it refuses. From it come Python's prototypes (bindings/python/stage.py), the record of the ABI (check_abi.py) and
docs/C.md (make_docs.py).

    api = headers.read(ROOT / "include/lmfast")
    api.functions["lmfast_model_open"].args  ->  [Arg("lmfast_context *", "ctx"), ...]"""
import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass
class Item:
    """kind: opaque, number, struct, enum, callback, function. members: of a struct, (type, name, length or None, comment); of an enum,
    (name, value,
    comment). args: of a function or callback, (type, name)."""
    kind: str
    name: str
    header: str
    doc: str = ""
    text: str = ""
    result: str = ""
    args: list = dataclasses.field(default_factory=list)
    members: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Api:
    headers: dict        # name -> its opening comment
    items: list
    defines: dict

    def of(self, kind):
        return {i.name: i for i in self.items if i.kind == kind}

    @property
    def functions(self):
        return self.of("function")

    @property
    def structs(self):
        return self.of("struct")


def words(comment):
    """The text of a comment without its stars."""
    body = comment[2:-2]
    return "\n".join(re.sub(r"^\s*\* ?", "", line).rstrip() for line in body.split("\n")).strip()


def parts(text):
    """(declaration, comment above, comment behind) for each that ends in ';' outside of braces."""
    out, code, above, depth, at, last_end = [], "", "", 0, 0, -1
    inner = []  # comments inside of braces stay in the code, for the members
    while at < len(text):
        if text.startswith("/*", at):
            end = text.index("*/", at) + 2
            comment = text[at:end]
            if depth:
                code += comment
            elif not code.strip() and out and last_end >= 0 and "\n" not in text[last_end:at]:
                out[-1][2] = (out[-1][2] + " " + words(comment)).strip()
            elif not code.strip():
                above = words(comment)
            at = end
            continue
        c = text[at]
        depth += (c in "{") - (c in "}")
        if c == ";" and depth == 0:
            out.append([" ".join(code.split()) if "/*" not in code else code.strip(), above, ""])
            code, above, last_end = "", "", at + 1
        else:
            if not code.strip() and c == "\n" and text.startswith("\n", at + 1):
                above = ""  # a comment that stands alone
            code += c
        at += 1
    if code.strip():
        raise ValueError(f"not understood: {code.strip()[:200]}")
    return out


def split_args(text):
    """(type, name) of each parameter."""
    if text.strip() == "void":
        return []
    out = []
    for arg in text.split(","):
        m = re.fullmatch(r"\s*(.*?[\s*])(\w+)\s*", arg)
        if not m:
            raise ValueError(f"parameter not understood: {arg}")
        out.append((" ".join(m.group(1).replace("*", " * ").split()), m.group(2)))
    return out


def struct_members(body):
    out = []
    for code, above, behind in parts(body):
        m = re.fullmatch(r"((?:const\s+)?\w+)\s*(.*)", " ".join(code.split()))
        base = m.group(1)
        for declarator in m.group(2).split(","):
            d = re.fullmatch(r"\s*((?:\*|\s|const\b)*)(\w+)\s*(?:\[(\w+)\])?\s*", declarator)
            if not d:
                raise ValueError(f"member not understood: {code}")
            out.append((" ".join((base + " " + d.group(1).replace("*", " * ")).split()), d.group(2), d.group(3),
                        (above + " " + behind).strip()))
    return out


def enum_members(body):
    out, value = [], 0
    for m in re.finditer(r"(\w+)\s*(?:=\s*(-?\w+))?\s*(,?)\s*((?:/\*.*?\*/)?)", body, re.S):
        value = int(m.group(2), 0) if m.group(2) else value
        out.append((m.group(1), value, words(m.group(4)) if m.group(4) else ""))
        value += 1
    return out


def declaration(code, doc, header):
    plain = re.sub(r"/\*.*?\*/", " ", code, flags=re.S)
    plain = " ".join(plain.split())
    item = Item("", "", header, doc, plain)
    if m := re.fullmatch(r"typedef struct (\w+) (\w+)", plain):
        item.kind, item.name = "opaque", m.group(2)
    elif m := re.match(r"typedef struct (\w+) \{", plain):
        item.kind, item.name = "struct", m.group(1)
        body = code[code.index("{") + 1:code.rindex("}")]
        if body.lstrip().startswith("/*") and "\n" not in body[:body.index("/*")]:
            item.doc = (item.doc + " " + words(body.strip()[:body.strip().index("*/") + 2])).strip()
            body = body[body.index("*/") + 2:]
        item.members = struct_members(body)
    elif m := re.fullmatch(r"typedef int32_t (\w+)", plain):
        item.kind, item.name = "number", m.group(1)
    elif m := re.match(r"(?:typedef )?enum (\w+ )?\{", plain):
        item.kind, item.name = "enum", (m.group(1) or "").strip()
        item.members = enum_members(code[code.index("{") + 1:code.rindex("}")])
    elif m := re.fullmatch(r"typedef (.+?)\(\*(\w+)\)\((.*)\)", plain):
        item.kind, item.name, item.result, item.args = "callback", m.group(2), m.group(1).strip(), split_args(m.group(3))
    elif m := re.fullmatch(r"LMFAST_API (?:LMFAST_MUST_USE )?(.+?[\s*])(\w+)\((.*)\)", plain):
        item.kind, item.name, item.args = "function", m.group(2), split_args(m.group(3))
        item.result = " ".join(m.group(1).replace("*", " * ").split())
    else:
        raise ValueError(f"{header}: not understood: {plain[:200]}")
    return item


def read(folder=ROOT / "include" / "lmfast"):
    api = Api({}, [], {})
    for path in sorted(pathlib.Path(folder).glob("*.h")):
        text = path.read_text(encoding="utf-8").replace("/* SPDX-License-Identifier: Apache-2.0 */\n", "", 1)
        for name, value in re.findall(r"^#define (LMFAST_\w+) (\d+)$", text, re.M):
            api.defines[name] = int(value)
        opening = re.match(r"/\*.*?\*/", text, re.S)
        if not opening:
            raise ValueError(f"{path.name}: opens with no comment")
        api.headers[path.name] = words(opening.group())
        text = text[opening.end():]
        text = re.sub(r"^#.*$", "", text, flags=re.M).replace('extern "C" {', "")
        text = re.sub(r"^static inline [^;{]*\n\{\n.*?^\}$", "", text, flags=re.M | re.S)
        text = re.sub(r"^\}$", "", text, flags=re.M)
        api.items += [declaration(code, (above + " " + behind).strip(), path.name) for code, above, behind in parts(text)]
    return api


def usage(opening):
    """The code of a header's opening comment: its lines that are indented by four."""
    return "\n".join(line[4:] for line in opening.split("\n") if line.startswith("    "))
