# SPDX-License-Identifier: Apache-2.0
"""lmfast train --config: a file in others' names does what flags do, is saved with the run, and does it again bit by bit."""
import hashlib
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"
AXOLOTL = """# comments stay out
base_model: {model}
adapter: lora
lora_r: 4
lora_alpha: 8
lora_target_modules: [q_proj, v_proj]
datasets:
  - path: {rows}
    type: chat_template
sequence_len: 512
micro_batch_size: 3
max_steps: 6
learning_rate: 1e-2
lr_scheduler: linear
optimizer: adamw_torch
warmup_ratio: 0.3
bf16: auto
output_dir: {out}
save_steps: 2
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formula") / "model"
    formula.save(folder)
    return folder


def digest(folder):
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


def write(tmp_path, model, text=AXOLOTL, out="o"):
    path = tmp_path / "run.yaml"
    path.write_text(text.format(model=model, rows=ROWS, out=tmp_path / out))
    return path


def test_a_file_is_flags(lmfast, model, tmp_path):
    r = lmfast("train", "--config", write(tmp_path, model), "--quiet")
    assert (r.returncode, r.stderr) == (0, "")
    r = lmfast("train", "--model", model, "--data", ROWS, "--output", tmp_path / "flags", "--lora-r", "4", "--lora-alpha", "8",
        "--target-modules", "q_proj,v_proj",
               "--seq-len", "512", "--batch-size", "3", "--max-steps", "6", "--lr", "1e-2", "--scheduler", "linear", "--warmup-steps", "2",
                   "--save-steps", "2",
               "--quiet")
    assert r.returncode == 0, r.stderr
    assert digest(tmp_path / "o") == digest(tmp_path / "flags")


def test_the_saved_configuration_does_it_again(lmfast, model, tmp_path):
    config = write(tmp_path, model)
    assert lmfast("train", "--config", config, "--set", "seed=7", "--lr", "2e-2", "--quiet").returncode == 0
    saved = tmp_path / "o" / "lmfast_config.yaml"
    values = dict(line.split(": ", 1) for line in saved.read_text().splitlines()[1:])
    assert (values["seed"], values["lr"], values["lora_r"], values["data"]) == ("7", "0.02", "4", json.dumps([f"{ROWS}:type=messages"]))
    assert "resume" not in values and "overwrite" not in values
    r = lmfast("train", "--config", saved, "--output", tmp_path / "again", "--quiet")
    assert r.returncode == 0, r.stderr
    assert digest(tmp_path / "again") == digest(tmp_path / "o")
    r = lmfast("train", "--config", config, "--quiet", "--output", tmp_path / "other")
    assert digest(tmp_path / "other") != digest(tmp_path / "o")  # the hash sees a difference


def test_templates_see_the_same_clock(lmfast, model, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ strftime_now('%S%M%H %d %m %Y') }} {% for m in messages %}"
                        "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
                        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    common = ["--config", write(tmp_path, model), "--chat-template", template, "--quiet"]
    assert lmfast("train", *common, "--clock", "1000000000").returncode == 0
    saved = tmp_path / "o" / "lmfast_config.yaml"
    assert "clock: 1000000000" in saved.read_text()
    assert lmfast("train", "--config", saved, "--output", tmp_path / "same", "--quiet").returncode == 0
    assert lmfast("train", *common, "--output", tmp_path / "now").returncode == 0
    assert digest(tmp_path / "same") == digest(tmp_path / "o") != digest(tmp_path / "now")


def test_what_wins(lmfast, model, tmp_path):
    config = write(tmp_path, model)
    for more, want in [([], "0.01"), (["--set", "learning_rate=0.03"], "0.03"), (["--set", "lr=0.03"], "0.03"), (["--set", "lr=0.03",
        "--lr", "0.04"], "0.04"),
                       (["--lr", "0.04", "--set", "lr=0.03"], "0.04")]:
        r = lmfast("train", "--config", config, *more, "--overwrite", "--max-steps", "1", "--warmup-ratio", "1", "--quiet")
        assert r.returncode == 0, r.stderr
        assert f"\nlr: {want}\n" in (tmp_path / "o" / "lmfast_config.yaml").read_text()


@pytest.mark.parametrize("more, sentence", [
    (["--set", "lora_rr=4"], "--set: unknown key lora_rr; did you mean lora_r?"),
    (["--set", "datasets.0.pth=x"],
        "--set: datasets.0.pth: x is not supported: docs/TRAINING.md says what is known of a data file"),
    (["--set", "optimizer=nonsense"], '--set: optimizer is "nonsense", but must be one of adamw|adamw_torch|adamw_torch_fused|adamw_hf|'
        "adamw_apex_fused|adamw_bnb_8bit|adamw_8bit|sgd: adamw, adamw_8bit and sgd are there"),
    (["--set", "lr"], '--set is "lr", but must be NAME=VALUE, such as lora_r=8 or datasets.0.path=rows.jsonl'),
    (["--set", "lr=x"], '--set: lr is "x", but must be a number such as 0.001 or 1e-3'),
    (["--warmup-steps", "3"], "--warmup-steps is 3 and --warmup-ratio 0.3: give one of them"),
])
def test_refused(lmfast, model, tmp_path, more, sentence):
    r = lmfast("train", "--config", write(tmp_path, model), *more)
    assert r.returncode in (1, 2) and r.stderr.splitlines()[-1] == "lmfast: " + sentence
    assert not (tmp_path / "o").exists()


def test_files_that_are_none(lmfast, model, tmp_path):
    r = lmfast("train", "--config", tmp_path / "missing.yaml")
    assert r.returncode == 2 and "missing.yaml" in r.stderr
    path = tmp_path / "bad.yaml"
    path.write_text("base_model: [x\n")
    r = lmfast("train", "--config", path)
    assert r.returncode == 2 and f"{path}, line 2: no YAML" in r.stderr
    path.write_text("sequence_len: 512\n")
    r = lmfast("train", "--config", path)
    assert r.returncode == 2 and "--model is missing" in r.stderr


def test_a_changed_configuration_is_the_users(lmfast, model, tmp_path):
    config = write(tmp_path, model)
    assert lmfast("train", "--config", config, "--quiet").returncode == 0
    saved = tmp_path / "o" / "lmfast_config.yaml"
    saved.write_text(saved.read_text().replace("lora_r: 4", "lora_r: 5"))
    before = saved.read_text()
    r = lmfast("train", "--config", config, "--overwrite", "--quiet")
    assert r.returncode == 1 and "lmfast_config.yaml was not written by a training run, or changed since; it is left alone" in r.stderr
    assert saved.read_text() == before


def test_the_documentation_is_the_table(lmfast):
    made = subprocess.run([sys.executable, ROOT / "tools" / "options.py", lmfast.path], capture_output=True, text=True, check=True).stdout
    assert made == (ROOT / "docs" / "OPTIONS.md").read_text(), "make it anew: tools/options.py build/release/lmfast > docs/OPTIONS.md"
