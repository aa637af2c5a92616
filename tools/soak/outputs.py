#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What lies in the way of an output stays as it is: each command that writes, each name that it writes or might, taken in turn by a file,
a folder, a fifo, links, something read only, another run's output; in a folder of its own, and among an earlier run's. Before and after
every entry is hashed. A command that is killed leaves nothing behind once it has run again.

    tools/soak/outputs.py build/release [RUNS [SEED]]      # RUNS: so many of the cases, drawn at random; 0: all"""
import hashlib
import os
import pathlib
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROW = '{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "yes %d"}]}\n'
KINDS = ("file", "empty", "folder", "empty folder", "fifo", "link", "link to a folder", "dangling link", "read-only file", "read-only folder", "another")
TEMPORARY = re.compile(r"\.lmf-[0-9a-f]{16}$")
TRAIN = ["train", "-m", "model", "-d", "rows.jsonl", "-o", "o", "--max-steps", "4", "--save-steps", "2", "--lora-r", "2", "--warmup-steps", "0", "-b", "1", "--quiet"]
EVAL = ["eval", "-m", "model", "-d", "rows.jsonl", "--max-new-tokens", "2", "--answers", "answers.jsonl", "--quiet"]
GGUF = ["export", "-m", "model", "-o", "out.gguf", "--quiet"]
HF = ["export", "-m", "model", "-f", "hf", "-o", "out", "--quiet"]
RUN_FILES = ["checkpoint-2", "checkpoint-4", "metrics.jsonl", "adapter_config.json", "adapter_model.safetensors", "README.md", "lmfast_train.json"]
EXPORT_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "model.safetensors", "lmfast_export.json", "mine.txt"]
COMMANDS = {  # arguments, further flags, names in a folder of their own, names among what an earlier run left
    "train": (TRAIN, [[], ["--overwrite"], ["--resume", "auto"], ["--resume", "last"]],
              ["o", "o.part", "o.tmp", *(f"o/{f}" for f in RUN_FILES), "o/mine.txt"],
              [*(f"o/{f}" for f in RUN_FILES), "o/mine.txt", "o/checkpoint-2/mine.txt", "o/checkpoint-4/state.safetensors", "o/checkpoint-2/MANIFEST.json", "o/checkpoint-2.tmp",
               "o/metrics.jsonl.tmp"]),
    "eval": (EVAL, [[], ["--overwrite"]], ["answers.jsonl", "answers.jsonl.tmp"], ["answers.jsonl", "answers.jsonl.tmp"]),
    "gguf": (GGUF, [[], ["--overwrite"]], ["out.gguf", "out.gguf.part", "out.gguf.tmp", "out.gguf.part.tmp"], ["out.gguf", "out.gguf.part"]),
    "hf": (HF, [[], ["--overwrite"]], ["out", "out.part", "out.tmp", *(f"out/{f}" for f in EXPORT_FILES)], [*(f"out/{f}" for f in EXPORT_FILES), "out.part"]),
}


def entry(path):
    st = path.lstat()
    kind, what = stat.S_IFMT(st.st_mode), ""
    if stat.S_ISREG(st.st_mode):
        what = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(st.st_mode):
        what = os.readlink(path)
    return kind, stat.S_IMODE(st.st_mode) if not stat.S_ISLNK(st.st_mode) else 0, what


def snapshot(folder):
    seen = {}
    for top, folders, files in os.walk(folder):
        for name in folders + files:
            path = pathlib.Path(top) / name
            seen[str(path.relative_to(folder))] = entry(path)
    return seen


def call(program, args, folder):
    return subprocess.run([str(program), *args], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120)


def prepare(program, folder):
    """The user's things and, for each command, an earlier run's and another run's."""
    formula.save(folder / "model")
    (folder / "rows.jsonl").write_text("".join(ROW % ("ab" * (1 + i % 3), i) for i in range(4)))
    (folder / "precious").mkdir()
    (folder / "precious" / "thesis.txt").write_text("ten years of work\n")
    (folder / "precious.txt").write_text("precious\n")
    for name, (args, *_) in COMMANDS.items():
        for of, more in (("earlier", []), ("another", ["--seed", "7"] if name == "train" else ["--max-new-tokens", "3"] if name == "eval" else [])):
            made = folder.parent / f"{name}-{of}"
            shutil.copytree(folder, made)
            r = call(program, args + more, made)
            assert r.returncode == 0, (name, r.stderr)


