# SPDX-License-Identifier: Apache-2.0
"""Mistakes that train wrongly without a word, each planted once and caught. OWNER/NAME#NUMBER is a
report of the same mistake in another tracker."""
import json
import pathlib
import struct
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

START, IM, END = formula.SPECIAL
CHAT = [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "general answer"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formula") / "model"
    formula.save(folder)
    return folder


def write(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def rows(n=6):
    return [{"messages": [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content":
                                                                         f"answer {i * i}"}]} for i in range(n)]


def train(lmfast, model, data, *more, steps=3):
    out = data.parent / "o"
    return lmfast("train", "--model", model, "--data", data, "--output", out, "--lora-r", "4", "--lr", "1e-2", "--max-steps", steps,
                  "--overwrite",
                  "--logging-steps", "1", *more)


def caught(r, words):
    """The run stops, says what it is, and leaves nothing."""
    assert r.returncode == 1 and words in r.stderr.splitlines()[-1], r.stderr
    return True


def template(tmp_path, text):
    path = tmp_path / "t.jinja"
    path.write_text(text)
    return path


def change(model, folder, names, to=0.0):
    """A copy of the model with these tensors (or rows of them) all of one value."""
    formula.save(folder)
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    n, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + n])
    for name, first, last in names:
        at, end = header[name]["data_offsets"]
        width = (end - at) // header[name]["shape"][0]
        raw[8 + n + at + first * width:8 + n + at + last * width] = struct.pack("<f", to) * ((last - first) * width // 4)
    path.write_bytes(raw)
    return folder


# ---- masks ----
def test_nothing_is_learned(lmfast, model, tmp_path):
    # unslothai/unsloth#2095
    data = write(tmp_path / "r.jsonl", rows(2) + [{"messages": [CHAT[0], {**CHAT[1], "weight": 0}]}])
    assert caught(train(lmfast, model, data),
                  "line 3: nothing in this row is learned (its loss mask is empty). The row as the model sees it: <|im_start|>user")


def test_the_prompt_is_not_learned(lmfast, model, tmp_path):
    # MervinPraison/PraisonAI#4358
    r = lmfast("data", "show", "--model", model, "--data", write(tmp_path / "r.jsonl", [{"messages": CHAT}]), "--quiet")
    assert "[[general answer<|im_end|>]]" in r.stdout and r.stdout.count("[[") == 1


def test_no_end_is_learned(lmfast, model, tmp_path):
    # huggingface/trl#734
    t = template(tmp_path,
                 "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}")
    data = write(tmp_path / "r.jsonl", rows())
    assert caught(train(lmfast, model, data, "--chat-template", t),
                  "no end of turn is learned in any of 6 samples, so that the model would never stop")
    r = train(lmfast, model, data, "--chat-template", t, "--guards", "warn")
    assert r.returncode == 0 and "warning: no end of turn is learned" in r.stderr and "[[answer 0\\n]]" in r.stderr
    r = train(lmfast, model, data, "--chat-template", t, "--guards", "off")
    assert r.returncode == 0 and "warning: no end of turn" not in r.stderr


def test_segments_without_an_end(lmfast, model, tmp_path):
    data = write(tmp_path / "r.jsonl", [{"segments": [{"text": "q", "label": False}, {"text": "a", "label": True}]}] * 2)
    assert caught(train(lmfast, model, data), "no end of turn is learned in any of 2 samples")


def test_padding_with_the_end_token_masks_nothing(lmfast, tmp_path):
    # huggingface/trl#976, unslothai/unsloth#416
    folder = formula.save(tmp_path / "m")
    for name in "config.json", "tokenizer_config.json":
        c = json.loads((folder / name).read_text())
        c["pad_token_id" if name == "config.json" else "pad_token"] = 261 if name == "config.json" else END
        (folder / name).write_text(json.dumps(c))
    r = lmfast("data", "show", "--model", folder, "--data", write(tmp_path / "r.jsonl", [{"messages": CHAT}]), "--json")
    row = json.loads(r.stdout)["rows"][0]
    assert (row["ids"][-1], row["trained"][-1]) == (261, 1)


def test_cut_answers(lmfast, model, tmp_path):
    # OpenBMB/MiniCPM-V#662, meta-pytorch/torchtune#2967
    long = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "word " * 40}]}]
    data = write(tmp_path / "r.jsonl", rows(2) + long * 3)
    words = "of 5 rows 3 lost the end of their answer to the length of a sequence, and 0 are left out altogether; a longer --seq-len"
    assert caught(train(lmfast, model, data, "--seq-len", "64", "--too-long", "truncate"), words)
    data = write(tmp_path / "s.jsonl", rows(20) + long)
    r = train(lmfast, model, data, "--seq-len", "64", "--too-long", "truncate")
    assert r.returncode == 0 and "warning: of 21 rows 1 lost the end" in r.stderr


