#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# ci: --program {build}/lmfast
"""One cache, two clients: what lmfast downloaded, huggingface_hub finds offline, and what huggingface_hub downloaded (from the same hub on
loopback), lmfast finds offline, by branch, by commit, of models and data sets. A part that an older huggingface_hub left is gone on with.

    hub.py --program build/release/lmfast"""
import argparse, json, os, pathlib, random, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
from hub_server import Hub  # noqa: E402

SNAPSHOT = """
import sys, huggingface_hub
print(huggingface_hub.snapshot_download(sys.argv[1], repo_type=sys.argv[2], revision=sys.argv[3], allow_patterns=sys.argv[4].split(",")))
"""
ONE = """
import sys, huggingface_hub
print(huggingface_hub.hf_hub_download(sys.argv[1], sys.argv[4], repo_type=sys.argv[2], revision=sys.argv[3]))
"""


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--program", required=True)
    a = p.parse_args()
    big = random.Random(2).randbytes(200_000)
    model = {"config.json": b"{}", "tokenizer.json": b"[]", "model.safetensors": big}
    rows = {"data/train.jsonl": b'{"text": "a"}\n' * 200, "extra/test.csv": b"text\na\n"}
    bad = n = 0

    def check(what, fine):
        nonlocal bad, n
        n += 1
        if not fine:
            bad += 1
            print("differs:", what)

    with tempfile.TemporaryDirectory() as work, Hub() as hub:
        keep = {k: v for k, v in os.environ.items()
                if not k.lower().endswith("_proxy") and not k.startswith(("HF_", "HUGGING", "TRANSFORMERS"))}

        def peer(cache, script, *args, **more):
            env = {**keep, "HF_ENDPOINT": hub.url, "HF_HOME": cache, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **more}
            return subprocess.run([sys.executable, "-c", script, *args], env=env, capture_output=True, text=True)

        def ours(cache, *args, **more):
            r = subprocess.run([a.program, "download", *args, "--json", "--quiet"], capture_output=True, text=True,
                               env={**keep, "HF_ENDPOINT": hub.url, "HF_HOME": cache, **more})
            return json.loads(r.stdout) if r.returncode == 0 else {"path": "", "error": r.stderr}

        repos = [("models", "model", "org/name", model), ("datasets", "dataset", "org/rows", rows)]
        for kind, word, name, files in repos:
            repo = hub.add(name, files, kind=kind)
            for revision in ("main", "v1", repo.commit):
                mine, theirs = f"{work}/ours-{word}-{revision}", f"{work}/theirs-{word}-{revision}"
                at = f"{name}@{revision}"
                want = f"hub/{kind}--{name.replace('/', '--')}/snapshots/{repo.commit}"
                got = ours(mine, at, "--repo-type", word)
                check(f"{at}: path {got}", got["path"] == f"{mine}/{want}")
                hub.log.clear()
                off = {"HF_HUB_OFFLINE": "1"}
                r = peer(mine, SNAPSHOT, name, word, revision, ",".join(files), **off)
                check(f"{at}: their snapshot of ours {r.stderr[-500:]}", r.stdout.strip() == got["path"])
                for file, data in files.items():
                    r = peer(mine, ONE, name, word, revision, file, **off)
                    check(f"{at}: their {file} of ours {r.stderr[-500:]}", r.stdout and pathlib.Path(r.stdout.strip()).read_bytes() == data)
                r = peer(theirs, SNAPSHOT, name, word, revision, ",".join(files))
                check(f"{at}: their download {r.stderr[-500:]}", r.stdout.strip() == f"{theirs}/{want}")
                hub.log.clear()
                got = ours(theirs, at, "--repo-type", word, **off)
                check(f"{at}: ours of their cache {got}",
                      got["path"] == f"{theirs}/{want}" and got["files"] == len(files) and got["offline"])
                check(f"{at}: nobody was asked", not hub.log)
                got = ours(theirs, at, "--repo-type", word)
                check(f"{at}: nothing is downloaded again {got}", got.get("downloaded") == 0)

                def tree(cache):
                    top = pathlib.Path(cache) / "hub"
                    return {str(p.relative_to(top)): os.readlink(p) if p.is_symlink() else p.read_bytes() for p in top.rglob("*")
                            if not p.is_dir() and "/trees/" not in str(p) and ".locks" not in str(p) and p.name != "CACHEDIR.TAG"}
                check(f"{at}: the same files and links", tree(mine) == tree(theirs))
    print(f"hub: {n - bad} of {n} hold")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
