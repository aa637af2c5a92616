# SPDX-License-Identifier: Apache-2.0
"""Adapters that clients load and unload while the server answers: by vLLM's names, out of one folder, for those that may."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import socket
import struct
import sys
import threading

import openai
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from test_generate import FFN, WIDTH, write_gguf  # noqa: E402
from test_serve import CHAT, HEAD, Server, body, messages, send  # noqa: E402

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
PROMPT = "hello there, what is it that you can do"  # more than a page of the cache


def write_adapter(path, seed, r=4, width=WIDTH, module="model.layers.0.mlp.down_proj", bad=None, size=1.0, **config):
    """A folder as PEFT writes it."""
    path.mkdir(parents=True)
    rng, at, head, data = random.Random(seed), 0, {}, b""
    for half, shape in (("A", (r, FFN)), ("B", (width, r))):
        n = shape[0] * shape[1]
        values = [rng.uniform(-size, size) for _ in range(n)]
        values[n // 2] = values[n // 2] if bad is None or half == "A" else bad
        part = struct.pack(f"<{n}f", *values)
        head[f"base_model.model.{module}.lora_{half}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(part)]}
        data, at = data + part, at + len(part)
    text = json.dumps(head).encode()
    (path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny",
        "r": r, "lora_alpha": 2 * r, "target_modules": [module.rsplit(".", 1)[1]], **config}))
    return path


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """The operator's folder, with adapters in it, and some beside it."""
    top = tmp_path_factory.mktemp("adapters")
    folder = top / "allowed"
    write_adapter(folder / "one", 1)
    write_adapter(folder / "deep" / "two", 2)
    write_adapter(folder / "wide", 3, r=32)
    write_adapter(folder / "other base", 4, width=WIDTH + 1)
    write_adapter(folder / "deeper base", 5, module="model.layers.7.mlp.down_proj")
    write_adapter(folder / "not finite", 6, bad=float("inf"))
    write_adapter(folder / "not a number", 6, bad=float("nan"))
    write_adapter(folder / "too large", 6, bad=1e30, lora_alpha=8e30)
    write_adapter(folder / "dora", 7, use_dora=True)
    write_adapter(top / "outside", 8)
    write_adapter(top / "allowed beside", 9)
    (folder / "empty").mkdir()
    (folder / "cut").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / "cut" / name).write_bytes((folder / "one" / name).read_bytes()[:-100])
    os.symlink(top / "outside", folder / "link out")
    os.symlink(folder / "one", folder / "link in")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("serve") / "tiny.gguf")


@pytest.fixture(scope="module")
def want(lmfast, model, there):
    """What each adapter, and the base, answers."""
    def ask(*more):
        r = lmfast("generate", "-m", model, "-p", PROMPT, "-n", 24, "-t", 0, "--top-p", 1, "--top-k", 0, "--compute", "f32", "--json",
            *more)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)["text"]
    all_of = {"tiny": ask(), "one": ask("--adapter", there / "one"), "two": ask("--adapter", there / "deep" / "two")}
    assert len(set(all_of.values())) == 3
    return all_of


def serve(lmfast, model, there, *more, slots=4):
    return Server(lmfast, "-m", model, "--name", "tiny", "--compute", "f32", "--max-queue", 64, "--allow-runtime-adapters", there,
                  "--max-adapters", slots, "--max-lora-rank", 8, *more)


@pytest.fixture(scope="module")
def server(lmfast, model, there):
    s = serve(lmfast, model, there)
    yield s
    assert s.stop() == 0


@pytest.fixture(autouse=True)
def leave_no_child():
    """The server lives as long as the module; its fixture ends it."""
    yield


def load(server, name, path, **more):
    return server.ask("POST", LOAD, {"lora_name": name, "lora_path": str(path)}, **more)


def unload(server, name, **more):
    return server.ask("POST", UNLOAD, {"lora_name": name}, **more)


def say(server, name, n=24):
    ask = body(model=name, messages=messages(PROMPT), max_tokens=n)
    return server.client().chat.completions.create(**ask).choices[0].message.content


def text_of(answer):
    return answer["choices"][0]["message"]["content"]


