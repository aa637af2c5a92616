# SPDX-License-Identifier: Apache-2.0
"""The Python package as its users know it: the names of the package that it succeeds, configurations, the wheel, and whatever else may be
given."""
import ast
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile

import pytest

from conftest import BUILD, ROOT
from test_generate import write_gguf
from test_train import ROWS, digest, formula, model  # noqa: F401  (a fixture)

pytestmark = pytest.mark.skipif("san" in BUILD.name, reason="a sanitized library wants its runtime before Python's")
sys.path.insert(0, str(BUILD / "python"))
PAIRS = ROOT / "tests" / "parity" / "dpo_rows.jsonl"
# module, names: of the package's documents and sources, version 0.3
KNOWN = {
    "lmfast": "train serve distill align reason pretrain DistillationTrainer SLMServer GuardrailsConfig SLMTracer LMFastMCPServer Agent "
              "CodeAgent DataAgent ThinkingAgent LightweightRAG create_rag BrowserExporter export_for_browser SpeculativeDecoder "
              "generate_fast AdvancedDistillationTrainer distill_advanced generate_structured setup_colab_env SLMConfig TrainingConfig "
              "DistillationConfig InferenceConfig SLMTrainer load_model generate_teacher_labels MetricsCollector MixedPrecisionQuantizer "
              "StreamingServer ContinuousBatchingEngine ModelRouter ServerlessDeployer HymbaConfig optimize_hymba_training",
    "lmfast.core.config": "SLMConfig TrainingConfig DistillationConfig InferenceConfig",
    "lmfast.core.models": "load_model load_tokenizer get_model_info detect_environment",
    "lmfast.training.trainer": "SLMTrainer",
    "lmfast.training.optimizations": "optimize_for_t4",
    "lmfast.inference.server": "SLMServer",
    "lmfast.inference.quantization": "export_gguf quantize_model get_model_size",
    "lmfast.inference.speculative": "SpeculativeDecoder",
    "lmfast.distillation.teacher_student": "DistillationTrainer",
    "lmfast.distillation.advanced": "AdvancedDistillationConfig TAIDScheduler",
    "lmfast.distillation.self_distillation": "SelfDistillationTrainer",
    "lmfast.agents.core": "Agent Tool", "lmfast.agents.specialized": "CodeAgent DataAgent",
    "lmfast.reasoning": "ThinkingAgent reason", "lmfast.pretraining": "pretrain", "lmfast.guardrails.config": "GuardrailsConfig",
    "lmfast.guardrails.input_validator": "InputValidator", "lmfast.guardrails.output_filter": "OutputFilter",
    "lmfast.mcp.server": "LMFastMCPServer", "lmfast.observability.metrics": "MetricsCollector", "lmfast.observability.tracing": "SLMTracer",
    "lmfast.observability.explainability": "AttentionVisualizer", "lmfast.rag.lightweight": "LightweightRAG",
    "lmfast.deployment.browser": "BrowserExporter", "lmfast.utils.colab": "setup_colab_env",
    "lmfast.utils.structured": "generate_structured",
    "lmfast.function_calling": "FunctionCaller",
}


@pytest.fixture(scope="session")
def lm():
    import lmfast
    return lmfast


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_gguf(path)
    return path


@pytest.fixture
def small(lm, tiny):
    with lm.load_model(tiny, temperature=0, max_tokens=24) as m:
        yield m


# ---- names ----
@pytest.mark.parametrize("module", KNOWN)
def test_every_known_name_works_or_says_what_is_there_instead(lm, module):
    import importlib
    from lmfast._absent import Absent
    home = importlib.import_module(module)
    for name in KNOWN[module].split():
        found = getattr(home, name)
        if isinstance(found, Absent):
            with pytest.raises(lm.UnsupportedError, match=f"^{name}: .{{20,}}"):
                found("model", n=3)
            with pytest.raises(lm.UnsupportedError):
                found.run
        else:
            assert callable(found), name


def test_names_that_never_were(lm):
    with pytest.raises(ImportError):
        import lmfast.nothing  # noqa: F401
    with pytest.raises(ImportError):
        from lmfast.distillation import Nothing  # noqa: F401


