# SPDX-License-Identifier: Apache-2.0
"""Rows as people have them, the template that reads them and its clock, through the program."""
import bz2
import datetime
import gzip
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

TOOLS = ("{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
         "{% for c in m.tool_calls %}<call>{{ c.function | tojson }}</call>{% else %}{{ m.content }}{% endfor %}<|im_end|>\n{% endfor %}"
         "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
DATED = "{{ strftime_now('%Y-%m-%d') }}" + formula.TEMPLATE
ROW = {"messages": [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "hi in the thing"}]}
LINE = json.dumps(ROW) + "\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("rows") / "model")


def with_template(model, folder, template):
    shutil.copytree(model, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    return folder


def train(lmfast, model, data, out, *more, **options):
    """Trains one step; the JSON of it."""
    args = ["train", "-m", model, "-d", data, "-o", out, "--max-steps", 1, "--warmup-steps", 0, "--lora-r", 2, "--json", *more]
    r = lmfast(*args) if not options else subprocess.run([lmfast.path, *map(str, args)], capture_output=True, text=True, timeout=120, **options)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def refused(lmfast, model, data, tmp_path, *more):
    r = lmfast("train", "-m", model, "-d", data, "-o", tmp_path / "refused", "--max-steps", 1, "--warmup-steps", 0, "--quiet", *more)
    assert r.returncode == 1 and r.stdout == "" and r.stderr.count("\n") == 1, r.stderr
    assert r.stderr.isprintable() or r.stderr[:-1].isprintable(), r.stderr
    return r.stderr


def measured(lmfast, folder, *args):
    """Exit status, greatest resident memory in KiB and standard error of one run. It is started by a small program, since a child counts
    what its parent held when it was made."""
    code = ("import os, subprocess, sys; p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
            "_, status, use = os.wait4(p.pid, 0); print(os.waitstatus_to_exitcode(status), use.ru_maxrss)")
    r = subprocess.run([sys.executable, "-c", code, lmfast.path, *map(str, args)], capture_output=True, text=True, timeout=120)
    status, peak = map(int, r.stdout.split())
    return status, peak, r.stderr


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


SAME = {
    "plain": LINE + LINE, "list": json.dumps([ROW, ROW], indent=1), "list on a line": json.dumps([ROW, ROW]), "mark": "\ufeff" + LINE + LINE, "spread": json.dumps(ROW, indent=2) * 2,
    "crlf": LINE.replace("\n", "\r\n") * 2, "gzip": gzip.compress((LINE + LINE).encode()), "gzip in two": gzip.compress(LINE.encode()) + gzip.compress(LINE.encode()),
    "gzip of a list with a mark": gzip.compress(("\ufeff" + json.dumps([ROW, ROW])).encode()),
    "big ids": json.dumps({"id": 13835058055282163712, **ROW}) + "\n" + json.dumps({"id": -10 ** 40, "x": [1e300, 10 ** 20], **ROW}),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_rows(lmfast, model, tmp_path, name):
    want = train(lmfast, model, write(tmp_path / "a", LINE + LINE), tmp_path / "o")
    got = train(lmfast, model, write(tmp_path / "b", SAME[name]), tmp_path / "p")
    assert (got["tokens"], got["first_loss"]) == (want["tokens"], want["first_loss"])


def test_pipes(lmfast, model, tmp_path):
    want = train(lmfast, model, write(tmp_path / "a", LINE), tmp_path / "o")
    assert train(lmfast, model, "-", tmp_path / "p", input=LINE)["first_loss"] == want["first_loss"]
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(gzip.compress(LINE.encode())))
    writer.start()
    assert train(lmfast, model, tmp_path / "fifo", tmp_path / "q")["first_loss"] == want["first_loss"]
    writer.join()
    r = subprocess.run(["bash", "-c", f"'{lmfast.path}' eval -m '{model}' --max-new-tokens 2 --json -d <(cat '{tmp_path / 'a'}')"], capture_output=True, text=True, timeout=120)
    assert r.returncode == 0 and json.loads(r.stdout)["rows"] == 1, r.stderr
    r = subprocess.run([lmfast.path, "train", "-m", str(model), "-d", "-", "-o", str(tmp_path / "r")], input="no\n", capture_output=True, text=True, timeout=120)
    assert r.returncode == 1 and "--data: standard input, line 1: no JSON" in r.stderr


def zipped(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w") as z:
        z.writestr("rows.jsonl", LINE)
    return (tmp_path / "z").read_bytes()


NAMED = {"UTF-16 text": LINE.encode("utf-16"), "UTF-16 text, no mark": LINE.encode("utf-16-le"), "a git-lfs pointer": b"version http" + b"s://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
         "an HTML page": b"<!DOCTYPE html>\n<html></html>", "a Python pickle": pickle.dumps([ROW]), "a zip archive": None, "a safetensors file": None, "a Parquet file": b"PAR1\x15\x04",
         "a bzip2 file": bz2.compress(LINE.encode()), "a GGUF file": b"GGUF\x03\0\0\0", "a Python pickle inside of gzip": gzip.compress(pickle.dumps([ROW]))}


@pytest.mark.parametrize("kind", NAMED)
def test_other_files_are_named(lmfast, model, tmp_path, kind):
    content = NAMED[kind] or (zipped(tmp_path) if "zip" in kind else (model / "model.safetensors").read_bytes())
    said = refused(lmfast, model, write(tmp_path / "rows", content), tmp_path)
    assert kind.split(",")[0].replace(" inside of gzip", "") in said and ("inside of gzip" in said) == ("gzip" in kind and "inside" in kind), said


def test_damaged_gzip(lmfast, model, tmp_path):
    whole = gzip.compress((LINE * 500).encode())
    assert "cut short" in refused(lmfast, model, write(tmp_path / "a", whole[:-9]), tmp_path)
    assert "damaged" in refused(lmfast, model, write(tmp_path / "b", whole[:-6] + b"\1" + whole[-5:]), tmp_path)


def test_bytes_that_are_no_text(lmfast, model, tmp_path):
    said = refused(lmfast, model, write(tmp_path / "a", LINE.encode() + b'{"text": "\xff\xfe\x1b[31m"}\n'), tmp_path)
    assert "line 2: no JSON: it holds bytes that are not UTF-8" in said and "\x1b" not in said


@pytest.mark.skipif(os.environ.get("LMFAST_BUILD", "").endswith("san"), reason="a sanitizer takes memory of its own")
def test_memory_is_bounded_by_the_file(lmfast, model, tmp_path):
    """Rows of many small values: 20 MB of them, with 200 MB of address space more than a small run takes."""
    row = '{"text": "abcd", "x": [' + "[]," * 2300 + "[]]}\n"
    data = write(tmp_path / "a", row * 3000)
    status, peak_kib, said = measured(lmfast, tmp_path, "train", "-m", model, "-d", data, "-o", tmp_path / "o", "--max-steps", 1, "--lora-r", 2)
    assert status == 0 and peak_kib < 160 << 10, (peak_kib, said)
    data = write(tmp_path / "b", '{"text": "a", "x": [' + "[]," * 7000000 + "[]]}")
    status, peak_kib, said = measured(lmfast, tmp_path, "train", "-m", model, "-d", data, "-o", tmp_path / "p", "--max-steps", 1, "--lora-r", 2)
    assert status == 1 and "the row holds 14000007 values" in said and peak_kib < 160 << 10, (peak_kib, said)


TWO_USERS = json.dumps({"messages": ROW["messages"] + [{"role": "user", "content": "x"}] * 2}) + "\n"


def test_bad_rows(lmfast, model, tmp_path):
    data = write(tmp_path / "a", LINE + TWO_USERS + LINE + "{broken\n")
    assert 'line 2: message 4 has the role "user" after user (--bad-rows skip' in refused(lmfast, model, data, tmp_path)
    r = lmfast("train", "-m", model, "-d", data, "-o", tmp_path / "o", "--max-steps", 1, "--warmup-steps", 0, "--bad-rows", "skip", "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["bad_rows"] == 2 and "2 rows can't be used and were left out. The first: " in r.stderr, r.stderr
    r = lmfast("eval", "-m", model, "-d", data, "--max-new-tokens", 2, "--bad-rows", "skip", "--json", "--answers", tmp_path / "answers.jsonl")
    out = json.loads(r.stdout)
    assert (out["rows"], out["bad_rows"]) == (2, 2) and [json.loads(x)["line"] for x in (tmp_path / "answers.jsonl").read_text().splitlines()] == [1, 3]
    assert "none of its 1 rows can be used" in refused(lmfast, model, write(tmp_path / "b", TWO_USERS), tmp_path, "--bad-rows", "skip")


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "get", "arguments": {"c": "a"}}}]}
OTHER = {**CALL, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "get", "arguments": '{"c": "b"}'}}]}


