# SPDX-License-Identifier: Apache-2.0
"""The hub's client against a hub on loopback: what is taken, where it lies, who gets the token, and every way in which it goes wrong."""
import hashlib
import json
import os
import pathlib
import pty
import random
import re
import resource
import signal
import subprocess
import sys
import time

import pytest

from hub_server import Hub, etag

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

BIG = random.Random(1).randbytes(300_000)
FILES = {"config.json": b"{}", "tokenizer.json": b"{ }", "model.safetensors": BIG, "pytorch_model.bin": b"x" * 2000, "README.md": b"hello",
         "onnx/model.onnx": b"y" * 1500}
TAKEN = {"config.json", "tokenizer.json", "model.safetensors"}


@pytest.fixture
def hub():
    with Hub() as h:
        h.add("org/name", FILES)
        yield h


@pytest.fixture
def env(hub, tmp_path):
    keep = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith(("HF_", "HUGGING",
        "TRANSFORMERS"))}
    return {**keep, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}


@pytest.fixture
def get(lmfast, env):
    def run(*args, **more):
        return lmfast("download", *args, env={**env, **more})
    return run


def told(r):
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def refused(r, *words):
    assert r.returncode == 1 and r.stdout == "" and all(w in r.stderr for w in words), r.stderr
    assert r.stderr.strip().splitlines()[-1].startswith("lmfast: "), r.stderr


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def test_layout(hub, get, tmp_path):
    hub.page = 2
    got = told(get("org/name", "--json"))
    commit, cache = hub.repos["models", "org/name"].commit, tmp_path / "hf" / "hub"
    repo = cache / "models--org--name"
    assert got["path"] == str(repo / "snapshots" / commit) and got["commit"] == commit and got["files"] == got["downloaded"] == 3
    assert files(got["path"]) == {n: FILES[n] for n in TAKEN}
    assert (repo / "refs" / "main").read_text() == commit
    for name in TAKEN:
        link = repo / "snapshots" / commit / name
        assert link.is_symlink() and os.readlink(link) == f"../../blobs/{etag(FILES[name])}"
    assert {p.name for p in (repo / "blobs").iterdir()} == {etag(FILES[n]) for n in TAKEN}
    assert (cache / ".locks" / "models--org--name" / f"{etag(BIG)}.lock").exists()
    assert (cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    asked = len(hub.asked("cdn", "GET"))
    again = told(get("org/name", "--json"))
    assert again["downloaded"] == 0 and again["downloaded_bytes"] == 0 and len(hub.asked("cdn", "GET")) == asked
    r = get("org/name")
    assert r.stdout == got["path"] + "\n" and "Python pickles" in r.stderr and "pytorch_model.bin" in r.stderr


def test_patterns(hub, get):
    got = told(get("org/name", "--json", "--include", "*.md", "--include", "onnx/"))
    assert set(files(got["path"])) == {"README.md", "onnx/model.onnx"}
    link = pathlib.Path(got["path"]) / "onnx" / "model.onnx"
    assert os.readlink(link) == f"../../../blobs/{etag(FILES['onnx/model.onnx'])}"
    got = told(get("org/name", "--json", "--exclude", "*.safetensors"))
    assert got["files"] == 2
    refused(get("org/name", "--include", "*.bin"), "Python pickles", "pytorch_model.bin", "can run code")
    got = told(get("org/name", "--json", "--include", "*"))  # all, but for pickles
    assert set(files(got["path"])) == set(FILES) - {"pytorch_model.bin"} and got["files"] == len(FILES) - 1
    refused(get("org/name", "--include", "*.zip"), "leave nothing of org/name", "config.json")
    refused(get("org/name", "--exclude", "*"), "--exclude leaves nothing")
    refused(get("org/name/config.json", "--include", "*"), "names a file")
    assert get("org/name/config.json").stdout.endswith("/config.json\n")
    assert not hub.asked("cdn", "GET", etag(FILES["pytorch_model.bin"]))


def test_what_a_model_needs(hub, get):
    hub.add("org/gguf", {"a-Q4.gguf": BIG, "README.md": b""})
    hub.add("org/ggufs", {"a-Q4.gguf": BIG, "a-Q8.gguf": BIG[1:]})
    hub.add("org/pickle", {"config.json": b"{}", "pytorch_model.bin": BIG})
    hub.add("org/none", {"README.md": b"", "x.onnx": b""})
    hub.add("org/shards", {"config.json": b"{}", "model.safetensors.index.json": b"{}", "model-00001-of-00002.safetensors": BIG,
                           "model-00002-of-00002.safetensors": BIG[1:], "consolidated.safetensors": BIG[2:]})
    assert get("org/gguf").stdout.endswith("/a-Q4.gguf\n")
    refused(get("org/ggufs"), "2 GGUF files", "a-Q4.gguf, a-Q8.gguf", "org/ggufs/a-Q8.gguf")
    assert get("org/ggufs/a-Q8.gguf").stdout.endswith("/a-Q8.gguf\n")
    refused(get("org/pickle"), "Python pickles", "pytorch_model.bin", "safetensors")
    refused(get("org/pickle/pytorch_model.bin"), "Python pickles")
    refused(get("org/none"), "no model.safetensors", "README.md, x.onnx")
    refused(get("org/name/absent.gguf"), "has no file absent.gguf")
    assert len(files(told(get("org/shards", "--json"))["path"])) == 4


def test_revisions(hub, get, tmp_path):
    commit = hub.repos["models", "org/name"].commit
    refs = tmp_path / "hf/hub/models--org--name/refs"
    assert told(get("org/name@v1", "--json"))["revision"] == "v1" and (refs / "v1").read_text() == commit
    assert told(get("org/name@refs/pr/2", "--json"))["commit"] == commit and (refs / "refs/pr/2").read_text() == commit
    before = len(hub.asked("hub", "GET", "/revision/"))
    assert told(get(f"org/name@{commit}", "--json"))["commit"] == commit and len(hub.asked("hub", "GET", "/revision/")) == before
    refused(get("org/name@nope"), 'no branch, tag or commit "nope"')
    refused(get("org/name@" + "0" * 40), "no branch, tag or commit")


@pytest.mark.parametrize("name, words", [
    ("name", "org/name"), ("org/", "org/name"), ("../x", "org/name"), ("org/..", "org/name"), ("a b/c", "org/name"), ("org/name@",
        "behind @"),
    ("org/name@../x", "behind @"), ("org/name/../../x", "behind org/name/"), ("org/name/", "behind org/name/"), ("-org/name", "org/name"),
    ("org/na--me", "org/name"), ("o" * 97 + "/name", "org/name"), ("org/name.git", "org/name"), ("", "org/name")])
def test_names(get, name, words):
    refused(get("--", name), words)


def test_token(hub, get, env, tmp_path):
    hub.add("org/secret", FILES, token="hf_right")
    hub.add("org/gated", FILES, token="hf_right", gated=True)
    refused(get("org/secret"), "no model org/secret, or it is private", "no token is set")
    refused(get("org/secret", HF_TOKEN="hf_wrong"), "or it is private", "the token that is set does not open it")
    refused(get("org/gated"), "org/gated is gated", "no token is set")
    refused(get("org/gated", HF_TOKEN="hf_wrong"), "org/gated is gated", "does not open it")
    refused(get("org/secret", HF_TOKEN="hf_right", HF_HUB_DISABLE_IMPLICIT_TOKEN="1"), "no token is set")
    hub.log.clear()
    got = told(get("org/secret", "--json", HF_TOKEN=" hf_right\n"))
    assert got["files"] == 3 and "hf_right" not in json.dumps(got)
    assert all(h.get("Authorization") == "Bearer hf_right" for w, m, p, h in hub.log if w == "hub")
    assert hub.asked("cdn", "GET") and not any("Authorization" in h for h in hub.asked("cdn", "GET"))
    for name, more in (("org/gated", {"HUGGING_FACE_HUB_TOKEN": "hf_right"}), ("org/gated", {"HF_TOKEN_PATH": str(tmp_path / "t")})):
        (tmp_path / "t").write_text("hf_right\n")
        assert told(get(name, "--json", **more))["files"] == 3
    (tmp_path / "hf" / "token").write_text("hf_right")
    assert told(get("org/gated", "--json", HF_HUB_CACHE=str(tmp_path / "other")))["downloaded"] == 3
    (tmp_path / "hf" / "token").unlink()
    refused(get("org/name", HF_TOKEN="two words"), "HF_TOKEN holds no token")


def test_resume(hub, get):
    hub.cuts = [70_000, 50_000]
    got = told(get("org/name", "--json"))
    assert files(got["path"])["model.safetensors"] == BIG
    assert [h.get("Range") for h in hub.asked("cdn", "GET")] == [None, "bytes=70000-", "bytes=120000-"]


@pytest.mark.parametrize("part, ranges, asked", [(BIG[:1000], True, ["bytes=1000-"]), (BIG, True, []), (BIG + b"more", True, [None]),
    (BIG[:1000], False, ["bytes=1000-"]),
                                                 (b"wrong" * 100, True, ["bytes=500-", None])])
def test_part_of_before(hub, get, tmp_path, part, ranges, asked):
    """A part that is right is gone on with, one that is wrong is found and thrown away."""
    blobs = tmp_path / "hf/hub/models--org--name/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{etag(BIG)}.incomplete").write_bytes(part)
    hub.ranges = ranges
    got = told(get("org/name", "--json"))
    assert files(got["path"])["model.safetensors"] == BIG and [h.get("Range") for h in hub.asked("cdn", "GET")] == asked
    assert not list(blobs.glob("*.incomplete"))


