# SPDX-License-Identifier: Apache-2.0
"""Tiny models whose weights are a formula, so that goldens hold outputs only; the same formula stands in C in tests/harness/formula.c.

    python tools/golden/formula.py FOLDER [--seed 1] [--layers 2] [--tied] [--bias]

writes a Hugging Face folder. Needs nothing but the standard library. Element k of the tensor with number i (numbers()) is
size * (2 u - 1), u = random(seed, i, 0xf0, k), in f32: size 0.5 for the embedding, sqrt(3 / fan_in) for matrices, 0.1 for
biases; norms are 1 + 0.2 * (2 u - 1)."""
import argparse
import array
import json
import math
import pathlib
import struct

D, H, K, C, F, V, CONTEXT, THETA, EPS = 64, 4, 2, 16, 96, 264, 512, 10000.0, 1e-5
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]      # ids 259, 260, 261
MERGES = [("h", "e"), ("i", "n"), ("\u0120", "t")]             # ids 256, 257, 258; U+0120 stands for the space
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
M32 = 0xFFFFFFFF


def philox(key, lo, hi):
    """Four words of Philox4x32-10."""
    k0, k1 = key & M32, key >> 32 & M32
    c = [lo & M32, lo >> 32 & M32, hi & M32, hi >> 32 & M32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k0, p1 & M32, p0 >> 32 ^ c[3] ^ k1, p0 & M32]
        k0, k1 = k0 + 0x9E3779B9 & M32, k1 + 0xBB67AE85 & M32
    return c


def words(seed, step, stream, n, first=0):
    """n 32-bit words from index first on."""
    out = []
    for block in range(first >> 2, (first + n + 3) >> 2):
        out += philox(seed, block, step << 32 | stream)
    return out[first & 3:(first & 3) + n]


def signed(seed, step, stream, n):
    """2 u - 1 for n draws: exact in f32."""
    return [(w >> 8) * 2.0 ** -23 - 1 for w in words(seed, step, stream, n)]


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def shapes(layers=2, tied=False, bias=False):
    """Hugging Face name -> (number, shape, kind)."""
    t = {"model.embed_tokens.weight": (0, (V, D), "embed"), "model.norm.weight": (1, (D,), "norm")}
    if not tied:
        t["lm_head.weight"] = (2, (V, D), "matrix")
    for l in range(layers):
        p, i = f"model.layers.{l}.", 16 * (l + 1)
        t[p + "input_layernorm.weight"] = (i, (D,), "norm")
        t[p + "self_attn.q_proj.weight"] = (i + 1, (H * C, D), "matrix")
        t[p + "self_attn.k_proj.weight"] = (i + 2, (K * C, D), "matrix")
        t[p + "self_attn.v_proj.weight"] = (i + 3, (K * C, D), "matrix")
        t[p + "self_attn.o_proj.weight"] = (i + 4, (D, H * C), "matrix")
        t[p + "post_attention_layernorm.weight"] = (i + 5, (D,), "norm")
        t[p + "mlp.gate_proj.weight"] = (i + 6, (F, D), "matrix")
        t[p + "mlp.up_proj.weight"] = (i + 7, (F, D), "matrix")
        t[p + "mlp.down_proj.weight"] = (i + 8, (D, F), "matrix")
        if bias:
            for j, (name, n) in enumerate((("q", H * C), ("k", K * C), ("v", K * C))):
                t[p + f"self_attn.{name}_proj.bias"] = (i + 9 + j, (n,), "bias")
    return t


def tensor(seed, number, shape, kind):
    """f32 values, row by row."""
    n = math.prod(shape)
    x = signed(seed, number, 0xF0, n)
    if kind == "norm":
        return array.array("f", (1 + f32(f32(0.2) * v) for v in x))
    size = {"embed": 0.5, "bias": f32(0.1), "matrix": f32(math.sqrt(3 / shape[-1]))}[kind]
    return array.array("f", (size * v for v in x))


def weights(seed=1, **options):
    return {name: (shape, tensor(seed, number, shape, kind)) for name, (number, shape, kind) in shapes(**options).items()}


def adapter(r, seed=1, layers=2):
    """LoRA pairs for all seven projections, B not zero: name of the module -> (A [r, n_in], B [n_out, r])."""
    out = {}
    for name, (number, shape, kind) in shapes(layers, True).items():
        if kind == "matrix":
            out[name.removesuffix(".weight")] = (tensor(seed, number + 1000, (r, shape[1]), "matrix"), tensor(seed, number + 2000, (shape[0], r), "bias"))
    return out


def save_safetensors(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (shape, x) in tensors.items():
        raw = x.tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def byte_letters():
    """The letter that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, n = {}, 0
    for b in range(256):
        letters[b] = chr(b) if b in plain else chr(256 + n)
        n += b not in plain
    return [letters[b] for b in range(256)]


def tokenizer():
    vocab = {c: i for i, c in enumerate(byte_letters() + [a + b for a, b in MERGES])}
    added = [{"id": 259 + i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, s in enumerate(SPECIAL)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": level,
            "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [list(m) for m in MERGES]}}


def config(layers=2, tied=False, bias=False):
    c = {"architectures": ["Qwen2ForCausalLM" if bias else "LlamaForCausalLM"], "model_type": "qwen2" if bias else "llama", "hidden_act": "silu",
         "hidden_size": D, "intermediate_size": F, "num_hidden_layers": layers, "num_attention_heads": H, "num_key_value_heads": K, "vocab_size": V,
         "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS, "rope_theta": THETA, "rope_scaling": None, "tie_word_embeddings": tied,
         "attention_dropout": 0.0, "bos_token_id": 259, "eos_token_id": 261, "pad_token_id": 259, "torch_dtype": "float32", "use_cache": True}
    return c if bias else {**c, "head_dim": C, "attention_bias": False, "mlp_bias": False}


def save(folder, seed=1, **options):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_safetensors(folder / "model.safetensors", weights(seed, **options))
    (folder / "config.json").write_text(json.dumps(config(**options), indent=1))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[0], "eos_token": SPECIAL[2],
                                                              "pad_token": SPECIAL[0], "add_bos_token": False, "model_max_length": CONTEXT,
                                                              "chat_template": TEMPLATE}))
    return folder


def save_adapter(folder, r, alpha, seed=1, layers=2, dora=False):
    """The formula's adapter as a PEFT folder; dora: with magnitudes between 0.75 and 1.25."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for module, (a, b) in adapter(r, seed, layers).items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = ((r, len(a) // r), a)
        tensors[f"base_model.model.{module}.lora_B.weight"] = ((len(b) // r, r), b)
        if dora:
            tensors[f"base_model.model.{module}.lora_magnitude_vector"] = (
                (len(b) // r,), array.array("f", (1 + i % 11 / 20 - 0.25 for i in range(len(b) // r))))
    save_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "", "r": r, "lora_alpha": alpha, "lora_dropout": 0.0, "bias": "none",
        "use_dora": dora, "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": sorted({m.rsplit(".", 1)[1] for m in adapter(r, seed, layers)})}))
    return folder


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--tied", action="store_true")
    p.add_argument("--bias", action="store_true")
    a = p.parse_args()
    save(a.folder, a.seed, layers=a.layers, tied=a.tied, bias=a.bias)
