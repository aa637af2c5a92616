#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_format --n 5 --gguf {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
"""Format oracle: what we read and write against the packages that own the formats.

    tools/oracle/format.py --driver build/dev/driver_format [--gguf FILE] [--seed 0] [--n 20]

GGUF against gguf-python (FILE, and N random files), safetensors against safetensors, shards and config.json against
transformers, adapters against PEFT (scales, and logits of the adapter that we wrote), tokenizer.json against tokenizers.
Each check goes both ways: we read theirs, they read ours. Exits 1 at the first difference."""
import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
import gguf
import numpy as np
import peft
import safetensors.torch
import torch
import transformers
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as T

V = gguf.GGUFValueType
TORCH = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 30, torch.float64: 28, torch.int8: 24, torch.int16: 25, torch.int32: 26,
         torch.int64: 27, torch.bool: 0xFFFF, torch.uint8: 0xFFFF}
PRE = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                             {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}


def check(ok, *what):
    if not ok:
        print("DIFFERENT:", *what)
        sys.exit(1)


def sha(data):
    return hashlib.sha256(bytes(data)).hexdigest()


class Driver:
    def __init__(self, path):
        self.path = path

    def __call__(self, *args):
        run = subprocess.run([self.path, *map(str, args)], stdout=subprocess.PIPE, check=True)
        return json.loads(run.stdout)


# ---- GGUF ----
def gguf_value(field):
    """(type name, [values]) of a field of GGUFReader."""
    if field.types[0] == V.ARRAY:
        item = field.types[1] if len(field.types) > 1 else None
    else:
        item = field.types[0]
    if item == V.STRING:
        return item, [bytes(field.parts[i]).decode() for i in field.data]
    return item, [field.parts[i][0].item() for i in field.data]