def test_the_configuration_is_the_library_s_table(lm):
    """Types, ranges, choices and defaults of pydantic's JSON schema against the C library's."""
    from lmfast.core.config import MODEL_FIELDS, TRAINING_NAMES
    table = lm.Settings().schema()["properties"]
    fields = {**lm.TrainingConfig.model_json_schema()["properties"], **lm.SLMConfig.model_json_schema()["properties"]}
    names = {ours: {**MODEL_FIELDS, **TRAINING_NAMES}.get(ours, ours) for ours in table}
    assert set(fields) == {names[n] for n in table if n not in ("data", "eval_data")} | {"device"} and len(fields) > 30
    for ours, p in table.items():
        if ours in ("data", "eval_data"):
            continue
        f = fields[names[ours]]
        if isinstance(p["type"], list):  # one text or several
            kinds = {a["type"] for a in f["anyOf"]} - {"null"}
            assert kinds == set(p["type"]) and f["description"] == p["description"], ours
            continue
        f = {**f, **next((a for a in f.get("anyOf", []) if a["type"] != "null"), {})}
        f = {**f, "enum": [f["const"]]} if "const" in f else f
        for key in ("type", "minimum", "maximum", "enum", "default", "description"):
            assert f.get(key) == p.get(key), (ours, key)


def test_configurations_refuse(lm):
    import pydantic
    config = lm.TrainingConfig(learning_rate=1e-3)
    for values in (dict(learning_rate=-1), dict(learning_rat=1), dict(lora_r=0), dict(lr_scheduler_type="step"), dict(max_steps="many")):
        with pytest.raises(pydantic.ValidationError, match=next(iter(values))):
            lm.TrainingConfig(**values)
        with pytest.raises((pydantic.ValidationError, ValueError)):
            setattr(config, *next(iter(values.items())))
    with pytest.raises(pydantic.ValidationError, match="model_name"):
        lm.SLMConfig()
    assert config.learning_rate == 1e-3 and config.settings() == {"lr": 1e-3}


# ---- what works by those names ----
def test_slm_trainer(lm, model, tmp_path):  # noqa: F811
    from lmfast.training.trainer import SLMTrainer
    run = lm.TrainingConfig(learning_rate=1e-2, max_steps=4, batch_size=3, output_dir=str(tmp_path / "a"), save_steps=2, clock=1700000000)
    steps = []
    trainer = SLMTrainer(lm.SLMConfig(model_name=str(model), compute="f32"), run)
    result = trainer.train(ROWS, callbacks=[lambda s: steps.append(s.step)])
    assert steps == [1, 2, 3, 4] and result.output_dir == str(tmp_path / "a")
    lm.train(model, ROWS, tmp_path / "b", lr=1e-2, max_steps=4, batch_size=3, compute="f32", save_steps=2, clock=1700000000)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    with lm.load_model(model, adapter=tmp_path / "b", temperature=0) as m:
        assert trainer.generate("hello", temperature=0, max_tokens=8, raw=True) == m.generate("hello", max_tokens=8, raw=True)
    trainer.save(tmp_path / "whole")
    assert (tmp_path / "whole" / "model.safetensors").is_file()
    words = [{"words": row} for row in ("one two", "three four", "five six")]
    with pytest.raises(ValueError, match="text_field is for rows in memory"):
        trainer.train(ROWS, text_field="words")
    other = SLMTrainer(model=lm.load_model(model), training_config={"max_steps": 1})
    assert other.train(words, text_field="words", output_dir=tmp_path / "c").steps == 1
    with pytest.raises(ValueError, match="a callback is a function"):
        trainer.train(ROWS, callbacks=[3])
    with pytest.raises(ValueError, match="train first"):
        SLMTrainer(lm.SLMConfig(model_name=str(model))).generate("x")
    with pytest.raises(ValueError, match="give model_config or model"):
        SLMTrainer()


def test_align_and_its_other_name(lm, model, tmp_path):  # noqa: F811
    lm.align(model, PAIRS, tmp_path / "a", method="dpo", beta=0.2, max_steps=2, batch_size=2)
    lm.align(model_name=model, dataset=PAIRS, output_dir=tmp_path / "b", method="dpo", beta=0.2, max_steps=2, batch_size=2)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    with pytest.raises(lm.LMFastError, match="ppo.*dpo"):
        lm.align(model, PAIRS, tmp_path / "c", method="ppo")


