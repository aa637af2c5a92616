# SPDX-License-Identifier: Apache-2.0
"""lmfast plan: every weight of the file is counted once."""
import json
import math
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_is_one_weight(lmfast, tmp_path, tied):
    model = formula.save(tmp_path / "model", tied=tied)
    want = sum(4 * math.prod(shape) for _, shape, _ in formula.shapes(tied=tied).values())
    for how in (["--serve"], ["--rows", "8", "--seq-len", "64"]):
        r = lmfast("plan", "-m", model, *how, "--json", "--quiet")
        assert r.returncode == 0, r.stderr
        assert json.loads(r.stdout)["mapped_bytes"] == want


def test_training_and_answering_in_one_process(lmfast, tmp_path):
    """The sum of both, but the weights, which lie in their file once; the engine has a place for the adapter that is trained."""
    model = formula.save(tmp_path / "model")
    plan = lambda *how: json.loads(lmfast("plan", "-m", model, *how, "--json", "--quiet").stdout)
    rows, serve = ["--rows", 8, "--seq-len", 64, "--lora-r", 8], ["--serve", "--context", 64, "--max-seqs", 2]
    train, alone, both = plan(*rows), plan(*serve), plan(*rows, *serve)
    assert both["for"] == "train and serve" and both["mapped_bytes"] == train["mapped_bytes"] == alone["mapped_bytes"]
    assert both["memory_bytes"] == both["train_bytes"] + both["serve_bytes"] and both["train_bytes"] == train["memory_bytes"]
    assert both["serve_bytes"] > alone["memory_bytes"]
    pairs = sum(8 * sum(shape) for name, (_, shape, kind) in formula.shapes().items() if kind == "matrix" and "layers" in name)
    assert both["serve_bytes"] - alone["memory_bytes"] >= 4 * pairs
    for key in ("steps", "context", "largest_at_peak"):
        assert both[key] == (alone if key == "context" else train)[key]
    assert "memory of both together" in lmfast("plan", "-m", model, *rows, *serve).stdout
    r = lmfast("plan", "-m", model, *rows, *serve, "--adapter", "x")
    assert r.returncode == 1 and "--adapter goes with --serve alone" in r.stderr
