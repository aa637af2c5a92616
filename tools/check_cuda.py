#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where nvcc was found the CUDA plug-in is built, and each file of kernels has code for every chip that the build was asked for.

A machine without nvcc says so and passes: the rest of the tree is built there all the same."""
import re
import struct

import tree

MAGIC, PTX, SASS = 0xBA55ED50, 1, 2


def chips(data):
    """(kind, compute capability) of each part of a fatbin: nvcc's header of 16 bytes, then parts, each with a header of its own."""
    magic, _, at, size = struct.unpack_from("<IHHQ", data)
    if magic != MAGIC or at + size > len(data):
        raise ValueError
    end, found = at + size, set()
    while at < end:
        kind, _, head, body = struct.unpack_from("<HHIQ", data, at)
        found.add((kind, struct.unpack_from("<I", data, at + 28)[0]))
        if head + body == 0:
            raise ValueError
        at += head + body
    return found


def kernels(root, build, asked):
    for source in sorted((root / "src/ops").glob("*/*_cuda.cu")):
        name = source.name[:-len("_cuda.cu")]
        path = build / "gen/cuda" / f"{name}.fatbin"
        try:
            have = chips(path.read_bytes())
        except FileNotFoundError:
            yield f"src/ops/{source.parent.name}/{source.name}: not compiled, {path} is missing"
            continue
        except (ValueError, struct.error):
            yield f"{path}: no fatbin, or one that ends too soon"
            continue
        for kind, chip in sorted(asked - have):
            yield f"src/ops/{source.parent.name}/{source.name}: no {'code' if kind == SASS else 'PTX'} for {chip}"


def main():
    args = tree.arguments(__doc__)
    cache = args.build / "CMakeCache.txt"
    if not cache.is_file():
        tree.finish("cuda", [f"{cache} is missing: build first"], 0, "files of kernels")
    value = dict(re.findall(r"^(LMF_\w+):\w+=(.*)$", tree.text(cache), re.M))
    if value.get("LMF_CUDA") == "OFF" or not value.get("LMF_NVCC") or value["LMF_NVCC"].endswith("NOTFOUND"):
        print("cuda: this build has no CUDA plug-in, nvcc was not found or not wanted: 0 files of kernels, 0 faults")
        return
    asked = {(SASS, int(re.sub(r"\D", "", chip))) for chip in value["LMF_CUDA_ARCHS"].split(";")} | {(PTX, int(value["LMF_CUDA_PTX"]))}
    faults = list(kernels(args.root, args.build, asked))
    if not (args.build / "liblmfast-cuda.so").is_file():
        faults.append(f"{args.build}/liblmfast-cuda.so is not built, and nvcc is here: {value['LMF_NVCC']}")
    tree.finish("cuda", faults, len(list((args.root / "src/ops").glob("*/*_cuda.cu"))), "files of kernels")


if __name__ == "__main__":
    main()
