#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The source of llhttp 9 (MIT), the strict HTTP parser of lmfast serve, for systems that have no package of it: pinned, from PyPI's
source archive. Prints the folder of its C files."""
import tarfile

import wheel

VERSION, SHA256 = "9.3.0.0", "0d989363e7fb6f270b9d49956e7a3945c26778f8c70a166815264309ac6a8295"
FILES = ("llhttp.h", "http.c", "api.c", "llhttp.c")


def main():
    folder = wheel.cache_dir(f"llhttp-{VERSION}")
    archive = wheel.sdist("llhttp", VERSION, SHA256)
    with tarfile.open(archive) as t:
        for name in FILES:
            data = t.extractfile(f"llhttp-{VERSION}/lib/{name}").read()
            if not (folder / name).is_file() or (folder / name).read_bytes() != data:
                wheel.write(folder / name, [data])
    print(folder)


if __name__ == "__main__":
    main()