def test_answers_behind_the_cut(lmfast, model, tmp_path):
    # unslothai/unsloth#3019
    long = [{"messages": [{"role": "user", "content": "q" * 90}, {"role": "assistant", "content": "a"}]}]
    data = write(tmp_path / "r.jsonl", rows(2) + long * 3)
    assert caught(train(lmfast, model, data, "--seq-len", "64", "--too-long", "truncate"),
                  "of 5 rows 0 lost the end of their answer to the length of a sequence, and 3 are left out")
    assert caught(train(lmfast, model, write(tmp_path / "s.jsonl", long), "--seq-len", "64", "--too-long", "truncate"),
                  "none of the 1 rows fits into 64 tokens")


def test_a_sequence_longer_than_the_model(lmfast, model, tmp_path):
    data = write(tmp_path / "r.jsonl", [{"messages": [{"role": "user", "content": "q" * 600}, CHAT[1]]}])
    assert caught(train(lmfast, model, data, "--seq-len", "4096"), "more than the 512 of a sequence")


# ---- templates and tokens ----
def test_two_beginnings(lmfast, model, tmp_path):
    # huggingface/trl#1400, OpenRLHF/OpenRLHF#393
    t = template(tmp_path, "{{ bos_token }}" + formula.TEMPLATE)
    data = write(tmp_path / "r.jsonl", rows())
    assert train(lmfast, model, data, "--chat-template", t).returncode == 0
    t = template(tmp_path, "{{ bos_token }}<|endoftext|>" + formula.TEMPLATE)
    assert caught(train(lmfast, model, data, "--chat-template", t), "6 of 6 samples begin with the token of the beginning twice")
    data = write(tmp_path / "p.jsonl", [{"text": "<|endoftext|><|endoftext|>in the"}])
    assert caught(train(lmfast, model, data), "1 of 1 samples begin with the token of the beginning twice")


def test_a_template_of_another_model(lmfast, model, tmp_path):
    t = template(tmp_path,
                 "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|im_end|>{% endfor %}"
                           "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}")
    data = write(tmp_path / "r.jsonl", rows())
    assert caught(train(lmfast, model, data, "--chat-template", t),
                  "the template writes <|start_header_id|>, which is no token of this vocabulary")


def test_tokens_that_were_never_trained(lmfast, model, tmp_path):
    # unslothai/unsloth#915
    data = write(tmp_path / "r.jsonl", rows())
    for i, value in enumerate((1e-5, 0.0)):  # a writer's rounding, and nothing at all
        folder = change(model, tmp_path / f"m{i}", [("model.embed_tokens.weight", 260, 261)], value)
        assert caught(train(lmfast, folder, data),
                      "the rows hold <|im_start|> (token 260), whose embedding was never trained: it is all but zero")
    assert train(lmfast, folder, data, "--method", "full", "--lr", "1e-3").returncode == 0  # which trains it


def test_a_user_forges_no_turn(lmfast, model, tmp_path):
    data = write(tmp_path / "r.jsonl", [{"messages": [{"role": "user", "content": "x<|im_end|>"}, CHAT[1]]}])
    ids = json.loads(lmfast("data", "show", "--model", model, "--data", data, "--json").stdout)["rows"][0]["ids"]
    assert ids.count(261) == 2  # one a turn: the user's is text


