#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that were built with an older header go on working. tools/abi.txt records each struct with the place and size of its members,
each function with its prototype, each constant; nothing recorded may go, move or change, and what is new is recorded with --record. The
library exports the functions of the headers and nothing else.

To take something away, count up LMFAST_ABI_MAJOR in lmfast/context.h and record again."""
import os
import pathlib
import subprocess
import sys
import tempfile

import headers
import tree


def constants(api):
    return {name: value for item in api.items if item.kind == "enum" for name, value, _ in item.members} | api.defines


def sizes(api, root):
    """{"lmfast_gen_opts": (0, bytes), "lmfast_gen_opts.seed": (place, bytes)}, by the compiler; and that its constants are those that
    were read."""
    lines = ["#include <stdio.h>", *(f'#include "lmfast/{h}"' for h in api.headers), "int main(void) {"]
    lines += [f'_Static_assert({name} == {value}, "{name}");' for name, value in constants(api).items()]
    for name, item in api.structs.items():
        lines.append(f'printf("{name} 0 %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{m} %zu %zu\\n", offsetof({name}, {m}), sizeof((({name} *)0)->{m}));' for _, m, _, _ in item.members]
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder) / "abi.c", pathlib.Path(folder) / "abi"
        source.write_text("\n".join([*lines, "return 0; }"]))
        subprocess.run([os.environ.get("CC", "cc"), "-I", str(root / "include"), str(source), "-o", str(program)], check=True)
        out = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: tuple(map(int, line.split()[1:])) for line in out.splitlines()}


def current(root):
    """The lines of the record, as the headers are now."""
    api = headers.read(root / "include" / "lmfast")
    lines = [f"constant {name} {value}" for name, value in constants(api).items()]
    lines += [f"layout {name} at {at} bytes {n}" for name, (at, n) in sizes(api, root).items()]
    for name, item in {**api.functions, **api.of("callback")}.items():
        lines.append(f"{item.kind} {name} {item.result} ({', '.join(t for t, _ in item.args)})")
    return lines


PLUGIN = {"lmf_alloc", "lmf_realloc", "lmf_free", "lmf_shim", "lmf_fail_at", "lmf_fail_prefix", "lmf_device_init", "lmf_dynamic8_map"}


def exported(library):
    """Symbols, but for those that plug-ins of the same build call, under a version of their own."""
    text = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True).stdout
    names = [line.split()[-1] for line in text.splitlines() if line.split()[1] != "A"]
    return {n.split("@")[0] for n in names if n not in {p + "@@LMFAST_PLUGIN" for p in PLUGIN}}


def needed_by_plugins(build):
    """(plug-in, symbol) that the library does not give it."""
    for path in sorted(build.glob("liblmfast-*.so")):
        text = subprocess.run(["nm", "-D", "--undefined-only", str(path)], capture_output=True, text=True, check=True).stdout
        for name in sorted({line.split()[-1] for line in text.splitlines()} - PLUGIN):
            if name.startswith("lmf_"):
                yield path.name, name


def versions(lines):
    found = dict(line.split()[1:] for line in lines if line.startswith("constant LMFAST_ABI_"))
    return int(found["LMFAST_ABI_MAJOR"]), int(found["LMFAST_ABI_MINOR"])


def compare(old, new):
    """What of the record is gone or changed. A struct may grow at its end; constants are named by what they say."""
    keyed = {" ".join(line.split()[:2]): line for line in new}
    for line in old:
        key = " ".join(line.split()[:2])
        if key.startswith("constant LMFAST_ABI_"):
            continue
        if key not in keyed:
            yield f"gone: {line}"
        elif keyed[key] != line:
            grown = key.startswith("layout") and "." not in key and int(keyed[key].split()[-1]) > int(line.split()[-1])
            if not grown:
                yield f"changed: {line}, now {keyed[key].removeprefix(key).strip()}"


def main():
    record_it = "--record" in sys.argv
    if record_it:
        sys.argv.remove("--record")
    args = tree.arguments(__doc__)
    record = args.root / "tools" / "abi.txt"
    if not (args.root / "include" / "lmfast").is_dir():
        tree.finish("abi", ["no public headers"], 0, "declarations")
    new = current(args.root)
    old = record.read_text().splitlines() if record.is_file() else []
    broken = [] if old and versions(new)[0] > versions(old)[0] else list(compare(old, new))
    if record_it and not broken:
        record.write_text("\n".join(new) + "\n")
        old = new
    faults = broken + [f"not recorded: {line} (tools/check_abi.py --record)" for line in new if line not in old and not broken]
    library = args.build / "liblmfast.so" if args.build else None
    if library and library.exists():
        functions = set(headers.read(args.root / "include" / "lmfast").functions)
        found = exported(library)
        faults += [f"{library.name} exports {name}, which no header has" for name in sorted(found - functions)]
        faults += [f"{library.name} lacks {name}" for name in sorted(functions - found)]
        faults += [f"{plugin} calls {name}, which {library.name} does not show: src/api/lmfast.map" for plugin, name in
                   needed_by_plugins(args.build)]
    tree.finish("abi", faults, len(new), "declarations")


if __name__ == "__main__":
    main()
