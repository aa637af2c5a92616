#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each gate finds a fault that is planted, and passes the tree without it."""
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

import tree

LINE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
CLEAN = {
    "docs/ARCHITECTURE.md": "  base/  t0  a\n  ops/   t4  a\n  models/  t6  a\n  quant/  t3  a\n  cli/  t13  a\n",
    "src/base/ctx.h": LINE + "typedef struct lmf_ctx lmf_ctx;\n",
    "src/ops/add/add.h": LINE + '#include "base/ctx.h"\n',
    "src/ops/add/add.c": LINE + '#include "ops/add/add.h"\nextern int n;\nint f(void) { return n; }\nconst lmf_op lmf_op_add = { 0 };\n',
    "src/ops/add/add_test.c": LINE + '#include "test.h"\nLMF_OP_CASES(add) = { { "one" }, { 0 } };\n',
    "src/ops/mul/mul.h": LINE, "src/ops/mul/mul_cpu.c": LINE + '#include "ops/mul/mul.h"\n',
    "src/ops/mul/mul.c": LINE + '#include "ops/add/add.h"\nconst lmf_op lmf_op_mul = { 0 };\n',
    "src/ops/mul/mul_test.c": LINE + 'LMF_TESTS(mul) = { { "one", one }, { 0 } };\n',
    "src/models/m.c": LINE + "/* oracle: {} */\nconst lmf_arch lmf_arch_m = { 0 };\n", "tests/parity/family_m_0.json": "{}\n",
    "src/quant/q9/q9.c": LINE + "const lmf_format lmf_format_q9 = { 0 };\n",
    "src/quant/q9/q9_test.c": LINE + 'LMF_TESTS(q9) = { { "one", one }, { 0 } };\n',
    "src/cli/cmd_info.c": LINE + 'const lmf_command lmf_command_info = {\n    "info", .example = "lmfast info",\n};\n',
    "src/cli/signal.c": LINE + "static volatile int lmf_cli_stop_signal;\nint g(void) { return lmf_cli_stop_signal++; }\n",
    "src/base/team.c": LINE + "#include <omp.h>\n",
    "fuzz/gguf_fuzz.c": LINE + "int LLVMFuzzerTestOneInput(void);\n",
    "fuzz/corpus/gguf/seed": "GGUF",
    "tools/old.py": "# SPDX-License-Identifier: Apache-2.0 " + "x" * 140 + "\n", "tools/columns.txt": "1 tools/old.py\n",
}
LONG = "int f(int a,\n      int b)\n{\n" + "    a++;\n" * 99 + "}\n"
# gate, file, its text (None: the file is removed), what the gate says
FAULTS = [
    ("layers", "src/base/x.c", '#include "ops/add/add.h"\n', "base (tier 0) may not see ops"),
    ("layers", "src/ops/x/x.c", '#include "data/rows.h"\n', "ops and data are of one tier"),
    ("layers", "src/ops/mul/mul_cpu.c", '#include "ops/add/add.h"\n', "ops/mul may not see ops/add"),
    ("layers", "src/text/chat/chat.c", '#include "text/template/value.h"\n', "text/chat may not see text/template"),
    ("layers", "src/ops/mul/mul_cuda.cu", '#include "ops/add/add.h"\n', "ops/mul may not see ops/add"),
    ("layers", "src/quant/q9/q9.c", '#include "quant/q8/q8.h"\n', "quant/q9 may not see quant/q8"),
    ("layers", "src/graph/x.c", '#include "device/cpu/gemm.h"\n', "device/cpu is for rows"),
    ("layers", "src/ops/add/add.c", '#include "device/cpu/gemm.h"\n', "device/cpu is for rows"),
    ("layers", "src/quant/q9/q9.c", '#include "device/cuda/unpack.cuh"\n', "device/cuda is for rows"),
    ("layers", "docs/ARCHITECTURE.md", "  base/  t0  a\n", "no line for cli/ with t13"),
    ("layers", "docs/ARCHITECTURE.md", "  base/  t0  a\n  junk/  t0  a\n", "which is not in src/"),
    ("layers", "src/graph/x.h", '#include "plan.h"\n', "written from src/"),
    ("layers", "src/junk/x.h", '#include "base/ctx.h"\n', "junk/ has no tier"),
    ("layers", "include/lmfast/x.h", '#include "base/ctx.h"\n', "a public header includes"),
    ("size", "src/base/x.c", "\n" * 1501, "1502 lines, at most 1500"),
    ("size", "src/base/x.c", LONG, "f has 103 lines"),
    ("size", "src/base/x.c", "int f(int a) {\n" + "    a++;\n" * 100 + "}\n", "f has 102 lines"),
    ("size", "tools/x.py", "def f():\n" + "    pass\n" * 100, "f has 101 lines"),
    ("complete", "src/ops/add/add_test.c", None, "add_test.c is missing"),
    ("complete", "src/ops/add/add.h", None, "add.h is missing"),
    ("complete", "src/ops/add/add.c", "int x;\n", "does not define lmf_op_add"),
    ("complete", "src/quant/q9/q9_test.c", None, "neither q9_test.c"),
    ("complete", "src/quant/q9/q9.c", "int x;\n", "no file defines lmf_format_q9"),
    ("complete", "src/models/m.c", "const lmf_arch lmf_arch_m = { 0 };\n", "names a case"),
    ("complete", "tests/parity/family_m_0.json", None, "no golden"),
    ("complete", "fuzz/corpus/gguf/seed", None, "no seeds"),
    ("complete", "fuzz/gguf_fuzz.c", "int x;\n", "no LLVMFuzzerTestOneInput"),
    ("complete", "src/cli/cmd_info.c", 'const lmf_command lmf_command_info = { "info" };\n', "info has no example"),
    ("complete", "src/ops/mul/mul_test.c", "int x;\n", "no LMF_TESTS(mul)"),
    ("complete", "src/ops/mul/mul_test.c", "LMF_TESTS(mul) = { { 0 } };\n", "the table is empty"),
    ("complete", "src/ops/mul/mul_test.c", '/*\nLMF_TESTS(mul) = { { "one", one }, { 0 } };\n*/\n', "no LMF_TESTS(mul)"),
    ("banned", "src/ops/add/add.c", 'void f(void) { printf("x"); }\n', "printf() is not for the library"),
    ("banned", "src/text/x.c", "void f(void) { exit(1); }\n", "exit() is not for the library"),
    ("banned", "src/text/x.c", "void *f(void) { return malloc(1); }\n", "malloc() is not for the library"),
    ("banned", "src/cli/x.c", "void f(char *a) { strcpy(a, a); }\n", "strcpy() is banned"),
    ("banned", "src/cli/x.c", 'int f(void) { return atoi("1"); }\n', "atoi() is banned"),
    ("banned", "src/base/x.c", 'int f(char *s, int *n) { return sscanf(s, "%d", n); }\n', "sscanf() is banned"),
    ("banned", "src/base/x.c", "long f(char *s) { return strtol(s, NULL, 10); }\n", "without looking where it ends"),
    ("banned", "src/cli/x.c", "size_t f(void) { return (size_t)1 << 34; }\n", "may have 32 bits"),
    ("banned", "src/cli/x.c", "#include <omp.h>\n", "OpenMP belongs to base/team.c"),
    ("banned", "src/device/onednn/gemm.c", "#include <omp.h>\n", "OpenMP belongs to base/team.c"),
    ("banned", "src/device/cpu/x.c", "int f(void) { return omp_get_max_threads(); }\n", "OpenMP belongs to base/team.c"),
    ("banned", "src/cli/x.c", "/* TO" "DO: more */\n", "unfinished work"),
    ("banned", "tools/x.sh", "cd /w" "ork/main\n", "path of one machine"),
    ("banned", "README.md", "See /r" "oot/.cache for more\n", "path of one machine"),
    ("banned", "README.md", "from https:/" "/p" "ypi.org/simple\n", "names the host"),
    ("columns", "src/cli/x.c", "/*" + "x" * 139 + "*/\n", "1 lines over 140 columns, 0 were there: lines 2"),
    ("columns", "tools/old.py", "#" * 141 + "\n" + "#" * 200 + "\n", "2 lines over 140 columns, 1 were there"),
    ("banned", "src/cli/x.c", None, "no line \"SPDX"),
]
HEADER = LINE + """/* x: a noun. */
#define LMFAST_ABI_MAJOR 0
#define LMFAST_ABI_MINOR 1
#define LMFAST_API
#include <stddef.h>
typedef struct lmfast_x_opts {
    size_t struct_bytes;
    int    n;
} lmfast_x_opts;
enum { LMFAST_X = 1 };
LMFAST_API int lmfast_x(const lmfast_x_opts *opts);
"""
# What is changed in a public header behind the record of it, and what check_abi says.
ABI = [
    ("    int    n;\n", "", "gone: layout lmfast_x_opts.n at 8 bytes 4"),
    ("    size_t struct_bytes;\n    int    n;\n", "    int    n;\n    size_t struct_bytes;\n",
     "changed: layout lmfast_x_opts.n at 8 bytes 4"),
    ("    int    n;\n", "    short  n;\n", "changed: layout lmfast_x_opts.n"),
    ("LMFAST_API int lmfast_x(const lmfast_x_opts *opts);\n", "", "gone: function lmfast_x"),
    ("int lmfast_x(const lmfast_x_opts *opts)", "int lmfast_x(int n)", "changed: function lmfast_x"),
    ("LMFAST_X = 1", "LMFAST_X = 2", "changed: constant LMFAST_X 1"),
    ("LMFAST_X = 1", "LMFAST_X = 1, LMFAST_Y = 2", "not recorded: constant LMFAST_Y"),
    ("    int    n;\n", "    int    n, more, still_more;\n", "not recorded: layout lmfast_x_opts.more"),
]
GLOBALS = [
    ("src/base/x.c", "int lmf_count;\nint f(void) { return lmf_count++; }\n", "lmf_count is writable"),
    ("src/base/x.c", "static int start = 4;\nint f(void) { return start++; }\n", "start is writable"),
    ("src/base/x.c", "int f(void) { static int n; return n++; }\n", "is writable"),
    ("src/base/x.c", "static _Thread_local int each;\nint f(void) { return each++; }\n", "each is writable"),
    ("src/base/x.c", "static volatile int lmf_cli_stop_signal;\nint f(void) { return lmf_cli_stop_signal++; }\n", "lmf_cli_stop_signal is writable"),
]
ALLOWED = {"src/base/x.c": 'const char *const names[] = { "a", "b" };\nconst char *f(int i) { return names[i]; }\n'}


