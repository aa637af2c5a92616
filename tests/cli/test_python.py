# SPDX-License-Identifier: Apache-2.0
"""The Python package over the library: equal to the command, exceptions with the C sentence, no crash whatever is given."""
import ctypes
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from conftest import BUILD, ROOT
from test_generate import write_gguf
from test_train import ROWS, digest, model  # noqa: F401  (a fixture)

pytestmark = pytest.mark.skipif("san" in BUILD.name, reason="a sanitized library wants its runtime before Python's")
sys.path.insert(0, str(BUILD / "python"))
sys.path.insert(0, str(ROOT / "tools"))
RECIPE = dict(batch_size=8, lr=1e-3, lora_r=16, lora_alpha=32, warmup_steps=5, scheduler="linear", min_lr_ratio=0.1, weight_decay=0.01,
              max_grad_norm=1.0,
              seed=0)  # of tools/demo


@pytest.fixture(scope="session")
def lm():
    import lmfast
    return lmfast


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_gguf(path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.gguf"
    write_gguf(path, template=False)
    return path


@pytest.fixture
def small(lm, tiny):
    with lm.load_model(tiny, temperature=0, max_tokens=24) as m:
        yield m


def python(code, *arguments, **options):
    """Another interpreter with the package on its path."""
    options.setdefault("timeout", 120)
    env = {**os.environ, "PYTHONPATH": str(BUILD / "python")}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=env, **options)


# ---- the layer itself ----
def test_defaults_are_the_commands(lm, lmfast):
    """The library's defaults of an answer are those that `lmfast help generate` prints."""
    from lmfast import _abi, model as of_models
    commands = json.loads(lmfast("help", "--json").stdout)["commands"]
    flags = {f["name"]: f.get("default") for f in next(c for c in commands if c["name"] == "generate")["flags"]}
    o = of_models.options(_abi.lmfast_gen_opts, "lmfast_gen_opts_init")
    for name, value in (("max-tokens", o.max_tok), ("temperature", o.temperature), ("top-k", o.top_k), ("top-p", o.top_p),
                        ("min-p", o.min_p), ("repetition-penalty", o.repetition_penalty)):
        assert float(flags[name] or 0) == pytest.approx(value), name


def test_prototypes_are_the_compiler_s(lm):
    """Place and size of every member of every struct, and every constant, as the C compiler has them."""
    import check_abi
    import headers
    from lmfast import _abi
    api = headers.read()
    layout = check_abi.sizes(api, ROOT)
    assert len(api.structs) > 10
    for name, item in api.structs.items():
        kind = getattr(_abi, name)
        assert ctypes.sizeof(kind) == layout[name][1], name
        for _, member, _, _ in item.members:
            field = getattr(kind, member)
            assert (field.offset, field.size) == layout[f"{name}.{member}"], f"{name}.{member}"
    for name, value in check_abi.constants(api).items():
        assert getattr(_abi, name.removeprefix("LMFAST_")) == value
    assert set(_abi.FUNCTIONS) == set(api.functions)


def test_an_exception_for_every_status(lm):
    from lmfast import _abi, errors
    statuses = {n: v for n, v in vars(_abi).items() if n.startswith("E_")}
    assert {c.name: s for s, c in errors.BY_STATUS.items()} == statuses
    assert issubclass(errors.ArgumentError, ValueError) and issubclass(errors.NotFoundError, FileNotFoundError)


def test_import_is_quick_and_loads_nothing():
    r = python("import sys, time; t = time.process_time(); import lmfast; s = time.process_time() - t\n"
               "assert 'ctypes' not in sys.modules and 'numpy' not in sys.modules; assert 'train' in dir(lmfast); print(s)\n"
               "t = time.process_time(); lmfast.load_model; lmfast.__version__; print(time.process_time() - t)")
    assert r.returncode == 0 and all(float(s) < 0.1 for s in r.stdout.split()), r.stderr + r.stdout


