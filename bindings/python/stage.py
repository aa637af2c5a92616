#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lays the Python package out as a folder that PYTHONPATH or a wheel takes: the sources, _abi.py made from include/lmfast, and the library.

    stage.py --library build/release/liblmfast.so build/release/python"""
import argparse
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "tools"))
import headers  # noqa: E402

SCALARS = {"bool": "c_bool", "int32_t": "c_int32", "uint32_t": "c_uint32", "int64_t": "c_int64", "uint64_t": "c_uint64",
           "size_t": "c_size_t",
           "double": "c_double", "float": "c_float", "char": "c_char", "lmfast_status": "c_int32"}


def ctype(text, api):
    """ctypes' name of a C type; handles are c_void_p."""
    if text == "void":
        return "None"
    base = " ".join(w for w in text.replace("*", " ").split() if w != "const")
    stars = text.count("*")
    if stars == 0:
        return base if base in api.structs or base in api.of("callback") else SCALARS[base]
    if base == "char" and stars == 1:
        return "c_char_p"
    if base == "void" or base in api.of("opaque"):
        return "c_void_p" if stars == 1 else "POINTER(c_void_p)"
    inner = base if base in api.structs else SCALARS[base]
    if base == "char":
        return "POINTER(c_char_p)"
    return f"POINTER({inner})"


def member(m, api):
    kind, name, length, _ = m
    text = ctype(kind, api)
    if length:
        constants = {n: v for e in api.items if e.kind == "enum" for n, v, _ in e.members}
        text += f" * {int(length) if length.isdigit() else constants[length]}"
    return f'("{name}", {text})'


def abi(api):
    """The text of _abi.py."""
    lines = ['"""Made from include/lmfast by bindings/python/stage.py."""', "# SPDX-License-Identifier: Apache-2.0",
             "from ctypes import (CFUNCTYPE, POINTER, Structure, c_bool, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t,",
             "                    c_uint32, c_uint64, c_void_p)", "",
                     f"ABI_MAJOR, ABI_MINOR = {api.defines['LMFAST_ABI_MAJOR']}, {api.defines['LMFAST_ABI_MINOR']}", ""]
    for item in api.items:
        if item.kind == "enum":
            lines += [f"{name.removeprefix('LMFAST_')} = {value}" for name, value, _ in item.members]
    for item in api.items:
        if item.kind == "callback":
            lines.append(f"{item.name} = CFUNCTYPE({', '.join([ctype(item.result, api)] + [ctype(t, api) for t, _ in item.args])})")
    for item in api.items:
        if item.kind == "struct":
            lines += ["", "", f"class {item.name}(Structure):", "    _fields_ = ["]
            lines += [f"        {member(m, api)}," for m in item.members]
            lines.append("    ]")
    lines += ["", "", "FUNCTIONS = {"]
    for item in api.items:
        if item.kind == "function":
            lines.append(f'    "{item.name}": ({ctype(item.result, api)}, [{", ".join(ctype(t, api) for t, _ in item.args)}]),')
    return "\n".join(lines + ["}"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--library", type=pathlib.Path, required=True)
    parser.add_argument("--strip", action="store_true")
    args = parser.parse_args()
    package = args.folder / "lmfast"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(HERE / "lmfast", package, ignore=shutil.ignore_patterns("__pycache__", ".mypy_cache"))
    (package / "_abi.py").write_text(abi(headers.read()), encoding="utf-8")
    if not args.strip:  # plug-ins are looked for beside the file that the link leads to
        (package / "liblmfast.so").symlink_to(args.library.resolve())
    else:
        shutil.copyfile(args.library, package / "liblmfast.so")
        subprocess.run(["strip", "--strip-unneeded", str(package / "liblmfast.so")], check=True)


if __name__ == "__main__":
    main()
