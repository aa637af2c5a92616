# SPDX-License-Identifier: Apache-2.0
"""Exit codes, output that can't be written, signals, progress."""
import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest


def test_failure(probe):
    r = probe("probe", "missing", "--quiet")
    assert (r.returncode, r.stdout, r.stderr) == (1, "", "lmfast: there is no model missing\n")


def test_failure_json(probe):
    r = probe("probe", "missing", "--json", "--quiet")
    assert r.returncode == 1 and r.stderr == "lmfast: there is no model missing\n"
    assert json.loads(r.stdout) == {"error": {"status": "E_NOT_FOUND", "message": "there is no model missing"}}


@pytest.mark.parametrize("args", [["probe", "m"], ["--help"], ["--version"], ["probe", "--help", "--json"]])
def test_full_disk(probe, args):
    with open("/dev/full", "w") as full:
        r = subprocess.run([probe.path, *args, "--quiet"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert r.returncode == 1 and "No space left on device" in r.stderr


def start(probe, *args):
    p = subprocess.Popen([probe.path, "probe", "m", "--max-steps", "100", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    time.sleep(0.3)
    return p


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_stops_between_steps(probe, number, code):
    p = start(probe, "--json")
    p.send_signal(number)
    out, err = p.communicate(timeout=120)
    assert p.returncode == code
    assert json.loads(out)["error"]["status"] == "E_CANCELLED"
    assert "stopped at step" in err


def test_second_signal_ends_at_once(probe):
    p = start(probe)
    p.send_signal(signal.SIGSTOP)       # both wait until the process goes on
    p.send_signal(signal.SIGINT)
    p.send_signal(signal.SIGTERM)
    p.send_signal(signal.SIGCONT)
    out, err = p.communicate(timeout=120)
    assert p.returncode in (-signal.SIGINT, -signal.SIGTERM) and "stopped at step" not in err


def test_ignored_signal_stays_ignored(probe):
    p = subprocess.Popen([probe.path, "probe", "m", "--max-steps", "20", "--quiet"], stdout=subprocess.PIPE, text=True,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    time.sleep(0.1)
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=120)
    assert p.returncode == 0 and json.loads(out)["max_steps"] == 20


def test_progress_plain(probe):
    r = probe("probe", "m", "--json")
    assert r.returncode == 0 and r.stderr.startswith("probe 2/2 loss 0.41  0:0") and r.stderr.count("\n") == 1
    assert json.loads(r.stdout)["max_steps"] == 2
    assert probe("probe", "m", "--quiet").stderr == ""


def test_progress_on_a_terminal(probe):
    leader, follower = pty.openpty()
    p = subprocess.Popen([probe.path, "probe", "m", "--max-steps", "30"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    text = b""
    while select.select([leader], [], [], 30)[0]:
        try:
            chunk = os.read(leader, 4096)
        except OSError:
            break
        if not chunk:
            break
        text += chunk
    os.close(leader)
    assert p.wait(timeout=120) == 0
    frames = text.decode().split("\r")[1:]
    assert 3 <= len([f for f in frames if f.startswith("probe")]) <= 31
    assert "[" in frames[1] and "left" in frames[1] and "loss 0.41" in frames[1] and ">" in frames[1]
    assert "30/30 [============" in text.decode()
