# SPDX-License-Identifier: Apache-2.0
"""lmfast bench on the tiny model of test_generate: what it reports, what it refuses. No test looks at how fast it was."""
import json

import pytest

from test_generate import CONTEXT, write_gguf


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.mark.parametrize("verb", ["bench", "benchmark"])
def test_json(lmfast, model, verb):
    r = lmfast(verb, "-m", model, "--prompts", 4, "-r", 2, "--prompt-tokens", 30, "--new-tokens", 5, "--streams", "1,3", "--threads", 1, "--json", "--quiet")
    assert (r.returncode, r.stderr) == (0, "")
    m = json.loads(r.stdout)
    assert (m["workers"], m["runs"], m["prompt_tokens"], m["new_tokens"], m["device"]) == (1, 2, 30, 5, "cpu")
    assert [k["streams"] for k in m["results"]] == [1, 3]
    for k in m["results"]:
        for what in ("prefill", "decode"):
            runs = k[what + "_runs"]
            assert len(runs) == 2 and min(runs) > 0 and k[what + "_tokens_per_second"] == pytest.approx(sum(runs) / 2)
    assert min(m["load_seconds"], m["engine_seconds"], m["first_token_seconds"]) > 0


def test_text(lmfast, model):
    r = lmfast("bench", "-m", model, "--prompts", 1, "-r", 1, "--prompt-tokens", 8, "--new-tokens", 2, "--streams", 2, "--profile")
    assert r.returncode == 0 and r.stdout.splitlines()[2].split()[0] == "2" and "matmul" in r.stderr


@pytest.mark.parametrize("streams", ["0", "257", "1,,2", "1,", "x", "-1", ",".join("1" * 17)])
def test_streams_refused(lmfast, model, streams):
    r = lmfast("bench", "-m", model, "--streams=" + streams)
    assert r.returncode == 1 and "--streams" in r.stderr


def test_refused(lmfast, model, tmp_path):
    r = lmfast("bench", "-m", model, "--prompt-tokens", CONTEXT)
    assert r.returncode == 1 and f"made for {CONTEXT - 1}" in r.stderr
    assert lmfast("bench", "-m", tmp_path / "nothing.gguf").returncode == 1