def names(server):
    return [m.id for m in server.client().models.list()]


def test_load_and_unload(server, there, want):
    assert names(server) == ["tiny"] and say(server, "tiny") == want["tiny"]
    r, text = load(server, "mine", "one")
    assert r.status == 200 and text == b"Success: LoRA adapter 'mine' added successfully."
    assert r.getheader("Content-Type").startswith("text/plain")
    assert names(server) == ["tiny", "mine"] and server.client().models.retrieve("mine").parent == "tiny"
    assert [m["name"] for m in server.ask("GET", "/api/tags")[1]["models"]] == ["tiny", "mine"]
    assert say(server, "mine") == want["one"] and say(server, "tiny") == want["tiny"]
    assert server.metrics()["adapters"] == 1 and server.metrics()["adapter_slots"] == 4
    r, e = load(server, "mine", "deep/two")
    assert r.status == 400 and "already" in e["error"]["message"] and e["error"]["param"] == "lora_name"
    r, text = unload(server, "mine")
    assert r.status == 200 and text == b"Success: LoRA adapter 'mine' removed successfully." and names(server) == ["tiny"]
    with pytest.raises(openai.NotFoundError):
        say(server, "mine")
    assert unload(server, "mine")[0].status == 404 and unload(server, "tiny")[0].status == 404
    # the name and the slot again, with other weights: nothing of the old ones is left, in the cache neither
    assert load(server, "mine", there / "deep" / "two")[0].status == 200 and say(server, "mine") == want["two"]
    assert load(server, "linked", "link in")[0].status == 200 and say(server, "linked") == want["one"]
    assert say(server, "mine") == want["two"]
    assert unload(server, "mine")[0].status == unload(server, "linked")[0].status == 200


OUTSIDE = ("nowhere", "../outside", "../nowhere", "/etc", "/nowhere", "link out", "../allowed beside", ".", "one/..",
           "one/adapter_config.json", "x" * 5000, "a" * 300)
WRONG = [("empty", "adapter_config.json"), ("cut", "adapter_config.json"), *((path, "is no folder inside") for path in OUTSIDE),
         ("wide", "has rank 32, the slots for adapters have 8; max_rank (--max-lora-rank)"), ("other base", "belongs to another base"),
         ("deeper base", "belongs to another base"), ("not finite", "not finite"), ("not a number", "not finite"),
         ("too large", "scale of 2e+30 makes infinite"), ("dora", "DoRA")]


@pytest.mark.parametrize("i", range(len(WRONG)))
def test_wrong_folders(server, there, want, i):
    path, says = WRONG[i]
    r, e = load(server, "bad", path)
    assert r.status == 400 and says in e["error"]["message"] and e["error"]["param"] == "lora_path", e
    assert str(there) not in e["error"]["message"]
    assert names(server) == ["tiny"] and (i > 0 or say(server, "tiny") == want["tiny"])


def test_parameters(server):
    """Each member absent, and as what it is not."""
    values = [None, 1, 0, -1, 1.5, 1e308, 2**63, -2**63 - 1, True, [], {}, "", "a\0b"]
    for path, given in ((LOAD, {"lora_name": "x", "lora_path": "one"}), (UNLOAD, {"lora_name": "x"})):
        for name in given:
            for ask in ({k: v for k, v in given.items() if k != name}, *({**given, name: v} for v in values)):
                r, e = server.ask("POST", path, ask)
                assert r.status == 400 and e["error"]["param"] == name, (path, ask, e)
        for text in ("", "[]", "{", "null", "[" * 1000):
            assert server.ask("POST", path, text)[0].status == 400
        assert server.ask("GET", path)[0].status == 405
        assert server.ask("POST", path, given, {"Content-Type": "text/plain"})[0].status == 415
        assert server.ask("POST", path, given, {"Origin": "http://evil.example"})[0].status == 403
        assert server.ask("POST", path, given, {"Host": "evil.example"})[0].status == 403
    for name in ("a b", "a\n", "\x7f", "x" * 256, "tiny"):
        r, e = load(server, name, "one")
        assert r.status == 400 and e["error"]["param"] == "lora_name", (name, e)
    r, e = server.ask("POST", LOAD, {"lora_name": "x", "lora_path": "one", "load_inplace": True})
    assert r.status == 400 and e["error"]["param"] == "load_inplace"
    for name in ("x" * 255, "org/model:tag", "größer"):
        assert load(server, name, "one")[0].status == 200 and names(server) == ["tiny", name] and unload(server, name)[0].status == 200
    for i in range(4):
        assert load(server, f"n{i}", "one")[0].status == 200
    r, e = load(server, "n4", "one")
    assert r.status == 400 and "room for 4" in e["error"]["message"]
    assert all(unload(server, f"n{i}")[0].status == 200 for i in range(4)) and names(server) == ["tiny"]


