# SPDX-License-Identifier: Apache-2.0
"""What doctor says agrees with the machine and with the flags."""
import json
import os

import pytest


def doctor(lmfast, *args, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("COLAB", "KAGGLE", "SPACE", "MODAL", "RUNPOD", "VERTEX", "KUBERNETES"))}
    r = lmfast("doctor", "--json", *args, env={**clean, **env})
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_machine(lmfast):
    d = doctor(lmfast)
    info = open("/proc/cpuinfo").read()
    flags = set(info.split("flags", 1)[-1].split("\n", 1)[0].split()) if "flags" in info else set()
    assert d["cpu"]["model"] in info or d["cpu"]["model"] == "unknown"
    assert ("avx2" in d["cpu"]["features"]) == {"avx2", "fma", "f16c", "bmi2"}.issubset(flags)
    assert ("avx512" in d["cpu"]["features"]) == {"avx512f", "avx512bw", "avx512dq", "avx512vl"}.issubset(flags)
    assert 1 <= d["cpu"]["workers"] <= len(os.sched_getaffinity(0)) <= d["cpu"]["processors"]
    total = int(next(line for line in open("/proc/meminfo") if line.startswith("MemTotal")).split()[1]) * 1024
    assert 0 < d["cpu"]["memory_bytes"] <= total
    assert {p["name"] for p in d["plugins"]} == {"onednn", "cuda"}
    for p in d["plugins"]:
        assert p["version"] if p["loaded"] else p["reason"]
    assert d["gpu"]["available"] or d["gpu"]["reason"]


def test_flags_show(lmfast):
    use = doctor(lmfast, "--isa", "scalar", "--threads", "3", "--device", "null")["use"]
    assert use == {"device": "null", "isa": "scalar", "features": [], "workers": 3}
    assert doctor(lmfast)["use"]["workers"] == doctor(lmfast)["cpu"]["workers"]


def test_affinity_counts(lmfast):
    one = {min(os.sched_getaffinity(0))}
    r = lmfast("doctor", "--json", preexec_fn=lambda: os.sched_setaffinity(0, one))
    assert json.loads(r.stdout)["cpu"]["workers"] == 1


@pytest.mark.parametrize("env, place", [
    ({"COLAB_GPU": "1"}, "Colab"),
    ({"COLAB_RELEASE_TAG": "x"}, "Colab"),
    ({"COLAB_RELEASE_TAG": "x", "VERTEX_PRODUCT": "COLAB_ENTERPRISE"}, "Colab Enterprise"),
    ({"VERTEX_PRODUCT": "other"}, None),
    ({"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, "Kaggle"),
    ({"SPACE_ID": "a/b"}, "Hugging Face Space"),
    ({"MODAL_TASK_ID": "x"}, "Modal"),
    ({"RUNPOD_POD_ID": "x"}, "Runpod"),
    ({}, None),
])
def test_places(lmfast, env, place):
    if os.path.exists("/kaggle/working"):
        pytest.skip("this is Kaggle itself")
    assert doctor(lmfast, **env)["place"] == place


def test_container(lmfast):
    found = doctor(lmfast, KUBERNETES_SERVICE_HOST="10.0.0.1")["container"]
    assert found == "Kubernetes"


def test_text(lmfast):
    r = lmfast("doctor", "--threads", "2")
    assert r.returncode == 0 and r.stdout.startswith("lmfast     ") and "will use   device cpu, " in r.stdout and ", 2 workers\n" in r.stdout


def test_plugin_refused(lmfast, tmp_path):
    (tmp_path / "liblmfast-onednn.so").write_bytes(b"not a library")
    d = doctor(lmfast, LMFAST_PLUGIN_PATH=str(tmp_path))
    reason = next(p for p in d["plugins"] if p["name"] == "onednn")
    assert not reason["loaded"] and "can't be opened" in reason["reason"]
