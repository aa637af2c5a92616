# SPDX-License-Identifier: Apache-2.0
"""Outputs never destroy: what is somebody's stays to the byte, and is named. And results are checked before they are printed."""
import fcntl
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tools" / "golden"), str(ROOT / "tools" / "soak")]
import formula  # noqa: E402
import outputs  # noqa: E402

ROW = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "yes"}]}\n'


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return formula.save(tmp_path_factory.mktemp("outputs") / "model")


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(ROW % ("ab" * i) for i in range(1, 5)))
    return path


def train(model, rows, out, *more, steps=4):
    return ["train", "-m", model, "-d", rows, "-o", out, "--max-steps", steps, "--save-steps", 2, "--lora-r", 2, "--warmup-steps", 0, "-b", 1, "--quiet", *more]


def refused(r, *words, code=1):
    assert r.returncode == code and r.stderr.startswith("lmfast: ") and r.stderr.count("\n") == 1, (r.returncode, r.stderr)
    assert all(str(w) in r.stderr for w in words), r.stderr


def hashes(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_names_that_are_taken(lmfast):
    """A part of tools/soak/outputs.py: each kind of thing under each name, hashed before and after."""
    faults, n_run, n_done = outputs.soak(lmfast.path, 60, seed=11, kills=1)
    assert not faults and n_run >= 40 and n_done >= 5, "\n".join(faults)


def test_second_training_run(lmfast, model, rows, tmp_path):
    for name, more in (("with checkpoints", []), ("adapter alone", ["--save-steps", 0])):
        out = tmp_path / name
        assert lmfast(*train(model, rows, out, *more)).returncode == 0
        before = hashes(out)
        refused(lmfast(*train(model, rows, out, *more, "--seed", 7)), out, "the adapter of an earlier run", "--overwrite")
        refused(lmfast(*train(model, rows, out, *more, "--seed", 7, "--resume", "auto")))
        assert hashes(out) == before
        assert lmfast(*train(model, rows, out, *more, "--seed", 7, "--overwrite")).returncode == 0
        after = hashes(out)
        assert after["adapter_model.safetensors"] != before["adapter_model.safetensors"] and set(after) == set(before)


def test_an_edited_adapter_is_the_users(lmfast, model, rows, tmp_path):
    out = tmp_path / "o"
    assert lmfast(*train(model, rows, out)).returncode == 0
    with open(out / "README.md", "a") as card:
        card.write("What I learned from this run.\n")
    before = hashes(out)
    refused(lmfast(*train(model, rows, out, "--overwrite")), out / "README.md", "was changed since")
    assert hashes(out) == before


def test_overwriting_keeps_the_old_run_until_there_is_a_new_one(lmfast, model, rows, tmp_path):
    out = tmp_path / "o"
    assert lmfast(*train(model, rows, out)).returncode == 0
    before = hashes(out)
    refused(lmfast(*train(model, rows, out, "--overwrite", "--lr", 10, "--max-grad-norm", 0, "--target-modules", "nothing")), "nothing")
    huge = formula.save(tmp_path / "huge")
    tensors = formula.weights()
    for i in range(formula.D):
        tensors["model.norm.weight"][1][i] = 3e38
    formula.save_safetensors(huge / "model.safetensors", tensors)
    r = lmfast(*train(huge, rows, out, "--overwrite"))  # each step that was skipped is told, then the end
    assert r.returncode == 1 and r.stderr.splitlines()[-1].startswith("lmfast: ") and "not finite" in r.stderr.splitlines()[-1], r.stderr
    assert hashes(out) == before
    p = subprocess.Popen([lmfast.path, *map(str, train(model, rows, out, "--overwrite", "--save-steps", 0, steps=1000000))], stderr=subprocess.DEVNULL)
    until = time.time() + 60
    while not list(tmp_path.glob(".o.lmf-*")) and time.time() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    p.kill()
    p.wait()
    assert hashes(out) == before and len(list(tmp_path.glob(".o.lmf-*"))) == 1
    assert lmfast(*train(model, rows, out, "--overwrite", "--seed", 3)).returncode == 0
    assert not list(tmp_path.glob(".o.lmf-*")) and hashes(out) != before


@pytest.mark.parametrize("name", ["checkpoint-1", "checkpoint-2", "metrics.jsonl", "adapter_config.json", "README.md", "lmfast_train.json"])
def test_links_are_not_followed(lmfast, model, rows, tmp_path, name):
    out, precious = tmp_path / "o", tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("ten years of work")
    for earlier in (False, True):
        shutil.rmtree(out, ignore_errors=True)
        if earlier:
            assert lmfast(*train(model, rows, out)).returncode == 0
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)
        out.mkdir(exist_ok=True)
        (out / name).symlink_to(precious if "checkpoint" in name else precious / "thesis.txt")
        before = hashes(out)
        refused(lmfast(*train(model, rows, out, "--overwrite")), name, "a link")
        assert hashes(out) == before and os.listdir(precious) == ["thesis.txt"] and (precious / "thesis.txt").read_text() == "ten years of work"
        assert (out / name).is_symlink()