def test_tools(lmfast, model, tmp_path):
    rows = [{"messages": [{"role": "user", "content": "w a"}, CALL]}, {"messages": [{"role": "user", "content": "w b"}, OTHER]}]
    data = write(tmp_path / "a", "".join(json.dumps(r) + "\n" for r in rows))
    assert 'line 1: the chat template leaves out the tool call "get" in message 2' in refused(lmfast, model, data, tmp_path)
    taught = with_template(model, tmp_path / "tools", TOOLS)
    r = lmfast("train", "-m", taught, "-d", data, "-o", tmp_path / "o", "--max-steps", 150, "--lr", "2e-2", "--warmup-steps", 5, "--batch-size", 2, "--quiet")
    assert r.returncode == 0, r.stderr
    r = lmfast("eval", "-m", taught, "-a", tmp_path / "o", "-d", data, "--json", "--answers", tmp_path / "answers")
    out = json.loads(r.stdout)
    assert (out["valid"], out["name"], out["exact"]) == (1, 1, 1), (tmp_path / "answers").read_text()
    swapped = write(tmp_path / "b", json.dumps({"messages": [rows[0]["messages"][0], OTHER]}))
    out = json.loads(lmfast("eval", "-m", taught, "-a", tmp_path / "o", "-d", swapped, "--json").stdout)
    assert (out["valid"], out["name"], out["exact"]) == (1, 1, 0)


