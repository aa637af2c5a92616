# SPDX-License-Identifier: Apache-2.0
"""lmfast attention on a tiny model: what it says, the file of maps, refusals. The numbers are tools/oracle/attention.py's matter."""
import json
import struct

import pytest

from test_generate import HEADS, LAYERS, base, model, write_gguf  # noqa: F401 -- fixtures


def look(lmfast, model, *args, **options):
    r = lmfast("attention", "-m", model, "--json", *args, **options)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def tensors(path):
    """Name -> (shape, values), and the metadata."""
    raw = path.read_bytes()
    n = struct.unpack_from("<Q", raw)[0]
    header = json.loads(raw[8:8 + n])
    meta, out = header.pop("__metadata__"), {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        kind = {"F32": "f", "F64": "d", "I32": "i"}[t["dtype"]]
        out[name] = (t["shape"], struct.unpack_from(f"<{(end - begin) // struct.calcsize(kind)}{kind}", raw, 8 + n + begin))
    return out, meta


def test_json_and_maps(lmfast, model, tmp_path):
    r = look(lmfast, model, "-p", "hello", "--maps", tmp_path / "maps.safetensors")
    words = [t["text"] for t in r["tokens"]]
    n = len(words)
    assert "".join(words) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert [(x["layer"], x["heads"]) for x in r["layers"]] == [(i, HEADS) for i in range(LAYERS)]
    assert len(r["next"]) == 10 and all(a["probability"] >= b["probability"] for a, b in zip(r["next"], r["next"][1:]))
    assert len(r["rollout"]) == n and abs(sum(r["rollout"]) - 1) < 1e-6 and 0 < r["memory_bytes"] < 1 << 20
    maps, meta = tensors(tmp_path / "maps.safetensors")
    assert meta["made_by"] == "lmfast attention" and list(maps["input_ids"][1]) == [t["id"] for t in r["tokens"]]
    for i in range(LAYERS):
        shape, v = maps[f"layers.{i}.attention"]
        assert shape == [HEADS, n, n]
        for row in range(HEADS * n):
            values, t = v[row * n:row * n + n], row % n
            assert abs(sum(values) - 1) < 1e-5 and all((x > 0) == (u <= t) for u, x in enumerate(values))


def test_the_next_token_is_what_generate_says(lmfast, model):
    r = look(lmfast, model, "--raw", "-p", "some words")
    said = json.loads(lmfast("generate", "-m", model, "--json", "--raw", "-p", "some words", "-n", 1, "-t", 0, "--compute", "f32").stdout)
    assert said["text"] == r["next"][0]["text"]


def test_one_layer_and_head(lmfast, model, tmp_path):
    look(lmfast, model, "-p", "hi", "--maps", tmp_path / "all")
    r = look(lmfast, model, "-p", "hi", "--layer", 1, "--maps", tmp_path / "layer")
    assert "rollout" not in r and len(r["attention"]) == len(r["tokens"])
    look(lmfast, model, "-p", "hi", "--layer", 1, "--head", 2, "--maps", tmp_path / "head")
    (every, _), (layer, _), (head, meta) = (tensors(tmp_path / x) for x in ("all", "layer", "head"))
    n = len(r["tokens"])
    assert layer["layers.1.attention"] == every["layers.1.attention"] and "layers.0.attention" not in layer
    assert head["layers.1.attention"] == ([1, n, n], every["layers.1.attention"][1][2 * n * n:3 * n * n]) and meta["head"] == "2"


def test_text(lmfast, model):
    r = lmfast("attention", "-m", model, "-p", "hello\x1b[31m", "--raw")
    assert r.returncode == 0 and "next token\n" in r.stdout and "looked at most (rollout)\n" in r.stdout and "\x1b" not in r.stdout
    assert "MiB planned" in r.stderr
    piped = lmfast("attention", "-m", model, "--raw", "--quiet", input="hello\x1b[31m")
    assert piped.stdout == r.stdout and piped.stderr == ""


def test_refusals(lmfast, model, base, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for args, words in [
            (("--head", 1), "--head 1 needs a --layer"),
            (("--layer", LAYERS), f"layer {LAYERS} does not attend, or is not there; llama has layers 0 to {LAYERS - 1}"),
            (("--layer", 0, "--head", HEADS), f"layer 0 has heads 0 to {HEADS - 1}"),
            (("--maps", taken), "is a file that is there already"),
            (("--maps", tmp_path / "no" / "maps"), "--maps"),
            (("--raw", "--system", "x"), "--system needs a chat template")]:
        r = lmfast("attention", "-m", model, "-p", "hello", *args)
        assert r.returncode == 1 and words in r.stderr and r.stdout == "", (args, r.stderr)
    assert taken.read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["taken"]
    r = lmfast("attention", "-m", model, "--raw", input="x" * 600)
    assert r.returncode == 1 and "600 tokens to look into; 1 to 512 are possible" in r.stderr
    r = lmfast("attention", "-m", base, "-p", "hello")
    assert r.returncode == 1 and "no chat template" in r.stderr


def test_memory(lmfast, tmp_path):
    long = write_gguf(tmp_path / "long.gguf", context=1 << 16)
    r = lmfast("attention", "-m", long, "--raw", input="x" * 20000)
    assert r.returncode == 1 and "more than the 1024 MiB that are allowed; give a shorter text, or ask for one layer" in r.stderr, r.stderr
