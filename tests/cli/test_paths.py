# SPDX-License-Identifier: Apache-2.0
"""What is no data: a folder, a device, nothing, and a fifo where rows are not read. Each is refused at once, by name, and left as it is."""
import os
import pathlib
import stat
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"
KINDS = {"folder": "a directory", "fifo": "a fifo", "device": "a device or socket", "empty": "", "none": "No such file"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("paths") / "model")


def make(kind, folder):
    path = folder / f"the_{kind}"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    elif kind == "device":
        return pathlib.Path("/dev/zero")  # only ever read
    return path


def refused(r, *words):
    assert r.returncode == 1 and r.stdout == "" and r.stderr.count("\n") == 1 and all(str(w) in r.stderr for w in words), r.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_data(lmfast, model, tmp_path, kind):
    path, out = make(kind, tmp_path), tmp_path / "o"
    why = KINDS[kind] or "holds no rows"
    if kind == "fifo":  # rows are read from it: test_rows.py
        refused(lmfast("eval", "-m", model, "--text", path, "--quiet", timeout=120), "--text: ", path, why)
        return
    for command, flag in ((["train", "-m", model, "-o", out], "--data"), (["train", "-m", model, "-o", out, "--data", ROWS], "--eval-data"),
                          (["plan", "-m", model], "--data"), (["eval", "-m", model], "--data"), (["eval", "-m", model], "--text")):
        r = lmfast(*command, flag, path, "--quiet", timeout=120)
        refused(r, f"{flag}: " if flag != "--text" or kind != "empty" else f"{flag} ", path, why if flag != "--text" or kind != "empty" else "has 0 tokens")


@pytest.mark.parametrize("kind", KINDS)
def test_models_and_adapters(lmfast, model, tmp_path, kind):
    path, prompt = make(kind, tmp_path), ["-p", "x", "-n", "1"]
    for command in (["info", path], ["generate", *prompt, "-m", path], ["eval", "--text", ROWS, "-m", path], ["train", "--data", ROWS, "-o", tmp_path / "o", "-m", path]):
        refused(lmfast(*command, "--quiet", timeout=120), path, {"folder": "no config.json", "empty": "is empty"}.get(kind, KINDS[kind]))
    for command in (["generate", *prompt, "-m", model, "-a", path], ["eval", "--text", ROWS, "-m", model, "-a", path], ["plan", "--serve", "-m", model, "-a", path],
                    ["train", "--data", ROWS, "-o", tmp_path / "o", "-m", model, "--init-adapter", path]):
        refused(lmfast(*command, "--quiet", timeout=120), path, "adapter_config.json" if kind in ("folder", "none") else "is no folder; a LoRA adapter is the folder")


@pytest.mark.parametrize("kind", ["fifo", "empty", "folder"])
def test_outputs(lmfast, model, tmp_path, kind):
    path = make(kind, tmp_path)
    before = os.lstat(path)
    for more in ([], ["--resume", "last"], ["--overwrite"]):
        if kind != "folder":  # an empty folder is what train wants
            refused(lmfast("train", "-m", model, "-d", ROWS, "-o", path, "--quiet", *more, timeout=120), f"--output {path}", "is no folder")
    if kind != "empty":       # an empty file is replaced
        refused(lmfast("eval", "-m", model, "-d", ROWS, "--answers", path, "--quiet", timeout=120), f"--answers {path}", "give the name of a file")
    refused(lmfast("export", "-m", model, "-o", path, "--quiet", *(["--overwrite"] if kind == "fifo" else []), timeout=120), f"--output {path}")
    after = os.lstat(path)
    assert stat.S_IFMT(before.st_mode) == stat.S_IFMT(after.st_mode) and before.st_ino == after.st_ino
