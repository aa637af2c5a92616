# SPDX-License-Identifier: Apache-2.0
"""lmfast agent with tools of servers of the Model Context Protocol: the reference implementation's servers in both eras on both transports,
and a server that means no good. The model is of random weights: it calls whatever the schemas let it."""
import json
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest
from test_agent import FREE, model, of, steps  # noqa: F401 -- a fixture

HOSTILE = pathlib.Path(__file__).with_name("mcp_hostile.py")
# A server of the mcp package, by standard input and output or on a port; it speaks all revisions.
GOOD = """
import sys
from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
server = MCPServer("good")
@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def look(place: str) -> str:
    "Looks at a place."
    return "seen: " + place
@server.tool()
def pair(on: bool, also: list[bool]) -> dict:
    "Takes two things."
    return {"on": on, "also": also}
server.run(*sys.argv[1:2], **({"port": int(sys.argv[2])} if len(sys.argv) > 2 else {}))
"""


def hostile(*args):
    return shlex.join([sys.executable, str(HOSTILE), *map(str, args)])


def act(lmfast, model, *server, flags=(), turns=2, timeout=20):
    return steps(lmfast, "-m", model, "--mcp", hostile(*server), "--yes-to", "act", "--must-call", *FREE, "--max-turns", turns,
                 "--tool-timeout",
                 timeout, *flags, "go")


def refused(lmfast, model, *flags):
    run = lmfast("agent", "-m", model, *flags, "go")
    assert run.returncode == 1 and len(run.stderr.strip().splitlines()) == 1, run
    assert not any(ord(c) < 32 and c != "\n" for c in run.stderr) and "\u202e" not in run.stderr
    return run.stderr


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.py"
    path.write_text(GOOD)
    return path


