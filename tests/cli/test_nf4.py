# SPDX-License-Identifier: Apache-2.0
"""Bases in NF4: folders as bitsandbytes leaves them, --load-in-4bit, and what is refused."""
import hashlib
import json
import pathlib
import random
import shutil
import struct
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"
LEVELS = [float.fromhex(x) for x in (
    "-1 -0x1.647362p-1 -0x1.0cd66p-1 -0x1.94654p-2 -0x1.23449ap-2 -0x1.7a6a7ep-3 -0x1.74f0e2p-4 0 "
    "0x1.45f5fep-4 0x1.4995c6p-3 0x1.f809bap-3 0x1.5a0674p-2 0x1.c3497p-2 0x1.200f56p-1 0x1.722766p-1 1").split()]
CONFIG = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4",
          "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "bfloat16"}


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def read(path):
    raw = path.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    header.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in header.items()}


def write(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t[2] for t in tensors.values()))


def packed(rows, width, rng, double):
    """Random codes and scales as bitsandbytes lays them out, and the values they stand for."""
    n = rows * width
    blocks = -(-n // 64)
    codes = [rng.randrange(16) for _ in range(n)]
    bits = bytes(codes[i] << 4 | (codes[i + 1] if i + 1 < n else 0) for i in range(0, n, 2))
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [rows, width]}
    if double:
        code8, table = [rng.randrange(256) for _ in range(blocks)], sorted(f32(rng.uniform(-1, 1)) for _ in range(256))
        nested, offset = [f32(rng.uniform(0.001, 0.01)) for _ in range(-(-blocks // 256))], f32(0.05)
        scale = [f32(f32(table[c] * nested[i // 256]) + offset) for i, c in enumerate(code8)]
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": offset}
        more = {"absmax": ("U8", [blocks], bytes(code8)), "nested_absmax": ("F32", [len(nested)], struct.pack(f"<{len(nested)}f", *nested)),
                "nested_quant_map": ("F32", [256], struct.pack("<256f", *table))}
    else:
        scale = [f32(rng.uniform(0.01, 0.1)) for _ in range(blocks)]
        more = {"absmax": ("F32", [blocks], struct.pack(f"<{blocks}f", *scale))}
    text = json.dumps(state).encode()
    more |= {"quant_map": ("F32", [16], struct.pack("<16f", *LEVELS)), "quant_state.bitsandbytes__nf4": ("U8", [len(text)], text)}
    return bits, more, [f32(scale[i // 64] * LEVELS[c]) for i, c in enumerate(codes)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of bitsandbytes', and its values as f32."""
    base = tmp_path_factory.mktemp("nf4")
    formula.save(base / "plain")
    shutil.copytree(base / "plain", base / "bnb")
    rng, plain, bnb = random.Random(3), {}, {}
    for name, (dtype, shape, data) in read(base / "plain" / "model.safetensors").items():
        if "proj" not in name:
            plain[name] = bnb[name] = (dtype, shape, data)
            continue
        bits, more, values = packed(*shape, rng, "up_proj" not in name)
        plain[name] = ("F32", shape, struct.pack(f"<{len(values)}f", *values))
        bnb[name] = ("U8", [len(bits), 1], bits)
        bnb |= {f"{name}.{k}": v for k, v in more.items()}
    write(base / "plain" / "model.safetensors", plain)
    write(base / "bnb" / "model.safetensors", bnb)
    config = json.loads((base / "bnb" / "config.json").read_text())
    (base / "bnb" / "config.json").write_text(json.dumps(config | {"quantization_config": CONFIG}))
    (base / "text.txt").write_text("the lamp on the table is a lamp, and the table is a table. " * 20)
    return base


def loss(lmfast, base, name, *more):
    r = lmfast("eval", "--model", str(base / name), "--text", str(base / "text.txt"), "--context", "64", "--compute", "f32", "--json",
        *more)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)["perplexity"]


def test_folder_is_what_it_stands_for(lmfast, folders):
    assert loss(lmfast, folders, "bnb") == pytest.approx(loss(lmfast, folders, "plain"), rel=1e-6)
    info = json.loads(lmfast("info", str(folders / "bnb"), "--json").stdout)
    assert "nf4" in json.dumps(info)


def train(model, out, *more):
    return ["train", "--model", str(model), "--data", str(ROWS), "--output", str(out), "--max-steps", "6", "--batch-size", "3", "--lr",
        "1e-2",
            "--lora-r", "4", "--save-steps", "2", "--compute", "f32", *more]


def digest(out):
    return hashlib.sha256((out / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_trained_on_as_it_is(lmfast, folders, tmp_path):
    assert lmfast(*train(folders / "bnb", tmp_path / "a")).returncode == 0
    assert lmfast(*train(folders / "bnb", tmp_path / "b", "--threads", "1")).returncode == 0
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    r = lmfast("export", "--model", str(folders / "bnb"), "--adapter", str(tmp_path / "a"), "--output", str(tmp_path / "m"), "--format",
        "hf",
               "--quant", "f32")
    assert r.returncode == 0, r.stderr
    assert loss(lmfast, tmp_path, "m", "--text", str(folders / "text.txt")) == pytest.approx(
        loss(lmfast, folders, "bnb", "--adapter", str(tmp_path / "a")), rel=1e-5)


def test_made_here(lmfast, folders, tmp_path):
    plain = tmp_path / "model"
    formula.save(plain)
    r = lmfast(*train(plain, tmp_path / "q", "--load-in-4bit", "true"))
    assert r.returncode == 0 and "the base is kept in NF4" in r.stderr, r.stderr
    assert lmfast(*train(plain, tmp_path / "p")).returncode == 0
    assert digest(tmp_path / "q") != digest(tmp_path / "p")
    r = lmfast(*train(plain, tmp_path / "q", "--resume", "last", "--max-steps", "9"))
    assert r.returncode == 1 and "load-in-4bit true instead of false" in r.stderr, r.stderr
    assert "load_in_4bit: true" in (tmp_path / "q" / "lmfast_config.yaml").read_text().replace('"', "")
    a, b = (json.loads(lmfast("plan", "--model", str(plain), "--data", str(ROWS), "--json", *more).stdout) for more in ([],
        ["--load-in-4bit"]))
    assert a["memory_bytes"] > 0 and b["mapped_bytes"] < a["mapped_bytes"]
    assert loss(lmfast, tmp_path, "model", "--text", str(folders / "text.txt")) != loss(lmfast, tmp_path, "model", "--text",
                                                                                       str(folders / "text.txt"), "--load-in-4bit")
    r = lmfast("export", "--model", str(plain), "--load-in-4bit", "--output", str(tmp_path / "x.gguf"), "--format", "gguf")
    assert r.returncode == 1 and "GGUF has no type nf4" in r.stderr


def test_refused(lmfast, folders, tmp_path):
    r = lmfast(*train(folders / "plain", tmp_path / "o", "--load-in-4bit", "true", "--method", "full"))
    assert r.returncode == 1 and "what is trained can't be in 4 bits" in r.stderr
    r = lmfast(*train(folders / "plain", tmp_path / "o", "--load-in-4bit", "yes"))
    assert r.returncode == 2 or r.returncode == 1
    assert '--load-in-4bit is "yes", but must be one of auto|true|false' in r.stderr and not (tmp_path / "o").exists()


STATE = "model.layers.0.self_attn.q_proj.weight.quant_state.bitsandbytes__nf4"
WEIGHT = STATE.removesuffix(".quant_state.bitsandbytes__nf4")


@pytest.mark.parametrize("change, words", [
    ({"quant_type": "fp4"}, "is packed as fp4 in blocks of 64; nf4 in blocks of 64 is read"),
    ({"blocksize": 128}, "is packed as nf4 in blocks of 128"),
    ({"blocksize": "64"}, "blocksize"),
    ({"shape": [64, 65]}, "gives a shape that its bytes don't have"),
    ({"shape": [-64, -64]}, "gives a shape that its bytes don't have"),
    ({"shape": [4294967296, 4294967296]}, "gives a shape that its bytes don't have"),
    ({"shape": [4096]}, "gives a shape that its bytes don't have"),
    ({"shape": [32, 128]}, "this configuration wants"),
    ({"nested_blocksize": 0}, "no possible nested_blocksize or nested_offset"),
    ({"nested_blocksize": 1}, "nested_absmax or nested_quant_map is missing"),
    ({"nested_offset": 1e60}, "holds values that are not finite"),
    ("absmax", "its absmax is missing"), ("quant_map", "its quant_map is missing"), ("nested_quant_map", "nested_quant_map is missing"),
    ("nested_absmax", "nested_absmax or nested_quant_map is missing"), ("", "is not there itself"),
    ("levels", "has other levels than nf4"), ("text", "quant_state"),
])
def test_bad_folders(lmfast, folders, tmp_path, change, words):
    shutil.copytree(folders / "bnb", tmp_path / "m")
    tensors = read(tmp_path / "m" / "model.safetensors")
    if isinstance(change, dict):
        text = json.dumps(json.loads(tensors[STATE][2]) | change).encode()
        tensors[STATE] = ("U8", [len(text)], text)
    elif change == "levels":
        tensors[f"{WEIGHT}.quant_map"] = ("F32", [16], struct.pack("<16f", *reversed(LEVELS)))
    elif change == "text":
        tensors[STATE] = ("U8", [3], b"{ ]")
    else:
        del tensors[f"{WEIGHT}.{change}" if change else WEIGHT]
    write(tmp_path / "m" / "model.safetensors", tensors)
    r = lmfast("eval", "--model", str(tmp_path / "m"), "--text", str(folders / "text.txt"))
    assert r.returncode == 1 and words in r.stderr, r.stderr


@pytest.mark.parametrize("config, words", [
    ({"load_in_4bit": False, "load_in_8bit": True}, "are packed by bitsandbytes"), ({"bnb_4bit_quant_type": "fp4"},
        "4 bits of the type fp4"),
    ({"quant_method": "gptq"}, "are packed by gptq"),
])
def test_other_packings(lmfast, folders, tmp_path, config, words):
    shutil.copytree(folders / "bnb", tmp_path / "m")
    c = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps(c | {"quantization_config": CONFIG | config}))
    r = lmfast("eval", "--model", str(tmp_path / "m"), "--text", str(folders / "text.txt"))
    assert r.returncode == 1 and words in r.stderr, r.stderr
