#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_logits --quant {build}/driver_quant --lmfast {build}/lmfast --model {cache}/models/SmolLM2-135M-Instruct.Q4_1.gguf
"""Logits oracle: ours against transformers in f32, on a real file and on small random models in both file forms.

    tools/oracle/logits.py --driver build/dev/driver_logits [--quant build/dev/driver_quant] [--lmfast build/dev/lmfast] [--model FILE.gguf]

- FILE, which transformers reads from the same GGUF, over several token sequences;
- llama (grouped heads, untied; tied with llama3-scaled rope; linear rope; with biases), qwen2 (tied and untied), each as
  a Hugging Face folder in f32, bf16 and f16 and as GGUF in f32, written by gguf-python: the folder and the GGUF in f32 give
  the same bits (but for llama3 rope, whose factors GGUF holds rounded to f32);
- qwen2 in the mix of q4_k and q6_k that is called Q4_K_M, packed by ours, dequantized by transformers; and one step of
  lmfast train on it.
The greatest difference may be 1e-3 of the greatest logit or absolute, whichever is more. Needs torch, transformers, gguf."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import formula  # noqa: E402  (a tokenizer of bytes)
import gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(2)
V = formula.V
BIASED = {"llama": ("q", "k", "v", "o"), "qwen2": ("q", "k", "v")}
GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
              "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
CASES = {
    "llama, 4 heads over 2, untied": {"kind": "llama"},
    "llama, tied, llama3 rope": {"kind": "llama", "tied": True, "scaling": LLAMA3, "theta": 5000.0},
    "llama, linear rope": {"kind": "llama", "scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama with biases": {"kind": "llama", "bias": True},
    "qwen2, tied": {"kind": "qwen2", "bias": True, "tied": True, "theta": 1e6},
    "qwen2, untied": {"kind": "qwen2", "bias": True, "theta": 1e6},
}
failures = 0


def report(name, good, text):
    global failures
    failures += not good
    print(f"{'ok  ' if good else 'FAIL'} {name}: {text}", flush=True)


def ours(args, model, sequences):
    """[T, V] for each sequence."""
    lines = "".join(" ".join(map(str, ids)) + "\n" for ids in sequences)
    run = subprocess.run([args.driver, str(model)], input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode:
        raise SystemExit(f"FAIL {model}: {run.stderr.decode()}")
    flat = np.frombuffer(run.stdout, np.float32).reshape(sum(map(len, sequences)), -1)
    return np.split(flat, np.cumsum([len(ids) for ids in sequences])[:-1])


def theirs(model, sequences):
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].float().numpy() for ids in sequences]


def compare(name, got, want, limit=1e-3):
    gap = max(float(np.abs(a - b).max()) for a, b in zip(got, want))
    most = max(float(np.abs(b).max()) for b in want)
    same = all(np.isfinite(a).all() and a.shape == b.shape for a, b in zip(got, want))
    top = np.concatenate([a.argmax(1) == b.argmax(1) for a, b in zip(got, want)]).mean()
    report(name, same and gap <= limit * max(1.0, most), f"greatest difference {gap:.2e} of {most:.1f}, {100 * top:.1f} % of the first choices equal")


def config(kind, d=64, heads=4, kv=2, ffn=96, layers=2, tied=False, bias=False, theta=10000.0, scaling=None):
    c = {"architectures": ["Qwen2ForCausalLM" if kind == "qwen2" else "LlamaForCausalLM"], "model_type": kind, "hidden_act": "silu", "hidden_size": d,
         "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": V,
         "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": theta, "rope_scaling": scaling, "tie_word_embeddings": tied,
         "bos_token_id": 259, "eos_token_id": 261, "torch_dtype": "float32"}
    if kind == "llama":
        c |= {"attention_bias": bias, "mlp_bias": False}
    return c


def random_weights(c, bias, seed=1):
    rng = np.random.default_rng(seed)
    d, ffn, kv = c["hidden_size"], c["intermediate_size"], c["hidden_size"] // c["num_attention_heads"] * c["num_key_value_heads"]

    def matrix(rows, cols, size=None):
        return (rng.standard_normal((rows, cols)) * (size or cols ** -0.5)).astype(np.float32)

    t = {"model.embed_tokens.weight": matrix(V, d, 0.5)}
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        for name, rows, cols in (("q", d, d), ("k", kv, d), ("v", kv, d), ("o", d, d)):
            t[f"{p}self_attn.{name}_proj.weight"] = matrix(rows, cols)
            if bias and name in BIASED[c["model_type"]]:
                t[f"{p}self_attn.{name}_proj.bias"] = matrix(1, rows, 0.3)[0]
        for name, rows, cols in (("gate", ffn, d), ("up", ffn, d), ("down", d, ffn)):
            t[f"{p}mlp.{name}_proj.weight"] = matrix(rows, cols)
        for name in ("input_layernorm", "post_attention_layernorm"):
            t[f"{p}{name}.weight"] = 1 + matrix(1, d, 0.2)[0]
    t["model.norm.weight"] = 1 + matrix(1, d, 0.2)[0]
    if not c["tie_word_embeddings"]:
        t["lm_head.weight"] = matrix(V, d)
    return t


def save_folder(folder, c, weights, dtype):
    import safetensors.torch
    folder.mkdir()
    tensors = {k: torch.from_numpy(v).to(dtype) for k, v in weights.items()}
    safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(c | {"torch_dtype": str(dtype).split(".")[1]}))
    (folder / "tokenizer.json").write_text(json.dumps(formula.tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": formula.SPECIAL[0],
                                                              "eos_token": formula.SPECIAL[2], "chat_template": formula.TEMPLATE}))
    return folder


def permuted(x, heads):
    """q and k as llama.cpp wants them for its own pairing of neighbours."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def rope_factors(c):
    s, half = c["rope_scaling"], c["hidden_size"] // c["num_attention_heads"] // 2
    wave = 2 * np.pi * c["rope_theta"] ** (np.arange(half) / half)
    old, low, high = s["original_max_position_embeddings"], s["low_freq_factor"], s["high_freq_factor"]
    smooth = np.clip((old / wave - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / s["factor"] + smooth)).astype(np.float32)


