# SPDX-License-Identifier: Apache-2.0
"""Reading of flags: forms, ranges, suggestions, exit codes."""
import json
import re

import pytest

DEFAULTS = {"model": "m", "scheduler": "linear", "max_steps": 2, "offset": 0, "at_least": 1, "learning_rate": 1e-3, "shuffle": True}


@pytest.mark.parametrize("args, changed", [
    ("m", {}),
    ("--model m", {}),
    ("--model=m", {}),
    ("-m m", {}),
    ("-mm", {}),
    ("-m=m", {}),
    ("m --max-steps 3", {"max_steps": 3}),
    ("m --max_steps=3", {"max_steps": 3}),
    ("m -s0", {"max_steps": 0}),
    ("m --max-steps 3 --max-steps 4", {"max_steps": 4}),
    ("m --offset -4", {"offset": -4}),
    ("m --offset=-9223372036854775808", {"offset": -2**63}),
    ("m --at-least 5", {"at_least": 5}),
    ("m --learning-rate 1e-5", {"learning_rate": 1e-5}),
    ("m --learning-rate=1", {"learning_rate": 1.0}),
    ("m --no-shuffle", {"shuffle": False}),
    ("m --shuffle=off", {"shuffle": False}),
    ("m --no-shuffle --shuffle", {"shuffle": True}),
    ("m --scheduler cosine", {"scheduler": "cosine"}),
    ("-- -x", {"model": "-x"}),
    ("-", {"model": "-"}),
    ("m --threads 3", {"threads": 3}),
])
def test_accepted(probe, args, changed):
    r = probe("probe", "--quiet", *args.split())
    assert (r.returncode, r.stderr) == (0, "")
    got = json.loads(r.stdout)
    assert {k: got[k] for k in {**DEFAULTS, **changed}} == {**DEFAULTS, **changed}


@pytest.mark.parametrize("args, sentence", [
    ("probe m --lerning-rate 3", "unknown flag --lerning-rate; did you mean --learning-rate?"),
    ("probe m --lerning-rate=3", "unknown flag --lerning-rate; did you mean --learning-rate?"),
    ("probe m --jsno", "unknown flag --jsno; did you mean --json?"),
    ("probe m --xyzzy", "unknown flag --xyzzy; lmfast probe --help lists the flags"),
    ("probe m -z", "unknown flag -z; lmfast probe --help lists the flags"),
    ("probe m --max-steps 101", "--max-steps is 101, but must be from 0 to 100"),
    ("probe m --max-steps -1", "--max-steps is -1, but must be from 0 to 100"),
    ("probe m --max-steps 99999999999999999999", "--max-steps is 99999999999999999999, but must be from 0 to 100"),
    ("probe m --at-least 0", "--at-least is 0, but must be at least 1"),
    ("probe m --offset 9223372036854775808", "--offset is 9223372036854775808, but must fit into 64 bits"),
    ("probe m --max-steps 3x", '--max-steps is "3x", but must be a whole number'),
    ("probe m --max-steps=", '--max-steps is "", but must be a whole number'),
    ("probe m --learning-rate 2", "--learning-rate is 2, but must be from 0 to 1"),
    ("probe m --learning-rate nan", '--learning-rate is "nan", but must be a number such as 0.001 or 1e-3'),
    ("probe m --learning-rate inf", '--learning-rate is "inf", but must be a number such as 0.001 or 1e-3'),
    ("probe m --scheduler cosin", '--scheduler is "cosin", but must be one of linear|cosine|constant; did you mean cosine?'),
    ("probe m --shuffle=maybe", '--shuffle is "maybe", but must be true or false'),
    ("probe m --no-max-steps", "--max-steps takes a value; it has no --no- form"),
    ("probe m --no-shuffle=1", "--no-shuffle takes no value"),
    ("probe m --max-steps", "--max-steps needs a value (one that starts with -- is given as --max-steps=VALUE)"),
    ("probe --model --json", "--model needs a value (one that starts with -- is given as --model=VALUE)"),
    ("probe m n", 'unexpected argument "n"; lmfast probe --help shows what it takes'),
    ("probe", "--model is missing (a file); lmfast probe --help shows an example"),
    ("probe m --threads 0", "--threads is 0, but must be from 1 to 256"),
    ("prob m", "unknown command prob; did you mean probe?"),
    ("frobnicate", "unknown command frobnicate; lmfast --help lists the commands"),
    ("help prob", "unknown command prob; did you mean probe?"),
    ("--threads", "--threads needs a value (one that starts with -- is given as --threads=VALUE)"),
    ("--isa avx3 probe m", '--isa is "avx3", but must be one of native|amx|avx512|avx2|scalar; did you mean avx2?'),
])
def test_refused(probe, args, sentence):
    r = probe(*args.split())
    assert r.returncode == 2
    assert r.stderr == f"lmfast: {sentence}\n"
    assert r.stdout == ("" if "--json" not in args.split() else r.stdout)
    r = probe(*args.split(), "--json")          # after the mistake, and still in force
    if args.endswith(("--max-steps", "--threads")):
        return                                  # here --json would be the missing value
    assert r.returncode == 2
    assert json.loads(r.stdout) == {"error": {"status": "E_ARG", "message": sentence}}


def test_no_command(probe):
    r = probe()
    assert r.returncode == 2 and r.stdout == "" and "usage: lmfast COMMAND" in r.stderr


def test_long_words_are_cut(probe):
    for args in (["x" * 100000], ["probe", "--" + "y" * 100000], ["probe", "m", "--max-steps", "1" * 100000], ["probe", "m", "z" * 100000]):
        r = probe(*args)
        assert r.returncode == 2 and len(r.stderr) < 500


@pytest.mark.parametrize("device", ["cpu:0junk", "cpu:", "cpu:-1", "cpu: 0", "cuda:0x", "CPU", ""])
def test_devices_are_spelled_out(lmfast, device):
    """By every command, those too that compute nothing."""
    for args in (["doctor"], ["info", "nowhere"]):
        r = lmfast(*args, "--device", device)
        assert r.returncode != 0 and "expected cpu, cuda or cuda:N" in r.stderr, (args, r.stderr)


def test_a_letter_has_one_meaning(lmfast):
    """In all commands together; and what a letter meant once is told."""
    meanings = {}
    whole = json.loads(lmfast("help", "--json").stdout)
    names = [c["name"] for c in whole["commands"]]
    for name in names:
        help_text = lmfast("help", name).stdout
        for letter, long in re.findall(r"^  -(\w), --([\w-]+)", help_text, re.M):
            meanings.setdefault(letter, set()).add(long)
    assert len(meanings) > 8 and all(len(m) == 1 for m in meanings.values()), meanings
    assert meanings["t"] == {"temperature"} and meanings["q"] == {"quiet"}
    r = lmfast("train", "-m", "m", "-d", "d", "-t", "2")
    assert r.returncode == 2 and "the workers are --threads" in r.stderr
