# SPDX-License-Identifier: Apache-2.0
"""Hugging Face folders as transformers saves them, through every command that reads one. tools/oracle/folders.py compares ids with transformers."""
import json
import pathlib
import resource
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "golden"))
import formula  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    """Saves the formula model with keys of its files changed."""
    def save(**files):
        out = formula.save(tmp_path / "model", layers=1, tied=True) or tmp_path / "model"
        for name, change in files.items():
            path = tmp_path / "model" / {"template": "chat_template.jinja"}.get(name, name + ".json")
            if isinstance(change, str):
                path.write_text(change, "utf-8")
            else:
                old = json.loads(path.read_text("utf-8")) if path.exists() else {}
                path.write_text(json.dumps({**old, **change}), "utf-8")
        return out
    return save


def info(lmfast, model):
    r = lmfast("info", model, "--json")
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def ends(lmfast, model):
    return {t["id"] for t in info(lmfast, model)["tokenizer"]["ends_answer"]}


def test_broken_template_fails_what_renders_only(lmfast, folder, tmp_path):
    model = folder(template="{% for m in messages %}{{ m['content'] }")
    text = tmp_path / "text.txt"
    text.write_text("the heart in the hills " * 60, "utf-8")
    assert info(lmfast, model)["chat_template"] is False
    for args in (["generate", "-m", model, "--raw", "-p", "he", "-n", "2"], ["eval", "-m", model, "--text", text], ["export", "-m", model,
        "-o", tmp_path / "out.gguf"],
                 ["export", "-m", model, "-o", tmp_path / "out", "-f", "hf"]):
        r = lmfast(*args)
        assert r.returncode == 0, (args, r.stderr)
    assert (tmp_path / "out" / "chat_template.jinja").read_text("utf-8") == "{% for m in messages %}{{ m['content'] }"
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 4, "utf-8")
    for args in (["generate", "-m", model, "-p", "he", "-n", "2"], ["chat", "-m", model], ["train", "-m", model, "-d", rows, "-o",
        tmp_path / "t", "--max-steps", "1"]):
        r = lmfast(*args)
        assert r.returncode != 0 and "chat template can't be used" in r.stderr and r.stderr.count("\n") == 1, (args, r.stderr)


def test_number_beyond_integers_in_a_key_that_nobody_reads(lmfast, folder):
    assert info(lmfast, folder(tokenizer_config={"model_max_length": 1000000000000000019884624838656}))["kind"] == "hf"


def test_three_ends_come_back_from_gguf_and_from_a_folder(lmfast, folder, tmp_path):
    model = folder(generation_config={"eos_token_id": [256, 257, 261]}, template="{{ messages[0].content }}")
    assert ends(lmfast, model) == {256, 257, 261}
    for form, out in (("gguf", tmp_path / "a.gguf"), ("hf", tmp_path / "a")):
        r = lmfast("export", "-m", model, "-o", out, "-f", form)
        assert r.returncode == 0, r.stderr
        assert ends(lmfast, out) == {256, 257, 261}
    assert json.loads((tmp_path / "a" / "generation_config.json").read_text("utf-8"))["eos_token_id"] == [256, 257, 261]


def test_turn_end_of_the_template_ends_an_answer_in_gguf_too(lmfast, folder, tmp_path):
    model = folder(generation_config={"eos_token_id": 259}, tokenizer_config={"eos_token": "<|endoftext|>"})
    assert ends(lmfast, model) == {259, 261}
    r = lmfast("export", "-m", model, "-o", tmp_path / "a.gguf")
    assert r.returncode == 0, r.stderr
    assert ends(lmfast, tmp_path / "a.gguf") == {259, 261}


