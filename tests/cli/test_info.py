# SPDX-License-Identifier: Apache-2.0
import json
import os
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "golden"))
import formula  # noqa: E402

MODEL = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.skipif(not MODEL.exists(), reason="no model in the cache")
def test_model(lmfast):
    r = lmfast("info", MODEL, "--json")
    assert r.returncode == 0, r.stderr
    m = json.loads(r.stdout)
    assert (m["architecture"], m["parameters"], m["n_layers"], m["width"], m["n_heads"], m["n_kv_heads"], m["context"], m["vocab"]) == ("llama", 134515008, 30, 576, 9, 3, 8192, 49152)
    assert {t["type"]: t["tensors"] for t in m["types"]} == {"f32": 61, "q4_1": 210, "q8_0": 1}
    assert sum(t["parameters"] for t in m["types"]) == m["parameters"] and m["file_bytes"] == MODEL.stat().st_size and m["chat_template"] is True
    assert m["tokenizer"]["special"]["eos"] == {"id": 2, "text": "<|im_end|>"} and m["tokenizer"]["pre_tokenizer"] == "smollm" and not m["tokenizer"]["add_bos"]
    assert m["memory"]["bytes_per_token"] == 2 * 192 * 30 * 4
    text = lmfast("info", MODEL).stdout
    assert "134.5 million" in text and "<|im_end|>" in text


def test_refusals(lmfast, tmp_path):
    r = lmfast("info", tmp_path / "nothing.gguf", "--json")
    assert r.returncode == 1 and "nothing.gguf" in json.loads(r.stdout)["error"]["message"]
    r = lmfast("info", tmp_path)
    assert r.returncode == 1 and "config.json" in r.stderr
    (tmp_path / "x.gguf").write_bytes(b"GGUF\3\0\0\0")
    r = lmfast("info", tmp_path / "x.gguf")
    assert r.returncode == 1 and "x.gguf" in r.stderr
    assert lmfast("info").returncode == 2


def test_adapter(lmfast, tmp_path):
    import struct
    names = {f"base_model.model.model.layers.0.mlp.up_proj.lora_{x}.weight": s for x, s in (("A", [2, 3]), ("B", [5, 2]))}
    header, at = {}, 0
    for name, shape in names.items():
        n = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    (tmp_path / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 8, "target_modules": ["up_proj"], "base_model_name_or_path": "some/base"}))
    r = lmfast("info", tmp_path, "--json")
    assert r.returncode == 0, r.stderr
    a = json.loads(r.stdout)
    assert (a["kind"], a["r"], a["alpha"], a["target_modules"], a["base_model"], a["parameters"], a["layers"]) == ("adapter", 2, 8.0, ["up_proj"], "some/base", 16, 1)
    assert "some/base" in lmfast("info", tmp_path).stdout


def write_gguf(path, pairs, tensors):
    """pairs: key to int, float or str; tensors: name to shape, innermost first, filled with ones in f32."""
    import struct

    def text(s):
        return struct.pack("<Q", len(s.encode())) + s.encode()

    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for key, v in pairs.items():
        out += text(key)
        if isinstance(v, list):
            out += struct.pack("<IIQ", 9, 8, len(v)) + b"".join(map(text, v))
        else:
            out += struct.pack("<I", 8) + text(v) if isinstance(v, str) else struct.pack("<If", 6, v) if isinstance(v, float) else struct.pack("<II", 4, v)
    at, data = 0, []
    for name, shape in tensors.items():
        n = 1
        for d in shape:
            n *= d
        out += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in shape) + struct.pack("<IQ", 0, at)
        data.append(struct.pack("<f", 1.0) * n + b"\0" * (-4 * n % 32))
        at += len(data[-1])
    path.write_bytes(out + b"\0" * (-len(out) % 32) + b"".join(data))
    return path


def tiny(path, layers, **more):
    pairs = {"general.architecture": "llama", "llama.block_count": layers, "llama.embedding_length": 8, "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.context_length": 64, "llama.attention.head_count": 2,
             "llama.feed_forward_length": 8, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
             "tokenizer.ggml.tokens": [chr(b) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174 else chr(256 + i) for b, i in
                                       zip(range(256), [sum(not (33 <= x <= 126 or 161 <= x <= 172 or x >= 174) for x in range(b)) for b in range(256)])]}
    tensors = {"token_embd.weight": [8, 256], "output_norm.weight": [8]}
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = [8]
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            tensors[f"blk.{layer}.{name}.weight"] = [8, 8]
    pairs.update(more.get("pairs", {}))
    tensors.update(more.get("tensors", {}))
    return write_gguf(path, pairs, tensors)


def test_what_it_cannot_run(lmfast, tmp_path):
    """Other architectures, and models with a part that would be skipped: all that is in the file, and why it does not run."""
    for more, why in (({"tensors": {"blk.0.attn_q_norm.weight": [4]}}, "blk.0.attn_q_norm.weight"), ({"pairs": {"llama.expert_count": 8}}, "llama.expert_count is 8"),
                      ({"pairs": {"llama.block_count": 1}}, "of layer 1"), ({"pairs": {"general.architecture": "mamba"}}, '"mamba" is not supported')):
        path = tiny(tmp_path / "x.gguf", 2, **more)
        r = lmfast("info", path, "--json")
        assert r.returncode == 0, r.stderr
        m = json.loads(r.stdout)
        assert m["runs"] is False and why in m["why"] and m["metadata"]["llama.embedding_length"] == 8 and m["types"][0]["type"] == "F32", m
        assert m["types"][0]["tensors"] == 20 + len(more.get("tensors", {})) and m["types"][0]["parameters"] == 256 * 8 + 8 + 2 * (16 + 7 * 64) + 4 * len(more.get("tensors", {}))
        text = lmfast("info", path).stdout
        assert "can't be run" in text and why.replace("\\", "") in text and "llama.embedding_length = 8" in text
        for command in (("export", "-m", path, "-o", tmp_path / "out.gguf"), ("generate", "-m", path, "--raw", "-p", "a")):
            r = lmfast(*command)
            assert r.returncode == 1 and why in r.stderr and not (tmp_path / "out.gguf").exists()


def test_linear_in_tensors(lmfast, tmp_path):
    """1,024 layers in the time of a command, not in seconds."""
    import time
    path = tiny(tmp_path / "deep.gguf", 1024)
    start = time.monotonic()
    r = lmfast("info", path, "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["types"][0]["tensors"] == 2 + 9 * 1024, r.stderr
    assert time.monotonic() - start < 5


def test_a_template_that_cannot_be_parsed(lmfast, tmp_path):
    """Is shown as what it is: neither there nor absent."""
    made = formula.save(tmp_path / "m")
    config = json.loads((made / "tokenizer_config.json").read_text())
    (made / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": "{% if %}"}))
    assert re.search(r"^chat template .*line 1: expected an expression", lmfast("info", made).stdout, re.M)
    other = tmp_path / "other.jinja"
    other.write_text(formula.TEMPLATE)
    said = lambda *more: lmfast("generate", "-m", made, "-p", "x", "-n", 1, *more)
    assert "template can't be used" in said().stderr and said("--chat-template", other).returncode == 0  # another one is used all the same
    assert "expected an expression" in json.loads(lmfast("info", made, "--json").stdout)["chat_template_error"]
