#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls, words and addresses that must not be in the tree.

In the library (src/ without cli/, base/ and tests): nothing that ends the process, prints, or takes memory past the context.
Everywhere: no unbounded string function, no parsing of numbers that can't report a failure, no omp outside base/team.c.
A line that has to be an exception says why: ... /* allowed: reason */"""
import re

import tree

LIBRARY = re.compile(r"(?<![\w.>])(exit|_exit|quick_exit|abort|printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror|malloc|calloc|realloc|free|"
                     r"reallocarray|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf)\s*\(")
EVERYWHERE = re.compile(r"(?<![\w.>])(strcpy|strcat|stpcpy|sprintf|vsprintf|gets|strtok|alloca|__builtin_alloca|atoi|atol|atoll|atof|rand|srand|"
                        r"mktemp|tmpnam|system|popen|sscanf|vsscanf|scanf|fscanf)\s*\(")
NO_END = re.compile(r"(?<!\w)strto(l|ll|ul|ull|d|f|ld|imax|umax)\s*\([^,]*,\s*(NULL|0)\s*[,)]")
WIDE = re.compile(r"\(size_t\)1 << (3[2-9]|[4-6]\d)\b")
OMP = re.compile(r"#\s*include\s*<omp\.h>|#\s*pragma\s+omp")
OMP_CALL = re.compile(r"(?<!\w)omp_\w+\s*\(")
OMP_CALLS = ("src/base/team.c", "src/device/onednn/gemm.c")  # oneDNN takes its thread count from libgomp and nowhere else
ALLOWED = re.compile(r"/\* allowed: \S")
MARKERS = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "XX" "X")) + r")\b")
# Paths of one machine: the repository knows only the tree and the user's cache.
PLACES = re.compile(r"(?<![\w./$}~])/(w[o]rk|r[o]ot|h[o]me|U[s]ers|opt/(p[y]pi|w[h]eels))(/|\b(?![\w/]))")
URL = re.compile(r"https?://([A-Za-z0-9.-]+)")
HOSTS = re.compile(r"^(localhost|127\.0\.0\.1|www\.apache\.org|(\w+\.)?arxiv\.org|huggingface\.co|json-schema\.org|example\.(com|org)|(\w+\.)?example|www\.w3\.org|[a-z]\.[a-z])$")
LICENSE = "SPDX-License-Identifier: Apache-2.0"
CODE = {".c", ".h", ".cu", ".py", ".sh", ".cmake", ".js", ".css", ".html"}
TEXT = CODE | {".md", ".txt", ".json", ".toml", ".yml", ".yaml", ""}


def in_library(path):
    return path.parts[0] == "src" and path.parts[1] not in ("cli", "base") and not path.stem.endswith("_test")


def calls(path, source):
    raw = source.splitlines()
    for number, line in enumerate(tree.bare_c(source).splitlines(), 1):
        if ALLOWED.search(raw[number - 1]):
            continue
        where = f"{path}:{number}"
        for m in LIBRARY.finditer(line) if in_library(path) else ():
            yield f"{where}: {m.group(1)}() is not for the library"
        test = path.stem.endswith("_test") or path.parts[0] in ("tests", "fuzz", "bench")
        for m in EVERYWHERE.finditer(line) if not test else ():
            yield f"{where}: {m.group(1)}() is banned"
        if NO_END.search(line) and not test:
            yield f"{where}: a number is read without looking where it ends"
        if WIDE.search(line) and not test:
            yield f"{where}: a size_t may have 32 bits: LMF_POWER2 (base/ctx.h)"
        if (OMP.search(line) and path.as_posix() != "src/base/team.c") or (OMP_CALL.search(line) and path.as_posix() not in OMP_CALLS):
            yield f"{where}: OpenMP belongs to base/team.c"


def words(path, source):
    for number, line in enumerate(source.splitlines(), 1):
        where = f"{path}:{number}"
        if MARKERS.search(line):
            yield f"{where}: unfinished work is not marked, it is done"
        if PLACES.search(line) and "#!/" not in line:
            yield f"{where}: names a path of one machine"
        for host in URL.findall(line):
            if not HOSTS.match(host.lower().rstrip(".")):
                yield f"{where}: names the host {host}"


def main():
    args = tree.arguments(__doc__)
    faults, seen = [], 0
    for path in tree.files(args.root):
        full = args.root / path
        if path.name == "LICENSE" or path.suffix not in TEXT or (path.suffix == "" and b"\0" in full.read_bytes()[:4096]):
            continue
        if path.suffix not in CODE and path.parts[0] in ("tests", "fuzz"):
            continue  # corpora and goldens are data
        source = tree.text(full)
        seen += 1
        if path.suffix in (".c", ".h", ".cu"):
            faults += calls(path, source)
        if (path.suffix in CODE or path.name in ("Makefile", "CMakeLists.txt") or source.startswith("#!")) and LICENSE not in source[:400]:
            faults.append(f"{path}: no line \"{LICENSE}\"")
        faults += words(path, source)
    tree.finish("banned", faults, seen, "files")


if __name__ == "__main__":
    main()
