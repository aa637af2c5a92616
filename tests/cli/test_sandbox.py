# SPDX-License-Identifier: Apache-2.0
"""lmfast sandbox: what gets in, what comes out, and that nothing gets out. Where tier A does not hold, every run has to be refused."""
import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sandbox"))
import escapes  # noqa: E402
from world import PYTHON, World  # noqa: E402

TABLE = list(escapes.table())
ROWS = {name: (body, ends) for name, body, ends in TABLE}


@pytest.fixture(scope="module")
def facts(lmfast):
    return json.loads(lmfast("sandbox", "check", "--json").stdout)


@pytest.fixture(scope="module")
def world(lmfast):
    w = World(lmfast.path)
    yield w
    w.close()


def refused(r, facts):
    """True where the sandbox does not hold here: the run said so by a feature that is missing, and did nothing."""
    if facts["tier_a"]:
        return False
    assert r.returncode == 1 and "nothing was run" in r.stderr, r
    assert any(not f["holds"] and f["name"] in r.stderr for f in facts["facts"]), r.stderr
    assert r.stdout == ""
    return True


def test_the_table_is_whole():
    names = [name for name, _, _ in TABLE]
    assert len(names) == len(set(names)) >= 500
    assert escapes.QUICK <= set(names), escapes.QUICK - set(names)


def test_check_says_what_holds(lmfast, facts):
    r = lmfast("sandbox", "check")
    assert (r.returncode == 0) == facts["tier_a"]
    assert ("tier A" in r.stdout) and (" NO " in r.stdout) != facts["tier_a"]
    assert {"landlock", "seccomp", "escapes", "rlimit"} <= {f["name"] for f in facts["facts"]}


def test_a_script_and_its_files(lmfast, facts, tmp_path):
    script, data = tmp_path / "script.py", tmp_path / "data.txt"
    script.write_text("import sys\nprint(open('data.txt').read().upper(), sys.stdin.read(), sys.argv[1])\n"
                      "open('out.txt', 'w').write('made')\nsys.exit(3)\n")
    data.write_text("given")
    args = ("sandbox", "run", "--json", "--put", data, "--stdin", "-", "--save", tmp_path / "kept", "--", PYTHON, script, "arg")
    r = lmfast(*args, input="typed")
    if refused(r, facts):
        return
    out = json.loads(r.stdout)
    assert (out["exited"], out["code"], out["stdout"], out["stderr"]) == (True, 3, "GIVEN typed arg\n", "")
    assert [f["name"] for f in out["files"]] == ["data.txt", "out.txt", "script.py"]
    assert (tmp_path / "kept" / "out.txt").read_text() == "made"
    r = lmfast("sandbox", "run", "--", PYTHON, "-c", "import sys; print('o'); sys.exit(2)")
    assert r.returncode == 1 and r.stdout == "o\n" and "exited with 2" in r.stderr


def test_what_can_not_be_run(lmfast):
    for args, says in [((), "no program is given"), (("--", "no-such-program"), "there is no program"),
                       (("--timeout", "0", "--", "sh"), "--timeout")]:
        r = lmfast("sandbox", "run", *args)
        assert r.returncode in (1, 2) and says in r.stderr and r.stdout == ""


def test_a_tier_that_does_not_hold_is_refused(lmfast, facts):
    r = lmfast("sandbox", "run", "--tier", "b", "--", PYTHON, "-c", "print('ran')")
    assert (r.stdout == "ran\n") == facts["tier_b"]
    assert facts["tier_b"] or (r.returncode == 1 and "nothing was run" in r.stderr)


CALM = sorted(name for name in escapes.QUICK if not ROWS[name][1] and not re.search(r"-\d+$", name))  # signals are for themselves
RUNS = [CALM[i::4] for i in range(4)] + [[name] for name in sorted(escapes.QUICK - set(CALM))]


@pytest.mark.parametrize("names", RUNS, ids=lambda names: names[0])
def test_escape(lmfast, facts, world, names):
    """Those that may end in any way share a run, each in a process of its own there."""
    if not facts["tier_a"]:
        assert refused(lmfast("sandbox", "run", "--", PYTHON, "-c", "print(1)"), facts)
    elif len(names) == 1:
        assert world.run(*ROWS[names[0]]) == []
    else:
        assert world.run(escapes.together([ROWS[name][0] for name in names])) == []
