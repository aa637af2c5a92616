#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_tokenize --program {build}/lmfast
"""Folders whose only tokenizer is a tokenizer.model: our ids against sentencepiece's and transformers', which are in a virtual environment
of their own (tools/requirements-sentencepiece.txt).

    pieces.py --driver build/release/driver_tokenize --program build/release/lmfast [--n 1500]

Small BPE models are trained with several options, and a folder of width 8 is made around each. N fuzzed texts without and N with control
tokens recognised: the first must have sentencepiece's ids and text, the second those of transformers' LlamaTokenizer, with what it puts in
front of a text and behind it; but for texts that begin with a space, U+2581 or a user-defined piece, in front of which sentencepiece puts
a space and transformers 5 does not. Exported as GGUF, the folder has the same ids for texts without added tokens; exported as a folder or
for ONNX, its tokenizer.json has them in transformers, but for what the export named as lost. What sentencepiece can train and LMFast can't
read is refused in one sentence.

--seeds FOLDER writes two of the models there, as seeds of a fuzz target."""
import argparse
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile

if __name__ == "__main__" and not os.environ.get("LMFAST_PIECES_ORACLE"):
    venv = subprocess.run([str(pathlib.Path(__file__).parents[1] / "venv.sh"), "sentencepiece"], capture_output=True, text=True, check=True)
    os.execve(venv.stdout.strip(), [venv.stdout.strip(), *sys.argv], {**os.environ, "LMFAST_PIECES_ORACLE": "1"})

import numpy as np
import sentencepiece as spm
from safetensors.numpy import save_file
from transformers import AutoTokenizer, LlamaTokenizer

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import tokenizer as base  # noqa: E402

DEFAULTS, SPECIAL = 1, base.ENCODE_SPECIAL
MARK = "\u2581"
PLAIN = dict(model_type="bpe", vocab_size=700, normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True,
             character_coverage=0.99)
USER = ["<sep>", "qworldq", "qab", "qabc", "\u3042\u3044", "0x"]
CASES = [  # name, options of the trainer, tokenizer_config.json, whether transformers says the same
    ("as Llama 2", dict(split_digits=True, allow_whitespace_only_pieces=True), {"legacy": False, "add_bos_token": True}, True),
    ("no configuration", {}, None, True),
    ("legacy, EOS, no BOS", {}, {"legacy": True, "add_bos_token": False, "add_eos_token": True}, True),
    ("no space in front", dict(add_dummy_prefix=False), {"add_prefix_space": False}, True),
    ("no space in front, by the model", dict(add_dummy_prefix=False), {}, False),
    ("no byte fallback", dict(byte_fallback=False), {}, False),
    ("user-defined", dict(user_defined_symbols=USER), {}, True),
    ("user-defined with a space", dict(user_defined_symbols=[*USER, MARK + "of" + MARK + "the", MARK]), {}, False),
    ("user-defined, legacy", dict(user_defined_symbols=USER), {"legacy": True, "add_bos_token": True}, False),
    ("control", dict(control_symbols=["<ctl>", "[INST]", "[/INST]"], pad_id=3), {"pad_token": "<pad>"}, True),
    ("across spaces", dict(split_by_whitespace=False, split_by_unicode_script=False, split_by_number=False, vocab_size=900), {}, True),
    ("named", dict(bos_piece="<begin>", eos_piece="<end>", unk_piece="<what>"),
     {"bos_token": "<begin>", "eos_token": "<end>", "unk_token": "<what>"}, True),
    ("added", {}, {"added_tokens_decoder": {str(i): {"content": t, "lstrip": False, "rstrip": False, "normalized": n,
     "single_word": False, "special": s} for i, t, n, s in (
         (0, "<unk>", False, True), (1, "<s>", False, True), (2, "</s>", False, True), (700, "<|im_start|>", False, True),
         (701, "<tool>", False, False), (702, "qlate", True, False))}}, True),
]
REFUSED = [("Unigram", dict(model_type="unigram")), ("Word", dict(model_type="word", byte_fallback=False, vocab_size=300)),
           ("Char", dict(model_type="char", vocab_size=300)), ("precompiled_charsmap", dict(normalization_rule_name="nmt_nfkc")),
           ("remove_extra_whitespaces", dict(remove_extra_whitespaces=True)),
           ("treat_whitespace_as_suffix", dict(treat_whitespace_as_suffix=True))]


def corpus():
    words = " ".join(base.Fuzz.WORDS)
    text = (HERE.parents[1] / "CONTRIBUTING.md").read_text() + (HERE.parents[1] / "README.md").read_text()
    return [line for line in text.splitlines() if line] + [words] * 8 + ["  two  spaces   three", "\ttab 1234567890"] * 8


def train(lines, **options):
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, minloglevel=2, num_threads=1, hard_vocab_limit=False,
                                   **{**PLAIN, **options})
    return out.getvalue()


def folder(at, model, config, rows):
    at.mkdir()
    r, d = np.random.default_rng(0), 8
    f = lambda *s: (r.standard_normal(s) * 0.1).astype(np.float32)
    w = {"model.embed_tokens.weight": f(rows, d), "model.norm.weight": f(d) + 1}
    for k in ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down"):
        w[f"model.layers.0.{k}_proj.weight"] = f(d, d)
    for k in ("input", "post_attention"):
        w[f"model.layers.0.{k}_layernorm.weight"] = f(d) + 1
    save_file(w, at / "model.safetensors")
    (at / "tokenizer.model").write_bytes(model)
    if config is not None:
        (at / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer", **config}))
    (at / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": d, "intermediate_size": d, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": rows, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True, "hidden_act": "silu", "rope_theta": 10000.0}))
    return at