def test_in_flight(lmfast, model, there, want):
    """What was asked before it was unloaded is answered by it to the end, also what still waits for its turn."""
    s = serve(lmfast, model, there, "--max-sequences", 1, slots=1)
    assert load(s, "a", "one")[0].status == 200
    ask = body(model="a", messages=messages(PROMPT), max_tokens=400, ignore_eos=True)
    whole = s.ask("POST", CHAT, ask)[1]
    used = s.metrics()["prompt_tokens_total"]
    requests = []
    for i in range(40):
        data = json.dumps({**ask, "stream": bool(i % 2)}).encode()
        requests.append(send(s, HEAD.encode() + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(data) + data))
    s.settles(prompt_tokens_total=41 * used)  # all are in: one is written, the others wait
    assert unload(s, "a")[0].status == 200 and names(s) == ["tiny"]
    r, e = load(s, "a", "deep/two")
    assert r.status == 503 and r.getheader("Retry-After") and "still writes" in e["error"]["message"]
    assert s.ask("POST", CHAT, body(model="a"))[0].status == 404
    for i, c in enumerate(requests):
        out = b"".join(iter(lambda: c.recv(1 << 20), b""))
        c.close()
        if i % 2:
            events = [json.loads(k[6:]) for k in out.decode().replace("\r\n", "\n").split("\n") if k.startswith("data: {")]
            assert b"data: [DONE]" in out and "".join(k["choices"][0]["delta"].get("content") or "" for k in events) == text_of(whole)
        else:
            assert text_of(json.loads(out.split(b"\r\n\r\n")[1])) == text_of(whole)
    s.settles(requests_active=0)
    assert load(s, "a", "deep/two")[0].status == 200 and text_of(s.ask("POST", CHAT, ask)[1]).startswith(want["two"])
    assert s.stop() == 0


