#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --program {build}/lmfast --n 200
"""Formats of data: what lmfast data show says of Alpaca, ShareGPT, messages, prompt and completion, text, CSV and segments, against TRL's
SFTTrainer (its own _prepare_dataset: ids and labels) for the same rows; Alpaca and ShareGPT rows become messages by LLaMA-Factory's
documented rules first, segments go by Axolotl's (each tokenized alone, nothing added). CSV files are written by Python's csv in several
dialects.

    data.py --program build/release/lmfast [--n 200] [--seed 1]

Exits 1 if ids or labels of a row differ, or if too few rows could be compared."""
import argparse, csv, io, json, pathlib, random, subprocess, sys, tempfile, types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
import datasets  # noqa: E402
import formula  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

datasets.disable_progress_bars()
MARKED = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] "
    "}}<|im_end|>"
          "{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
PIECES = ["the", " in", "he ", "\n", "é", "日本", "\"", ",", ";", "'", "x y", "42", "\t", "|", "{", "\\n"]
ROLES = {"human": "user", "gpt": "assistant", "system": "system", "user": "user", "assistant": "assistant"}


def trl(tokenizer, rows, folder, **options):
    """Ids and whether each is learned, as SFTTrainer prepares them."""
    config = SFTConfig(output_dir=str(folder), max_length=None, shuffle_dataset=False, report_to=[], use_cpu=True, bf16=False, **options)
    me = types.SimpleNamespace(_tokenizer=tokenizer, chat_template=None, completion_only_loss="completion" in rows[0])
    made = SFTTrainer._prepare_dataset(me, datasets.Dataset.from_list(rows), tokenizer, config, False, None, "train")
    return [(r["input_ids"], [int(x != -100) for x in r["labels"]]) for r in made]