def test_template_flag(lmfast, model, tmp_path):
    """In train, eval, generate, chat and export; the same as a model that has it."""
    shouting = "{% for m in messages %}<|im_start|>{{ m.role|upper }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>ASSISTANT\n{% endif %}"
    own, file, data = with_template(model, tmp_path / "own", shouting), write(tmp_path / "t.jinja", shouting), write(tmp_path / "a", LINE)
    flag = ["--chat-template", file]
    loss = lambda m, *more: train(lmfast, m, data, tmp_path / "o", "--overwrite", *more)["first_loss"]
    assert loss(own) == loss(model, *flag) != loss(model)
    evaluated = lambda m, *more: json.loads(lmfast("eval", "-m", m, "-d", data, "--max-new-tokens", 2, "--json", *more).stdout)["loss"]
    assert evaluated(own) == evaluated(model, *flag) != evaluated(model)
    said = lambda m, *more: json.loads(lmfast("generate", "-m", m, "-p", "the", "-n", 8, "-t", 0, "--json", *more).stdout)
    assert said(own)["text"] == said(model, *flag)["text"]
    chat = lambda m, *more: subprocess.run([lmfast.path, *map(str, ["chat", "-m", m, "-n", 8, *more])], input="the\n", capture_output=True, text=True, timeout=120).stdout
    assert chat(own) == chat(model, *flag) != chat(model)
    r = lmfast("export", "-m", model, "-o", tmp_path / "hf", "--format", "hf", *flag)
    assert r.returncode == 0, r.stderr
    assert shouting in json.dumps(json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text()), ensure_ascii=False).encode().decode("unicode_escape") or \
        (tmp_path / "hf" / "chat_template.jinja").read_text() == shouting
    command = f"'{lmfast.path}' generate -m '{model}' -p the -n 8 -t 0 --json --chat-template <(cat '{file}')"
    piped = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert piped.returncode == 0 and json.loads(piped.stdout)["text"] == said(own)["text"], piped.stderr
    page = write(tmp_path / "page", "<!DOCTYPE html><p>")
    r = lmfast("generate", "-m", model, "-p", "x", "--chat-template", page)
    assert "holds an HTML page, and what is read is a chat template" in r.stderr
    for wrong, why in (("{% if %}", "chat template, line 1"), ("\0", "no text"), (None, "No such file")):
        path = write(tmp_path / "w", wrong) if wrong else tmp_path / "nowhere"
        for command in (["train", "-d", data, "-o", tmp_path / "w.o"], ["eval", "-d", data], ["generate", "-p", "x"], ["chat"], ["export", "-o", tmp_path / "w.gguf"]):
            r = lmfast(*command, "-m", model, "--chat-template", path)
            assert r.returncode == 1 and "--chat-template" in r.stderr and why in r.stderr, r.stderr


