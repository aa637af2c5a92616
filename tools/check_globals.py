#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No writable globals: the objects of the library and the program have empty .data, .bss and thread-local sections.
.data.rel.ro (constant tables of pointers) is read only once the program is loaded. One object is allowed by name."""
import re
import subprocess

import tree

WRITABLE = re.compile(r"^(\.data|\.bss|\.tdata|\.tbss|\.ldata|\.lbss|COMMON|\*COM\*)")
ALLOWED = {("src/cli/signal.c.o", "lmf_cli_stop_signal")}
OURS = re.compile(r"CMakeFiles/[^/]+\.dir/(src|gen)/")
NOT_OURS = re.compile(r"CMakeFiles/(lmf_tests|driver_\w+|bench_\w+|\w+_fuzz)\.dir/")


def objects(build):
    for path in sorted(build.rglob("*.o")):
        name = path.as_posix()
        if OURS.search(name) and not NOT_OURS.search(name):
            yield path


def symbols(path):
    """(name, section, bytes) of the data that an object defines."""
    text = subprocess.run(["nm", "--format=sysv", "--defined-only", str(path)], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        part = [p.strip() for p in line.split("|")]
        if len(part) == 7 and part[3] not in ("FILE", "SECTION"):
            yield part[0], part[6], int(part[4] or "0", 16)


def sections(path):
    text = subprocess.run(["size", "-A", str(path)], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        part = line.split()
        if len(part) == 3 and part[1].isdigit():
            yield part[0], int(part[1])


def main():
    args = tree.arguments(__doc__)
    faults, seen = [], 0
    for path in objects(args.build):
        seen += 1
        used = [s for s, n in sections(path) if n and WRITABLE.match(s) and not s.startswith(".data.rel.ro")]
        if not used:
            continue
        short = re.sub(r".*\.dir/", "", path.as_posix())
        bad = [(n, s) for n, s, size in symbols(path) if s in used and (short, n) not in ALLOWED]
        named = {s for n, s, size in symbols(path) if s in used}
        faults += [f"{short}: {n} is writable ({s})" for n, s in bad]
        faults += [f"{short}: {s} is not empty" for s in used if s not in named]
    tree.finish("globals", faults, seen, "objects")


if __name__ == "__main__":
    main()