def ours(program, model, path, options=""):
    r = subprocess.run([program, "data", "show", "--model", model, "--data", f"{path}{options}", "--rows", "1000000", "--json"],
        capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{path}{options}: {r.stderr}")
    return [(x["ids"], x["trained"]) for x in json.loads(r.stdout)["rows"]]


def trimmed(ids, learned):
    """The first token is never learned, and what lies behind the last learned one changes nothing."""
    learned = [0] + learned[1:]
    n = max(i for i, x in enumerate(learned) if x) + 1
    return ids[:n], learned[:n]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def text(self, most=8, least=0):
        return "".join(self.r.choice(PIECES) for _ in range(self.r.randint(least, most)))

    def conversation(self):
        m = [{"role": "system", "content": self.text()}] if self.r.random() < 0.3 else []
        for _ in range(self.r.randint(1, 3)):
            m += [{"role": "user", "content": self.text()}, {"role": "assistant", "content": self.text()}]
        return m

    def alpaca(self):
        row = {"instruction": self.text(least=1), "input": self.text() if self.r.random() < 0.5 else "", "output": self.text()}
        row["system"] = self.text(least=1) if self.r.random() < 0.3 else ""
        row["history"] = [[self.text(), self.text()] for _ in range(self.r.choice([0, 0, 1, 2]))]
        return row

    def sharegpt(self):
        back = {"user": ["human", "user"], "assistant": ["gpt", "assistant"], "system": ["system"]}
        return {"conversations": [{"from": self.r.choice(back[m["role"]]), "value": m["content"]} for m in self.conversation()]}

    def segments(self):
        s = [{"text": self.text(least=1), "label": self.r.random() < 0.5} for _ in range(self.r.randint(1, 5))]
        return {"segments": [{"text": "<|im_start|>a", "label": False}] + s + [{"text": "b<|im_end|>", "label": True}]}


def from_alpaca(row):
    m = [{"role": "system", "content": row["system"]}] if row["system"] else []
    for q, a in row["history"]:
        m += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    question = "\n".join(x for x in (row["instruction"], row["input"]) if x)
    return {"messages": m + [{"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]}


def from_sharegpt(row):
    return {"messages": [{"role": ROLES[t["from"]], "content": t["value"]} for t in row["conversations"]]}


def by_axolotl(tokenizer, row):
    ids, learned = [], []
    for s in row["segments"]:
        part = tokenizer(s["text"], add_special_tokens=False)["input_ids"]
        ids, learned = ids + part, learned + [int(s["label"])] * len(part)
    return ids, learned


def to_csv(rows, keys, **dialect):
    out = io.StringIO(newline="")
    w = csv.DictWriter(out, keys, **dialect)
    w.writeheader()
    w.writerows(rows)
    return out.getvalue()


def write(path, text):
    path.write_bytes(text.encode())
    return path


def lines(rows):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--program", required=True)
    p.add_argument("--n", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    bad = compared = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        model = work / "model"
        formula.save(model)
        tokenizer = AutoTokenizer.from_pretrained(str(model))
        marked = AutoTokenizer.from_pretrained(str(model))
        marked.chat_template = MARKED
        m = Maker(a.seed)
        alpaca, sharegpt = [m.alpaca() for _ in range(a.n)], [m.sharegpt() for _ in range(a.n)]
        talks = [{"messages": m.conversation()} for _ in range(a.n)]
        texts = [{"text": m.text(12, 1)} for _ in range(a.n)]
        texts = [t for t in texts if t["text"].strip()]
        # a completion that begins a word of its own, so that no merge crosses the border: there TRL drops a token of the prompt
        pairs = [{"prompt": m.text() + ":", "completion": " t" + m.text()} for _ in range(a.n)]
        segments = [m.segments() for _ in range(a.n)]
        shuffled = [{"q": r["instruction"], "c": r["input"], "a": r["output"]} for r in alpaca]
        plain = [dict(r, system="", history=[]) for r in alpaca]
        answers = dict(assistant_only_loss=True)

        def peer(rows):
            return trl(marked, rows, work, **answers)

        cases = [("messages", lines(talks), "t.jsonl", "", peer(talks)),
                 ("Alpaca", lines(alpaca), "a.jsonl", "", peer([from_alpaca(r) for r in alpaca])),
                 ("Alpaca by name, other keys", lines(shuffled), "b.jsonl", ":type=alpaca,instruction=q,input=c,output=a",
                  peer([from_alpaca(r) for r in plain])),
                 ("ShareGPT", lines(sharegpt), "s.json", "", peer([from_sharegpt(r) for r in sharegpt])),
                 ("text", lines(texts), "x.jsonl", "", trl(tokenizer, texts, work)),
                 ("prompt and completion", lines(pairs), "p.jsonl", "", trl(tokenizer, pairs, work)),
                 ("segments", lines(segments), "g.jsonl", "", [by_axolotl(tokenizer, r) for r in segments])]
        keys = ["instruction", "input", "output"]
        for i, dialect in enumerate([{}, {"delimiter": ";"}, {"delimiter": "\t", "lineterminator": "\n"}, {"quoting": csv.QUOTE_ALL}]):
            table = to_csv([{k: r[k] for k in keys} for r in plain], keys, **dialect)
            cases.append((f"Alpaca in CSV {dialect}", table, f"c{i}.csv", "", peer([from_alpaca(r) for r in plain])))
        for name, text, file, options, want in cases:
            got = ours(a.program, model, write(work / file, text), options)
            wrong = [i for i, (g, w) in enumerate(zip(got, want)) if tuple(g) != trimmed(*w)]
            if len(got) != len(want):
                wrong.append(-1)
            for i in wrong[:3]:
                print(f"{name}, row {i}: {got[i] if i >= 0 else len(got)}, not {trimmed(*want[i]) if i >= 0 else len(want)}"[:2000])
            print(f"{name}: {len(got)} rows, {len(wrong)} differ")
            bad += len(wrong) > 0
            compared += len(got)
    print(f"{compared} rows compared, {bad} of {len(cases)} forms differ")
    sys.exit(bad > 0 or compared < 10 * a.n)


if __name__ == "__main__":
    main()
