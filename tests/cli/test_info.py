# SPDX-License-Identifier: Apache-2.0
import json
import os
import pathlib

import pytest

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
