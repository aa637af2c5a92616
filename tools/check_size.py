#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file past 1,000 lines is a warning, past 1,500 a fault; a function past 100 lines is a fault."""
import ast
import re

import tree

WARN, FAIL, FUNCTION = 1000, 1500, 100
OPENING = re.compile(r"^(?!typedef|struct|union|enum|namespace|extern \"C\")[A-Za-z_][^=;]*\([^;]*\)[^;=()]*\{\s*(?:\\)?$")
NAME = re.compile(r"(\w+)\s*\(")


def c_functions(source):
    """(name, first line, lines): from the line of the signature that holds the name to the closing brace in column 0."""
    lines = tree.bare_c(source).splitlines()
    start = None
    for i, line in enumerate(lines):
        if start is None and (line.rstrip() == "{" or OPENING.match(line)):
            start = i
            while start > 0 and line.rstrip() == "{" and not re.match(r"[A-Za-z_]", lines[start]):
                start -= 1
        elif start is not None and line.startswith("}"):
            m = NAME.search(lines[start])
            yield m.group(1) if m else "?", start + 1, i - start + 1
            start = None


def functions(path, source):
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield node.name, node.lineno, node.end_lineno - node.lineno + 1
    elif path.suffix in (".c", ".h", ".cu"):
        yield from c_functions(source)


def main():
    args = tree.arguments(__doc__)
    faults, seen = [], 0
    for path in tree.files(args.root, ".c", ".h", ".cu", ".py", ".sh", ".cmake"):
        source = tree.text(args.root / path)
        n = source.count("\n")
        seen += 1
        if n > FAIL:
            faults.append(f"{path}: {n} lines, at most {FAIL}: split it by meaning")
        elif n > WARN:
            print(f"{path}: {n} lines: past {WARN}, soon to be split")
        faults += [f"{path}:{line}: {name} has {length} lines, at most {FUNCTION}" for name, line, length in functions(path, source)
                   if length > FUNCTION]
    tree.finish("size", faults, seen, "files")


if __name__ == "__main__":
    main()
