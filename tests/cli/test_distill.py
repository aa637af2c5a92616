# SPDX-License-Identifier: Apache-2.0
"""lmfast distill: a teacher beside a student, what is refused, and a run that is cut and goes on."""
import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("formula") / "student")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("formula") / "teacher", seed=3, layers=3, bias=True)


def args(student, teacher, out, *more, steps=6):
    return ["distill", "--student", student, "--teacher", teacher, "-d", ROWS, "-o", out, "--max-steps", steps, "--lr", "5e-3",
            "--lora-r", "4", "--save-steps", "2", "--logging-steps", "1", "--compute", "f32", *more]


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").open()]


def adapter(out):
    return (out / "adapter_model.safetensors").read_bytes()


def test_comes_nearer_to_the_teacher(lmfast, student, teacher, tmp_path):
    r = lmfast(*args(student, teacher, tmp_path / "o", "--alpha", "1", "--temperature", "1", "--eval-data", ROWS, "--eval-steps", "2",
                     "--guards", "warn", "--json", steps=40))
    assert r.returncode == 0, r.stderr
    lines, told = metrics(tmp_path / "o"), json.loads(r.stdout)
    for x in lines:
        assert x["loss"] == pytest.approx(x["kl"], rel=1e-5)
    measured = [x["eval_kl"] for x in lines if "eval_kl" in x]
    assert len(measured) == 20 and measured[-1] < 0.8 * measured[0]
    assert {"kl", "nll"} <= set(told)


def test_loss_is_made_of_both(lmfast, student, teacher, tmp_path):
    r = lmfast(*args(student, teacher, tmp_path / "o", "--alpha", "0.25", "--divergence", "js", "--beta", "0.1"))
    assert r.returncode == 0, r.stderr
    assert "teacher " in r.stderr and "kl " in r.stderr
    for x in metrics(tmp_path / "o"):
        assert x["loss"] == pytest.approx(0.25 * x["kl"] + 0.75 * x["nll"], rel=1e-4)


def test_cut_and_resumed(lmfast, student, teacher, tmp_path):
    flags = ["--taid-start", "0.5", "--quiet"]
    assert lmfast(*args(student, teacher, tmp_path / "whole", *flags)).returncode == 0
    out = tmp_path / "cut"
    assert lmfast(*args(student, teacher, out, *flags)).returncode == 0
    want = adapter(tmp_path / "whole")
    assert adapter(out) == want
    (out / "adapter_model.safetensors").unlink()  # the run shall make it again
    other = formula.save(tmp_path / "other", seed=4, layers=3, bias=True)
    r = lmfast(*args(student, other, out, *flags, "--resume", "last"))
    assert r.returncode == 1 and "was made with another teacher" in r.stderr, r.stderr
    r = lmfast(*args(student, teacher, out, *flags, "--resume", "last"))
    assert r.returncode == 0 and adapter(out) == want, r.stderr


GKD = ["--lmbda", "0.5", "--alpha", "1", "--temperature", "1", "--divergence", "js", "--max-completion-length", "12"]


def test_on_policy(lmfast, student, teacher, tmp_path):
    """GKD: about half of the steps learn from the student's own answers; both kinds bring it nearer to the teacher on held-out rows."""
    r = lmfast(*args(student, teacher, tmp_path / "o", *GKD, "--eval-data", ROWS, "--eval-steps", "10", "--guards", "warn", "--json",
                     steps=40))
    assert r.returncode == 0, r.stderr
    lines = metrics(tmp_path / "o")
    own = [x["step"] for x in lines if x["on_policy"]]
    assert 10 < len(own) < 30
    kept = [json.loads(line) for line in (tmp_path / "o" / "samples.jsonl").open()]
    assert sorted({k["step"] for k in kept}) == own and len(kept) == 4 * len(own) and max(k["tokens"] for k in kept) <= 12
    assert {k["line"] for k in kept} <= set(range(1, 25)) and all(0 <= x["kl"] == pytest.approx(x["loss"], rel=1e-5) for x in lines)
    measured = [x["eval_kl"] for x in lines if "eval_kl" in x]
    assert measured[-1] < 0.8 * lines[0]["kl"] and "reward" not in lines[0]


@pytest.mark.parametrize("stop", [3, 4])
def test_on_policy_cut_and_resumed(lmfast, student, teacher, tmp_path, stop):
    flags = [*GKD, "--quiet", "--save-total-limit", "9"]
    without_time = lambda out: [{k: v for k, v in x.items() if not k.startswith("seconds") and k not in
                                 ("clock_unix", "unix_time", "rss_bytes")} for x in metrics(out)]
    whole, out = tmp_path / "whole", tmp_path / "cut"
    assert lmfast(*args(student, teacher, whole, *flags, "--save-steps", "1")).returncode == 0
    r = lmfast(*args(student, teacher, out, *flags, "--resume", whole / f"checkpoint-{stop}"))
    assert r.returncode == 0 and adapter(out) == adapter(whole), r.stderr
    assert without_time(out) == without_time(whole)[stop:]
    later = [x for x in (whole / "samples.jsonl").read_text().splitlines() if json.loads(x)["step"] > stop]
    assert (out / "samples.jsonl").read_text().splitlines() == later != []


