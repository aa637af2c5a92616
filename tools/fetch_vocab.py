#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gets the vocabularies with expected ids that llama.cpp ships (in the sdist of llama-cpp-python) into vocab/ in the cache and
prints that folder. For the tokenizer oracle; once they are there no network is used."""
import hashlib
import pathlib
import tarfile

import wheel

PACKAGE = ("llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
FAMILIES = ("gpt-2", "llama-bpe", "qwen2")
FOLDER = "vendor/llama.cpp/models/"
SUMS = "34bbe8bfab5fda044156f075652e370f45766df535b1205751ed5e53be404ffa"  # sha256 over all files in their order


def names():
    return [f"ggml-vocab-{family}.gguf{suffix}" for family in FAMILIES for suffix in ("", ".inp", ".out")]


def total(folder):
    h = hashlib.sha256()
    for name in names():
        if not (folder / name).is_file():
            return None
        h.update((folder / name).read_bytes())
    return h.hexdigest()


def main():
    folder = wheel.cache_dir("vocab")
    if total(folder) != SUMS:
        with tarfile.open(name=wheel.sdist(*PACKAGE)) as tar:
            by_name = {pathlib.PurePosixPath(m.name).name: m for m in tar if FOLDER in m.name and m.isfile()}
            for name in names():
                wheel.write(folder / name, [tar.extractfile(by_name[name]).read()])
        if total(folder) != SUMS:
            raise SystemExit("the vocabularies have another hash than expected: refused")
    print(folder)


if __name__ == "__main__":
    main()