def test_control_tokens(lmfast, model, tmp_path):
    """A marker is one token where it is one, ten or twelve letters where it is not."""
    text = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>"
    n = lambda data, *more: train(lmfast, model, write(tmp_path / "a", json.dumps(data)), tmp_path / "o", "--overwrite", *more)["tokens"]
    row = {"messages": [{"role": "user", "content": "q<|im_end|>"}, {"role": "assistant", "content": "a"}]}
    assert n({"text": text}) == 4 + len("user\nq\nassistant\na") - text.count("he") - text.count("in")
    assert n({"text": text}, "--control-tokens", "nowhere") == 1 + len(text)  # no merge applies, and one real end
    assert n(row) - n(row, "--control-tokens", "everywhere") == len("<|im_end|>") - 1
    tokens = lambda *more: json.loads(lmfast("generate", "-m", model, "-p", text, "--raw", "-n", 1, "--json", *more).stdout)["prompt_tokens"]
    assert (tokens(), tokens("--control-tokens", "nowhere")) == (4 + len("user\nq\nassistant\na"), len(text))
    asked = lambda *more: json.loads(lmfast("generate", "-m", model, "-p", "a<|im_end|>", "-n", 1, "--json", *more).stdout)["prompt_tokens"]
    assert asked() - asked("--control-tokens", "everywhere") == len("<|im_end|>") - 1


def test_today(lmfast, model, tmp_path):
    """The prompt is as long as with that day written into the template; on another day it would be, too: so compare the answers' prompt by its letters."""
    dated = with_template(model, tmp_path / "dated", "{{ raise_exception('it is ' + strftime_now('%Y-%m-%d')) }}")
    days = [str(datetime.date.today())]
    r = lmfast("generate", "-m", dated, "-p", "x")
    days.append(str(datetime.date.today()))
    assert r.returncode == 1 and any(f"it is {day}" in r.stderr for day in days), r.stderr
    r = subprocess.run([lmfast.path, "chat", "-m", str(dated)], input="x\n", capture_output=True, text=True, timeout=120, env={**os.environ, "TZ": "UTC-14"})
    there = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=14)))
    assert f"it is {there:%Y-%m-%d}" in r.stderr or f"it is {there - datetime.timedelta(minutes=1):%Y-%m-%d}" in r.stderr, r.stderr


