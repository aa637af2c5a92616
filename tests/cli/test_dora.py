# SPDX-License-Identifier: Apache-2.0
"""DoRA: trained, resumed, measured beside the model and merged; what is not there is refused."""
import hashlib
import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"


def args(model, out, *more, steps=6):
    return ["train", "--model", str(model), "--data", str(ROWS), "--output", str(out), "--max-steps", str(steps), "--batch-size", "3",
            "--warmup-steps", "2", "--lr", "2e-2", "--lora-r", "4", "--save-steps", "3", "--compute", "f32", "--quiet", "--use-dora", *more]


@pytest.fixture(scope="module")
def trained(lmfast, tmp_path_factory):
    work = tmp_path_factory.mktemp("dora")
    model = formula.save(work / "model")
    r = lmfast(*args(model, work / "adapter"))
    assert r.returncode == 0, r.stderr
    return model, work / "adapter"


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


def loss(lmfast, model, *more):
    r = lmfast("eval", "--model", str(model), "--text", str(ROWS), "--context", "64", "--compute", "f32", "--json", *more)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)["perplexity"]


def test_measured_merged_and_resumed(lmfast, trained, tmp_path):
    model, adapter = trained
    assert json.loads((adapter / "adapter_config.json").read_text())["use_dora"] is True
    assert b"q_proj.lora_magnitude_vector" in (adapter / "adapter_model.safetensors").read_bytes()
    base, beside = loss(lmfast, model), loss(lmfast, model, "--adapter", str(adapter))
    r = lmfast("export", "--model", str(model), "--adapter", str(adapter), "--output", str(tmp_path / "merged"),
               "--format", "hf", "--quant", "f32")
    assert r.returncode == 0, r.stderr
    assert abs(beside - base) > 1e-3 * base and abs(loss(lmfast, tmp_path / "merged") - beside) < 1e-5 * beside
    out = tmp_path / "again"
    assert lmfast(*args(model, out)).returncode == 0 and digest(out) == digest(adapter)
    r = lmfast(*args(model, tmp_path / "on", "--resume", str(out / "checkpoint-3")))
    assert r.returncode == 0 and digest(tmp_path / "on") == digest(out), r.stderr


def test_refused(lmfast, trained, tmp_path):
    model, adapter = trained
    for more, told in [(["--lora-dropout", "0.1"], "DoRA with dropout"), (["--method", "full"], "DoRA with all weights trained")]:
        r = lmfast(*args(model, tmp_path / "o", *more))
        assert r.returncode == 1 and told in r.stderr, r.stderr
    for command in (["generate", "--prompt", "a", "--max-tokens", "2"], ["eval", "--data", str(ROWS)]):
        r = lmfast(command[0], "--model", str(model), "--adapter", str(adapter), *command[1:])
        assert r.returncode == 1 and "is a DoRA adapter (use_dora)" in r.stderr and "lmfast export --adapter" in r.stderr, r.stderr
    plain = [x for x in args(model, tmp_path / "p", "--init-adapter", str(adapter)) if x != "--use-dora"]
    r = lmfast(*plain)
    assert r.returncode == 1 and "give --use-dora" in r.stderr, r.stderr
