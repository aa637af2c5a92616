#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/C.md from the comments of include/lmfast, and docs/PYTHON.md from the package's own docstrings. A test compares them
with what is there.

    tools/make_docs.py             # writes both
    tools/make_docs.py C|PYTHON    # prints one"""
import ast
import pathlib
import re
import sys
import textwrap

import headers

ROOT = pathlib.Path(__file__).resolve().parent.parent
ORDER = ["context", "model", "tokenizer", "engine", "chat", "dataset", "settings", "trainer", "export"]
PACKAGE = ROOT / "bindings" / "python" / "lmfast"
C_TOP = """# LMFast from C

Made by `tools/make_docs.py` from the headers in `include/lmfast`, which can be read as well. `#include <lmfast/lmfast.h>` has them all;
`pkg-config --cflags --libs lmfast` or CMake's `find_package(lmfast)` and `lmfast::lmfast` find the library after `make install`.
Programs of a page each lie in `examples/`.
"""
PYTHON_TOP = """# LMFast from Python

Made by `tools/make_docs.py` from the package's docstrings. `pip install` a wheel that `bindings/python/make_wheel.py` makes, or put
`build/release/python` on PYTHONPATH. Every failure of the library is an exception whose text says what was wrong, where, and what to do.
"""


def strip(code):
    """Without blank lines at the end."""
    return code[:len(code) - next(i for i, line in enumerate(reversed(code)) if line)]


def prose(text):
    """A comment's words with its indented lines as code, paragraphs parted where a line begins anew behind a full stop."""
    out, code = [], []
    for line in [*text.split("\n"), "."]:
        if line.startswith("    ") or (code and not line):
            code.append(line[4:])
            continue
        if code:
            out += ["```c", *strip(code), "```", *[""] * (not code[-1])]
            code = []
        out.append(line)
    return "\n".join(out[:-1]).strip()


def c_item(item):
    text = re.sub(r"LMFAST_API (LMFAST_MUST_USE )?", "", item.text)
    if item.kind == "struct":
        rows = [(f"{kind} {name}".replace("* ", "*") + (f"[{length}]" if length else ""), doc) for kind, name, length, doc in item.members]
        width = max(len(r[0]) for r in rows) + 1
        body = "\n".join(f"    {(r + ';').ljust(width)}" + (f" /* {d} */" if d else "") for r, d in rows)
        text = f"struct {item.name} {{\n{body}\n}};"
    elif item.kind == "enum":
        body = "\n".join(f"    {name} = {value}," + (f" /* {doc} */" if doc else "") for name, value, doc in item.members)
        text = f"enum {{\n{body}\n}};"
    else:
        text = "\n".join(textwrap.wrap(text + ";", 120, subsequent_indent="    "))
    return f"```c\n{text}\n```\n" + (f"\n{prose(item.doc)}\n" if item.doc and item.kind not in ("enum",) else "")


def c_manual():
    api = headers.read()
    missing = {n.removesuffix(".h") for n in api.headers} - {*ORDER, "lmfast"}
    assert not missing, f"say in ORDER where {missing} belong"
    out = [C_TOP]
    for name in ORDER:
        out.append(f"## lmfast/{name}.h\n\n{prose(api.headers[name + '.h'])}\n")
        out += [c_item(i) for i in api.items if i.header == name + ".h" and not (i.kind == "function" and i.name.endswith("_opts_init"))]
    return "\n".join(out)


def signature(node, name, drop_self):
    args = node.args
    if drop_self and args.args:
        args = ast.arguments(args.posonlyargs, args.args[1:], args.vararg, args.kwonlyargs, args.kw_defaults, args.kwarg, args.defaults)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and name != "__init__" else ""
    return ast.unparse(args), returns


def docstring(node):
    text = ast.get_docstring(node) or ""
    out, code = [], []
    for line in [*text.split("\n"), "."]:
        if line.startswith("    ") or (code and not line):
            code.append(line[4:])
            continue
        if code:
            out += ["```python", *strip(code), "```", *[""] * (not code[-1])]
            code = []
        out.append(line)
    return "\n".join(out[:-1]).strip()


def python_item(node, level="###"):
    if isinstance(node, ast.FunctionDef):
        args, returns = signature(node, node.name, False)
        return f"{level} {node.name}\n\n```text\n{node.name}({args}){returns}\n```\n\n{docstring(node)}\n"
    init = next((m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"), None)
    made = f"```text\n{node.name}({signature(init, '__init__', True)[0]})\n```\n\n" if init and not node.name.startswith("Stream") else ""
    fields = [f"`{m.target.id}`" for m in node.body if isinstance(m, ast.AnnAssign) and not m.target.id.startswith("_")]
    out = [f"{level} class {node.name}\n\n{made}{docstring(node)}\n"]
    if fields:
        out.append("Fields: " + ", ".join(fields) + ".\n")
    for m in node.body:
        if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"):
            is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in m.decorator_list)
            args, returns = signature(m, m.name, True)
            head = f"{m.name}{returns}" if is_property else f"{m.name}({args}){returns}"
            out.append(f"- **`.{head}`**" + (f": {docstring(m)}" if docstring(m) else "") + "\n")
    return "\n".join(out)


def python_manual():
    source = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    home = next(ast.literal_eval(n.value) for n in source.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "_HOME")
    out = [PYTHON_TOP, docstring(source), ""]
    modules = list(dict.fromkeys(home.values()))
    for module in modules:
        path = PACKAGE / (module.replace(".", "/") + ".py")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = {n.name: n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        names = [n for n, m in home.items() if m == module]
        out.append(f"## lmfast.{module}\n\n{docstring(tree)}\n")
        if module == "errors":
            rows = [f"| `{n}` | {', '.join(ast.unparse(b) for b in nodes[n].bases)} | {docstring(nodes[n])} |" for n in names]
            out += ["| exception | is also | when |\n| --- | --- | --- |", *rows, ""]
        else:
            out += [python_item(nodes[n]) for n in names if n in nodes]
    return "\n".join(out)


MANUALS = {"C": c_manual, "PYTHON": python_manual}


def main():
    if len(sys.argv) > 1:
        print(MANUALS[sys.argv[1]]().rstrip())
        return
    for name, make in MANUALS.items():
        (ROOT / "docs" / f"{name}.md").write_text(make().rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