def fatbin(*chips):
    """Parts as nvcc writes them: (kind, capability)."""
    parts = b"".join(struct.pack("<HHIQIIII", kind, 257, 64, 8, 0, 0, 0, chip) + bytes(64 - 32 + 8) for kind, chip in chips)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(parts)) + parts


CACHE = "LMF_CUDA:STRING=AUTO\nLMF_NVCC:FILEPATH=/bin/nvcc\nLMF_CUDA_ARCHS:STRING=75;90a\nLMF_CUDA_PTX:STRING=90\n"
BOTH = fatbin((2, 75), (2, 90), (1, 90))
# cache, fatbin, whether the plug-in is there, what the gate says
CUDA = [
    (CACHE, BOTH, True, ""), (CACHE.replace("/bin/nvcc", "LMF_NVCC-NOTFOUND"), None, False, ""),
    ("LMF_CUDA:STRING=OFF\n", None, False, ""),
    (None, BOTH, True, "build first"), (CACHE, BOTH, False, "is not built, and nvcc is here"),
    (CACHE, None, True, "add_cuda.cu: not compiled"),
    (CACHE, fatbin((2, 90), (1, 90)), True, "no code for 75"), (CACHE, fatbin((2, 75), (2, 90)), True, "no PTX for 90"),
    (CACHE, BOTH[:-1], True, "ends too soon"), (CACHE, b"", True, "ends too soon"),
]