def test_bos_of_the_post_processor(lmfast, folder, tmp_path):
    piece = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    post = {"type": "TemplateProcessing", "single": [piece("<|endoftext|>"), {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
            "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [259], "tokens": ["<|endoftext|>"]}}}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = folder(tokenizer={"post_processor": {"type": "Sequence", "processors": [level, post]}},
        tokenizer_config={"add_bos_token": False, "bos_token": "<|endoftext|>"})
    for form, out in ((None, model), ("gguf", tmp_path / "a.gguf"), ("hf", tmp_path / "a")):
        if form:
            r = lmfast("export", "-m", model, "-o", out, "-f", form)
            assert r.returncode == 0, r.stderr
        tokenizer = info(lmfast, out)["tokenizer"]
        assert tokenizer["add_bos"] is True and tokenizer["special"]["bos"]["id"] == 259, (out, tokenizer)


def test_rows_of_a_padded_embedding_have_no_text(lmfast, folder):
    """The formula model has 264 rows and 262 tokens; sampling at random meets the others."""
    model = folder()
    for seed in range(1, 6):
        r = lmfast("generate", "-m", model, "--raw", "-p", "ab", "-n", 400, "-t", 1, "--seed", seed, "--json")
        assert r.returncode == 0 and "text" in json.loads(r.stdout), r.stderr


def named(model):
    """Chat templates by name, as transformers finds them: files are all that counts where there are any."""
    files = {"default": model / "chat_template.jinja", **{p.stem: p for p in (model / "additional_chat_templates").glob("*.jinja")}}
    if found := {k: p.read_text("utf-8") for k, p in files.items() if p.exists()}:
        return found
    t = json.loads((model / "tokenizer_config.json").read_text("utf-8")).get("chat_template", {})
    return {"default": t} if isinstance(t, str) else {x["name"]: x["template"] for x in t}


@pytest.mark.parametrize("names", [["default", "tool_use"], ["tool_use", "rag"], ["default"], ["a b", "tool_use"]])
@pytest.mark.parametrize("as_files", [False, True])
def test_templates_by_name_are_kept(lmfast, folder, tmp_path, names, as_files):
    texts = {n: "{{ messages[0].content }}" + n for n in names}
    model = folder(tokenizer_config={"chat_template": [{"name": n, "template": t} for n, t in texts.items()]})
    if as_files:
        (model / "additional_chat_templates").mkdir()
        for n, t in texts.items():
            (model / ("chat_template.jinja" if n == "default" else f"additional_chat_templates/{n}.jinja")).write_text(t)
    assert named(model) == texts
    shown = info(lmfast, model)
    broken = shown.get("chat_template_error", "")
    assert shown["chat_template"] == ("default" in names) != ("none of the name default" in broken)
    r = lmfast("generate", "-m", model, "-p", "ab", "-n", 1)
    assert (r.returncode == 0) == ("default" in names) and ("default" in names or "--chat-template" in r.stderr), r.stderr
    first, second = tmp_path / "b.gguf", tmp_path / "c.gguf"
    for form, out, source in (("hf", "a", model), ("gguf", "b.gguf", model), ("gguf", "c.gguf", first), ("hf", "d", second)):
        r = lmfast("export", "-m", source, "-o", tmp_path / out, "-f", form)
        assert r.returncode == 0, r.stderr
        assert ("1 chat templates with names that are no word" in r.stderr) == (out == "b.gguf" and "a b" in names), r.stderr
    assert named(tmp_path / "a") == texts
    assert named(tmp_path / "d") == {n: t for n, t in texts.items() if " " not in n}
    r = lmfast("export", "-m", model, "-o", tmp_path / "e", "-f", "hf", "--chat-template", "-", input="{{ 1 }}")
    assert r.returncode == 0 and named(tmp_path / "e") == {"default": "{{ 1 }}"}, r.stderr


def test_a_template_that_is_no_text_fails_what_renders_only(lmfast, folder, tmp_path):
    model = folder(template="x")
    (model / "chat_template.jinja").write_bytes(b"{{ messages }}\xff")
    assert "not UTF-8" in info(lmfast, model)["chat_template_error"]
    assert lmfast("generate", "-m", model, "--raw", "-p", "he", "-n", 2).returncode == 0
    r = lmfast("generate", "-m", model, "-p", "he")
    assert r.returncode == 1 and "chat template can't be used: its file is not UTF-8 text" in r.stderr
    for form in ("gguf", "hf"):
        r = lmfast("export", "-m", model, "-o", tmp_path / form, "-f", form)
        assert r.returncode == 0 and "the chat template, which can't be read" in r.stderr, r.stderr


def test_a_deep_model_is_planned_in_linear_time(lmfast, tmp_path, monkeypatch):
    """Layers of width 4: nothing but their number costs time. Four times as many take less than twelve times as long."""
    for name, value in (("D", 4), ("H", 1), ("K", 1), ("C", 4), ("F", 8)):
        monkeypatch.setattr(formula, name, value)
    took = []
    for layers in (256, 1024):
        model = formula.save(tmp_path / f"m{layers}", layers=layers)
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        r = lmfast("plan", "-m", model, "--rows", 4, "--seq-len", 16, "--json")
        took.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
        assert r.returncode == 0 and json.loads(r.stdout)["largest_at_peak"][0]["tensors"] >= layers, r.stderr
    assert took[1] < 12 * took[0] or took[1] < 1, took


def test_what_gguf_has_no_place_for_is_said(lmfast, folder, tmp_path):
    t = formula.tokenizer()
    t["added_tokens"][2]["lstrip"] = True
    model = folder(tokenizer={"added_tokens": t["added_tokens"], "normalizer": {"type": "NFC"}})
    r = lmfast("export", "-m", model, "-o", tmp_path / "a.gguf")
    assert r.returncode == 0 and "verified" in r.stdout
    assert "has no place for" in r.stderr and "normalizer" in r.stderr and "<|im_end|>" in r.stderr, r.stderr
    r = lmfast("export", "-m", model, "-o", tmp_path / "a", "-f", "hf", "--json")
    assert r.returncode == 0 and json.loads(r.stdout)["losses"] == ""
    again = json.loads((tmp_path / "a" / "tokenizer.json").read_text("utf-8"))
    assert again["normalizer"] == {"type": "NFC"} and [a["lstrip"] for a in again["added_tokens"]] == [False, False, True]


def test_wordpiece_is_read_and_not_exported(lmfast, folder, tmp_path):
    words = ["[UNK]", "[CLS]", "[SEP]", "the", "un", "##able"]
    special = [{"id": i, "content": words[i], "special": True, "normalized": False} for i in range(3)]
    model = folder(tokenizer_config="{}", generation_config="{}", config={"eos_token_id": None}, tokenizer={
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {w: i for i, w in enumerate(words)}}, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer"}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2]}})
    t = info(lmfast, model)["tokenizer"]
    assert t["model"] == "WordPiece" and t["tokens"] == 6 and t["special"]["bos"]["text"] == "[CLS]" and t["add_bos"] is True
    for name, form in ("a.gguf", "gguf"), ("a", "hf"), ("b", "onnx"):
        r = lmfast("export", "-m", model, "-o", tmp_path / name, "-f", form)
        assert r.returncode != 0 and "WordPiece's, which export does not write" in r.stderr, (form, r.stderr)
        assert not (tmp_path / name).exists()