def save_gguf(path, c, weights, packer=None):
    """packer(name, array) -> (bytes array, type) for what is not f32."""
    kind = c["model_type"]
    w = gguf.GGUFWriter(path, kind)
    w.add_block_count(c["num_hidden_layers"])
    w.add_embedding_length(c["hidden_size"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    scaling = c["rope_scaling"] or {}
    if scaling.get("rope_type") == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(scaling["factor"])
    tok = formula.tokenizer()
    vocab = sorted(tok["model"]["vocab"], key=tok["model"]["vocab"].get)
    special = [t["content"] for t in tok["added_tokens"]]
    unused = [f"<unused {i}>" for i in range(len(vocab) + len(special), V)]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(vocab + special + unused)
    w.add_token_types([1] * len(vocab) + [3] * len(special) + [5] * len(unused))
    w.add_token_merges([" ".join(m) for m in tok["model"]["merges"]])
    w.add_bos_token_id(259)
    w.add_eos_token_id(261)
    w.add_chat_template(formula.TEMPLATE)
    if scaling.get("rope_type") == "llama3":
        w.add_tensor("rope_freqs.weight", rope_factors(c))
    for name, x in weights.items():
        parts = name.split(".")
        if name.startswith("model.layers."):
            module = ".".join(parts[3:-1])
            out = f"blk.{parts[2]}.{GGUF_NAMES[module]}.{parts[-1]}"
            if kind == "llama" and module[-6:] in ("q_proj", "k_proj"):
                x = permuted(x, c["num_attention_heads"] if module.endswith("q_proj") else c["num_key_value_heads"])
        else:
            out = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}[name]
        if packer and x.ndim == 2:
            data, dtype = packer(out, x)
            w.add_tensor(out, data, raw_dtype=dtype)
        else:
            w.add_tensor(out, np.ascontiguousarray(x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def sequences(vocab, lengths, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocab, n).tolist() for n in lengths]


def check_real(args):
    path = pathlib.Path(args.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    ids = [[1, 4093, 19556, 905, 30, 100, 200, 300]] + sequences(model.config.vocab_size, [1, 2, 17, 70])
    compare(f"{path.name}, {len(ids)} sequences", ours(args, path, ids), theirs(model, ids))


def check_case(args, where, name, case):
    c = config(**case)
    weights = random_weights(c, case.get("bias", False))
    ids = sequences(V, [1, 5, 64, 130])
    got = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        short = str(dtype).split(".")[1]
        folder = save_folder(where / short, c, weights, dtype)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        got[short] = ours(args, folder, ids)
        compare(f"{name}: folder in {short}", got[short], theirs(model, ids))
    file = ours(args, save_gguf(where / "f32.gguf", c, weights), ids)
    if (c["rope_scaling"] or {}).get("rope_type") == "llama3":
        compare(f"{name}: GGUF against the folder", file, got["float32"], 1e-5)
    else:
        same = all((a.view(np.uint32) == b.view(np.uint32)).all() for a, b in zip(file, got["float32"]))
        report(f"{name}: GGUF", same, "same bits as the folder" if same else "other bits than the folder")
    if all((a == b).all() for a, b in zip(got["float32"], got["bfloat16"])):
        report(name, False, "bf16 gives what f32 gives: the comparison sees nothing")


def check_k_quants(args, where):
    c = config("qwen2", d=256, heads=4, kv=2, ffn=512, tied=True, bias=True, theta=1e6)

    def pack(name, x):
        kind = "q6_k" if any(part in name for part in ("attn_v", "ffn_down", "token_embd")) else "q4_k"
        run = subprocess.run([args.quant, "pack", kind, "native"], input=x.tobytes(), stdout=subprocess.PIPE, check=True)
        dtype = gguf.GGMLQuantizationType.Q6_K if kind == "q6_k" else gguf.GGMLQuantizationType.Q4_K
        return np.frombuffer(run.stdout, np.uint8).reshape(x.shape[0], -1), dtype

    path = save_gguf(where / "qwen2.Q4_K_M.gguf", c, random_weights(c, True), pack)
    kinds = sorted({t.tensor_type.name for t in gguf.GGUFReader(path).tensors})
    if kinds != ["F32", "Q4_K", "Q6_K"]:
        report("qwen2 Q4_K_M", False, f"the file holds {kinds}")
    model = transformers.AutoModelForCausalLM.from_pretrained(where, gguf_file=path.name, dtype=torch.float32).eval()
    ids = sequences(V, [1, 7, 64])
    compare("qwen2 Q4_K_M", ours(args, path, ids), theirs(model, ids))
    if not args.lmfast:
        return
    data = where / "rows.jsonl"
    data.write_text("".join(json.dumps({"messages": [{"role": "user", "content": f"count {i}"}, {"role": "assistant", "content": f"{i} {i + 1}"}]}) + "\n"
                            for i in range(8)))
    run = subprocess.run([args.lmfast, "train", "--model", str(path), "--data", str(data), "--output", str(where / "out"), "--max-steps", "1",
                          "--batch-size", "2", "--seq-len", "128", "--lora-r", "4", "--warmup-steps", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    adapter = list((where / "out").rglob("adapter_model.safetensors"))
    good = run.returncode == 0 and bool(adapter)
    if good:
        import safetensors.numpy
        b = [v for k, v in safetensors.numpy.load_file(adapter[0]).items() if "lora_B" in k]
        good = bool(b) and all(np.isfinite(v).all() for v in b) and any(np.abs(v).max() > 0 for v in b)
    report("qwen2 Q4_K_M: one step of lmfast train", good, "the adapter has moved" if good else run.stdout.decode()[-800:])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--driver", required=True)
    p.add_argument("--quant")
    p.add_argument("--lmfast")
    p.add_argument("--model")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        for i, (name, case) in enumerate(CASES.items()):
            where = pathlib.Path(tmp) / str(i)
            where.mkdir()
            check_case(args, where, name, case)
        if args.quant:
            where = pathlib.Path(tmp) / "quant"
            where.mkdir()
            check_k_quants(args, where)
    if args.model:
        check_real(args)
    print("logits:", "all equal" if not failures else f"{failures} differences")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
