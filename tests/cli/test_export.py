# SPDX-License-Identifier: Apache-2.0
"""export, eval and plan on the real file, where it is there (tools/fetch_model.py). What other programs make of the files is
tools/oracle/export.py."""
import json
import os
import pathlib
import struct
import subprocess
import threading
import time

import pytest

MODEL = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf"
pytestmark = pytest.mark.skipif(not MODEL.exists(), reason="no model in the cache")
ROW = {"messages": [{"role": "system", "content": "Turn the request into one JSON command."}, {"role": "user", "content": "deactivate fan"},
                    {"role": "assistant", "content": '{"intent": "HassTurnOff", "domain": "fan"}'}]}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({**ROW, "id": i}) + "\n" for i in range(3)))
    return path


@pytest.fixture(scope="module")
def adapter(lmfast, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("adapter") / "a"
    r = lmfast("train", "-m", MODEL, "-d", rows, "-o", path, "--max-steps", 12, "--lr", "2e-3", "--warmup-steps", 0, "--save-steps", 0, "--lora-r", 8, "--quiet", timeout=300)
    assert r.returncode == 0, r.stderr
    return path


def ok(r):
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_copy_is_exact_and_not_overwritten(lmfast, tmp_path):
    out = tmp_path / "m.gguf"
    report = ok(lmfast("export", "-m", MODEL, "-o", out, "--json", "--quiet"))
    assert report["tensors"] == 272 and report["verify"] == {**report["verify"], "passed": True, "max_dlogit": 0.0, "mean_kl": 0.0,
        "max_tensor_error": 0.0, "texts": 14}
    before = out.stat()
    r = lmfast("export", "-m", MODEL, "-o", out, "--quiet")
    assert r.returncode == 1 and "--overwrite" in r.stderr and out.stat().st_mtime_ns == before.st_mtime_ns
    assert ok(lmfast("export", "-m", out, "-o", out, "--overwrite", "--json", "--quiet"))["verify"]["max_dlogit"] == 0.0
    assert out.read_bytes()[:4] == b"GGUF" and not list(tmp_path.glob("*.part"))


def test_what_is_not_ours_is_left_alone(lmfast, tmp_path):
    other = tmp_path / "thesis.txt"
    other.write_text("ten years of work")
    r = lmfast("export", "-m", MODEL, "-o", other, "--overwrite", "--quiet")
    assert r.returncode == 1 and "left alone" in r.stderr and other.read_text() == "ten years of work"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes").write_text("x")
    r = lmfast("export", "-m", MODEL, "-o", folder, "-f", "hf", "--quant", "f16", "--overwrite", "--quiet")
    assert r.returncode == 1 and "left alone" in r.stderr and os.listdir(folder) == ["notes"]
    r = lmfast("export", "-m", MODEL, "-o", folder, "--quiet")
    assert r.returncode == 1 and "is a folder" in r.stderr
    r = lmfast("export", "-m", MODEL, "-o", tmp_path / "none" / "m.gguf", "--quiet")
    assert r.returncode == 1 and str(tmp_path / "none") in r.stderr
    r = lmfast("export", "-m", MODEL, "-o", tmp_path / "hf", "-f", "hf", "--quiet")
    assert r.returncode == 1 and "--quant f16" in r.stderr and not (tmp_path / "hf").exists() and not (tmp_path / "hf.part").exists()


def test_fall_back_is_said(lmfast, tmp_path):
    report = ok(lmfast("export", "-m", MODEL, "-o", tmp_path / "k.gguf", "--quant", "q4_k", "--json", "--quiet", timeout=300))
    assert report["fallback_tensors"] == 181 and "became q8_0" in report["notes"] and report["verify"]["passed"]
    types = {t["type"]: t["tensors"] for t in ok(lmfast("info", tmp_path / "k.gguf", "--json"))["types"]}
    assert types == {"f32": 61, "q4_k": 30, "q8_0": 181}


def test_merged_adapter_and_folder(lmfast, adapter, rows, tmp_path):
    merged = tmp_path / "hf"
    report = ok(lmfast("export", "-m", MODEL, "-a", adapter, "-o", merged, "-f", "hf", "--quant", "bf16", "--json", "--quiet", timeout=300))
    assert report["verify"]["passed"] and report["verify"]["mean_kl"] < 0.01
    config = json.loads((merged / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"] and config["tie_word_embeddings"] is True and config["torch_dtype"] == config["dtype"] == "bfloat16"
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 100000 and config["eos_token_id"] == 2
    assert json.loads((merged / "lmfast_export.json").read_text())["verified"] is True
    a = ok(lmfast("eval", "-m", MODEL, "-a", adapter, "-d", rows, "--json", "--quiet", timeout=300))
    b = ok(lmfast("eval", "-m", merged, "-d", rows, "--json", "--quiet", timeout=300))
    base = ok(lmfast("eval", "-m", MODEL, "-d", rows, "--json", "--quiet", timeout=300))
    assert a["exact"] == b["exact"] == 1.0 and abs(a["loss"] - b["loss"]) < 0.02 and base["exact"] == 0.0 and base["loss"] > 5 * a["loss"]


def test_adapter_of_another_base(lmfast, adapter, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in os.listdir(adapter):
        if name.startswith("adapter_"):
            (other / name).write_bytes((adapter / name).read_bytes())
    data = bytearray((other / "adapter_model.safetensors").read_bytes())
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    for key, value in header.items():     # [8, 576] becomes [4, 1152]: the same bytes for a wider layer
        if key.endswith("layers.0.self_attn.q_proj.lora_A.weight"):
            value["shape"] = [value["shape"][0] // 2, value["shape"][1] * 2]
        if key.endswith("layers.0.self_attn.q_proj.lora_B.weight"):
            value["shape"] = [value["shape"][0] * 2, value["shape"][1] // 2]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (n - len(text))
    assert len(text) == n
    data[8:8 + n] = text
    (other / "adapter_model.safetensors").write_bytes(data)
    config = json.loads((other / "adapter_config.json").read_text())
    config["rank_pattern"] = {"model.layers.0.self_attn.q_proj": 4}
    (other / "adapter_config.json").write_text(json.dumps(config))
    for command in (["eval", "--text", __file__], ["export", "-o", tmp_path / "x.gguf"]):
        r = lmfast(*command, "-m", MODEL, "-a", other, "--quiet")
        assert r.returncode == 1 and "another base" in r.stderr and "layers.0.self_attn.q_proj" in r.stderr and "1152" in r.stderr
    assert not (tmp_path / "x.gguf").exists()


def test_eval_refusals(lmfast, rows, tmp_path):
    assert "one of --data" in lmfast("eval", "-m", MODEL).stderr
    assert "one of --data" in lmfast("eval", "-m", MODEL, "-d", rows, "--text", rows).stderr
    r = lmfast("eval", "-m", MODEL, "--text", tmp_path / "none.txt", "--quiet")
    assert r.returncode == 1 and "none.txt" in r.stderr
    r = lmfast("eval", "-m", MODEL, "--text", rows, "--context", 9000, "--quiet")
    assert r.returncode == 1 and "8192" in r.stderr
    r = lmfast("eval", "-m", MODEL, "--text", rows, "--context", 4096, "--quiet")
    assert r.returncode == 1 and "fewer than one window" in r.stderr
    r = lmfast("eval", "-m", tmp_path, "--text", rows, "--quiet")
    assert r.returncode == 1 and "config.json" in r.stderr


def test_eval_answers_file(lmfast, rows, tmp_path):
    out = tmp_path / "answers.jsonl"
    r = ok(lmfast("eval", "-m", MODEL, "-d", rows, "--answers", out, "--max-new-tokens", 4, "--json", "--quiet", timeout=300))
    lines = [json.loads(line) for line in open(out)]
    assert r["rows"] == 3 and [x["id"] for x in lines] == [0, 1, 2] and [x["line"] for x in lines] == [1, 2, 3]
    assert len({x["answer"] for x in lines}) == 1 and all(x["cut"] for x in lines) and r["cut_answers"] == 3


def watch(args):
    """Peak of RssAnon in bytes while the program runs, read every few milliseconds, and its output."""
    p = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, done = [0], threading.Event()

    def look():
        while not done.is_set():
            try:
                for line in open(f"/proc/{p.pid}/status"):
                    if line.startswith("RssAnon"):
                        peak[0] = max(peak[0], int(line.split()[1]) * 1024)
            except OSError:
                return
            time.sleep(0.002)
    thread = threading.Thread(target=look)
    thread.start()
    out, err = p.communicate(timeout=300)
    done.set()
    thread.join()
    assert p.returncode == 0, err
    return peak[0], json.loads(out)


@pytest.mark.parametrize("more", [[], ["--recompute"], ["--lora-r", 4, "--target-modules", "q_proj,v_proj", "--micro-tokens", 64]])
def test_plan_is_what_train_takes(lmfast, rows, tmp_path, more):
    """Planned bytes equal those asked of the device; the anonymous memory of the run is that of planning (program, vocabulary, graphs)
    plus the planned bytes and the copy of the parameters that is made to save them, within 3 %. Pages of the mapped model file are
    not anonymous and not planned."""
    common = ["-m", MODEL, "-d", rows, "--max-steps", 3, "-b", 3, *more, "--json", "--quiet"]
    idle, plan = watch([lmfast.path, "plan", *common])
    busy, run = watch([lmfast.path, "train", *common, "-o", tmp_path / "o", "--warmup-steps", 0, "--save-steps", 0])
    assert plan["memory_bytes"] == run["memory_bytes"]
    assert plan["memory_bytes"] == sum(plan[k] for k in ("weight_bytes", "state_bytes", "io_bytes", "step_bytes"))
    planned = plan["memory_bytes"] + plan["host_copy_bytes"]
    assert abs((busy - idle) / planned - 1) < 0.03, (busy, idle, planned)


def test_plan_by_rows_and_for_serving(lmfast, rows):
    small = ok(lmfast("plan", "-m", MODEL, "--rows", 8, "--seq-len", 64, "--json"))
    large = ok(lmfast("plan", "-m", MODEL, "--rows", 8, "--seq-len", 512, "--json"))
    assert small["memory_bytes"] < large["memory_bytes"] and large["largest_at_peak"]
    for compute, number_bytes in ("f32", 4), ("auto", 2):  # of keys and values
        serve = ok(lmfast("plan", "-m", MODEL, "--serve", "--context", 512, "--max-seqs", 2, "--compute", compute, "--json"))
        counts = 2 * 49152 * 4  # of each sequence's tokens
        assert serve["state_bytes"] == 2 * 512 * 30 * 2 * 192 * number_bytes + counts
    assert serve["pages"] == 64
    assert "one of --data" in lmfast("plan", "-m", MODEL).stderr