class Driver(base.Driver):
    def __init__(self, program, path):
        self.p = subprocess.Popen([program, "--model", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def encode(self, texts, flags):
        return self.batch([t.encode() for t in texts], [flags] * len(texts))


def check_sentencepiece(name, driver, sp, texts):
    bytes_there = any(sp.is_byte(i) for i in range(sp.get_piece_size()))
    for text, reply, want in zip(texts, driver.encode(texts, 0), sp.encode(texts)):
        if reply[1] != want:
            base.differ(f"{name}, sentencepiece", text, 0, reply[1], want)
        if bytes_there and reply[2] != text.replace(MARK, " ").encode():
            base.differ(f"{name}, text of the ids", text, 0, reply[2], text)


def check_transformers(name, driver, hf, texts, user):
    texts = [t for t in texts if not t.startswith((" ", MARK, *user))]
    for text, reply in zip(texts, driver.encode(texts, SPECIAL | DEFAULTS)):
        want = hf(text)["input_ids"]
        if reply[1] != want:
            base.differ(f"{name}, transformers", text, SPECIAL | DEFAULTS, reply[1], want)
    return len(texts)


def export(a, at, kind, to):
    subprocess.run([a.program, "export", "--quiet", "--model", at, "--format", kind, "-o", to], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return to


def check_gguf(a, name, driver, at, texts):
    """Readers of GGUF find user-defined tokens before they put a space in front: texts without them."""
    to = export(a, at, "gguf", at.with_suffix(".gguf"))
    other = Driver(a.driver, to)
    for text, x, y in zip(texts, driver.encode(texts, 0), other.encode(texts, 0)):
        if x[1:] != y[1:]:
            base.differ(f"{name}, exported as GGUF", text, 0, y[1:], x[1:])
    other.close()


def check_folder(a, name, driver, at, texts, cut):
    """A folder's tokenizer.json does not know what is done behind and in front of spaces and pieces of the user."""
    to = export(a, at, "hf", at.with_suffix(".hf"))
    onnx = export(a, at, "onnx", at.with_suffix(".onnx"))
    if (to / "tokenizer.json").read_bytes() != (onnx / "tokenizer.json").read_bytes():
        sys.exit(f"{name}: the tokenizer.json for ONNX is another")
    hf = AutoTokenizer.from_pretrained(to)
    texts = [t for t in texts if not t.startswith((" ", MARK)) and not any(x + y in t for x in cut for y in (" ", MARK))]
    for text, reply in zip(texts, driver.encode(texts, SPECIAL | DEFAULTS)):
        want = hf(text)["input_ids"]
        if reply[1] != want:
            base.differ(f"{name}, exported as a folder", text, SPECIAL | DEFAULTS, reply[1], want)
    return len(texts)


def check(a, work, name, options, config, same):
    model = train(corpus(), **options)
    sp = spm.SentencePieceProcessor(model_proto=model)
    added = (config or {}).get("added_tokens_decoder", {})
    tokens = [t["content"] for t in added.values()]
    at = folder(work / name.replace(" ", "-").replace(",", ""), model, config, sp.get_piece_size() + 8)
    user = options.get("user_defined_symbols", [])
    control = [sp.id_to_piece(i) for i in range(sp.get_piece_size()) if sp.is_control(i) or sp.is_unknown(i)]
    fuzz = base.Fuzz(a.seed, [*control, *user, *tokens, MARK, MARK * 2, "   ", "<0x0A>", "<s"])
    driver = Driver(a.driver, at)
    texts = ["", " ", MARK, "\0", "a\0b", " a", "a ", *(fuzz.text() for _ in range(a.n))]
    plain = [t for t in texts if not any(x in t for x in tokens)]
    check_sentencepiece(name, driver, sp, plain)
    n = check_transformers(name, driver, LlamaTokenizer.from_pretrained(at), texts, user) if same else 0
    free = lambda some: [t for t in some if not any(x.replace(MARK, " ") in t.replace(MARK, " ") for x in user)]
    check_gguf(a, name, driver, at, free(plain)[:300])
    n_folder = check_folder(a, name, driver, at, free(texts)[:600], [*control, *tokens] if (config or {}).get("legacy") else [])
    driver.close()
    print(f"{name}, {sp.get_piece_size()} pieces: {len(plain)} texts against sentencepiece, {n} against transformers, "
          f"{n_folder} exported: equal", flush=True)


def check_refused(a, work):
    for word, options in REFUSED:
        model = train(corpus(), **options)
        at = folder(work / word, model, {}, 1000)
        done = subprocess.run([a.program, "export", "--model", at, "--format", "gguf", "-o", work / "no.gguf"], capture_output=True,
                              text=True)
        if done.returncode == 0 or word not in done.stderr or len(done.stderr.splitlines()) != 1:
            sys.exit(f"{word}: not refused by name, status {done.returncode}: {done.stderr}")
    print(f"{len(REFUSED)} kinds of models are refused by name")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--driver")
    ap.add_argument("--program")
    ap.add_argument("--n", type=int, default=1500)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--only", action="append")
    ap.add_argument("--seeds", type=pathlib.Path)
    a = ap.parse_args()
    if a.seeds:
        small = dict(vocab_size=400, character_coverage=0.98)
        (a.seeds / "bytes").write_bytes(train(corpus(), **small, user_defined_symbols=USER[:2]))
        (a.seeds / "unknown").write_bytes(train(corpus(), **{**small, "vocab_size": 200}, byte_fallback=False, control_symbols=["<ctl>"]))
        return
    with tempfile.TemporaryDirectory(prefix="lmfast-") as work:
        for case in CASES:
            if not a.only or case[0] in a.only:
                check(a, pathlib.Path(work), *case)
        if not a.only:
            check_refused(a, pathlib.Path(work))


if __name__ == "__main__":
    main()