def test_saved_configuration_does_it_again(lmfast, student, teacher, tmp_path):
    assert lmfast(*args(student, teacher, tmp_path / "a", "--divergence", "reverse", steps=3)).returncode == 0
    text = (tmp_path / "a" / "lmfast_config.yaml").read_text()
    assert 'objective: "distill"' in text and "\nteacher: " in text and 'divergence: "reverse"' in text
    r = lmfast("train", "--config", tmp_path / "a" / "lmfast_config.yaml", "-o", tmp_path / "b")
    assert r.returncode == 0 and adapter(tmp_path / "b") == adapter(tmp_path / "a"), r.stderr


def test_any_file_may_teach(lmfast, student, teacher, tmp_path):
    """Quantized, in the other file family."""
    small = tmp_path / "teacher.gguf"
    r = lmfast("export", "--model", teacher, "--output", small, "--quant", "q8_0")
    assert r.returncode == 0, r.stderr
    kl = {}
    for name, path in (("whole", teacher), ("small", small)):
        assert lmfast(*args(student, path, tmp_path / name, steps=1)).returncode == 0
        kl[name] = metrics(tmp_path / name)[0]["kl"]
    assert kl["whole"] != kl["small"] == pytest.approx(kl["whole"], rel=2e-2)


def test_plan_counts_both(lmfast, student, teacher, tmp_path):
    def plan(*more):
        r = lmfast("plan", "-m", student, "-d", ROWS, "--json", *more)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)
    alone, both = plan(), plan("--objective", "distill", "--teacher", teacher)
    held = sum(4 * len(data) for _, data in formula.weights(3, layers=3, bias=True).values())
    assert both["weight_bytes"] + both["mapped_bytes"] == alone["weight_bytes"] + alone["mapped_bytes"] + held
    assert both["step_bytes"] > alone["step_bytes"]
    r = lmfast("plan", "-m", student, "-d", ROWS, "--objective", "distill")
    assert r.returncode == 1 and "learns from a teacher" in r.stderr


def test_refusals(lmfast, student, teacher, tmp_path):
    def refused(*command):
        r = lmfast(*command)
        assert r.returncode != 0 and not (tmp_path / "o").exists()
        assert r.stderr.count("\n") == 1 or "usage" in r.stderr, r.stderr
        return r.stderr
    out = tmp_path / "o"
    quiet = ["-d", ROWS, "-o", out, "--quiet"]
    other = formula.save(tmp_path / "other", seed=3)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["!"], vocabulary["\""] = vocabulary["\""], vocabulary["!"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    text = refused(*args(student, other, out, "--quiet"))
    assert "has another vocabulary: token" in text and "take a teacher of the student's family" in text
    assert "--teacher" in refused("distill", "--student", student, *quiet)
    assert "--student" in refused("distill", "--teacher", teacher, *quiet)
    assert "--teacher: " in refused(*args(student, tmp_path / "nowhere", out, "--quiet"))
    text = refused("train", "-m", student, "--teacher", teacher, *quiet)
    assert "--teacher is of objectives that learn from a model; sft does not" in text
    text = refused("train", "-m", student, "--objective", "distill", *quiet)
    assert "the objective distill learns from a model: name it with --teacher" in text
    assert "--beta is the mixture of --divergence js" in refused(*args(student, teacher, out, "--beta", "0.2", "--quiet"))
    assert "--alpha" in refused(*args(student, teacher, out, "--alpha", "1.5", "--quiet"))
    assert "give --alpha 1" in refused(*args(student, teacher, out, "--lmbda", "0.5", "--quiet"))
    assert "--method full with --lmbda" in refused(*args(student, teacher, out, *GKD, "--method", "full", "--quiet"))
    assert "samples nothing" in refused(*args(student, teacher, out, *GKD, "--reward", "number", "--quiet"))
    assert "lower --max-completion-length" in refused(*args(student, teacher, out, *GKD, "--max-completion-length", "5000", "--quiet"))
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"text": "no prompt in this one"}\n')
    assert "line 1 is text without a prompt" in refused("distill", "--student", student, "--teacher", teacher, "-d", plain, "-o", out,
                                                        *GKD, "--guards", "off", "--quiet")
    short = formula.save(tmp_path / "short", seed=3)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 16}))
    assert "reads at most 16 tokens" in refused(*args(student, short, out, "--quiet"))