def test_every_public_name_is_there(lm):
    for name in lm.__all__:
        assert getattr(lm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lm.nothing


# ---- writing ----
def test_generate_says_what_the_command_says(lm, lmfast, small, tiny):
    for more, values in (([], {}), (["--raw"], {"raw": True}), (["-s", "be brief"], None)):
        c = lmfast("generate", "-m", tiny, "-p", "hello there", "-t", 0, "-n", 24, "--json", *more)
        want = json.loads(c.stdout)
        if values is None:
            got = small.chat([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello there"}])
        else:
            got = small.generate("hello there", **values)
        assert got == want["text"] and got.finish == want["finish"]
        assert (got.prompt_tokens, got.completion_tokens) == (want["prompt_tokens"], want["completion_tokens"])


def test_sampled_answers_are_the_command_s(lmfast, small, tiny):
    c = lmfast("generate", "-m", tiny, "-p", "hello", "-t", 1.2, "-n", 24, "--seed", 7, "--json")
    assert small.generate("hello", temperature=1.2, seed=7) == json.loads(c.stdout)["text"]
    assert small.generate("hello", temperature=1.2, seed=8) != json.loads(c.stdout)["text"]


def test_stream_is_the_answer_in_whole_characters(small):
    values = dict(seed=3, temperature=2, max_tokens=400, ignore_eos=True)
    stream = small.stream("hello", **values)
    pieces = list(stream)
    assert len(pieces) > 1 and all(pieces) and "".join(pieces) == stream.answer == small.generate("hello", **values)
    assert list(stream) == [] and stream.read() == stream.answer


def test_stop_texts(small):
    whole = small.generate("hello", max_tokens=60)
    stop = whole[10:13]
    cut = small.generate("hello", max_tokens=60, stop=["\x01never", stop])
    assert cut == whole[:whole.index(stop)] and cut.finish == "stop"
    assert small.generate("hello", max_tokens=60, stop=stop) == cut


def test_answers_that_fit(small):
    import re
    assert re.fullmatch("[0-9]{3}-[a-c]+", small.generate("x", regex="[0-9]{3}-[a-c]{1,4}", temperature=1))
    assert small.generate("x", choices=["red", "blue"]) in ("red", "blue")
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"],
              "additionalProperties": False}
    assert 0 <= json.loads(small.generate("x", schema=schema, temperature=1))["n"] <= 9
    assert small.generate("x", grammar='root ::= "ab" | "cd"') in ("ab", "cd")


def test_conversation_remembers_and_reads_only_what_is_new(small):
    chat = small.conversation("You are terse.")
    first = chat.ask("hello")
    second = chat.ask("and?")
    assert [m["role"] for m in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert chat.messages[2]["content"] == first and second.cached_tokens > 20
    assert second == small.chat(chat.messages[:4])
    with pytest.raises(ValueError, match="text is empty"):
        chat.ask("")
    assert len(chat.messages) == 5
    chat.reset()
    assert [m["role"] for m in chat.messages] == ["system"] and chat.ask("hello") == first


def test_a_stream_that_is_left_ends_its_answer(small):
    stream = small.stream("hello", max_tokens=150, ignore_eos=True)
    next(stream)
    stream.close()
    assert small.generate("hello") == small.generate("hello")
    chat = small.conversation()
    left = chat.stream("hello", max_tokens=150, ignore_eos=True)
    part = next(left)
    del left
    chat.ask("again")
    assert chat.messages[1]["content"].startswith(part) and len(chat.messages) == 4


def test_tokenizer_goes_there_and_back(small):
    tok = small.tokenizer
    for text in ("", "hello", "Grüße, 世界 🙂", "a\0b", "x" * 100000):
        assert tok.decode(tok.encode(text)) == text
    end = tok.token_id("<|im_end|>")
    assert tok.encode("<|im_end|>",
                      control_tokens=True) == [end] and end not in tok.encode("<|im_end|>") and tok.token_id("nothing of it") is None
    assert tok.decode([end], skip_special_tokens=True) == "" and tok.eos_token_id == end and tok.bos_token_id is None
    assert small.apply_chat_template([{"role": "user", "content": "hi"}]) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    text = small.apply_chat_template([{"role": "user", "content": "hi"}])
    assert small.generate(tok.encode(text, control_tokens=True)) == small.generate("hi")


def test_threads_write_together(small):
    want = {i: small.generate(f"hello {i}", seed=i, temperature=1) for i in range(8)}
    got, failed = {}, []

    def ask(i):
        try:
            for _ in range(3):
                got[i] = small.generate(f"hello {i}", seed=i, temperature=1)
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert not failed and got == want


def test_without_a_chat_template(lm, plain):
    with lm.load_model(plain, temperature=0, max_tokens=8) as m:
        assert m.generate("hello") == m.generate("hello", raw=True)
        with pytest.raises(lm.UnsupportedError, match="no chat template"):
            m.chat([{"role": "user", "content": "hi"}])
        with pytest.raises(lm.UnsupportedError, match="no chat template"):
            m.conversation()


# ---- what is refused ----
@pytest.mark.parametrize("values, kind, words", [
    (dict(max_tokens=0), ValueError, "max_tok is 0"),
    (dict(max_tokens=-1), ValueError, "max_tok is -1"),
    (dict(max_tokens=2**31), ValueError, "max_tokens is 2147483648; allowed is"),
    (dict(max_tokens="many"), ValueError, "max_tokens must be an int, not str"),
    (dict(max_tokens=True), ValueError, "max_tokens must be an int, not bool"),
    (dict(temperature=-0.5), ValueError, "temperature -0.5"),
    (dict(temperature=float("nan")), ValueError, "temperature is not a number"),
    (dict(temperature=float("inf")), ValueError, "temperature inf"),
    (dict(top_p=0), ValueError, "top_p 0"),
    (dict(top_p=1.5), ValueError, "top_p 1.5"),
    (dict(top_k=-1), ValueError, "top_k -1"),
    (dict(seed=-1), ValueError, "seed is -1"),
    (dict(stop=""), ValueError, "stop text 1 is empty"),
    (dict(stop=["a\0b"]), ValueError, "U+0000"),
    (dict(stop=["\ud800"]), ValueError, "no valid text"),
    (dict(stop=[3]), ValueError, "stop must be a str, not int"),
    (dict(stop=["x"] * 17), ValueError, "at most 16"),
    (dict(regex="("), ValueError, "a group without its end"),
    (dict(schema="{"), ValueError, "json_schema is no JSON"),
    (dict(schema={"type": "x"}), ValueError, "names no type"),
    (dict(regex="a", choices=["b"]), ValueError, "give one of"),
    (dict(choices=[]), ValueError, "nothing to choose from"),
    (dict(regex="[0-9]{50}", max_tokens=4), ValueError, "shortest answer that fits"),
    (dict(temprature=0), TypeError, "did you mean 'temperature'"),
])
def test_wrong_options(small, values, kind, words):
    with pytest.raises(kind, match=words.replace("(", r"\(").replace("+", r"\+")):
        small.generate("hello", **values)
    assert small.generate("hello")  # goes on


@pytest.mark.parametrize("prompt, kind, words", [
    ("\ud800", ValueError, "no valid|can't be written"),
    ([], ValueError, "list of messages"),
    ([{"role": "user"}], ValueError, "message 1 has no content"),
    ([{"content": "x"}], ValueError, "message 1 has no role"),
    ([{"role": 3, "content": "x"}], ValueError, "message 1 has no role"),
    ([{"role": "user", "content": object()}], ValueError, "can't be written as JSON"),
    ([10**6], ValueError, "1000000"),
    ([-1], ValueError, "-1"),
    ([1.5], ValueError, "must be an int"),
    (["x"], ValueError, "must be an int"),
    ("x" * 5000, Exception, "context holds 512"),
])
def test_wrong_prompts(small, prompt, kind, words):
    with pytest.raises(kind, match=words):
        small.generate(prompt)
    assert small.generate("hello")


def test_wrong_models(lm, tiny, tmp_path):
    (tmp_path / "junk.gguf").write_bytes(b"GGUF\3\0\0\0" + b"\xff" * 100)
    (tmp_path / "empty").mkdir()
    for path, kind, words in (("nothing.gguf", FileNotFoundError, "nothing.gguf"), (tmp_path / "junk.gguf", ValueError, "junk.gguf"),
                              (tmp_path / "empty", lm.LMFastError, "empty"), ("a\0b", ValueError, "U\\+0000"), (3.5, ValueError,
                                  "must be a path"),
                              ("", ValueError, "no path")):
        with pytest.raises(kind, match=words):
            lm.load_model(path)
    for values, words in ((dict(context_tokens=10**6), "made for 512"), (dict(context_tokens=-1), "context is -1"), (dict(max_sessions=0),
        "max_s"),
                          (dict(device="tpu"), "tpu"), (dict(adapter=tmp_path / "none"), "none"), (dict(adapter=tmp_path / "empty"),
                              "empty")):
        with pytest.raises(lm.LMFastError, match=words):
            lm.load_model(tiny, **values).generate("x")
    with pytest.raises(ValueError, match="compute is 'slow'"):
        lm.load_model(tiny, compute="slow")
    with pytest.raises(ValueError, match="threads is -1"):
        lm.set_threads(-1)
    with pytest.raises(ValueError, match='isa is "mmx"'):
        lm.set_isa("mmx")


def test_closed_handles(lm, tiny):
    m = lm.load_model(tiny, temperature=0, max_tokens=8)
    tok, chat, stream = m.tokenizer, m.conversation(), m.stream("hello", max_tokens=300, ignore_eos=True)
    want = m.tokenizer.encode("abc")
    m.close()
    m.close()
    for call in (lambda: m.generate("x"), lambda: m.tokenizer, lambda: m.conversation()):
        with pytest.raises(ValueError, match="this Model is closed"):
            call()
    assert tok.encode("abc") == want and len(stream.read()) > 0 and chat.ask("hi")  # what was made from it keeps it alive
    chat.close()
    with pytest.raises(ValueError, match="this Chat is closed"):
        chat.ask("hi")


# ---- training and export ----
def test_train_gives_the_command_s_adapter(lm, lmfast, model, tmp_path):  # noqa: F811
    """The recipe of make demo, bit by bit, from a path and from dicts."""
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in RECIPE.items()]
    c = lmfast("train", "-m", model, "-d", ROWS, "-o", tmp_path / "c", "--max-steps", 6, *flags, "--quiet")
    assert c.returncode == 0, c.stderr
    rows = [json.loads(line) for line in ROWS.open()]
    seen = []
    result = lm.train(model=model, dataset=ROWS, output_dir=tmp_path / "p", max_steps=6, on_step=seen.append, **RECIPE)
    lm.train(lm.load_model(model), (r for r in rows), tmp_path / "d", max_steps=6, **RECIPE)
    assert digest(tmp_path / "c") == digest(tmp_path / "p") == digest(tmp_path / "d")
    assert result.steps == 6 and [s.step for s in seen] == [1, 2, 3, 4, 5, 6] and result.final_loss == seen[-1].loss
    assert (tmp_path / "c" / "adapter_config.json").read_text() == (tmp_path / "p" / "adapter_config.json").read_text()
    assert 'data: ["dataset"]' in (tmp_path / "d" / "lmfast_config.yaml").read_text() and (tmp_path / "d" / "metrics.jsonl").is_file()


def test_the_adapter_is_used_and_exported(lm, lmfast, model, tmp_path):  # noqa: F811
    lm.train(model, ROWS, tmp_path / "a", max_steps=8, lr=1e-2, batch_size=3)
    said = lmfast("generate", "-m", model, "-a", tmp_path / "a", "-p", "hello", "-t", 0, "-n", 16, "--json", "--raw")
    with lm.load_model(model, adapter=tmp_path / "a", temperature=0, max_tokens=16) as m:
        assert m.generate("hello", raw=True) == json.loads(said.stdout)["text"]
    seen = []
    report = lm.export(model, tmp_path / "p.gguf", adapter=tmp_path / "a", quant="f16", progress=lambda done, total: seen.append((done,
        total)))
    c = lmfast("export", "-m", model, "-a", tmp_path / "a", "-o", tmp_path / "c.gguf", "--quant", "f16")
    assert c.returncode == 0 and (tmp_path / "p.gguf").read_bytes() == (tmp_path / "c.gguf").read_bytes()
    assert report.verified and report.n_tensors == len({d for d, _ in seen if d}) and seen[-1][0] == seen[-1][1]
    with pytest.raises(FileExistsError, match="p.gguf"):
        lm.export(model, tmp_path / "p.gguf")
    with pytest.raises(lm.UnsupportedError, match="q99"):
        lm.export(model, tmp_path / "x.gguf", quant="q99")

    def stop(done, total):
        raise ZeroDivisionError("enough")
    with pytest.raises(ZeroDivisionError, match="enough"):
        lm.export(model, tmp_path / "y.gguf", progress=stop)
    assert not [p for p in tmp_path.iterdir() if "y.gguf" in p.name or "x.gguf" in p.name]


def test_evaluation_and_steps_by_hand(lm, model, tmp_path):  # noqa: F811
    with lm.Trainer(model, ROWS, eval_dataset=ROWS, guards="warn", max_steps=10, lr=1e-2, batch_size=3) as t:
        before = t.evaluate()
        stats = list(t)
        assert len(stats) == 10 and t.done and t.evaluate() < before and t.n_params > 0 and t.memory_bytes > 0
        with pytest.raises(ValueError, match="complete"):
            t.step()
        t.save(tmp_path / "a")
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("values, words", [
    (dict(lora_r=0), "lora_r"), (dict(batch_size=0), "batch_size"), (dict(lr=-1), "lr"), (dict(seq_len=1), "seq_len"),
    (dict(lr="fast"), "lr"), (dict(lr=True), "lr"), (dict(max_steps=1.5), "max_steps"), (dict(shuffle=3), "shuffle"),
    (dict(scheduler="step"), "scheduler"), (dict(objective="none"), "none"),
    (dict(target_modules="nothing"), "nothing"), (dict(init_adapter="nowhere"), "nowhere"), (dict(max_steps=-1), "max_steps"),
    (dict(beta=0.1), "beta is no option of the objective sft"), (dict(maxsteps=1), "unknown key maxsteps; did you mean max_steps"),
    (dict(learning_rate=1e-3, lr=1e-4), "learning_rate"), (dict(lr=float("nan")), "can't be written as JSON"), (dict(lr=object()),
        "no setting"),
    (dict(device="tpu"), "tpu"), (dict(config="none.yaml"), "none.yaml"), (dict(clock="yesterday"), "clock"),
    (dict(dataset=[]), "no rows"), (dict(dataset=[3]), "row 0 of dataset must be a dict, not int"),
    (dict(dataset=7), "not int"), (dict(dataset=[{"a": 1}]), "dataset, line 1"), (dict(dataset=None),
                                                                                  "no rows: give open ones, or set data"),
    (dict(dataset=[{"text": float("nan")}]), "can't be written as JSON"), (dict(model=None), "no model"),
    (dict(dataset="none.jsonl"), "none.jsonl"), (dict(bad_rows="maybe"), "bad_rows"), (dict(dataset=[{"text": "x"}], bad_rows="maybe"),
                                                                                       "bad_rows"),
    (dict(data="x"), "data was given twice"), (dict(model_name="x"), "model"), (dict(output_dir="a\0b"), "U\\+0000"),
])
def test_wrong_training(lm, model, tmp_path, values, words):  # noqa: F811
    with pytest.raises(lm.LMFastError, match=words):
        lm.train(**{"model": model, "dataset": ROWS, "output_dir": tmp_path / "o", "max_steps": 1, **values})
    assert not (tmp_path / "o").exists()


def test_a_callback_that_raises_ends_the_run(lm, model, tmp_path):  # noqa: F811
    def stop(stats):
        raise ZeroDivisionError(f"at step {stats.step}")
    with pytest.raises(ZeroDivisionError, match="at step 1"):
        lm.train(model, ROWS, tmp_path / "o", max_steps=5, on_step=stop)
    assert not (tmp_path / "o").exists()


def test_a_run_is_the_command_s_with_log_checkpoints_and_settings(lm, lmfast, model, tmp_path):  # noqa: F811
    """The whole folder, but for the seconds in the log."""
    more = dict(max_steps=6, save_steps=2, eval_steps=3, logging_steps=1, clock=1700000000, lr=1e-2, batch_size=3, guards="warn")
    lm.train(model, ROWS, tmp_path / "o", eval_dataset=ROWS, **more)
    os.rename(tmp_path / "o", tmp_path / "p")
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in more.items()]
    c = lmfast("train", "-m", model, "-d", ROWS, "-o", tmp_path / "o", "--eval-data", ROWS, *flags, "--quiet")
    assert c.returncode == 0, c.stderr
    names = {p.relative_to(tmp_path / "o") for p in (tmp_path / "o").rglob("*")}
    assert names == {p.relative_to(tmp_path / "p") for p in (tmp_path / "p").rglob("*")} and len(names) > 10
    for name in names:
        ours, theirs = tmp_path / "p" / name, tmp_path / "o" / name
        if name.name == "metrics.jsonl":
            lines = [[{k: v for k, v in json.loads(line).items() if k not in ("seconds", "unix_time",
                                                                              "rss_bytes")} for line in f.open()] for f in (ours, theirs)]
            assert lines[0] == lines[1] and len(lines[0]) == 6
        elif ours.is_file() and name.suffix in (".safetensors", ".yaml"):
            assert ours.read_bytes() == theirs.read_bytes(), name


def test_a_run_that_was_stopped_goes_on(lm, model, tmp_path):  # noqa: F811
    class Enough(Exception):
        pass

    def stop(stats):
        if stats.step == 5:
            raise Enough
    whole = dict(max_steps=8, save_steps=2, lr=1e-2, batch_size=3, clock=1700000000)
    lm.train(model, ROWS, tmp_path / "a", **whole)
    with pytest.raises(Enough):
        lm.train(model, ROWS, tmp_path / "b", on_step=stop, **whole)
    with pytest.raises(FileExistsError, match='resume last goes on with it, overwrite replaces it'):
        lm.train(model, ROWS, tmp_path / "b", **whole)
    steps = []
    lm.train(model, ROWS, tmp_path / "b", resume="last", on_step=lambda s: steps.append(s.step), **whole)
    assert steps == [5, 6, 7, 8] and digest(tmp_path / "a") == digest(tmp_path / "b")
    lm.train(model, ROWS, tmp_path / "b", overwrite=True, max_steps=1)


def test_settings_by_other_names_and_from_a_file(lm, model, tmp_path):  # noqa: F811
    """Axolotl's, transformers' and the old package's names, and what a run saved of itself."""
    ours = dict(max_steps=3, lr=1e-2, batch_size=3, lora_r=4, clock=1700000000)
    lm.train(model, ROWS, tmp_path / "a", **ours)
    theirs = dict(max_steps=3, learning_rate=1e-2, per_device_train_batch_size=3, lora_r=4, clock=1700000000)
    lm.train(model, ROWS, tmp_path / "b", **theirs)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    lm.train(config=tmp_path / "a" / "lmfast_config.yaml", output_dir=tmp_path / "c")
    assert digest(tmp_path / "a") == digest(tmp_path / "c")
    s = lm.Settings({"lr": 0.1})
    assert "lr: 0.1" in s.text()


def test_the_schema_is_the_table_s(lm, lmfast):
    """Every flag of lmfast train that a file may hold, with its type, range, choices and default; and the setter agrees with it."""
    schema = lm.Settings().schema()
    flags = {f["name"].replace("-", "_"): f for f in json.loads(lmfast("help", "train", "--json").stdout)["flags"]}
    assert set(schema["properties"]) == set(flags) - {"config", "set"} and schema["required"] == ["model", "data"]
    kinds = {"int": "integer", "double": "number", "bool": "boolean", "string": "string", "choice": "string", "list": ["array", "string"]}
    for name, p in schema["properties"].items():
        f = flags[name]
        assert p["type"] == kinds[f["kind"]] and p.get("enum") == (f["choices"].split("|") if "choices" in f else None), name
        if "range" in f:
            assert [p["minimum"], p["maximum"]] == f["range"], name
        for value in ([p["minimum"], p["maximum"]] if "minimum" in p else p.get("enum", [])):
            lm.Settings({name: value})
        for value in ([p["minimum"] - 1, p["maximum"] * 2 + 1] if "minimum" in p else ["nonsense"] if "enum" in p else []):
            with pytest.raises((lm.ArgumentError, lm.UnsupportedError), match=name):  # the latter: other programs' words for it
                lm.Settings({name: value})


def test_the_log_goes_to_logging(lm, model, tmp_path, caplog):  # noqa: F811
    rows = [{"text": "good row"}] * 4 + [{"nothing": 1}]
    with caplog.at_level(logging.INFO, "lmfast"):
        lm.train(model, rows, tmp_path / "o", max_steps=1, bad_rows="skip")
    assert any("1 rows can't be used" in r.message and r.levelno == logging.WARNING for r in caplog.records)
    assert any("4 rows" in r.message and r.levelno == logging.INFO for r in caplog.records)


def test_plug_ins_work_under_python(model):  # noqa: F811
    """The library is another program's: plug-ins lie beside it, and call back into it."""
    if not (BUILD / "liblmfast-onednn.so").exists():
        pytest.skip("no plug-in was built")
    r = python("import sys, lmfast; m = lmfast.load_model(sys.argv[1]); m.generate('x', max_tokens=1, raw=True)\n"
               "print('liblmfast-onednn.so' in open('/proc/self/maps').read())", model)
    assert r.returncode == 0 and r.stdout == "True\n", r.stderr


# ---- processes ----
def test_a_forked_child_is_told_and_can_make_its_own(tiny):
    code = """
import os, sys, lmfast
m = lmfast.load_model(sys.argv[1], temperature=0, max_tokens=8)
want = m.generate("hello")
pid = os.fork()
if pid == 0:
    try:
        m.generate("hello")
    except lmfast.UnsupportedError as e:
        assert "forked off" in str(e), e
        os._exit(0 if lmfast.load_model(sys.argv[1], temperature=0, max_tokens=8).generate("hello") == want else 3)
    os._exit(4)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert m.generate("hello") == want
print("fine")
"""
    r = python(code, tiny)
    assert r.returncode == 0 and r.stdout == "fine\n", r.stderr


def test_exit_in_the_middle_of_an_answer(tiny):
    code = """
import sys, threading, lmfast
m = lmfast.load_model(sys.argv[1])
s = m.stream("hello", max_tokens=400, ignore_eos=True, temperature=1)
threading.Thread(target=lambda: m.generate("x", max_tokens=400, ignore_eos=True), daemon=True).start()
print(len(next(s)) > 0)
"""
    for _ in range(5):
        r = python(code, tiny)
        assert r.returncode == 0 and r.stdout == "True\n" and r.stderr == "", r.stderr


def interrupted(code, *arguments):
    """Starts code, waits for its first line, presses Ctrl-C; returns status, output, errors."""
    env = {**os.environ, "PYTHONPATH": str(BUILD / "python")}
    p = subprocess.Popen([sys.executable, "-u", "-c", code, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE,
                         text=True, env=env)
    first = p.stdout.readline()
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    return p.returncode, first + out, err


def test_ctrl_c_ends_a_stream(tiny):
    code = """
import sys, lmfast
m = lmfast.load_model(sys.argv[1], temperature=1, ignore_eos=True)
try:
    while True:
        for piece in m.stream("hello", max_tokens=400):
            print("piece", flush=True)
except KeyboardInterrupt:
    print("stopped", len(m.generate("hello", max_tokens=4)) >= 0)
"""
    status, out, err = interrupted(code, tiny)
    assert status == 0 and out.endswith("stopped True\n"), err


def test_ctrl_c_saves_a_checkpoint_and_raises(model, tmp_path):  # noqa: F811
    code = """
import sys, lmfast
try:
    lmfast.train(sys.argv[1], sys.argv[2], sys.argv[3], max_steps=1000000, on_step=lambda s: print("step", s.step, flush=True))
except KeyboardInterrupt as e:
    print(e)
"""
    status, out, err = interrupted(code, model, ROWS, tmp_path / "o")
    assert status == 0 and 'resume="last" goes on' in out and list((tmp_path / "o").glob("checkpoint-*")), err
