#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Manual pages and shell completions, from the program's own tables (lmfast help --json); the build runs it.

    tools/manual.py build/release/lmfast build/release/manual     # man1/*.1, bash/lmfast, zsh/_lmfast, fish/lmfast.fish"""
import json
import pathlib
import os
import subprocess
import sys
import time

WORD = {"int": "N", "double": "X", "string": "TEXT", "choice": "NAME", "list": "TEXT", "bool": ""}
EXIT = "0: success; 1: a failure, with a sentence on standard error; 2: wrong usage; 128 and the number of a signal that stopped it."
FILES = ("model", "data", "output", "config", "chat-template", "schema", "grammar", "text", "eval-data", "adapter",
         "init-adapter", "answers")


def roff(text):
    """Text as roff shows it: backslashes, hyphens that are to be copied, and lines that would be requests."""
    for plain, escaped in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("~", "\\(ti"), ("^", "\\(ha")):
        text = text.replace(plain, escaped)
    return "\\&" + text if text[:1] in (".", "'") else text


def names_of(flag):
    word = " " + WORD[flag["kind"]] if WORD[flag["kind"]] else ""
    short = f"-{flag['letter']}, " if flag.get("letter") else ""
    return short, f"--{flag['name']}", word


def notes(flag):
    parts = []
    if flag.get("required"):
        parts.append("Required.")
    if "choices" in flag:
        parts.append("One of " + ", ".join(flag["choices"].split("|")) + ".")
    if "range" in flag:
        low, high = flag["range"]
        unit = f" {flag['unit']}" if flag.get("unit") else ""
        parts.append(f"At least {low:.12g}{unit}." if high >= 9e15 else f"From {low:.12g} to {high:.12g}{unit}.")
    if "default" in flag:
        parts.append(f"Default {flag['default']}.")
    return " ".join(parts)


def sentence(text):
    """Its first letter large, but not of a word that is explained: "gguf: one file"."""
    return text if text.split(" ")[0].endswith((":", ",")) else text[:1].upper() + text[1:]


def options(flags):
    for flag in flags:
        short, name, word = names_of(flag)
        yield ".TP"
        yield f".B {roff(short + name)}" + (f" \\fI{roff(word.strip())}\\fR" if word else "")
        help_text = sentence(flag["help"])
        yield roff(help_text + ("" if help_text.endswith(".") else ".") + (" " + notes(flag) if notes(flag) else ""))


def page(name, title, version, body):
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    head = [".\\\" SPDX-License-Identifier: Apache-2.0", f".TH {name.upper()} 1 \"{date}\" \"lmfast {version}\" \"LMFast\"",
            ".SH NAME", f"{name} \\- {roff(title)}"]
    return "\n".join([*head, *body]) + "\n"


def command_page(command, whole, names):
    required = " ".join(f"\\-\\-{roff(f['name'])} \\fI{WORD[f['kind']]}\\fR" for f in command["flags"] if f.get("required"))
    body = [".SH SYNOPSIS", f".B lmfast {command['name']}", f"{required} [\\fIoptions\\fR]".strip(), ".SH DESCRIPTION",
            roff(command["summary"][:1].upper() + command["summary"][1:] + "."), ".SH OPTIONS", *options(command["flags"]),
            ".SS Of every command", *options(whole["global_flags"]), ".SH EXAMPLE", ".nf", roff(command["example"]), ".fi",
            ".SH EXIT STATUS",
            EXIT, ".SH SEE ALSO",
            ",\n".join(f".BR {roff(n)} (1)" for n in names if n != f"lmfast-{command['name']}").replace(",\n", " ,\n")]
    return page(f"lmfast-{command['name']}", command["summary"], whole["version"], body)


def main_page(whole):
    body = [".SH SYNOPSIS", ".B lmfast", "\\fIcommand\\fR [\\fIoptions\\fR]", ".SH DESCRIPTION",
            "Takes a small language model through its working life: fine\\-tuning, evaluation, generation, serving and export.",
            ".SH COMMANDS"]
    for c in whole["commands"]:
        body += [".TP", f".BR lmfast\\-{roff(c['name'])} (1)", roff(c["summary"][:1].upper() + c["summary"][1:] + ".")]
    body += [".SH OPTIONS", *options(whole["global_flags"])]
    return page("lmfast", "train, serve and export small language models", whole["version"], body)