def test_another_part(hub, get, tmp_path):
    """Bytes that are not those that were asked for are not put behind what is there."""
    blobs = tmp_path / "hf/hub/models--org--name/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{etag(BIG)}.incomplete").write_bytes(BIG[:1000])
    hub.fault = lambda handler, host, path: host == "cdn" and "Range" in handler.headers and (handler.body(206, BIG[500:], {
        "Content_Range": f"bytes 500-{len(BIG) - 1}/{len(BIG)}"}) or True)
    refused(get("org/name"), "answers with another part of model.safetensors than was asked for")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_wrong_bytes(hub, get, tmp_path, name):
    if name == "model.safetensors":
        hub.wrong[name] = BIG[:-1] + b"!"
    else:
        def fault(handler, host, path):
            if "/resolve/" not in path or not path.endswith(name):
                return False
            handler.answer(200, b"[]", ETag=f'"{etag(FILES[name])}"', X_Repo_Commit=hub.repos["models", "org/name"].commit)
            return True
        hub.fault = fault
    refused(get("org/name"), name, "have not the hash that the hub gives", etag(FILES[name]))
    blobs = tmp_path / "hf/hub/models--org--name/blobs"
    assert not list(blobs.glob("*.incomplete")) and etag(FILES[name]) not in os.listdir(blobs)


