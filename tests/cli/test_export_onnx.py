# SPDX-License-Identifier: Apache-2.0
"""export --format onnx: the folder, the file's bytes by a walk of our own over protocol buffers, and what is refused. What onnxruntime and
Transformers.js make of it is tools/oracle/onnx.py."""
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

TYPES = {1: "f", 10: "e"}


def fields(data):
    """(number, value) of a message: bytes, or a number."""
    at = 0

    def varint():
        nonlocal at
        x = shift = 0
        while True:
            c = data[at]
            at, x, shift = at + 1, x | (c & 127) << shift, shift + 7
            if c < 128:
                return x
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 2:
            n = varint()
            yield key >> 3, data[at:at + n]
            at += n
        else:
            n = {1: 8, 5: 4}[key & 7]
            yield key >> 3, int.from_bytes(data[at:at + n], "little")
            at += n
    assert at == len(data)


def parse(path):
    """Operators, {tensor: (type, dims, bytes)}, names of inputs and outputs, and (IR, opsets)."""
    nodes, tensors, inputs, outputs, opsets, ir = [], {}, [], [], {}, None
    for number, value in fields(path.read_bytes()):
        if number == 1:
            ir = value
        elif number == 8:
            f = dict(fields(value))
            opsets[f.get(1, b"").decode()] = f[2]
        elif number == 7:
            for n, v in fields(value):
                if n == 1:
                    f = list(fields(v))
                    nodes.append((next(x.decode() for k, x in f if k == 4), *([x.decode() for k, x in f if k == i] for i in (1, 2))))
                elif n == 5:
                    f = list(fields(v))
                    d = dict(f)
                    data = d.get(9)
                    if d.get(14) == 1:
                        where = {p[1].decode(): p[2].decode() for p in (dict(fields(x)) for k, x in f if k == 13)}
                        whole = (path.parent / where["location"]).read_bytes()
                        data = whole[int(where["offset"]):int(where["offset"]) + int(where["length"])]
                    tensors[d[8].decode()] = (d[2], [x for k, x in f if k == 1], data)
                elif n in (11, 12):
                    (inputs if n == 11 else outputs).append(dict(fields(v))[1].decode())
    return nodes, tensors, inputs, outputs, (ir, opsets)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model"
    subprocess.run([sys.executable, ROOT / "tools" / "golden" / "formula.py", path, "--tied", "--bias"], check=True)
    return path


def export(lmfast, model, out, *more):
    r = lmfast("export", "-m", model, "-o", out, "-f", "onnx", "--json", "--quiet", *more)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_layout_and_bytes(lmfast, model, tmp_path):
    report = export(lmfast, model, tmp_path / "f32", "--quant", "f32")
    assert report["verify"] == {"passed": True, "texts": 14, "max_tensor_error": 0.0, "operators": report["verify"]["operators"],
                                "logits_compared": False}
    assert {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "lmfast_export.json",
            "onnx"} <= set(os.listdir(tmp_path / "f32"))
    assert os.listdir(tmp_path / "f32" / "onnx") == ["model.onnx"]
    receipt = json.loads((tmp_path / "f32" / "lmfast_export.json").read_text())
    size = (tmp_path / "f32" / "onnx" / "model.onnx").stat().st_size
    assert receipt["format"] == "onnx" and receipt["files"]["onnx/model.onnx"]["bytes"] == size
    nodes, tensors, inputs, outputs, (ir, opsets) = parse(tmp_path / "f32" / "onnx" / "model.onnx")
    cache = [f"{{}}.{i}.{kind}" for i in range(2) for kind in ("key", "value")]
    assert inputs == ["input_ids", "attention_mask", "position_ids"] + [c.format("past_key_values") for c in cache]
    assert outputs == ["logits"] + [c.format("present") for c in cache] and (ir, opsets) == (10, {"": 21})
    made = set(inputs) | set(tensors)
    for _, used, result in nodes:
        assert set(used) <= made and not set(result) & made
        made |= set(result)
    assert set(outputs) <= made
    # values, from the formula that the model was made by: turned, as it lies, a bias
    for name, (number, shape, kind) in {"layers.1.mlp.down": (40, (formula.D, formula.F), "matrix"),
                                        "embed": (0, (formula.V, formula.D), "embed"),
                                        "layers.0.attn.q_bias": (25, (formula.H * formula.C,), "bias")}.items():
        want = list(formula.tensor(1, number, shape, kind))
        type_, dims, data = tensors[name]
        if kind == "matrix":
            want = [want[i * shape[1] + j] for j in range(shape[1]) for i in range(shape[0])]
            shape = shape[::-1]
        assert type_ == 1 and dims == list(shape) and data == struct.pack(f"<{len(want)}f", *want)
    assert "head" not in tensors  # tied


