#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point down only: a file includes headers of its own folder or of lower tiers, never of a folder beside it.

Inside a folder each subfolder stands alone: it sees the headers that lie directly in its parent. Rooms of text/ see each other's one
public header (text/x/x.h). The rooms of device/ are for their own files and for rows: files of an op beside its contract and descriptor,
what is compiled once an ISA level (x_cpu.c), and a format's unpack on a device (x.cuh). x.c of an op sees other ops, because
gradients are made of them; its files of rows (x_cpu, x_bf16, x_cuda, x_onednn) see only their own. docs/ARCHITECTURE.md draws the
folders of src/ with these tiers."""
import re

import tree

TIERS = ["base", "device text net sandbox", "graph guard verify", "quant format config", "ops data hub calls", "nn", "models", "infer",
         "eval observe",
         "train compress merge export agent", "serve mcp", "deploy registry", "api", "cli"]
TIER = {folder: i for i, row in enumerate(TIERS) for folder in row.split()}
GENERATED = {"lmf_tables_hash.h", "cuda_formats.h", "cuda_formats.cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def judge(path, target):
    """A sentence, or None when the include is right. path and target are split at '/', both from src/."""
    if path[0] not in TIER:
        return f"the folder {path[0]}/ has no tier"
    if len(target) == 1:
        return None if target[0] in GENERATED else "includes are written from src/"
    if target[0] == "lmfast":
        return None
    if target[0] not in TIER:
        return f"the folder {target[0]}/ has no tier"
    if target[0] == path[0]:
        if len(path) > 2 and len(target) > 2 and path[1] != target[1]:
            if path[0] in ("ops", "text") and not re.search(r"_(cpu|bf16|cuda|onednn)\.(c|cu|h)$", path[-1]) and target[2] == target[1] + ".h":
                return None
            return f"{path[0]}/{path[1]} may not see {target[0]}/{target[1]}"
        if len(path) == 2 and len(target) > 2:
            return f"what lies directly in {path[0]}/ may not see {target[0]}/{target[1]}"
        return None
    if TIER[target[0]] == TIER[path[0]]:
        return f"{path[0]} and {target[0]} are of one tier"
    if TIER[target[0]] > TIER[path[0]]:
        return f"{path[0]} (tier {TIER[path[0]]}) may not see {target[0]} (tier {TIER[target[0]]})"
    if target[0] == "device" and len(target) > 2 and not (path[0] == "quant" and path[-1].endswith(".cuh")):
        by_level = target[1] == "cpu" and path[-1].endswith("_cpu.c")  # compiled once a level, as rows are: compress/solve_cpu.c
        if not by_level and (path[0] != "ops" or path[-1] in (f"{path[1]}.h", f"{path[1]}.c")):
            return f"device/{target[1]} is for rows"
    return None


def drawn(root, faults):
    """Section 2 of the contract has a line for each folder of src/, with its tier."""
    page = root / "docs" / "ARCHITECTURE.md"
    lines = dict(re.findall(r"^  (\w+)/ +t(\d+) ", tree.text(page) if page.is_file() else "", re.M))
    there = {p.name for p in (root / "src").iterdir() if p.is_dir()} & set(TIER)
    for folder in sorted(there | set(lines)):
        if folder not in there:
            faults.append(f"docs/ARCHITECTURE.md: section 2 has {folder}/, which is not in src/")
        elif lines.get(folder) != str(TIER[folder]):
            faults.append(f"docs/ARCHITECTURE.md: section 2 has no line for {folder}/ with t{TIER[folder]}")


def main():
    args = tree.arguments(__doc__)
    faults, seen = [], 0
    for path in tree.files(args.root, ".c", ".h", ".cu", ".cuh", under="src"):
        if path.stem.endswith("_test"):
            continue  # tests may look anywhere
        seen += 1
        for number, line in enumerate(tree.text(args.root / path).splitlines(), 1):
            m = INCLUDE.match(line)
            why = judge(path.parts[1:], m.group(1).split("/")) if m else None
            if why:
                faults.append(f"{path}:{number}: includes {m.group(1)}: {why}")
    for path in tree.files(args.root, ".h", under="include"):
        seen += 1
        for number, line in enumerate(tree.text(args.root / path).splitlines(), 1):
            m = INCLUDE.match(line)
            if m and not m.group(1).startswith("lmfast/"):
                faults.append(f"{path}:{number}: a public header includes {m.group(1)}")
    drawn(args.root, faults)
    tree.finish("layers", faults, seen, "files")


if __name__ == "__main__":
    main()
