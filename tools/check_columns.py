#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A line of code has at most 140 columns. Files that were older than this rule are listed with their number of longer lines in
tools/columns.txt; a number may only shrink (--shrink writes the smaller ones; a file that is not listed has none)."""
import argparse
import pathlib

import tree

WIDEST, LIST = 140, "tools/columns.txt"
SUFFIXES = (".c", ".h", ".cu", ".py", ".sh", ".cmake")


def long_lines(text):
    return [i for i, line in enumerate(text.splitlines(), 1) if len(line) > WIDEST]


def read_list(path):
    """{file: number of long lines that it may have}"""
    rows = [line.split() for line in tree.text(path).splitlines()] if path.exists() else []
    return {name: int(n) for n, name in rows}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--root", type=pathlib.Path, default=tree.ROOT)
    p.add_argument("--build")
    p.add_argument("--shrink", action="store_true")
    args = p.parse_args()
    allowed, left, faults, seen = read_list(args.root / LIST), {}, [], 0
    for path in tree.files(args.root, *SUFFIXES):
        seen += 1
        name, wide = str(path), long_lines(tree.text(args.root / path))
        if len(wide) > allowed.get(name, 0):
            where = ", ".join(map(str, wide[:8])) + (" ..." if len(wide) > 8 else "")
            faults.append(f"{name}: {len(wide)} lines over {WIDEST} columns, {allowed.get(name, 0)} were there: lines {where}")
        left[name] = min(len(wide), allowed.get(name, 0))
    if args.shrink:
        (args.root / LIST).write_text("".join(f"{n} {name}\n" for name, n in sorted(left.items()) if n))
    spare = sum(allowed.values()) - sum(left.values())
    if spare and not args.shrink:
        print(f"columns: {spare} long lines of {LIST} are gone; tools/check_columns.py --shrink takes them off the list")
    tree.finish("columns", faults, seen, "files")


if __name__ == "__main__":
    main()
