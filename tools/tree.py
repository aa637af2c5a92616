# SPDX-License-Identifier: Apache-2.0
"""What the gates share: the files of the tree, C without its comments and strings, and the way a gate ends."""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIP, SKIP_TOP = {".git", "__pycache__"}, {"build", "demo"}
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(root, *suffixes, under=""):
    """Paths relative to root, sorted."""
    found = []
    for path in sorted((root / under).rglob("*")) if (root / under).is_dir() else []:
        relative = path.relative_to(root)
        if path.is_file() and not SKIP & set(relative.parts) and relative.parts[0] not in SKIP_TOP and (not suffixes or path.suffix in suffixes):
            found.append(relative)
    return found


def text(path):
    return path.read_text(encoding="utf-8", errors="replace")


def bare_c(source):
    """The source with comments and string contents blanked, lines kept."""
    def blank(m):
        s = m.group()
        keep = s[0] if s[0] in "\"'" else " "
        return keep + re.sub(r"[^\n]", " ", s[1:-1]) + keep if len(s) > 1 else s
    return TOKEN.sub(blank, source)


def arguments(doc):
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    return parser.parse_args()


def finish(name, faults, seen, what):
    """Prints the faults and ends the program: 1 where there are any, or where nothing was looked at."""
    for fault in faults:
        print(fault)
    if not seen:
        print(f"{name}: found no {what} to check")
    print(f"{name}: {seen} {what}, {len(faults)} faults")
    sys.exit(1 if faults or not seen else 0)
