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



@pytest.mark.parametrize("flags", [(), ("--method", "full"), ("--recompute",)])
def test_train(lmfast, model, flags):
    r = lmfast("bench", "train", "-m", model, "-b", 2, "--seq-len", 24, "--steps", 6, "--json", "--quiet", *flags)
    assert (r.returncode, r.stderr) == (0, "")
    m = json.loads(r.stdout)
    assert (m["job"], m["batch_size"], m["seq_len"], m["recompute"]) == ("train", 2, 24, "--recompute" in flags)
    assert len(m["step_seconds"]) == 6 and m["last_loss"] < m["first_loss"] and m["memory_bytes"] > 0
    assert m["tokens_per_second"] == pytest.approx(48 / sorted(m["step_seconds"][3:])[1])


def test_jobs(lmfast, model):
    for job, what, other in (("prefill", "prefill", "decode"), ("decode", "decode", "prefill")):
        r = lmfast("bench", job, "-m", model, "--prompts", 1, "-r", 1, "--prompt-tokens", 8, "--new-tokens", 3, "--streams", 2,
                   "--json", "--quiet")
        row = json.loads(r.stdout)["results"][0]
        assert what + "_runs" in row and other + "_runs" not in row
    assert "did you mean train?" in lmfast("bench", "tran", "-m", model).stderr
    assert f"made for {CONTEXT}" in lmfast("bench", "train", "-m", model, "--seq-len", CONTEXT + 1).stderr
    assert "at most" in lmfast("bench", "train", "-m", model, "--seq-len", CONTEXT, "-b", 65536).stderr