def occupy(folder, path, kind, other):
    """Puts something of the user's at path; False where that makes no sense."""
    if kind == "another":
        if not other.exists():
            return False
        shutil.copytree(other, path) if other.is_dir() else shutil.copy(other, path)
    elif kind in ("folder", "empty folder", "read-only folder"):
        path.mkdir()
        if kind != "empty folder":
            (path / "mine.txt").write_text("mine\n")
        if kind == "read-only folder":
            path.chmod(0o555)
    elif kind == "fifo":
        os.mkfifo(path)
    elif "link" in kind:
        to = {"dangling link": path.parent / "nowhere", "link to a folder": folder / "precious"}.get(kind, folder / "precious.txt")
        path.symlink_to(os.path.relpath(to, path.parent))
    else:
        path.write_text("" if kind == "empty" else "mine\n")
        if kind == "read-only file":
            path.chmod(0o444)
    return True


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


def cases():
    for name, (_, flags, alone, among) in COMMANDS.items():
        for earlier, names in ((False, alone), (True, among)):
            for target in names:
                for kind in KINDS:
                    for more in flags:
                        yield name, earlier, target, kind, more


def own_product(name, target, kind, more):
    """Another run's output of the same command may be replaced when that is asked for, and gone on with."""
    return kind == "another" and bool(more) and "part" not in target and "tmp" not in target


def run_case(program, base, case):
    """A sentence of what was wrong, or None; and whether the command ran to its end."""
    name, earlier, target, kind, more = case
    folder = base / "case"
    remove(folder)
    shutil.copytree(base / (f"{name}-earlier" if earlier else "plain"), folder, symlinks=True)
    before_run = set(snapshot(folder))
    path = folder / target
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(path)
    if not occupy(folder, path, kind, base / f"{name}-another" / target):
        return None, None
    before = snapshot(folder)
    users = {k: v for k, v in before.items() if k not in before_run or k == target or k.startswith(target + "/") or not k.startswith(("o/", "out", "answers"))}
    r = call(program, COMMANDS[name][0] + more, folder)
    after = snapshot(folder)
    what = f"{name} {' '.join(more)}: {target} is {kind}{' among an earlier run' if earlier else ''}: exit {r.returncode}, {r.stderr.strip()!r}: "
    if r.returncode not in (0, 1) or (r.returncode == 1 and (r.stderr.count("\n") != 1 or not r.stderr.startswith("lmfast: "))):
        return what + "no sentence", None
    if not own_product(name, target, kind, more):
        changed = [k for k in users if after.get(k) != users[k]]
        if changed:
            return what + f"changed {changed}", None
        if r.returncode == 1 and after != before:
            return what + f"refused, and yet changed {sorted(k for k in before | after if before.get(k) != after.get(k))}", None
    left = [k for k in after if TEMPORARY.search(k) or k.endswith((".tmp", ".part")) and k not in before]
    return (what + f"left {left}", None) if left else (None, r.returncode == 0)


def killed(program, base, rng, name, n):
    """Killed n times at random moments, then run: nothing is left over, and the user's things are as they were."""
    folder = base / "case"
    remove(folder)
    shutil.copytree(base / "plain", folder)
    before = snapshot(folder)
    args = COMMANDS[name][0] + (["--resume", "auto"] if name == "train" else ["--overwrite"])
    for _ in range(n):
        p = subprocess.Popen([str(program), *args], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.15)
        p.kill()
        p.wait()
    r = call(program, args, folder)
    after = snapshot(folder)
    if r.returncode and "is complete" not in r.stderr and "the adapter of" not in r.stderr:
        return f"{name} after kills: {r.stderr!r}"
    left = [k for k in after if TEMPORARY.search(k)]
    changed = [k for k in before if after.get(k) != before[k]]
    return f"{name} after {n} kills: left {left}, changed {changed}" if left or changed else None


def soak(program, n, seed=0, kills=5):
    """Faults found, cases run, of them commands that ran to their end."""
    rng, faults, n_run, n_done = random.Random(seed), [], 0, 0
    with tempfile.TemporaryDirectory() as top:
        base = pathlib.Path(top)
        (base / "plain").mkdir()
        prepare(program, base / "plain")
        todo = list(cases())
        for case in rng.sample(todo, n) if n else todo:
            fault, done = run_case(program, base, case)
            n_run += fault is not None or done is not None
            n_done += done is True
            if fault:
                faults.append(fault)
        for name in COMMANDS:
            for _ in range(kills):
                fault = killed(program, base, rng, name, 3)
                n_run += 1
                if fault:
                    faults.append(fault)
    return faults, n_run, n_done


def main():
    n, seed = (int(a) for a in (sys.argv[2:] + ["0", "0"][len(sys.argv) - 2:])[:2])
    faults, n_run, n_done = soak(pathlib.Path(sys.argv[1]).resolve() / "lmfast", n, seed, kills=5 if n else 25)
    for fault in faults:
        print(fault)
    print(f"{n_run} cases, {n_done} of them ran to the end, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