def test_distill(lm, model, tmp_path):  # noqa: F811
    teacher = formula.save(tmp_path / "teacher", seed=3, layers=3)
    more = {"temperature": 1.0, "max_steps": 2, "batch_size": 2, "clock": 1700000000}
    result = lm.distill(model, teacher, ROWS, tmp_path / "a", **more)
    lm.train(model, ROWS, tmp_path / "b", objective="distill", teacher=str(teacher), **more)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") and result.steps == 2
    with pytest.raises(lm.LMFastError, match="learns from a model"):
        lm.distill(model, None, ROWS, tmp_path / "c")


def test_answers_as_objects(lm, small, tiny):
    import pydantic

    class Color(pydantic.BaseModel):
        name: str = pydantic.Field(pattern="^(red|blue)$")
        strength: int = pydantic.Field(ge=0, le=9)
    made = lm.generate_structured(small, "a color", Color, max_tokens=80)
    assert isinstance(made, Color) and made.name in ("red", "blue")
    assert lm.generate_structured(tiny, "x", {"enum": [1, 2]}, temperature=0) in (1, 2)
    with pytest.raises(ValueError, match="not a function"):
        lm.generate_structured(lambda prompt: "{}", "x", Color)


def test_one_call_and_many_at_once(lm, lmfast, tiny):
    want = json.loads(lmfast("generate", "-m", tiny, "-p", "hello", "-t", 0, "-n", 8, "--json").stdout)["text"]
    assert lm.generate_fast(str(tiny), "hello", max_tokens=8, temperature=0) == want
    server = lm.SLMServer(tiny, lm.InferenceConfig(max_new_tokens=8, temperature=0))
    assert server.generate_batch(["hello"] * 20) == [want] * 20 and server.generate("hello") == want
    assert server.benchmark(["hello", "there"], num_runs=1)["batch_tokens_per_second"] > 0
    with pytest.raises(lm.UnsupportedError, match="draft_model"):
        lm.generate_fast(tiny, "hello", draft_model=tiny)


def test_serve_is_the_program_s(tiny):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    code = f"import sys, lmfast; sys.exit(lmfast.serve(sys.argv[1], port={port}, name='tiny'))"
    p = subprocess.Popen([sys.executable, "-c", code, str(tiny)], env={**os.environ, "PYTHONPATH": str(BUILD / "python")},
                         stderr=subprocess.PIPE,
                         text=True, start_new_session=True)
    try:
        while "serving at" not in (line := p.stderr.readline()):
            assert line, "it ended"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=30) as r:
            assert json.load(r)["data"][0]["id"] == "tiny"
    finally:
        os.killpg(p.pid, signal.SIGINT)  # as a terminal does
    assert p.wait(60) == 0
    p.stderr.close()


def test_metrics_of_a_run(lm, model, tmp_path):  # noqa: F811
    lm.train(model, ROWS, tmp_path / "a", max_steps=4, logging_steps=1)
    m = lm.MetricsCollector.from_run(tmp_path / "a")
    assert m.get_steps("loss") == [1, 2, 3, 4] and m.min("loss") <= m.mean("loss") <= m.max("loss")
    with pytest.raises(ValueError, match="nothing was logged as 'los'; there is clock_unix"):
        m.get("los")