def same_gguf(ours, path):
    reader = gguf.GGUFReader(path)
    fields = {k: f for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    check([kv["key"] for kv in ours["kv"]] == list(fields), path, "keys")
    for kv in ours["kv"]:
        item, values = gguf_value(fields[kv["key"]])
        names = {V.UINT8: "u8", V.INT8: "i8", V.UINT16: "u16", V.INT16: "i16", V.UINT32: "u32", V.INT32: "i32", V.FLOAT32: "f32",
                 V.BOOL: "bool", V.STRING: "string", V.UINT64: "u64", V.INT64: "i64", V.FLOAT64: "f64"}
        check(item is None or kv["item"] == names[item], path, kv["key"], "type", kv["item"], item)
        values = [None if isinstance(v, int) and v >= 2**63 else v for v in values]  # past i64: no integer of ours
        check(item == V.UINT64 or kv["values"] == values, path, kv["key"], kv["values"][:5], values[:5])
    theirs = {t.name: t for t in reader.tensors}
    check([t["name"] for t in ours["tensors"]] == list(theirs), path, "tensor names")
    for t in ours["tensors"]:
        r = theirs[t["name"]]
        check(t["shape"] == [int(d) for d in reversed(r.shape)], path, t["name"], "shape", t["shape"], r.shape)
        check(t["dtype"] == r.tensor_type and t["bytes"] == r.n_bytes and t["sha256"] == sha(r.data.tobytes()), path, t["name"])
    return len(fields), len(theirs)


def random_gguf(path, rng):
    w = gguf.GGUFWriter(path, "llama")
    if rng.random() < 0.5:
        w.add_custom_alignment(rng.choice([8, 16, 64, 4096]))
    adders = [(w.add_uint8, lambda: rng.randrange(256)), (w.add_int8, lambda: rng.randrange(-128, 128)), (w.add_uint16, lambda: rng.randrange(1 << 16)),
              (w.add_int16, lambda: rng.randrange(-1 << 15, 1 << 15)), (w.add_uint32, lambda: rng.randrange(1 << 32)),
              (w.add_int32, lambda: rng.randrange(-1 << 31, 1 << 31)), (w.add_uint64, lambda: rng.randrange(1 << 64)),
              (w.add_int64, lambda: rng.randrange(-1 << 63, 1 << 63)), (w.add_float32, lambda: rng.gauss(0, 1)),
              (w.add_float64, lambda: rng.gauss(0, 1e100)), (w.add_bool, lambda: rng.random() < 0.5),
              (w.add_string, lambda: "".join(chr(rng.choice([65, 0xE9, 0x4E2D, 0x1F600, 10])) for _ in range(rng.randrange(9)))),
              (w.add_array, lambda: [rng.randrange(-99, 99) for _ in range(1 + rng.randrange(50))]),
              (w.add_array, lambda: [rng.gauss(0, 1) for _ in range(1 + rng.randrange(50))]),
              (w.add_array, lambda: ["".join(rng.choice("ab \u0120\n") for _ in range(rng.randrange(9))) for _ in range(1 + rng.randrange(50))])]
    for i in range(rng.randrange(30)):
        add, value = rng.choice(adders)
        add(f"key.{i}", value())
    gen = np.random.default_rng(rng.randrange(1 << 32))
    for i in range(rng.randrange(12)):
        kind = rng.choice([T.F32, T.F16, T.I8, T.I32, T.F64, T.Q4_0, T.Q4_1, T.Q8_0, T.Q4_K, T.Q6_K, T.IQ4_NL, T.MXFP4, T.BF16])
        block, size = GGML_QUANT_SIZES[kind]
        shape = [rng.randrange(1, 4) for _ in range(rng.randrange(3))] + [block * rng.randrange(1, 5)]
        data = gen.integers(0, 255, size=shape[:-1] + [shape[-1] // block * size], dtype=np.uint8)
        w.add_tensor(f"blk.{i}.weight", data, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def oracle_gguf(drive, args, tmp, rng):
    ours = {int(k): tuple(v) for k, v in drive("types", "-").items()}
    check(ours == {int(k): (k.name, *v) for k, v in GGML_QUANT_SIZES.items() if k != 9}, "block sizes", ours)
    print(f"gguf: {len(ours)} block types have gguf-python's sizes (all but Q8_1)")
    copy = os.path.join(tmp, "copy.gguf")
    if args.gguf:
        n = same_gguf(drive("gguf", args.gguf), args.gguf)
        drive("copy-gguf", args.gguf, copy)
        same_gguf(drive("gguf", args.gguf), copy)
        equal = sha(open(copy, "rb").read()) == sha(open(args.gguf, "rb").read())
        us = drive("open", args.gguf, 20)["open_us"]
        print(f"gguf: {os.path.basename(args.gguf)}: {n[0]} pairs, {n[1]} tensors equal; copy {'has the same bytes' if equal else 'equal'}; opens in {us:.0f} us")
        check(us < 10000, "opening takes more than 10 ms")
    total = 0
    for i in range(args.n):
        path = os.path.join(tmp, f"{i}.gguf")
        random_gguf(path, rng)
        ours = drive("gguf", path)
        total += sum(same_gguf(ours, path))
        drive("copy-gguf", path, copy)
        check(drive("gguf", copy) == ours, "copy of", path)
        same_gguf(ours, copy)
    print(f"gguf: {args.n} random files, {total} pairs and tensors: equal both ways")


# ---- safetensors ----
def same_tensors(ours, state):
    check(sorted(t["name"] for t in ours["tensors"]) == sorted(state), "tensor names")
    for t in ours["tensors"]:
        x = state[t["name"]].contiguous()
        data = x.reshape(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b""
        check(t["shape"] == list(x.shape) and t["dtype"] == TORCH[x.dtype] and t["sha256"] == sha(data), t, x.shape, x.dtype)


def oracle_safetensors(drive, args, tmp, rng):
    theirs, copy = os.path.join(tmp, "a.safetensors"), os.path.join(tmp, "b.safetensors")
    kinds = [k for k in TORCH if TORCH[k] != 0xFFFF]
    for i in range(args.n):
        state = {}
        for k in range(rng.randrange(12)):
            shape = [rng.randrange(0 if rng.random() < 0.1 else 1, 6) for _ in range(rng.randrange(5))]
            state[f"layer.{k}.\u00e9"] = (torch.randn(shape) * 50).to(rng.choice(kinds))
        safetensors.torch.save_file(state, theirs, metadata={"format": "pt", "x": "\"quoted\""} if rng.random() < 0.5 else None)
        same_tensors(drive("safetensors", theirs), state)
        drive("copy-safetensors", theirs, copy)
        again = safetensors.torch.load_file(copy)
        check(sorted(again) == sorted(state), "names of our copy")
        for name, x in state.items():
            check(again[name].dtype == x.dtype and again[name].shape == x.shape and torch.equal(again[name], x), "our copy", name)
        with safetensors.safe_open(copy, "pt") as f:
            check(f.metadata() == {"format": "pt"}, "metadata of our copy", f.metadata())
    safetensors.torch.save_file({"b": torch.tensor([True, False]), "u": torch.tensor([1, 2], dtype=torch.uint8)}, theirs)
    check({t["dtype"] for t in drive("safetensors", theirs)["tensors"]} == {0xFFFF}, "raw types")
    print(f"safetensors: {args.n} random files equal both ways")


def tiny_llama():
    config = transformers.LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                      vocab_size=96, rope_theta=5e4, tie_word_embeddings=False)
    torch.manual_seed(1)
    return transformers.LlamaForCausalLM(config)


def oracle_shards(drive, tmp):
    transformers.utils.logging.disable_progress_bar()
    folder, model = os.path.join(tmp, "sharded"), tiny_llama()
    model.save_pretrained(folder, max_shard_size="20KB")
    n = len([f for f in os.listdir(folder) if f.endswith(".safetensors")])
    check(n > 1, "no shards")
    same_tensors(drive("safetensors", folder), model.state_dict())
    print(f"safetensors: {n} shards written by transformers equal its state")


# ---- adapters ----
def oracle_adapter(drive, tmp):
    rows = torch.arange(24).reshape(2, 12)
    for name, kw in {"plain": {}, "rslora": {"use_rslora": True}, "patterns": {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {"layers.1.self_attn.v_proj": 5}}}.items():
        folder, ours_at = os.path.join(tmp, "peft-" + name), os.path.join(tmp, "ours-" + name)
        config = peft.LoraConfig(r=4, lora_alpha=10, lora_dropout=0.1, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM",
                                 init_lora_weights=False, **kw)
        model = peft.get_peft_model(tiny_llama(), config).eval()
        if name != "plain":
            model.peft_config["default"].base_model_name_or_path = "org/base"
        model.save_pretrained(folder)
        ours = drive("adapter", folder)
        modules = {n: m for n, m in model.named_modules() if hasattr(m, "lora_A")}
        check(sorted("base_model.model." + p["path"] for p in ours["pairs"]) == sorted(modules), "paths", name)
        for p in ours["pairs"]:
            m = modules["base_model.model." + p["path"]]
            check(abs(p["scale"] - m.scaling["default"]) < 1e-12 and p["r"] == m.r["default"], name, p["path"], p["scale"], m.scaling)
            check(p["a"]["sha256"] == sha(m.lora_A["default"].weight.detach().numpy().tobytes()), name, p["path"], "A")
            check(p["b"]["sha256"] == sha(m.lora_B["default"].weight.detach().numpy().tobytes()), name, p["path"], "B")
        drive("copy-adapter", folder, ours_at)
        again = peft.PeftModel.from_pretrained(tiny_llama(), ours_at).eval()
        with torch.no_grad():
            want, got = model(input_ids=rows).logits, again(input_ids=rows).logits
        check((want - tiny_llama()(input_ids=rows).logits).abs().max() > 1e-3, "the adapter changes nothing")
        check(torch.equal(want, got), name, "logits differ by", (want - got).abs().max())
        check(again.peft_config["default"].base_model_name_or_path == model.peft_config["default"].base_model_name_or_path, "base model")
    print("adapter: PEFT's plain, rslora and pattern adapters: scales equal; PEFT loads ours and gives the same logits")


# ---- tokenizer.json, config.json ----
TEXTS = ["Hello world", " 12345 tokens, don't!", "na\u00efve caf\u00e9 \u4e2d\u6587 \U0001F600\u200d", "<|im_start|>user\nhi<|im_end|>\n", "\t\tif (x) {\n\n    y();\n}", ""]


def oracle_hf(drive, args, tmp):
    if not args.gguf:
        return
    folder, pre, again_at = os.path.join(tmp, "hf"), os.path.join(tmp, "pre.json"), os.path.join(tmp, "hf2")
    json.dump(PRE, open(pre, "w"))
    drive("to-hf", args.gguf, folder, pre)
    fields = gguf.GGUFReader(args.gguf).fields
    tokens, merges, types = (gguf_value(fields["tokenizer.ggml." + k])[1] for k in ("tokens", "merges", "token_type"))
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    want = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    want.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    want.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    got, auto = Tokenizer.from_file(os.path.join(folder, "tokenizer.json")), transformers.AutoTokenizer.from_pretrained(folder)
    texts = TEXTS + open(__file__, encoding="utf-8").read().splitlines()
    for text in texts:
        ids = want.encode(text, add_special_tokens=False).ids
        check(got.encode(text, add_special_tokens=False).ids == ids, "ids", text)
        check(auto(text, add_special_tokens=False)["input_ids"] == ids, "AutoTokenizer's ids", text)
        check(auto.decode(ids) == text, "decoded", text, auto.decode(ids))
    check(got.encode("Hello world").ids == [19556, 905], "Hello world", got.encode("Hello world").ids)
    template = gguf_value(fields["tokenizer.chat_template"])[1][0]
    chat = [{"role": "user", "content": "hi"}]
    check(auto.chat_template == template and auto.apply_chat_template(chat, tokenize=False, chat_template=template) == auto.apply_chat_template(chat, tokenize=False), "template")
    check(auto.eos_token == "<|im_end|>" and auto.bos_token == "<|im_start|>", "special tokens")
    config = transformers.AutoConfig.from_pretrained(folder)
    theta = gguf_value(fields["llama.rope.freq_base"])[1][0]
    check(config.rope_parameters["rope_theta"] == theta and config.rope_parameters["rope_type"] == "default", "rope", config.rope_parameters)
    check(config.hidden_size == 576 and config.num_key_value_heads == 3 and config.dtype == torch.float32, "config")
    auto.save_pretrained(again_at)
    ours = drive("tokenizer", again_at)
    check(ours["tokens"] == tokens and [" ".join(m) for m in ours["merges"]] == merges, "what transformers saved")
    check(ours["template"] == template and ours["eos"] == "<|im_end|>", "template that transformers saved")
    print(f"tokenizer.json: {len(texts)} texts have the same ids; config.json and the template load; what transformers saves again, we read")


def main():
    cache = os.path.expanduser(os.environ.get("LMFAST_CACHE", "~/.cache/lmfast"))
    model = os.path.join(cache, "models/SmolLM2-135M-Instruct.Q4_1.gguf")
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--driver", required=True)
    p.add_argument("--gguf", default=model if os.path.exists(model) else None, help="SmolLM2's file; the default where it is there")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--n", type=int, default=20)
    args = p.parse_args()
    drive, rng = Driver(args.driver), random.Random(args.seed)
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as tmp:
        oracle_gguf(drive, args, tmp, rng)
        oracle_safetensors(drive, args, tmp, rng)
        oracle_shards(drive, tmp)
        oracle_adapter(drive, tmp)
        oracle_hf(drive, args, tmp)


if __name__ == "__main__":
    main()