def test_under_load(lmfast, model, there, want):
    """Names come and go while answers are written: each is of the weights that its name stood for, or there is no such name."""
    s = serve(lmfast, model, there, "--adapter", f"fixed={there / 'one'}", slots=3)
    assert names(s) == ["tiny", "fixed"]
    over, wrong = threading.Event(), []

    def ask(name):
        n = 0
        while not over.is_set():
            r, e = s.ask("POST", CHAT, body(model=name, messages=messages(PROMPT), max_tokens=24))
            good = {"tiny": {want["tiny"]}, "fixed": {want["one"]}, "comes": {want["one"], want["two"]}}[name]
            if r.status == 200 and e["choices"][0]["message"]["content"] in good:
                n += 1
            elif r.status != 404 or name != "comes":
                wrong.append((name, r.status, e))
        return n

    def change():
        for i in range(12):
            path, name = (("one", "one"), ("deep/two", "two"))[i % 2]
            while (r := load(s, "comes", path)[0]).status == 503:
                pass
            assert r.status == 200
            got = [say(s, "comes") for _ in range(2)]
            assert got == [want[name]] * 2, i
            assert load(s, "bad", "not finite")[0].status in (400, 503) and unload(s, "comes")[0].status == 200
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        counts = [pool.submit(ask, name) for name in ("tiny", "fixed", "comes") * 2]
        try:
            change()
        finally:
            over.set()
        n = [c.result() for c in counts]
    assert not wrong and all(n), (wrong[:3], n)
    m = s.settles(requests_active=0, slots_free=8)
    assert m["cache_tokens_free"] == m["cache_tokens"] and names(s) == ["tiny", "fixed"] and say(s, "fixed") == want["one"]
    # a client that does not wait for its answer: the load is done, or was never asked for
    for _ in range(10):
        data = json.dumps({"lora_name": "left", "lora_path": "one"}).encode()
        with socket.create_connection(("127.0.0.1", s.port)) as c:
            c.sendall(HEAD.replace(CHAT, LOAD).encode() + b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        unload(s, "left")
    assert s.stop() == 0


def test_tenants(lmfast, model, there, want, tmp_path):
    """Who may load, and which names: a key's models hold for adapters that come later, too."""
    keys = {"root": {"adapters": True, "metrics": True}, "ada": {"adapters": True, "models": ["tiny", "ada-1"]}, "bob": {}}
    path = tmp_path / "keys.json"
    entry = lambda name: {"name": name, "sha256": hashlib.sha256(f"{name}-secret".encode()).hexdigest()}
    path.write_text(json.dumps({"keys": [{**entry(n), **more} for n, more in keys.items()]}))
    s = serve(lmfast, model, there, "--api-keys", path)
    of = lambda who: {"headers": {"Authorization": f"Bearer {who}-secret"}}
    seen = lambda who: [m["id"] for m in s.ask("GET", "/v1/models", **of(who))[1]["data"]]
    assert s.ask("POST", LOAD, {"lora_name": "x", "lora_path": "one"})[0].status == 401
    for r, e in (load(s, "x", "one", **of("bob")), unload(s, "x", **of("bob")), load(s, "x", "one", **of("ada")),
                 load(s, "x", "/etc", **of("bob"))):
        assert r.status == 403 and "key may" in e["error"]["message"]
    assert load(s, "ada-1", "one", **of("ada"))[0].status == 200 and load(s, "x", "deep/two", **of("root"))[0].status == 200
    assert seen("ada") == ["tiny", "ada-1"] and seen("root") == seen("bob") == ["tiny", "ada-1", "x"]
    chat = lambda who, name: s.ask("POST", CHAT, body(model=name, messages=messages(PROMPT), max_tokens=24), **of(who))
    assert chat("ada", "x")[0].status == 404 and chat("bob", "x")[1]["choices"][0]["message"]["content"] == want["two"]
    assert chat("ada", "ada-1")[1]["choices"][0]["message"]["content"] == want["one"]
    assert unload(s, "x", **of("ada"))[0].status == 403 and unload(s, "x", **of("root"))[0].status == 200
    assert seen("bob") == ["tiny", "ada-1"]
    assert s.stop() == 0
    path.write_text(json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "adapters": "yes"}]}))
    r = lmfast("serve", "-m", model, "--port", 0, "--api-keys", path)
    assert r.returncode == 1 and "adapters, which must be true or false" in r.stderr


def test_flags(lmfast, model, there, tmp_path):
    s = Server(lmfast, "-m", model, "--name", "tiny")
    for path in (LOAD, UNLOAD):
        r, e = s.ask("POST", path, {"lora_name": "x", "lora_path": str(there / "one")})
        assert r.status == 403 and "--allow-runtime-adapters" in e["error"]["message"]
    assert s.stop() == 0
    allow = ["--allow-runtime-adapters", there]
    for args, words in ((["--max-adapters", 2], "--allow-runtime-adapters"), (["--max-lora-rank", 2], "--allow-runtime-adapters"),
                        (["--allow-runtime-adapters", tmp_path / "nowhere"], "is no folder"),
                        (["--allow-runtime-adapters", "/"], "root of all"),
                        ([*allow, "--max-adapters", 1, "--adapter", f"a={there / 'one'}"], "no room"),
                        ([*allow, "--max-lora-rank", 1025], "1024"),
                        ([*allow, "--adapter", f"a={there / 'wide'}"], "--max-lora-rank"),
                        (["--adapter", f"a={there / 'not finite'}"], "not finite")):
        r = lmfast("serve", "-m", model, "--port", 0, *args)
        assert r.returncode and words in r.stderr, (args, r)