# ---- whatever may be given ----
def test_no_value_crashes(lm, small, tiny, tmp_path, monkeypatch):
    """Anything that Python can hold, at every door: an answer or an exception, never the end of the process."""
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(tmp_path))
    from hypothesis import HealthCheck, given, settings, strategies as st
    anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
                            lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=8), x, max_size=4), max_leaves=6)
    options = st.dictionaries(st.sampled_from(["max_tokens", "temperature", "top_k", "top_p", "min_p", "seed", "stop", "regex", "schema",
                                               "choices",
                                               "grammar", "ignore_eos", "repetition_penalty", "presence_penalty"]), anything, max_size=3)
    roles = st.sampled_from(["system", "user", "assistant", "tool", "x"])
    messages = st.lists(st.fixed_dictionaries({"role": roles | anything, "content": anything}) | anything, max_size=4)
    fine = (lm.LMFastError, TypeError, ValueError, OverflowError)
    common = dict(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))

    def tried(call):
        try:
            call()
        except fine:
            pass

    @settings(**common)
    @given(anything, options)
    def generate(prompt, more):
        tried(lambda: small.generate(prompt, **{"max_tokens": 3, **{k: v for k, v in more.items() if k != "max_tokens"}}))
        tried(lambda: small.generate("x", **{k: v for k, v in more.items() if k != "max_tokens" or not isinstance(v, int)},
                                     ignore_eos=False))

    @settings(**common)
    @given(messages, anything)
    def chat(m, tools):
        tried(lambda: small.apply_chat_template(m, tools=tools))
        tried(lambda: small.chat(m, max_tokens=2))

    @settings(**common)
    @given(anything, st.lists(st.integers() | anything, max_size=8))
    def tokens(text, ids):
        tried(lambda: small.tokenizer.encode(text))
        tried(lambda: small.tokenizer.decode(ids))
        tried(lambda: small.tokenizer.token_id(text))
        if isinstance(text, str) and text.isprintable():
            assert small.tokenizer.decode(small.tokenizer.encode(text)) == text

    names = [*lm.Settings().schema()["properties"], "learning_rate", "x", "lora"]

    @settings(**common)
    @given(st.dictionaries(st.sampled_from(names) | st.text(max_size=8), anything, max_size=4), anything, anything)
    def train(values, rows, path):
        tried(lambda: lm.Settings(values))
        tried(lambda: lm.Trainer(tiny, rows, max_steps=1))
        tried(lambda: lm.load_model(path))
        tried(lambda: lm.export(tiny, "/nowhere/x.gguf", quant=path))
    for test in (generate, chat, tokens, train):
        test()
    assert small.generate("hello") == small.generate("hello")


# ---- the wheel ----
@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    made = subprocess.run([sys.executable, ROOT / "bindings/python/make_wheel.py", "--build", BUILD, "--output", folder, "--auditwheel",
                           pathlib.Path(sys.executable).parent / "auditwheel"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return pathlib.Path(made.stdout.strip())


def test_wheel_is_small_and_says_where_it_runs(wheel):
    assert wheel.stat().st_size < 15e6 and "py3-none-manylinux_2_" in wheel.name
    assert int(wheel.name.split("manylinux_2_")[1].split("_")[0]) <= 34  # Colab's and Debian 12's
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
        assert any(n.startswith("lmfast_c.libs/libcrypto") for n in names) and "lmfast/py.typed" in names
        assert b"Requires-Python: >=3.10" in z.read(next(n for n in names if n.endswith("METADATA")))
        for name in names:
            if name.endswith(".py"):
                ast.parse(z.read(name), feature_version=(3, 10))


def test_wheel_in_a_clean_environment(wheel, lmfast, model, tmp_path):  # noqa: F811
    """The quickstart's twelve lines, with nothing else installed, give the command's adapter."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    done = subprocess.run([sys.executable, "-m", "pip", "--python", venv, "install", "--quiet", "--no-index",
                           "--disable-pip-version-check", wheel],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    script = (ROOT / "examples" / "quickstart.py").read_text()
    lines = [line for line in script.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 12
    r = subprocess.run([venv / "bin/python", "-c", script, model, ROWS, tmp_path / "p", "--max-steps=6"], capture_output=True, text=True,
                       env={"PATH": "/usr/bin"}, timeout=300)
    assert r.returncode == 0, r.stderr
    text = (ROOT / "tools/demo").read_text()
    flags = ast.literal_eval(text[text.index("RECIPE = ") + 9:text.index("]\n", text.index("RECIPE = ")) + 1])
    c = lmfast("train", "-m", model, "-d", ROWS, "-o", tmp_path / "c", "--max-steps", 6, *flags, "--quiet")
    assert c.returncode == 0, c.stderr
    assert digest(tmp_path / "p") == digest(tmp_path / "c")


def test_the_types_hold():
    r = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "lmfast"], cwd=BUILD / "python",
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stdout