@pytest.mark.parametrize("operators", ["standard", "microsoft"])
@pytest.mark.parametrize("quant, file, type_", [("f16", "model_fp16.onnx", 10), ("q4_0", "model_q4.onnx", 1),
                                                ("q4f16", "model_q4f16.onnx", 10)])
def test_precisions(lmfast, model, tmp_path, quant, file, type_, operators):
    export(lmfast, model, tmp_path / "out", "--quant", quant, "--onnx-operators", operators, "--external-data")
    path = tmp_path / "out" / "onnx" / file
    assert sorted(os.listdir(path.parent)) == [file, file + "_data"]
    assert path.stat().st_size < (path.parent / (file + "_data")).stat().st_size
    nodes, tensors, _, _, (_, opsets) = parse(path)
    used = {op for op, _, _ in nodes}
    ours = json.loads((tmp_path / "out" / "config.json").read_text())["transformers.js_config"]
    half = type_ == 10
    cache = {"kv_cache_dtype": {"q4f16" if quant == "q4f16" else "fp16": "float16"}} if half else {}
    assert ours == {**cache, "use_external_data_format": {file: 1}}
    assert ("GroupQueryAttention" in used) == (operators == "microsoft") == ("com.microsoft" in opsets) == ("Softmax" not in used)
    if quant == "f16":
        assert tensors["layers.0.attn.q"][0] == 10 and tensors["norm"][0] == 1
        return
    # 4 bits are those of a GGUF file of q4_0
    r = lmfast("export", "-m", model, "-o", tmp_path / "f.gguf", "--quant", "q4_0", "--quiet")
    assert r.returncode == 0, r.stderr
    raw = (tmp_path / "f.gguf").read_bytes()
    block = raw_block(raw, "blk.0.attn_v.weight")
    d_scale, codes = struct.unpack("<e", block[:2])[0], block[2:]
    want = [c & 15 for c in codes] + [c >> 4 for c in codes]
    if operators == "microsoft":
        kind, dims, data = tensors["layers.0.attn.v"]
        got = [x for c in data[:16] for x in (c & 15, c >> 4)]
        scale = struct.unpack_from("<" + TYPES[type_], tensors["layers.0.attn.v.scale"][2])[0]
        assert kind == 2 and dims == [formula.K * formula.C, formula.D // 32, 16] and "MatMulNBits" in used
    else:
        kind, dims, data = tensors["layers.0.attn.v.turned"]
        n = formula.K * formula.C
        got = [((data[j * n // 2] & 15) ^ 8) for j in range(32)]
        scale = struct.unpack_from("<" + TYPES[type_], tensors["layers.0.attn.v.turned.scale"][2])[0]
        assert kind == 22 and dims == [formula.D, n] and "DequantizeLinear" in used
    assert got == want and scale == d_scale


def raw_block(raw, name):
    """The first block of 18 bytes of a q4_0 tensor in a GGUF file."""
    n_tensors = struct.unpack_from("<Q", raw, 8)[0]
    first = raw.index(struct.pack("<Q", len("token_embd.weight")) + b"token_embd.weight")
    at, offsets = first, {}
    for _ in range(n_tensors):
        n = struct.unpack_from("<Q", raw, at)[0]
        key = raw[at + 8:at + 8 + n].decode()
        dims = struct.unpack_from("<I", raw, at + 8 + n)[0]
        at += 8 + n + 4 + 8 * dims
        offsets[key], at = struct.unpack_from("<Q", raw, at + 4)[0], at + 12
    start = (at + 31) // 32 * 32 + offsets[name]
    return raw[start:start + 18]


def test_copy_is_what_the_file_has(lmfast, model, tmp_path):
    assert lmfast("export", "-m", model, "-o", tmp_path / "q.gguf", "--quant", "q4_0", "--quiet").returncode == 0
    report = export(lmfast, tmp_path / "q.gguf", tmp_path / "copy")
    assert os.listdir(tmp_path / "copy" / "onnx") == ["model_q4.onnx"] and report["verify"]["max_tensor_error"] == 0.0
    assert lmfast("export", "-m", model, "-o", tmp_path / "q8.gguf", "--quant", "q8_0", "--quiet").returncode == 0
    r = lmfast("export", "-m", tmp_path / "q8.gguf", "-o", tmp_path / "no", "-f", "onnx", "--quiet")
    assert r.returncode == 1 and "not q8_0 as the model is stored: give --quant f32" in r.stderr and not (tmp_path / "no").exists()


def test_what_is_refused(lmfast, model, tmp_path):
    out = tmp_path / "out"
    for args, why in ((["-f", "onnx", "--quant", "q8_0"], "an ONNX file holds f32, f16 or q4_0, not q8_0"),
                      (["-f", "onnx", "--quant", "bf16"], "not bf16"),
                      (["-f", "hf", "--quant", "q4f16"], "q4f16"), (["-f", "gguf", "--quant", "q4f16"], "q4f16"),
                      (["-f", "hf", "--quant", "f32", "--onnx-operators", "microsoft"], "of ONNX alone"),
                      (["-f", "gguf", "--quant", "f32", "--external-data"], "of ONNX alone")):
        r = lmfast("export", "-m", model, "-o", out, "--quiet", *args)
        assert r.returncode == 1 and why in r.stderr and not out.exists() and os.listdir(tmp_path) == [], (args, r.stderr)
    r = lmfast("export", "-m", model, "-o", out, "-f", "onnx", "--quant", "q3")
    assert r.returncode == 2 and "q4f16" in r.stderr
    r = lmfast("export", "-m", model, "-o", tmp_path / "none" / "out", "-f", "onnx", "--quiet", "--quant", "f32")
    assert r.returncode == 1 and str(tmp_path / "none") in r.stderr


def test_what_is_there_is_left_alone(lmfast, model, tmp_path):
    out = tmp_path / "out"
    export(lmfast, model, out, "--quant", "f32")
    r = lmfast("export", "-m", model, "-o", out, "-f", "onnx", "--quant", "f16", "--quiet")
    assert r.returncode == 1 and "--overwrite replaces it" in r.stderr and os.listdir(out / "onnx") == ["model.onnx"]
    export(lmfast, model, out, "--quant", "f16", "--overwrite")
    assert os.listdir(out / "onnx") == ["model_fp16.onnx"] and os.listdir(tmp_path) == ["out"]
    (out / "onnx" / "thesis.txt").write_text("ten years of work")
    r = lmfast("export", "-m", model, "-o", out, "-f", "onnx", "--quant", "f32", "--quiet", "--overwrite")
    assert r.returncode == 1 and "thesis.txt" in r.stderr and (out / "onnx" / "thesis.txt").read_text() == "ten years of work"
    shutil.rmtree(out / "onnx")
    (out / "onnx").mkdir()  # a folder that the receipt does not say is empty
    r = lmfast("export", "-m", model, "-o", out, "-f", "onnx", "--quant", "f32", "--quiet", "--overwrite")
    assert r.returncode == 1 and "onnx" in r.stderr and (out / "onnx").is_dir() and os.listdir(tmp_path) == ["out"]


def test_a_full_disk(lmfast, model, tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
    for more in ([], ["--external-data"]):
        r = lmfast("export", "-m", model, "-o", tmp_path / "out", "-f", "onnx", "--quant", "f32", "--quiet", *more, preexec_fn=limit)
        assert r.returncode == 1 and "can't write" in r.stderr and os.listdir(tmp_path) == [], r.stderr