def test_busy(hub, get):
    states = [(429, {"Retry_After": 1}), (503, {}), (500, {}), (429, {"RateLimit": '"api";r=0;t=1'})]

    def fault(handler, host, path):
        if not states or handler.command == "HEAD":
            return False
        status, headers = states.pop()
        handler.answer(status, b"", **headers)
        return True
    hub.fault = fault
    start = time.time()
    r = get("org/name")
    assert r.returncode == 0 and not states and time.time() - start > 2, r.stderr
    assert "answers 429; trying again in 1 s" in r.stderr and "answers 503; trying again in" in r.stderr


@pytest.mark.parametrize("status, headers, words", [(429, {"Retry_After": 9999}, ["answers 429", "asks to wait 9999 s"]), (501, {},
    ["answers 501"]),
                                                    (403, {}, ["is gated"]), (404, {}, ["no model org/name"]), (418, {},
                                                        ["answers 418 for org/name: teapot"])])
def test_refusals(hub, get, status, headers, words):
    hub.fault = lambda handler, host, path: handler.answer(status, {"error": "teapot"}, **headers) or True
    refused(get("org/name"), *words)


def test_no_hub(hub, get):
    """Something else answers: a page of a proxy, say."""
    hub.fault = lambda handler, host, path: handler.answer(200, b"<html>Sign in</html>") or True
    refused(get("org/name"), "no JSON that is read here", "an HTML page")
    hub.fault = lambda handler, host, path: handler.answer(200, b"{}") or True
    refused(get("org/name"), "does not answer like a hub")
    commit = hub.repos["models", "org/name"].commit
    refused(get(f"org/name@{commit}"), "does not answer like a hub")
    for wrong, words in (({}, "X-Repo-Commit is missing"), ({"X_Repo_Commit": "f" * 40}, "answers with commit"), ({"X_Repo_Commit":
        commit}, "no ETag"),
                         ({"X_Repo_Commit": commit, "ETag": '"../../x"'}, "no ETag")):
        hub.fault = lambda handler, host, path: handler.command == "HEAD" and (handler.answer(200, b"", **wrong) or True)
        refused(get("org/name"), words)