def test_refused_commands_leave_no_folder(lmfast, model, rows, tmp_path):
    out = tmp_path / "a" / "b"
    refused(lmfast(*train(model, tmp_path / "none.jsonl", out)), "none.jsonl")
    refused(lmfast(*train(tmp_path / "none", rows, out)), "none")
    refused(lmfast(*train(model, rows, out, "--resume", "last")), "no checkpoint")
    refused(lmfast(*train(model, rows, out, "--seq-len", 4)), "--too-long")
    refused(lmfast("export", "-m", model, "-o", out / "m.gguf", "--quiet"), out)
    assert os.listdir(tmp_path) == ["rows.jsonl"]


def test_one_run_at_a_time(lmfast, model, rows, tmp_path):
    out = tmp_path / "o"
    p = subprocess.Popen([lmfast.path, *map(str, train(model, rows, out, "--logging-steps", 1, "--save-steps", 0, steps=1000000))], stderr=subprocess.DEVNULL)
    until = time.time() + 60
    while not (out / "metrics.jsonl").exists() and time.time() < until:
        time.sleep(0.01)
    for more in ([], ["--overwrite"], ["--resume", "auto"]):
        refused(lmfast(*train(model, rows, out, *more)), "is being written by another run", f"process {p.pid}")
    p.kill()
    p.wait()
    assert lmfast(*train(model, rows, out, "--resume", "auto")).returncode == 0


def test_hang_up_saves(lmfast, model, rows, tmp_path):
    out = tmp_path / "o"
    p = subprocess.Popen([lmfast.path, *map(str, train(model, rows, out, "--logging-steps", 1, "--save-steps", 0, steps=1000000))], stderr=subprocess.PIPE, text=True,
                         preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    until = time.time() + 60
    while not (out / "metrics.jsonl").exists() and time.time() < until:
        time.sleep(0.01)
    p.send_signal(signal.SIGHUP)
    err = p.communicate(timeout=60)[1]
    assert p.returncode == 128 + signal.SIGHUP and "--resume last" in err and list(out.glob("checkpoint-*/MANIFEST.json")), err


def limited(n):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))
    return limit


def test_files_that_may_not_grow(lmfast, model, rows, tmp_path):
    for args, left in ((train(model, rows, tmp_path / "o", "--save-steps", 0), []), (["export", "-m", model, "-o", tmp_path / "m.gguf", "--quiet"], []),
                       (["export", "-m", model, "-f", "hf", "-o", tmp_path / "hf", "--quiet"], [])):
        r = lmfast(*args, preexec_fn=limited(3000))
        assert r.returncode == 1 and "File too large" in r.stderr and "lmfast: can't write" in r.stderr, r.stderr
    assert [p for p in tmp_path.rglob("*") if ".lmf-" in p.name or p.suffix in (".part", ".tmp")] == []


