# SPDX-License-Identifier: Apache-2.0
"""Help is made from the tables, for every command that is there."""
import json
import shlex


def tables(lmfast):
    r = lmfast("help", "--json")
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_general(lmfast):
    r = lmfast("--help")
    assert r.returncode == 0 and r.stderr == ""
    assert r.stdout == lmfast("help").stdout == lmfast("-h").stdout
    for command in tables(lmfast)["commands"]:
        assert f"\n  {command['name']} " in r.stdout and command["summary"] in r.stdout


def test_version(lmfast):
    version = json.loads(lmfast("--version", "--json").stdout)["version"]
    assert lmfast("--version").stdout == f"lmfast {version}\n"
    assert tables(lmfast)["version"] == version


def test_every_command(lmfast):
    commands = tables(lmfast)["commands"]
    assert commands
    for command in commands:
        name = command["name"]
        r = lmfast(name, "--help")
        assert r.returncode == 0 and r.stderr == "", name
        assert r.stdout == lmfast("help", name).stdout
        assert r.stdout.startswith(f"lmfast {name}: {command['summary']}\n")
        assert command["example"] and f"lmfast {name}" in command["example"] and command["example"] in r.stdout
        for flag in command["flags"]:
            assert f"--{flag['name']}" in r.stdout or f"--no-{flag['name']}" in r.stdout
            assert flag.get("help"), f"--{flag['name']} of {name} has no help"
        assert json.loads(lmfast("help", name, "--json").stdout) == command


def test_every_command_refuses(lmfast):
    for command in tables(lmfast)["commands"]:
        name, flags = command["name"], command["flags"]
        r = lmfast(name, "--no-such-flag-at-all")
        assert r.returncode == 2 and "unknown flag --no-such-flag-at-all" in r.stderr, name
        required = [f for f in flags if f["required"]]
        if required:
            r = lmfast(name)
            assert r.returncode == 2 and f"--{required[0]['name']} is missing" in r.stderr, name
        for flag in flags:
            if "range" in flag:
                r = lmfast(name, f"--{flag['name']}={flag['range'][0] - 1:.12g}")
                assert r.returncode == 2 and f"--{flag['name']} is " in r.stderr and "must be" in r.stderr, (name, flag)
            if "choices" in flag:
                r = lmfast(name, f"--{flag['name']}=no-such-choice")
                assert r.returncode == 2 and flag["choices"] in r.stderr, (name, flag)


def test_examples_parse(lmfast):
    """The flags of each example exist: an example with one more, unknown flag is refused for that flag."""
    for command in tables(lmfast)["commands"]:
        words = shlex.split(command["example"].split("|")[0])
        words = words[words.index("lmfast") + 1:]
        r = lmfast(*words, "--no-such-flag-at-all")
        assert "unknown flag --no-such-flag-at-all" in r.stderr, (command["example"], r.stderr)