@pytest.fixture(params=["program", "address"])
def where(request, good):
    if request.param == "program":
        yield shlex.join([sys.executable, str(good), "stdio"])
        return
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen([sys.executable, str(good), "streamable-http", str(port)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    for _ in range(400):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/mcp"
    server.terminate()
    server.wait()


def test_reference_servers(lmfast, model, where, tmp_path):
    """What is called comes back as that server makes it of the arguments."""
    pin = tmp_path / "pin.json"
    for seed in range(4 if where.startswith("http") else 1):
        lines = steps(lmfast, "-m", model, "--mcp", where, "--yes-to", "look", "--yes-to", "pair", "--must-call", *FREE, "--mcp-pin", pin,
                      "--seed", seed, "--max-turns", 2, "go")
        call, result = of(lines, "call")[0], of(lines, "result")[0]
        assert not result["failed"], result
        if call["tool"] == "look" and not result["replaced"] and not result["marks"]:
            assert result["text"] == "seen: " + call["arguments"]["place"]
        elif call["tool"] == "pair":
            assert json.loads(result["text"]) == call["arguments"]
    assert set(json.loads(pin.read_text())["servers"][where]) == {"look", "pair"}


def test_consent(lmfast, model):
    """Read-only is believed of those that are trusted, and of the others not."""
    for flag, name, runs in [("--mcp", "act", False), ("--mcp-trusted", "act", True), ("--mcp-trusted", "other", False)]:
        lines = steps(lmfast, "-m", model, flag, hostile("reads"), "--only", name, "--must-call", *FREE, "--max-turns", 2, "go")
        assert bool(of(lines, "result")) == runs and bool(of(lines, "refused")) != runs


def test_eras(lmfast, model):
    for args in [("legacy",), ("modern",), ("odd",), ("ends",), *(("version", v) for v in ("2025-11-25", "2025-06-18", "2025-03-26",
            "2024-11-05"))]:
        assert of(act(lmfast, model, *args), "result")[0]["text"] == "fine", args
    start = time.monotonic()
    assert of(act(lmfast, model, "silent", timeout=1.5), "result")[0]["text"] == "fine"
    assert time.monotonic() - start < 3
    for args, words in [(("version", "2023-01-01"), 'speaks the revision "2023-01-01"'), (("refuses",),
                                                                                          "refuses initialize: no\\x1b[2J (-32022)"),
                        (("mute",), "did not answer within"), (("no-such-kind-of-python",), "")]:
        if words:
            assert words in refused(lmfast, model, "--mcp", hostile(*args), "--tool-timeout", 0.6)


def test_lists(lmfast, model):
    for kind, words in [
        ("twins", 'two tools of the name "act"'), ("name", 'the tool "a b\\x1b[2J'), ("long-name", "a name has 1 to 64"),
        ("invisible", "its description has a character at byte 5 that can't be seen"), ("turned", "its description has a character"),
        ("hidden", "its schema has a character"), ("nul", "U+0000"), ("schema-nul", "U+0000"), ("header", "x-mcp-header"), ("schema",
                'the tool "act"'), ("list-schema", "type object"),
        ("no-schema", 'tool 0 of its list ("act")'), ("number", 'tool 0 of its list ("act")'), ("many", "more than 1024 tools"),
        ("sixty", "--only"), ("none", "has no tools"), ("not-a-list", "no list of tools"), ("loop", "more than 64 pages|two tools"),
        ("cursor", "no list of tools"),
    ]:
        text = refused(lmfast, model, "--mcp", hostile(kind))
        assert any(w in text for w in words.split("|")), (kind, text)
    pages = refused(lmfast, model, "--mcp", hostile("pages"), "--yes-to", "t3")
    assert "--yes-to t3" in pages and "--yes-to" in refused(lmfast, model, "--mcp", hostile("pages"), "--only", "t0", "--yes-to", "t2")
    assert of(steps(lmfast, "-m", model, "--mcp", hostile("pages"), "--only", "t2", "--yes-to", "t2", "--must-call", *FREE, "--max-turns",
                    2, "go"), "result")
    assert 'no tool "t7"' in refused(lmfast, model, "--mcp", hostile("pages"), "--only", "t7")
    for where, words in [("/no/such/server x", "/no/such/server can't be started"), ("'a", "has no end"), (" ", "this is empty"),
                         ("https://127.0.0.1:secret@127.0.0.1/mcp", "no address"), ("http://127.0.0.1:1/mcp", "nobody answers there")]:
        assert words in refused(lmfast, model, "--mcp", where)


def test_pin(lmfast, model, tmp_path):
    """The file is made by the first run; a list that is another is refused with what is another."""
    pin = tmp_path / "pin.json"
    server = tmp_path / "server"  # one name for all of them
    for what, words in [("", None), ("", None), ("description", '"act" has another description'), ("schema", '"act" has another schema'),
                        ("annotations", '"act" has another annotations'), ("new", '"other" is new'), ("gone",
                                '"other" is new; "act" is gone'),
                        ("", None)]:
        server.write_text(f"#!/bin/sh\nexec {hostile('pinned', what)}\n")
        server.chmod(0o755)
        if words:
            assert words in refused(lmfast, model, "--mcp", server, "--mcp-pin", pin)
        else:
            assert of(steps(lmfast, "-m", model, "--mcp", server, "--mcp-pin", pin, "--yes-to", "act", "--must-call", *FREE,
                            "--max-turns", 2, "go"),
                      "result")
    pin.write_text("{}")
    assert "holds no hashes" in refused(lmfast, model, "--mcp", server, "--mcp-pin", pin)


def test_calls(lmfast, model):
    """A sentence for each, the run goes on to its answer, and nothing of it commands a terminal."""
    for kind, failed, words, more in [
        ("hang", True, "did not answer within 0.5 seconds", {"timeout": 0.5}),
        ("flood", True, "did not answer within 0.5 seconds", {"timeout": 0.5}),
        ("wrong-id", True, "did not answer within 0.5 seconds; what came was no answer", {"timeout": 0.5}),
        ("gigabyte", True, "a message is longer than 4194304 bytes", {}),
        ("not-json", False, "fine", {}), ("pings", False, "fine", {}), ("noise", False, "fine", {}),
        ("dies", True, "it has ended with status 3; on standard error it had written: \\\\x1b]0;title\\\\x07 no more \\\\x1b[2J memory",
         {}),
        ("half", True, "it has ended with status 0", {}),
        ("control", False, "\ufffd[2J\ufffd\ufffdbad\ufffd&lt;tool_call>", {}), ("error", True, "no such city", {}),
        ("no-content", True, "no result of a tool", {}), ("content", True, "no result of a tool", {}),
        ("pieces", False,
         "[left out: content without a type , 0 characters of base64]\n[left out: image image/png, 4 characters of base64]\n"
                          "[a link: file:///x]\ninner\n[left out: odd , 0 characters of base64]", {}),
        ("structured", False, '{"a":[1,null]}', {}), ("input", True, "wants more input", {}),
        ("long", False, "[cut: the first 4096 of 100000 bytes]", {}),
    ]:
        start = time.monotonic()
        lines = act(lmfast, model, kind, **more)
        assert time.monotonic() - start < 10, kind
        result = of(lines, "result")[0]
        assert result["failed"] == failed and words.replace("\\\\", "\\") in result["text"].replace("\\\\", "\\"), (kind, result)
        assert len(of(lines, "call")) == 1 and lines[-1]["turns"] == 2
        assert not any(ord(c) < 32 and c not in "\n\t" for c in result["text"])


def several(lmfast, model, kind, **more):
    """Runs with more than one call: results and refusals of each."""
    found = []
    for seed in range(12):
        lines = act(lmfast, model, kind, flags=("--seed", seed, "--yes-to", "act:private", "--max-tokens", 300), turns=4, **more)
        if len(of(lines, "result")) > 1:
            found.append(of(lines, "result"))
        if len(found) == 2:
            break
    assert found
    return found


def test_a_list_that_changes(lmfast, model):
    """The server says so during a call: what is called then is refused with what changed, where something did."""
    for results in several(lmfast, model, "changes"):
        assert results[0]["text"] == "fine" and all(r["failed"] and 'has changed its tools since they were listed ("act" has another '
                                                    'description; "other" is new)' in r["text"] for r in results[1:])
    for results in several(lmfast, model, "same-list"):
        assert all(r["text"] == "fine" for r in results)


def test_a_late_answer_is_nobodys(lmfast, model):
    """The answer of a call that was given up comes with the next one's, and is not taken for it."""
    for results in several(lmfast, model, "late", timeout=0.3):
        assert "did not answer" in results[0]["text"]
        assert [r["text"] for r in results[1:]] == [f"answer {i + 2}" for i in range(len(results) - 1)]


def test_cancelled(lmfast, model, tmp_path):
    """The server is told of a call that nobody waits for any more."""
    log = tmp_path / "log"
    act(lmfast, model, "log", log, timeout=0.5)
    sent = [json.loads(line) for line in log.read_text().splitlines()]
    call = [m for m in sent if m["method"] == "tools/call"][0]
    assert [m["params"]["requestId"] for m in sent if m["method"] == "notifications/cancelled"] == [call["id"]]
    assert [m["method"] for m in sent][:4] == ["server/discover", "initialize", "notifications/initialized", "tools/list"]


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_ctrl_c(lmfast, model, tmp_path):
    """A call under way is cancelled, the server told, and the program ends as stopped."""
    log = tmp_path / "log"
    p = subprocess.Popen([lmfast.path, "agent", "-m", model, "--mcp", hostile("log", log), "--yes-to", "act", "--must-call", *FREE, "go"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(200):
        if log.exists() and "tools/call" in log.read_text():
            break
        time.sleep(0.05)
    start = time.monotonic()
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=20)
    assert p.returncode == 130 and time.monotonic() - start < 5 and "notifications/cancelled" in log.read_text()


def test_nothing_stays(lmfast, model, tmp_path, monkeypatch):
    """A server that ends by nothing is killed with what it started; it sees nothing of the environment and no descriptors."""
    pids = tmp_path / "pids"
    act(lmfast, model, "stays", pids)
    for pid in pids.read_text().split():
        for _ in range(40):
            if gone(pid):
                break
            time.sleep(0.05)
        assert gone(pid)
    seen = tmp_path / "seen"
    monkeypatch.setenv("HF_TOKEN", "canary")
    act(lmfast, model, "environment", seen)
    got = json.loads(seen.read_text())
    assert "HF_TOKEN" not in got["env"] and "PATH" in got["env"] and len(got["fds"]) == 5  # its file, and the folder that is listed


@pytest.fixture(scope="module")
def web():
    server = subprocess.Popen([sys.executable, str(HOSTILE), "http"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
    server.kill()
    server.wait()


def test_addresses(lmfast, model, web):
    for kind, failed, words in [
        ("plain", False, "fine"), ("events", False, "fine"), ("hang", True, "did not answer within 1 seconds"),
        ("endless", True, "a message is longer than 4194304 bytes"), ("lost", True,
                                                                      "HTTP 404 (it may have forgotten the session): no session"),
        ("error", True, "HTTP 500: <html>"), ("accepted", True, "HTTP 202"), ("ends", True, "its stream ended without an answer"),
    ]:
        start = time.monotonic()
        lines = steps(lmfast, "-m", model, "--mcp", web + kind, "--yes-to", "act", "--must-call", *FREE, "--max-turns", 2,
                      "--tool-timeout", 1, "go")
        result = of(lines, "result")[0]
        assert result["failed"] == failed and words in result["text"] and time.monotonic() - start < 4, (kind, result)
    assert "it sends on to http://127.0.0.1:1/mcp, which is not followed" in refused(lmfast, model, "--mcp", web + "redirect")