def test_a_reader_that_leaves(lmfast, model):
    p = subprocess.Popen([lmfast.path, "generate", "-m", str(model), "--raw", "-p", "ab", "-n", "400", "--temperature", "1", "--quiet"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
    p.stdout.close()
    err = p.stderr.read()
    assert p.wait(timeout=60) == 1 and err.startswith("lmfast: standard output could not be written: Broken pipe") and err.count("\n") == 1, err


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_model_that_shrinks(lmfast, tmp_path, more):
    """One file is cut while the program waits for its prompt, with the weights mapped and not read."""
    made = formula.save(tmp_path / 'shr"ink', layers=40)
    p = subprocess.Popen([lmfast.path, "generate", "-m", str(made), "--raw", "-p", "-", "-n", "3", "--quiet", *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    weights, until = made / "model.safetensors", time.time() + 60
    while "model.safetensors" not in pathlib.Path(f"/proc/{p.pid}/maps").read_text() and time.time() < until:
        time.sleep(0.01)
    time.sleep(0.3)
    os.truncate(weights, 4096)
    out, err = p.communicate("ab", timeout=60)
    assert p.returncode == 1 and "model.safetensors became shorter while it was read" in err and err.startswith("lmfast: ") and err.count("\n") == 1, (p.returncode, err)
    if more:
        assert json.loads(out)["error"]["status"] == "E_IO"


SANITIZED = pytest.mark.skipif(os.environ.get("LMFAST_BUILD", "").endswith("san"), reason="a sanitizer needs stack and files of its own")


def capped(what, n):
    return lambda: resource.setrlimit(what, (n, n))


@SANITIZED
def test_a_small_stack(lmfast, model, rows, tmp_path):
    """ulimit -s 64, for the command and for its workers."""
    deep = tmp_path / "deep.jinja"
    deep.write_text("{{ " + "(" * 70 + "1" + ")" * 70 + " }}" + formula.TEMPLATE)
    of = ["-m", model]
    for args in (train(model, rows, tmp_path / "o", "--threads", 2), ["export", *of, "-o", tmp_path / "m.gguf", "--quant", "q4_1"],
                 ["plan", *of, "-d", rows], ["generate", *of, "-p", "ab", "-n", 3, "--chat-template", deep],
                 ["eval", *of, "--text", rows, "-c", 16], ["doctor"], ["info", model]):
        r = lmfast(*args, preexec_fn=capped(resource.RLIMIT_STACK, 64 << 10))
        assert r.returncode == 0, (args, r.returncode, r.stderr)


@SANITIZED
def test_little_memory(lmfast, model, rows, tmp_path):
    """ulimit -v: what is refused has a sentence of ours, not OpenMP's or the system's; below that the program can't be loaded."""
    said = set()
    for n in (*range(24, 64, 4), 90, 140, 200):
        args = train(model, rows, tmp_path / f"o{n}", "--threads", 4, "--save-steps", 0)
        r = lmfast(*args, preexec_fn=capped(resource.RLIMIT_AS, n << 20))
        if r.returncode == 127 and "shared" in r.stderr:
            continue
        assert r.returncode == 0 or (r.returncode == 1 and r.stderr.startswith("lmfast: ") and r.stderr.count("\n") == 1), (n, r.stderr)
        said.add(r.stderr)
    assert any("out of memory" in s for s in said) and any("refused worker thread" in s for s in said), said


@SANITIZED
def test_few_files_may_be_open(lmfast, model, rows, tmp_path):
    for n in range(4, 12):
        export = ["export", "-m", model, "--quiet", "-o"]
        for args in ([*export, tmp_path / f"m{n}.gguf"], [*export, tmp_path / f"hf{n}", "-f", "hf"],
                     train(model, rows, tmp_path / f"o{n}", "--save-steps", 0, "--no-tensorboard")):
            r = lmfast(*args, preexec_fn=capped(resource.RLIMIT_NOFILE, n))
            if r.returncode:
                refused(r, "Too many open files")
    assert r.returncode == 0 and [p for p in tmp_path.rglob("*") if ".lmf-" in p.name] == []


def test_export_into_a_folder_that_somebody_writes(lmfast, model, rows, tmp_path):
    """A run has begun in an empty folder, which an export would replace; one export goes on where another one is."""
    out = tmp_path / "o"
    out.mkdir()
    fd = os.open(out, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    export = ["export", "-m", model, "-f", "hf", "-o", out, "--quiet"]
    refused(lmfast(*export), out, "is being written by another run", f"process {os.getpid()}")
    assert os.listdir(out) == []
    os.close(fd)
    assert lmfast(*export).returncode == 0
    fd = os.open(out, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    before = hashes(out)
    refused(lmfast(*export, "--overwrite"), "is being written by another run")
    assert hashes(out) == before
    os.close(fd)


def closed(*streams):
    return lambda: [os.close(fd) for fd in streams]


@pytest.mark.parametrize("streams", [(1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_streams(lmfast, model, rows, tmp_path, streams):
    """A file that is opened does not become the standard output or the error stream: nothing that is said lands in it."""
    def run(*args):
        p = subprocess.Popen([lmfast.path, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, preexec_fn=closed(*streams))
        return p.wait(timeout=120)
    export = ["export", "-m", model, "-o"]
    assert lmfast(*export, tmp_path / "a.gguf").returncode == 0
    assert run(*export, tmp_path / "b.gguf") == (1 in streams)               # its report can't be printed
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    args = [a for a in train(model, rows, tmp_path / "o", "--logging-steps", 1) if a != "--quiet"]
    assert run(*args) == 0
    assert [json.loads(line)["step"] for line in (tmp_path / "o" / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert run(*args, "--overwrite", "--seed", 3) == 0
    if 1 in streams:
        assert run("info", model) == 1 and run("generate", "-m", model, "--raw", "-p", "ab", "-n", 2) == 1
    if 0 in streams:
        assert run("train", "-m", model, "-d", "-", "-o", tmp_path / "p") == 1 and run("chat", "-m", model) == 1


def test_what_cannot_be_written_is_told_before_the_work(lmfast, model, rows, tmp_path):
    """The model that is named is not there: it would have been told of, had the work begun."""
    none = tmp_path / "none"
    for answers, why in (("no/answers", "No such file"), ("a" * 256, "File name too long"), (rows / "x", "Not a directory")):
        refused(lmfast("eval", "-m", none, "-d", rows, "--answers", answers, cwd=tmp_path), "--answers", why)
    refused(lmfast("eval", "-m", none, "--text", rows, "--answers", "x", cwd=tmp_path), "--answers goes with --data")
    refused(lmfast("export", "-m", model, "-o", f"{tmp_path}/new/"), "is the name of a folder")
    refused(lmfast(*train(model, rows, rows / "o")), "exists and is no folder")
    assert os.listdir(tmp_path) == ["rows.jsonl"]


def test_folders_that_may_not_be_written(lmfast, model, rows):
    """As nobody: a folder that lets itself be read only. No step is made."""
    top = pathlib.Path(tempfile.mkdtemp())
    try:
        top.chmod(0o755)
        shutil.copytree(model, top / "model")
        shutil.copy(rows, top / "rows")
        shutil.copy(lmfast.path, top / "lmfast")
        (top / "o").mkdir()
        drop = (lambda: (os.setgroups([]), os.setgid(65534), os.setuid(65534))) if os.geteuid() == 0 else lambda: None
        for p in [top, *top.rglob("*")]:
            p.chmod(0o555)
        for args in (train("model", "rows", "o", "--logging-steps", 1), train("model", "rows", "new"), evaluate("model", "rows", "answers"),
                     ["export", "-m", "model", "-o", "m.gguf", "--quiet"], ["export", "-m", "model", "-f", "hf", "-o", "o", "--quiet"]):
            r = subprocess.run([top / "lmfast", *map(str, args)], cwd=top, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               timeout=120, preexec_fn=drop)
            refused(r, "Permission denied")
        assert sorted(os.listdir(top)) == ["lmfast", "model", "o", "rows"] and os.listdir(top / "o") == []
    finally:
        for p in [top, *top.rglob("*")]:
            p.chmod(0o755)
        shutil.rmtree(top)


def evaluate(model, rows, answers, *more):
    return ["eval", "-m", model, "-d", rows, "--answers", answers, "--max-new-tokens", 2, "--quiet", *more]


def test_answers(lmfast, model, rows, tmp_path):
    kept = [rows, model / "config.json", model / "model.safetensors"]
    before = [p.read_bytes() for p in kept]
    for path in kept:
        for more in ([], ["--overwrite"]):
            refused(lmfast(*evaluate(model, rows, path, *more)), path, "left alone")
    assert [p.read_bytes() for p in kept] == before
    link, out = tmp_path / "link", tmp_path / "answers.jsonl"
    link.symlink_to(out)
    refused(lmfast(*evaluate(model, rows, link)), "a link")
    assert not out.exists()
    longer = tmp_path / "longer.jsonl"
    longer.write_text(rows.read_text() + ROW % "b")
    assert lmfast(*evaluate(model, rows, out)).returncode == 0
    first = out.read_bytes()
    refused(lmfast(*evaluate(model, rows, out)), out, "--overwrite")
    assert out.read_bytes() == first and lmfast(*evaluate(model, longer, out, "--overwrite")).returncode == 0
    assert out.read_bytes().count(b"\n") == 5
    out.write_bytes(first + b'{"line": 9, "answer": "x", "valid": true, "name": true, "exact": true, "cut": false, "note": "mine"}\n')
    refused(lmfast(*evaluate(model, rows, out, "--overwrite")), "no answers of an eval")


def test_export_folder(lmfast, model, tmp_path):
    out = tmp_path / "out"
    export = ["export", "-m", model, "-f", "hf", "-o", out, "--quiet"]
    assert lmfast(*export).returncode == 0
    made = hashes(out)
    refused(lmfast(*export), "--overwrite")
    assert lmfast(*export, "--overwrite").returncode == 0 and hashes(out) == made
    (out / "mine.txt").write_text("mine")
    refused(lmfast(*export, "--overwrite"), out / "mine.txt", "left alone")
    assert hashes(out) == made | {"mine.txt": hashlib.sha256(b"mine").hexdigest()}
    (out / "mine.txt").unlink()
    with open(out / "config.json", "a") as f:
        f.write(" ")
    refused(lmfast(*export, "--overwrite"), out / "config.json", "was changed since")
    part = tmp_path / "other.part"
    part.mkdir()
    (part / "mine.txt").write_text("mine")
    assert lmfast("export", "-m", model, "-f", "hf", "-o", tmp_path / "other", "--quiet").returncode == 0
    assert (part / "mine.txt").read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["other", "other.part", "out"]


def test_export_file(lmfast, model, tmp_path):
    out, foreign = tmp_path / "m.gguf", tmp_path / "foreign.gguf"
    assert lmfast("export", "-m", model, "-o", out, "--quiet").returncode == 0
    data = out.read_bytes()
    assert data.count(b"lmfast.export") == 1
    key = data.index(b"lmfast.export") + len(b"lmfast.export") + 4 + 8
    digest = hashlib.sha256(data[:key] + b"0" * 64 + data[key + 64:]).hexdigest()
    assert data[key:key + 64].decode() == digest                             # what the file says of itself
    assert lmfast("export", "-m", out, "-o", out, "--overwrite", "--quiet").returncode == 0
    assert lmfast("export", "-m", model, "-o", out, "--overwrite", "--quiet").returncode == 0 and out.read_bytes() == data
    changed = bytearray(data)
    changed[-5] ^= 1                                                         # somebody's edit of a weight
    foreign.write_bytes(changed)
    refused(lmfast("export", "-m", model, "-o", foreign, "--overwrite", "--quiet"), foreign, "changed since")
    foreign.write_bytes(data.replace(b"lmfast.export", b"lmfast.expert"))    # a GGUF file of another program's
    refused(lmfast("export", "-m", model, "-o", foreign, "--overwrite", "--quiet"), foreign, "no GGUF file that an export wrote")
    link = tmp_path / "link.gguf"
    link.symlink_to(out)
    refused(lmfast("export", "-m", model, "-o", link, "--overwrite", "--quiet"), link, "a link")
    assert link.is_symlink() and out.read_bytes() == data


def is_plain(text):
    """UTF-8 of which a terminal takes nothing for a command but line ends."""
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp") for c in text.decode())


def raw(lmfast, *args):
    return subprocess.run([lmfast.path, *[a if isinstance(a, bytes) else str(a) for a in args]], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)


@pytest.mark.parametrize("name", [b"\xff", b"a\x1b[31mred\n", b"\xc2\x9b2J", b"\xe2\x80\xaetxt", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_any_bytes_of_a_path(lmfast, model, rows, tmp_path, name):
    for args in (["info"], ["eval", "--text", rows, "-m"], ["train", "-d", rows, "-o", tmp_path / "o", "-m"], [b"x" + name]):
        for json_too in ([], ["--json"]):
            r = raw(lmfast, *args, name, *json_too, "--quiet")
            assert r.returncode in (1, 2) and r.stderr.count(b"\n") == 1, r.stderr
            assert is_plain(r.stderr), r.stderr
            if json_too:
                assert json.loads(r.stdout.decode())["error"]["message"]
    made = os.path.join(os.fsencode(tmp_path), b"m" + name)
    shutil.copytree(os.fsencode(model), made)
    r = raw(lmfast, "info", made, "--json", "--quiet")
    assert r.returncode == 0 and json.loads(r.stdout.decode())["path"], r.stderr
    r = raw(lmfast, "info", made, "--quiet")
    assert r.returncode == 0 and is_plain(r.stdout) and r.stdout.index(b"\nname") == r.stdout.index(b"\n"), r.stdout
    r = raw(lmfast, "train", "-m", made, "-d", rows, "-o", os.path.join(os.fsencode(tmp_path), b"o" + name), "--max-steps", "1", "--json", "--quiet", "--warmup-steps", "0")
    assert r.returncode == 0 and json.loads(r.stdout.decode())["output"], r.stderr
    r = raw(lmfast, "export", "-m", made, "-f", "hf", "-o", os.path.join(os.fsencode(tmp_path), b"e" + name), "--json", "--quiet")
    assert r.returncode == 0 and json.loads(r.stdout.decode())["output"], r.stderr


def test_any_bytes_in_a_file(lmfast, model, tmp_path):
    """general.name and general.architecture of a GGUF file."""
    out = tmp_path / "m.gguf"
    assert lmfast("export", "-m", model, "-o", out, "--quiet").returncode == 0
    data = out.read_bytes()
    arch = struct.pack("<Q", 20) + b"general.architecture" + struct.pack("<I", 8)
    at = data.index(arch) + len(arch)
    assert data[at:at + 13] == struct.pack("<Q", 5) + b"llama"
    for name in (b"\xff\xfe\x1b[3", b"a\nb\rc", b"\xc2\x9b2J\x07"):
        out.write_bytes(data[:at + 8] + name[:5] + data[at + 13:])
        for more in ([], ["--json"]):
            r = raw(lmfast, "info", out, *more, "--quiet")
            assert is_plain(r.stdout + r.stderr) and r.stderr.count(b"\n") <= 1, (r.stdout, r.stderr)
            if more:
                json.loads(r.stdout.decode())


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_is_not_finite_is_no_result(lmfast, rows, tmp_path, more):
    huge = formula.save(tmp_path / "huge")
    tensors = formula.weights()
    for i in range(formula.D):
        tensors["model.norm.weight"][1][i] = 3e38
    formula.save_safetensors(huge / "model.safetensors", tensors)
    text = tmp_path / "text"
    text.write_text("ab cd " * 60)
    refused(lmfast("eval", "-m", huge, "--text", text, "-c", 64, "--quiet", *more), "perplexity is not finite")
    refused(lmfast("export", "-m", huge, "-o", tmp_path / "huge.gguf", "--quiet", *more), "values that are no numbers")
    r = lmfast("eval", "-m", huge, "-d", rows, "--answers", tmp_path / "a", "--quiet", *more)
    refused(r, "the loss is not finite")
    assert not (tmp_path / "a").exists() and (not more or json.loads(r.stdout)["error"]["message"])
