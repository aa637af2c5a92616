#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What belongs together is there: an op has contract, descriptor and test; a block format has its test; an architecture its
oracle's cases and goldens; a fuzz target has
its seeds; a command has an example; a test file has a table that the build can find."""
import re

import tree


def folders(under):
    """Those with a file in them: an empty one is not there yet."""
    return sorted(p for p in under.glob("*") if p.is_dir() and any(f.is_file() for f in p.iterdir()))


def ops(root):
    for folder in folders(root / "src/ops"):
        for name in (f"{folder.name}.h", f"{folder.name}.c", f"{folder.name}_test.c"):
            if not (folder / name).is_file():
                yield f"src/ops/{folder.name}: {name} is missing"
        source = folder / f"{folder.name}.c"
        if source.is_file() and f"const lmf_op lmf_op_{folder.name}" not in tree.text(source):
            yield f"src/ops/{folder.name}/{folder.name}.c: does not define lmf_op_{folder.name}"


def quants(root):
    shared = "".join(tree.text(p) for p in (root / "src/quant").glob("*_test.c"))
    for folder in folders(root / "src/quant"):
        name, sources = folder.name, "".join(tree.text(p) for p in sorted(folder.glob("*.c")))
        if f"const lmf_format lmf_format_{name}" not in sources:
            yield f"src/quant/{name}: no file defines lmf_format_{name}"
        if not (folder / f"{name}_test.c").is_file() and "->formats" not in shared and f'"{name}"' not in shared:
            yield f"src/quant/{name}: neither {name}_test.c nor a test in src/quant/ covers it"


def fuzz(root):
    for path in sorted((root / "fuzz").glob("*_fuzz.c")):
        if "LLVMFuzzerTestOneInput" not in tree.text(path):
            yield f"fuzz/{path.name}: no LLVMFuzzerTestOneInput"
        seeds = root / "fuzz" / "corpus" / path.name[:-len("_fuzz.c")]
        if not seeds.is_dir() or not any(seeds.iterdir()):
            yield f"fuzz/{path.name}: no seeds in fuzz/corpus/{seeds.name}"


def families(root):
    for path in sorted((root / "src/models").glob("*.c")):
        source = tree.text(path)
        if not re.search(rf"^const lmf_arch lmf_arch_{path.stem}\b", source, re.M):
            continue
        if "oracle: {" not in source:
            yield f"src/models/{path.name}: no line \"oracle: {{...}}\" names a case of transformers"
        if not (root / f"tests/parity/family_{path.stem}_0.json").is_file():
            yield f"src/models/{path.name}: no golden; tools/golden/families.py {path.stem} makes it"


def commands(root):
    for path in sorted((root / "src/cli").glob("cmd_*.c")):
        verb, source = path.stem[len("cmd_"):], tree.text(path)
        m = re.search(rf"const lmf_command lmf_command_{verb} *= *\{{(.*?)^\}};|const lmf_command lmf_command_{verb} *= *\{{(.*?)\}};", source, re.S | re.M)
        if not m:
            yield f"src/cli/{path.name}: does not define lmf_command_{verb}"
        elif ".example" not in m.group():
            yield f"src/cli/{path.name}: the command {verb} has no example"


def tests(root):
    for path in tree.files(root, ".c", under="src") + tree.files(root, ".c", under="tests/unit"):
        if path.name.endswith("_test.c"):
            stem, source = path.name[:-len("_test.c")], tree.bare_c(tree.text(root / path))
            m = re.search(rf"^LMF_(TESTS|OP_CASES)\({stem}\)(.*)", source, re.S | re.M)
            if not m:
                yield f"{path}: no LMF_TESTS({stem}) or LMF_OP_CASES({stem}) in column 0"
            elif m.group(2).count("{") < 3:
                yield f"{path}: the table is empty"


def main():
    args = tree.arguments(__doc__)
    faults = [f for part in (ops, quants, families, fuzz, commands, tests) for f in part(args.root)]
    seen = len([p for p in (args.root / "src").rglob("*") if p.is_dir()])
    tree.finish("complete", faults, seen, "folders")


if __name__ == "__main__":
    main()
