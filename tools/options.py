#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/OPTIONS.md from the program's own tables: tools/options.py build/release/lmfast > docs/OPTIONS.md. A test compares the two."""
import json
import subprocess
import sys

COMMANDS = ["train", "pretrain"]  # those whose settings may stand in a file
PLACEHOLDER = {"int": "N", "double": "X", "string": "TEXT", "choice": "NAME", "list": "TEXT ...", "bool": ""}


def number(x):
    return f"{x:.12g}"


def notes(flag):
    out = []
    if flag["required"]:
        out.append("required")
    if "choices" in flag:
        out.append(", ".join(f"`{c}`" for c in flag["choices"].split("|")))
    if "range" in flag:
        lo, hi = flag["range"]
        unit = " " + flag["unit"] if "unit" in flag else ""
        out.append((f"at least {number(lo)}" if hi >= 9e15 else f"{number(lo)} to {number(hi)}") + unit)
    if "default" in flag:
        out.append(f"default `{flag['default']}`")
    return "; ".join(out)


INTRODUCTION = """# Options

Made by `tools/options.py` from the program's own tables; `lmfast COMMAND --help` says the same. In a file the names have `_` for `-`;
`--set NAME=VALUE` gives them there. A file may also use Axolotl's names, those of transformers, TRL and LLaMA-Factory, and those of
the Python package's configurations (`src/config/dialects/`). A key that nothing knows is an error with the nearest name, and so is one
that is known and not supported."""


def row(flag):
    word = PLACEHOLDER[flag["kind"]]
    return f"| `--{flag['name']}{' ' + word if word else ''}` | {flag.get('help', '')} | {notes(flag)} |"


def main():
    program = sys.argv[1]
    print(INTRODUCTION)
    for name in COMMANDS:
        command = json.loads(subprocess.run([program, "help", name, "--json"], capture_output=True, text=True, check=True).stdout)
        print(f"\n## lmfast {name}: {command['summary']}\n\n```sh\n{command['example']}\n```\n")
        print("| option | what | values |\n| --- | --- | --- |")
        for flag in command["flags"]:
            print(row(flag))


if __name__ == "__main__":
    main()