def bash(whole):
    lines = ["# SPDX-License-Identifier: Apache-2.0", "# Completion of lmfast for bash, made by tools/manual.py.", "_lmfast()", "{",
             "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= i",
             "    for ((i = 1; i < COMP_CWORD; i++)); do [[ ${COMP_WORDS[i]} != -* ]] && { command=${COMP_WORDS[i]}; break; }; done",
             "    case $command,$before in"]
    for c in whole["commands"]:
        for f in [*c["flags"], *whole["global_flags"]]:
            if "choices" in f:
                words = f["choices"].replace("|", " ")
                lines.append(f"    {c['name']},--{f['name']}) COMPREPLY=($(compgen -W \"{words}\" -- \"$word\")); return ;;")
    files = "|".join(f"--{f}" for f in FILES)
    lines += [f"    *,{files.replace('|', '|*,')}) COMPREPLY=($(compgen -f -- \"$word\")); return ;;", "    esac", "    case $command in"]
    for c in whole["commands"]:
        flags = " ".join("--" + f["name"] for f in [*c["flags"], *whole["global_flags"]])
        lines.append(f"    {c['name']}) COMPREPLY=($(compgen -W \"{flags}\" -- \"$word\"))\n"
                     "        [[ $word == -* ]] || COMPREPLY=($(compgen -f -- \"$word\")) ;;")
    names = " ".join(c["name"] for c in whole["commands"]) + " help"
    flags = " ".join("--" + f["name"] for f in whole["global_flags"])
    lines += [f"    help) COMPREPLY=($(compgen -W \"{names}\" -- \"$word\")) ;;",
              f"    '') COMPREPLY=($(compgen -W \"{names} {flags}\" -- \"$word\")) ;;",
              "    esac", "}", "complete -o filenames -F _lmfast lmfast"]
    return "\n".join(lines) + "\n"


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(whole):
    def spec(f):
        help_text = f["help"].split(";")[0].replace("[", "(").replace("]", ")").replace(":", ",")
        values = f"({f['choices'].replace('|', ' ')})" if "choices" in f else "_files" if f["name"] in FILES else " "
        action = "" if f["kind"] == "bool" else f":{f['name']}:{values}"
        return quoted(f"--{f['name']}[{help_text}]{action}")
    commands = [quoted(f"{c['name']}:{c['summary'].replace(':', ',')}") for c in whole["commands"]]
    lines = ["#compdef lmfast", "# SPDX-License-Identifier: Apache-2.0", "# Completion of lmfast for zsh, made by tools/manual.py.",
             "_lmfast() {",
             "  local -a commands", "  commands=(" + " ".join(commands) + ")",
             "  if (( CURRENT == 2 )); then _describe command commands; return; fi", "  case $words[2] in"]
    for c in whole["commands"]:
        specs = " ".join(spec(f) for f in [*c["flags"], *whole["global_flags"]])
        lines.append(f"  {c['name']}) shift words; (( CURRENT-- )); _arguments {specs} '*:file:_files' ;;")
    return "\n".join([*lines, "  help) _describe command commands ;;", "  esac", "}", '_lmfast "$@"']) + "\n"


def fish(whole):
    lines = ["# SPDX-License-Identifier: Apache-2.0", "# Completion of lmfast for fish, made by tools/manual.py.", "complete -c lmfast -f"]
    for c in whole["commands"]:
        lines.append(f"complete -c lmfast -n __fish_use_subcommand -a {c['name']} -d {quoted(c['summary'])}")
        for f in [*c["flags"], *whole["global_flags"]]:
            more = " -r -F" if f["name"] in FILES else "" if f["kind"] == "bool" else " -x"
            if "choices" in f:
                more = f" -x -a {quoted(f['choices'].replace('|', ' '))}"
            short = f" -s {f['letter']}" if f.get("letter") else ""
            help_text = quoted(f["help"].split(";")[0])
            lines.append(f"complete -c lmfast -n '__fish_seen_subcommand_from {c['name']}' -l {f['name']}{short}{more} -d {help_text}")
    return "\n".join(lines) + "\n"


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    whole = json.loads(subprocess.run([program, "help", "--json"], capture_output=True, text=True, check=True).stdout)
    names = [f"lmfast-{c['name']}" for c in whole["commands"]]
    files = {"man1/lmfast.1": main_page(whole), "bash/lmfast": bash(whole), "zsh/_lmfast": zsh(whole), "fish/lmfast.fish": fish(whole)}
    files |= {f"man1/lmfast-{c['name']}.1": command_page(c, whole, ["lmfast", *names]) for c in whole["commands"]}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