@pytest.mark.parametrize("path", ["../../../../evil.json", "/etc/x.json", "a/../b.json", "a\\b.json", "a\u0007.json", "a//b.json", ""])
def test_names_of_files(hub, get, tmp_path, path):
    hub.fault = lambda handler, host, p: "/tree/" in p and (handler.answer(200, [{"type": "file", "path": path, "size": 2}]) or True)
    refused(get("org/name"), "lists a file whose name or size can't be")


def test_redirects(hub, get):
    commit = hub.repos["models", "org/name"].commit

    def renamed(handler, host, path):  # an older name of the repository
        if host != "hub" or "old/name" not in path:
            return False
        handler.answer(307, b"", Location=handler.path.replace("old/name", "org/name"), X_Repo_Commit=commit)
        return True
    hub.fault = renamed
    assert told(get("old/name", "--json"))["files"] == 3
    hub.fault = lambda handler, host, path: "/revision/" in path and (handler.answer(302, b"", Location=handler.path) or True)
    refused(get("org/name"), "10 addresses, each of which sends on to the next")
    hub.fault = lambda handler, host, path: "/revision/" in path and (handler.answer(302, b"", Location="file:///etc/passwd") or True)
    refused(get("org/name"), "can't get org/name")
    hub.fault = lambda handler, host, path: "/revision/" in path and (handler.answer(302, b"") or True)
    refused(get("org/name"), "which is no address")


def test_changed_between(hub, get):
    """Other bytes than the ones that were announced: asked again; when it goes on, refused."""
    commit, n, once = hub.repos["models", "org/name"].commit, [0], [True]

    def fault(handler, host, path):
        if host != "hub" or not path.endswith("/config.json") or handler.command != "GET" or (once[0] and n[0]):
            return False
        n[0] += 1
        handler.answer(200, b"[]", ETag=f'"{etag(b"[]")}"', X_Repo_Commit=commit)
        return True
    hub.fault = fault
    assert files(told(get("org/name", "--json"))["path"])["config.json"] == b"{}" and n[0] == 1
    hub.add("org/other", FILES)
    once[0] = False
    commit = hub.repos["models", "org/other"].commit
    refused(get("org/other"), "config.json of org/other changed while it was downloaded")


def test_cut_for_good(hub, get, tmp_path):
    hub.fault = lambda handler, host, path: host == "cdn" and handler.connection.shutdown(2) is None and (setattr(handler,
        "close_connection", True) or True)
    r = get("org/name")
    refused(r, "6 times", "the next call goes on from there")
    hub.fault = None
    assert told(get("org/name", "--json"))["downloaded"] == 2