def write(root, files):
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def gate(name, root, build):
    run = subprocess.run([sys.executable, str(tree.ROOT / "tools" / f"check_{name}.py"), "--root", str(root), "--build", str(build)],
                         capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return run.returncode, run.stdout + run.stderr


def compile_tree(root, files):
    """Objects where a build has them."""
    for name, source in files.items():
        if name.endswith(".c"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(source)
            out = root / "build/CMakeFiles/lmf_objects.dir" / (name + ".o")
            out.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([os.environ.get("CC", "cc"), "-O1", "-fPIC", "-c", str(root / name), "-o", str(out)], check=True)


def main():
    faults, seen = [], 0

    def expect(what, code, text, want_code, words=""):
        nonlocal seen
        seen += 1
        if (code != 0) != want_code or words not in text:
            faults.append(f"{what}: status {code}, wanted {'a fault' if want_code else 'none'} that says \"{words}\"; it said:\n{text}")

    for name in ("layers", "size", "complete", "banned", "columns"):
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), CLEAN)
            expect(f"{name} on a clean tree", *gate(name, pathlib.Path(folder), folder), False)
        with tempfile.TemporaryDirectory() as folder:
            expect(f"{name} on an empty tree", *gate(name, pathlib.Path(folder), folder), True)
    for name, file, source, words in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            write(root, CLEAN)
            if words.startswith("no line"):
                write(root, {file: "int x;\n"})
            elif source is None:
                (root / file).unlink()
            else:
                write(root, {file: (LINE if file.endswith((".c", ".h", ".cu")) else "") + source})
            expect(f"{name}, {file}", *gate(name, root, root), True, words)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        expect("globals on an empty build", *gate("globals", root, root), True)
        compile_tree(root, {**ALLOWED, "src/cli/signal.c": CLEAN["src/cli/signal.c"]})
        expect("globals on a clean build", *gate("globals", root, root / "build"), False)
        for file, source, words in GLOBALS:
            compile_tree(root, {file: source})
            expect(f"globals, {file}", *gate("globals", root, root / "build"), True, words)
    for before, after, words in [("", "", ""), *ABI]:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            write(root, {"include/lmfast/x.h": HEADER, "tools/x": ""})
            record = [sys.executable, str(tree.ROOT / "tools/check_abi.py"), "--root", folder, "--build", folder, "--record"]
            recorded = subprocess.run(record, capture_output=True, text=True)
            expect("abi, recording", recorded.returncode, recorded.stdout, False)
            write(root, {"include/lmfast/x.h": HEADER.replace(before, after)})
            expect(f"abi, {after or before or 'nothing changed'}", *gate("abi", root, root), bool(words), words)
    for cache, code, built, words in CUDA:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            write(root, {"src/ops/add/add_cuda.cu": LINE, **({"CMakeCache.txt": cache} if cache else {}),
                         **({"liblmfast-cuda.so": ""} if built else {})})
            (root / "gen/cuda").mkdir(parents=True)
            if code is not None:
                (root / "gen/cuda/add.fatbin").write_bytes(code)
            expect(f"cuda, {words or 'nothing wrong'}", *gate("cuda", root, root), bool(words), words)
    tree.finish("selftest", faults, seen, "planted cases")


if __name__ == "__main__":
    main()