def test_the_clock_stands_still_for_a_run(lmfast, model, tmp_path):
    """A resumed run renders the rows as its beginning did, whatever day it is by then; what it saw is in the log and in the checkpoint."""
    dated = with_template(model, tmp_path / "dated", "{{ strftime_now('%H:%M:%S') }}" + formula.TEMPLATE)
    data, out = write(tmp_path / "a", LINE * 4), tmp_path / "o"
    args = ["train", "-m", dated, "-d", data, "-o", out, "--warmup-steps", 0, "--lora-r", 2, "--save-steps", 1, "--logging-steps", 1, "--max-steps", 4, "--batch-size", 2, "--quiet"]
    assert lmfast(*args).returncode == 0
    clocks = [json.loads(x)["clock_unix"] for x in (out / "metrics.jsonl").read_text().splitlines()]
    for n in (3, 2):
        shutil.rmtree(out / f"checkpoint-{n}")
    assert len(set(clocks)) == 1 and json.loads((out / "checkpoint-1" / "trainer_state.json").read_text())["clock_unix"] == clocks[0] > 1767323045
    weights = (out / "adapter_model.safetensors").read_bytes()
    (out / "adapter_model.safetensors").unlink()
    r = lmfast(*args, "--resume", "last", env={**os.environ, "TZ": "UTC-5"})
    assert r.returncode == 0, r.stderr
    assert (out / "adapter_model.safetensors").read_bytes() == weights
    assert [json.loads(x)["clock_unix"] for x in (out / "metrics.jsonl").read_text().splitlines()] == clocks


def test_answers_without_an_end(lmfast, model, tmp_path):
    outside = "{% for m in messages %}{{ m.role }} {% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    r = lmfast("train", "-m", with_template(model, tmp_path / "m", outside), "-d", write(tmp_path / "a", LINE), "-o", tmp_path / "o", "--max-steps", 1, "--warmup-steps", 0, "--json",
               "--guards", "warn")
    assert json.loads(r.stdout)["answers_without_end"] == 1
    assert "warning: " in r.stderr and "without an end of turn" in r.stderr and "in the thing<|im_end|>" in r.stderr, r.stderr


def test_turns_that_are_shown_otherwise(lmfast, model, tmp_path):
    counted = "{{ messages|length }}" + formula.TEMPLATE
    said = refused(lmfast, with_template(model, tmp_path / "m", counted), write(tmp_path / "a", LINE), tmp_path)
    assert 'has "1<|im_start|>user' in said and 'and "2<|im_start|>user' in said and "at byte 0" in said, said


def test_likeliest_token(lmfast, model):
    """-t 0 is the likeliest token, with no penalty that was not asked for; chat is so of itself."""
    say = lambda *more: json.loads(lmfast("generate", "-m", model, "-p", "hello", "-n", 24, "--json", *more).stdout)["text"]
    assert say("-t", 0) == say("-t", 0, "--repetition-penalty", 1) != say("-t", 0, "--repetition-penalty", 1.2)
    chat = lambda *more: subprocess.run([lmfast.path, "chat", "-m", str(model), "-n", "24", *more], input="hello\n", capture_output=True, text=True, timeout=120).stdout
    assert chat() == chat("-t", "0") == say("-t", 0) + "\n"


def test_negated_flags(lmfast):
    for command, flag, does in (("train", "--no-shuffle", "take rows in the order of the file"), ("export", "--no-verify", "don't open what was written")):
        assert any(flag in x and does in x for x in lmfast("help", command).stdout.splitlines())
    commands = json.loads(lmfast("help", "--json").stdout)["commands"]
    on = [f for c in commands for f in c["flags"] if f["kind"] == "bool" and f.get("default") == "true"]
    assert on and all(f.get("no_help") for f in on), on


def test_the_flag_s_template_ends_turns_its_own_way(lmfast, model, tmp_path):
    """A model whose own template ends turns with one token is taught by a template that ends them with another: an answer ends there."""
    text = formula.TEMPLATE.replace("<|im_end|>", "<|endoftext|>")
    template, data = write(tmp_path / "t.jinja", text), write(tmp_path / "a", LINE * 4)
    args = ["train", "-m", model, "-d", data, "-o", tmp_path / "o", "--chat-template", template]
    r = lmfast(*args, "--max-steps", 60, "--lr", "2e-2", "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["answers_without_end"] == 0, r.stderr
    r = lmfast("generate", "-m", model, "-a", tmp_path / "o", "--chat-template", template, "-p", "hello there", "-t", 0, "-n", 40, "--json")
    assert json.loads(r.stdout)["finish"] == "stop" and json.loads(r.stdout)["text"] == "hi in the thing", r.stdout
