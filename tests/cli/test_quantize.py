# SPDX-License-Identifier: Apache-2.0
"""quantize on the real file, where it is there (tools/fetch_model.py). What llama.cpp makes of the files is tools/oracle/quantize.py."""
import json
import os
import pathlib

import pytest

MODEL = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = pytest.mark.skipif(not MODEL.exists(), reason="no model in the cache")
TEXT = """The sea was calm in the morning, and the boats went out one after another, each with its lamp still burning at the mast.
An old man stood at the end of the pier and counted them, as he had done every day since his own boat was sold. When the last one had
passed the rocks he turned round, put his hands in his pockets and walked back to the village, where the baker was just opening the
shutters of his shop. "Twenty-three," said the old man. "Twenty-three it is," said the baker, and wrote the number on the wall.
"""


def ok(r):
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "held.txt"
    path.write_text(TEXT * 4)
    return path


def test_rtn_measures_what_it_costs(lmfast, text, tmp_path):
    small, same = tmp_path / "small.gguf", tmp_path / "same.gguf"
    r = ok(lmfast("quantize", "-m", MODEL, "--type", "q4_0", "-o", small, "--text", text, "--json", "--quiet"))
    assert r["verified"] and r["matrices"] == 211 and r["fallback_matrices"] == 0 and 4.5 < r["bits_per_weight"] < 4.52
    assert small.stat().st_size > r["bytes"] > small.stat().st_size - 4e6
    m = r["measured"]
    assert m["mean_kl"] > 0.01 and m["perplexity"] > m["source_perplexity"] > 1 and 0.3 < m["same_top"] < 1
    # the file is what was measured: as a source its perplexity is the one told before; in more bits it hardly changes
    again = ok(lmfast("quantize", "-m", small, "--type", "q8_0", "-o", same, "--text", text, "--json", "--quiet"))["measured"]
    assert again["source_perplexity"] == pytest.approx(m["perplexity"], rel=1e-5)
    assert again["mean_kl"] < 0.002 < m["mean_kl"] and again["same_top"] > 0.97


def test_rows_that_are_no_whole_blocks(lmfast, tmp_path):
    """576 columns hold no blocks of 256: the type with as many bits, and what that costs."""
    r = ok(lmfast("quantize", "-m", MODEL, "--type", "q6_k", "-o", tmp_path / "k.gguf", "--json", "--quiet"))
    assert r["fallback_matrices"] == 181 and r["fallback_bytes"] > 20e6
    r = lmfast("quantize", "-m", MODEL, "--type", "q6_k", "-o", tmp_path / "k2.gguf")
    assert r.returncode == 0 and "181 of 211 matrices" in r.stderr and "became q8_0" in r.stderr and "MB to work in" in r.stderr


def test_methods_in_order(lmfast, text, tmp_path):
    """Compensation loses less than weighted scales, those less than plain rounding; an importance matrix does the same from a file."""
    data = tmp_path / "data.txt"
    data.write_text(TEXT * 18)
    common = ["-m", MODEL, "--type", "q4_0", "--text", text, "--json", "--quiet"]
    kl = {}
    saved = tmp_path / "m.imatrix"
    for method, arguments in {"rtn": [], "imatrix": ["--data", data, "--save-imatrix", saved], "gptq": ["--data", data]}.items():
        more = [] if method == "rtn" else ["--max-tokens", 2048]
        r = ok(lmfast("quantize", *common, "-o", tmp_path / (method + ".gguf"), "--method", method, *arguments, *more, timeout=900))
        kl[method] = r["measured"]["mean_kl"]
        assert r["verified"] and r["calibration_tokens"] == (0 if method == "rtn" else 2048) and r["unweighed_matrices"] == 0
    assert kl["gptq"] < 0.7 * kl["imatrix"] and kl["imatrix"] < kl["rtn"], kl
    again = ok(lmfast("quantize", *common, "-o", tmp_path / "again.gguf", "--method", "imatrix", "--imatrix", saved, timeout=900))
    assert again["measured"]["mean_kl"] == kl["imatrix"]
    assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "imatrix.gguf").read_bytes()


@pytest.mark.parametrize("arguments, sentence", [
    (["--method", "gptq"], "needs --data"), (["--method", "gptq", "--data", "{short}"], "at least 2048 are needed"),
    (["--method", "gptq", "--data", "{empty}"], "has 0 tokens"), (["--data", "{short}"], "the method rtn takes no text"),
    (["--method", "imatrix", "--imatrix", "{short}"], "short.txt"),
    (["--method", "imatrix", "--imatrix", "{model}"], "holds no importance matrix"),
    (["--method", "imatrix"], "needs one of --data"), (["--method", "gptq", "--imatrix", "{short}", "--data", "{short}"], "goes with"),
    (["--type", "q3_9"], "q3_9"), (["--text", "{short}"], "fewer than one window of 256"), (["--text", "{missing}"], "missing.txt"),
    (["-o", "{folder}"], "is a folder"), (["-o", "{other}", "--overwrite"], "left alone"), (["--method", "magic"], "magic")])
def test_bad_input_is_a_sentence(lmfast, tmp_path, arguments, sentence):
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "other").write_text("of somebody")
    (tmp_path / "folder").mkdir()
    at = {k: tmp_path / v for k, v in {"short": "short.txt", "missing": "missing.txt", "folder": "folder", "other": "other",
                                        "empty": "empty.txt"}.items()} | {"model": MODEL}
    arguments = [a.format(**at) for a in arguments]
    r = lmfast("quantize", "-m", MODEL, *([] if "-o" in arguments else ["-o", tmp_path / "out.gguf"]), "--quiet", *arguments)
    assert r.returncode in (1, 2) and sentence in r.stderr, r.stderr
    assert not (tmp_path / "out.gguf").exists() and (tmp_path / "other").read_text() == "of somebody"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.txt", "folder", "other", "short.txt"]
