# SPDX-License-Identifier: Apache-2.0
"""Whole-program tests. LMFAST_BUILD names the build folder; make test sets it."""
import os
import pathlib
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LMFAST_BUILD", ROOT / "build" / "release"))

# A shell ignores SIGINT for what it starts in the background, and programs keep that: the tests' own are not to.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def leave_no_child():
    """A program that a failed test left running would slow down all that follows."""
    yield
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
    for pid in children.read_text().split() if children.exists() else []:
        os.kill(int(pid), signal.SIGKILL)


def runner(program):
    def run(*args, **options):
        options.setdefault("timeout", 120)
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run([str(program), *map(str, args)], capture_output=True, text=True, **options)
    run.path = str(program)
    return run


@pytest.fixture(scope="session")
def lmfast():
    return runner(BUILD / "lmfast")


@pytest.fixture(scope="session")
def probe():
    """The program around one command with a flag of each kind: prints what was parsed."""
    return runner(BUILD / "driver_cli")
