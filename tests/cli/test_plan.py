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