def test_interrupt(hub, lmfast, env, tmp_path):
    """Ctrl-C keeps the part; the next call goes on from there."""
    hub.pace = lambda handler: time.sleep(0.05)
    p = subprocess.Popen([lmfast.path, "download", "org/name"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = tmp_path / f"hf/hub/models--org--name/blobs/{etag(BIG)}.incomplete"
    while p.poll() is None and not (part.exists() and part.stat().st_size > 40_000):
        time.sleep(0.01)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 130 and out == "" and "the next call goes on from there" in err, err
    kept = part.stat().st_size
    assert 40_000 < kept < len(BIG)
    hub.pace = lambda handler: None
    r = lmfast("download", "org/name", "--json", env=env)
    assert told(r)["downloaded"] == 2 and hub.asked("cdn", "GET")[-1]["Range"] == f"bytes={kept}-"


def test_two_at_once(hub, lmfast, env):
    hub.pace = lambda handler: time.sleep(0.02)
    run = [subprocess.Popen([lmfast.path, "download", "org/name", "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True) for _ in range(3)]
    got = [(p.communicate(timeout=60), p.returncode) for p in run]
    assert all(code == 0 for _, code in got), got
    assert sum(json.loads(out)["downloaded"] for (out, _), _ in got) == 3 and len(hub.asked("cdn", "GET")) == 1
    assert any("another process downloads" in err for (_, err), _ in got)


def test_disk(hub, lmfast, env, tmp_path):
    """No space, here a limit on the size of a file: a sentence, and the part stays."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    r = lmfast("download", "org/name", env=env, preexec_fn=limit)
    refused(r, "can't write to", "File too large")
    assert (tmp_path / f"hf/hub/models--org--name/blobs/{etag(BIG)}.incomplete").stat().st_size == 100_000
    assert told(lmfast("download", "org/name", "--json", env=env))["downloaded"] == 2
    hub.fault = lambda handler, host, path: handler.command == "HEAD" and "/x.gguf" in path and (handler.answer(
        200, b"", X_Repo_Commit=repo.commit, ETag='"' + "a" * 64 + '"', X_Linked_Size=1 << 60) or True)
    repo = hub.add("org/huge", {"x.gguf": b"x"})
    refused(lmfast("download", "org/huge", env=env), "MB are free", "HF_HUB_CACHE")


def test_offline(hub, get, tmp_path):
    refused(get("org/name", HF_HUB_OFFLINE="1"), "is not in the cache", "HF_HUB_OFFLINE")
    assert not hub.log
    path = told(get("org/name", "--json"))["path"]
    hub.log.clear()
    for more in ({"HF_HUB_OFFLINE": "1"}, {"TRANSFORMERS_OFFLINE": "yes"}):
        got = told(get("org/name", "--json", **more))
        assert got["path"] == path and got["offline"] and got["files"] == 3 and not hub.log
    refused(get("org/name@v1", HF_HUB_OFFLINE="1"), "org/name@v1 is not in the cache")
    r = get("org/name", HF_ENDPOINT="http://127.0.0.1:1")  # nobody there: what is in the cache, and said
    assert r.returncode == 0 and r.stdout == path + "\n" and "from the cache" in r.stderr
    refused(get("org/absent", HF_ENDPOINT="http://127.0.0.1:1"), "can't get org/absent from http://127.0.0.1:1")


def test_no_links(hub, get):
    got = told(get("org/name", "--json", HF_HUB_DISABLE_SYMLINKS="1"))
    assert files(got["path"]) == {n: FILES[n] for n in TAKEN} and not any(p.is_symlink() for p in pathlib.Path(got["path"]).iterdir())
    assert told(get("org/name", "--json", HF_HUB_DISABLE_SYMLINKS="1"))["downloaded"] == 0


@pytest.mark.parametrize("name, value, words", [("HF_ENDPOINT", "ftp://x", "https://"), ("HF_ENDPOINT", "http:" + "//u:p@x", "https://"),
    ("HF_HUB_ETAG_TIMEOUT", "soon", "seconds"),
                                                ("HF_HUB_DOWNLOAD_TIMEOUT", "-1", "seconds")])
def test_settings(get, name, value, words):
    refused(get("org/name", **{name: value}), name, words)


def test_silence(hub, get):
    """A server that says nothing more: the time limit, then the rest."""
    quiet = [True]

    def fault(handler, host, path):
        if host != "cdn" or not quiet[0]:
            return False
        quiet[0] = False
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(BIG)))
        handler.end_headers()
        handler.wfile.write(BIG[:5000])
        handler.wfile.flush()
        time.sleep(4)
        handler.close_connection = True
        return True
    hub.fault = fault
    assert files(told(get("org/name", "--json", HF_HUB_DOWNLOAD_TIMEOUT="1"))["path"])["model.safetensors"] == BIG
    assert hub.asked("cdn", "GET")[-1]["Range"] == "bytes=5000-"


# ---- names in commands ----
@pytest.fixture
def served(hub, tmp_path):
    folder = formula.save(tmp_path / "model")
    hub.add("org/tiny", {p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir()})
    rows = (ROOT / "tests/parity/train_rows.jsonl").read_bytes()
    hub.add("org/rows", {"data/train.jsonl": rows, "data/test.jsonl": rows[:rows.index(b"\n") + 1], "README.md": b"x",
        "dataset_infos.json": b"{}"}, kind="datasets")
    hub.add("org/parquet", {"data/train-00000-of-00001.parquet": BIG}, kind="datasets")
    hub.add("org/many", {"a.jsonl": rows, "b.jsonl": rows}, kind="datasets")
    return folder


def test_in_commands(hub, served, lmfast, env, tmp_path):
    out = tmp_path / "out"
    r = lmfast("train", "--model", "org/tiny", "--data", "org/rows", "-o", out, "--max-steps", 2, "--json", "--guards", "off", env=env)
    assert r.returncode == 0 and json.loads(r.stdout)["steps"] == 2, r.stderr
    config = (out / "lmfast_config.yaml").read_text()
    assert "models--org--tiny/snapshots/" in config and "datasets--org--rows/snapshots/" in config and "data/train.jsonl" in config
    r = lmfast("generate", "-m", "org/tiny", "-p", "x", "-n", 2, "--json", env={**env, "HF_HUB_OFFLINE": "1"})
    assert r.returncode == 0, r.stderr
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "org/tiny"
    hub.add("org/adapter", {p.name: p.read_bytes() for p in out.iterdir() if p.name.startswith("adapter_")})
    r = lmfast("generate", "-m", "org/tiny@v1", "-a", "org/adapter", "-p", "x", "-n", 2, "--json", env=env)
    assert r.returncode == 0, r.stderr
    assert lmfast("info", "org/tiny", env=env).returncode == 0
    r = lmfast("data", "check", "-m", "org/tiny", "-d", "org/rows/data/test.jsonl:weight=2", "--json", env=env)
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("data, words", [("org/parquet", ["no rows in JSON", "parquet", "Python's datasets"]), ("org/many",
    ["2 files of rows", "a.jsonl, b.jsonl"]),
                                         ("org/absent", ["no data set org/absent"]), ("org/rows/none.jsonl", ["no file none.jsonl"])])
def test_data_that_is_none(served, lmfast, env, tmp_path, data, words):
    refused(lmfast("train", "--model", served, "--data", data, "-o", tmp_path / "o", env=env), f"--data {data}", *words)
    assert not (tmp_path / "o").exists()


def test_paths_are_no_names(hub, served, lmfast, env, tmp_path):
    """What is there is taken, and what is meant as a file's name is not looked for on the hub."""
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "tiny").symlink_to(served)
    assert lmfast("info", "org/tiny", env=env, cwd=tmp_path).returncode == 0 and not hub.log
    for path in ("org/rows.jsonl", "models/x.gguf", "a/b/c", "./org/none", "/org/none", "x"):
        refused(lmfast("info", path, env=env, cwd=tmp_path), path, "No such file")
    assert not hub.log
    refused(lmfast("info", "org/none", env=env, cwd=tmp_path), "--model org/none", "no file or folder here, so a name on the hub",
        "no model org/none")


def test_whole_data_set(served, hub, get):
    got = told(get("org/rows", "--repo-type", "dataset", "--json"))
    assert set(files(got["path"])) == {"data/train.jsonl", "data/test.jsonl"} and "/datasets--org--rows/" in got["path"]


def test_progress(hub, lmfast, env):
    """On a terminal a line with the file, bytes, rate and time left; none where that is asked for."""
    hub.pace = lambda handler: time.sleep(0.05)
    for more, seen in (({}, True), ({"HF_HUB_DISABLE_PROGRESS_BARS": "1"}, False)):
        main, side = pty.openpty()
        p = subprocess.Popen([lmfast.path, "download", "org/name"], stdin=side, stdout=subprocess.PIPE, stderr=side,
                             env={**env, **more, "HF_HUB_CACHE": f"{env['HF_HOME']}/{seen}"})
        os.close(side)
        text = b""
        try:
            while piece := os.read(main, 4096):
                text += piece
        except OSError:
            pass  # the other end is closed
        os.close(main)
        p.communicate(timeout=60)
        shown = re.search(rb"org/name \d+/\d+ \[=*>? *\] model.safetensors  [\d.]+/0.3 MB  [\d.]+ MB/s  \d:\d\d left", text)
        assert p.returncode == 0 and bool(shown) == seen, text
