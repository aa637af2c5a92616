#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point down only: a file includes headers of its own folder or of lower tiers, never of a folder beside it.

Inside a folder each subfolder stands alone: it sees the headers that lie directly in its parent. Rooms of text/ see each other's one
public header (text/x/x.h). So does x.c of an op, because gradients are made of other ops; its files of rows (x_cpu, x_bf16, x_cuda,
x_onednn) see only their own."""
import re

import tree

TIERS = ["base", "device text net sandbox", "graph guard verify", "quant format config", "ops data hub", "nn", "models", "infer",
         "eval observe",
         "train compress merge export agent", "serve mcp", "deploy registry", "api", "cli"]
TIER = {folder: i for i, row in enumerate(TIERS) for folder in row.split()}
GENERATED = {"lmf_tables_hash.h"}
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
    return None


def main():
    args = tree.arguments(__doc__)
    faults, seen = [], 0
    for path in tree.files(args.root, ".c", ".h", ".cu", under="src"):
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
    tree.finish("layers", faults, seen, "files")


if __name__ == "__main__":
    main()