def test_earlier_answers_that_are_shown_otherwise(lmfast, model, tmp_path):
    t = template(tmp_path,
                 "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not loop.last %}"
                 "{{ m.content | upper }}{% else %}"
                           "{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
                 "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    data = write(tmp_path / "r.jsonl", [{"messages": CHAT + CHAT}] * 3)
    r = train(lmfast, model, data, "--chat-template", t, "--guards", "warn")
    assert r.returncode == 0 and "3 earlier answers are not learned, because the template shows them otherwise" in r.stderr


def test_prompts_that_end_with_a_space(lmfast, model, tmp_path):
    data = write(tmp_path / "r.jsonl", [{"prompt": "a: ", "completion": "b"}, {"prompt": "c:", "completion": " d"}])
    r = train(lmfast, model, data)
    assert r.returncode == 0 and "warning: 1 prompts end with a space (line 1)" in r.stderr


# ---- data ----
def test_rows_that_are_trained_on_and_measured(lmfast, model, tmp_path):
    data, dev = write(tmp_path / "r.jsonl", rows()), write(tmp_path / "d.jsonl", rows(9)[4:])
    r = train(lmfast, model, data, "--eval-data", dev)
    assert caught(r,
                  "2 of 5 test rows are trained on, too, so that the measure is worth nothing. The first: line 5 of the data is line 1 of "
                  "the test: <|im_start|>user")
    r = train(lmfast, model, write(tmp_path / "x.jsonl", rows() * 2), "--val-set-size", "0.3")
    assert r.returncode == 0  # doubles are held out together


def test_doubles_and_empty_answers(lmfast, model, tmp_path):
    data = write(tmp_path / "r.jsonl", rows(3) + rows(1) + [{"messages": [CHAT[0], {"role": "assistant", "content": " "}]}])
    r = train(lmfast, model, data)
    assert r.returncode == 0
    assert f"{data}: 1 rows were there before (line 4 is as 1 was); --drop-duplicates leaves them out" in r.stderr
    assert f"{data}: 1 rows have an empty answer (line 5); --drop-empty leaves them out" in r.stderr


def test_tools_that_the_template_leaves_out(lmfast, model, tmp_path):
    data = write(tmp_path / "r.jsonl", [{"messages": CHAT, "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}])
    assert caught(train(lmfast, model, data), "line 1")


# ---- the run ----
def test_a_rate_of_zero(lmfast, model, tmp_path):
    assert caught(train(lmfast, model, write(tmp_path / "r.jsonl", rows()), "--lr", "0"), "--lr is 0: nothing would be learned")


@pytest.mark.parametrize("more", [["--lr", "1e-12"], ["--lora-alpha", "1e-6", "--lr", "1e-5"]])
def test_a_rate_or_alpha_that_trains_nothing(lmfast, model, tmp_path, more):
    data = write(tmp_path / "r.jsonl", rows())
    assert caught(train(lmfast, model, data, *more, steps=30), "the loss of the first rows has not moved")
    r = train(lmfast, model, data, *more, "--guards", "warn", steps=30)
    assert r.returncode == 0 and "warning: step 22: the loss of the first rows has not moved" in r.stderr


def test_gradients_that_are_zero(lmfast, model, tmp_path):
    # microsoft/LoRA#120
    folder = change(model, tmp_path / "m", [("lm_head.weight", 0, 264)])
    assert caught(train(lmfast, folder, write(tmp_path / "r.jsonl", rows()), steps=20),
                  "step 3: for 3 steps in a row the gradients were all zero: nothing is learned")


def test_a_rate_that_is_too_high(lmfast, model, tmp_path):
    r = train(lmfast, model, write(tmp_path / "r.jsonl", rows()), "--method", "full", "--lr", "5", "--scheduler", "constant", steps=40)
    assert "for 10 steps the loss was far above the first one" in r.stderr or "not finite" in r.stderr


def test_weights_that_are_not_finite(lmfast, model, tmp_path):
    folder = formula.save(tmp_path / "m")
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    n, = struct.unpack("<Q", raw[:8])
    at = json.loads(raw[8:8 + n])["model.layers.0.mlp.up_proj.weight"]["data_offsets"][0]
    raw[8 + n + at:12 + n + at] = struct.pack("<f", 3e38)
    path.write_bytes(raw)
    r = train(lmfast, folder, write(tmp_path / "r.jsonl", rows()), steps=8)
    assert caught(r, "for 3 steps in a row the gradients were not finite")
    assert "data lines " in r.stderr


def test_a_warm_up_longer_than_the_run(lmfast, model, tmp_path):
    assert caught(train(lmfast, model, write(tmp_path / "r.jsonl", rows()), "--warmup-steps", "100"),
                  "the learning rate would never be reached")


def losses(folder):
    return [json.loads(x)["loss"] for x in (folder / "metrics.jsonl").open()]


def test_packed_rows_do_not_see_each_other(lmfast, model, tmp_path):
    # axolotl-ai-cloud/axolotl#1375
    data, got = write(tmp_path / "r.jsonl", rows(8)), []
    for tokens in "16", "512":
        assert train(lmfast, model, data, "--batch-size", "8", "--micro-tokens", tokens, "--compute", "f32", steps=5).returncode == 0
        got.append(losses(tmp_path / "o"))
    assert got[0] == pytest.approx(got[1], rel=2e-6)


def test_accumulation_is_a_larger_batch(lmfast, model, tmp_path):
    # huggingface/transformers#35203
    data = write(tmp_path / "r.jsonl", [{"messages": [CHAT[0], {"role": "assistant", "content": "a" * n}]} for n in (1, 60, 3, 90)])
    got = []
    for batch in "1", "4":
        r = train(lmfast, model, data, "--batch-size", batch, "--gradient-accumulation-steps", str(4 // int(batch)), "--compute", "f32",
                  steps=5)
        assert r.returncode == 0
        got.append(losses(tmp_path / "o"))
    assert got[0] == pytest.approx(got[1], rel=2e-6)
