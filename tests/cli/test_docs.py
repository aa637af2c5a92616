# SPDX-License-Identifier: Apache-2.0
"""Documentation that is made from the sources, and documentation whose examples run: manuals, manual pages, completions, guide."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT
from test_generate import write_gguf
from test_train import ROWS

GUIDES = sorted(p for p in (ROOT / "docs" / "guide").glob("*.md") if p.name != "README.md")
PAIRS = ROOT / "tests" / "parity" / "dpo_rows.jsonl"
PORT = re.compile(r"\b80[0-9][0-9]\b")
BLOCK = re.compile(r"^```(sh|python|c)\n(.*?)^```$", re.M | re.S)


def run(*command, **options):
    options.setdefault("timeout", 180)
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)


@pytest.mark.parametrize("name", ["C", "PYTHON"])
def test_manuals_are_made_from_the_sources(name):
    made = run(sys.executable, ROOT / "tools" / "make_docs.py", name)
    assert made.returncode == 0, made.stderr
    assert made.stdout == (ROOT / "docs" / f"{name}.md").read_text(), "make it anew: tools/make_docs.py"


def test_every_guide_is_listed_and_links_lead_somewhere():
    listed = (ROOT / "docs/guide/README.md").read_text()
    assert len(GUIDES) > 4 and all(f"({p.name})" in listed for p in GUIDES)
    for page in [ROOT / "docs/guide/README.md", *GUIDES]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """An installed LMFast; the guide's programs come from it."""
    folder = tmp_path_factory.mktemp("prefix")
    r = run("cmake", "--install", BUILD, "--prefix", folder)
    assert r.returncode == 0, r.stderr
    return folder


@pytest.mark.skipif("san" in BUILD.name, reason="a sanitized library wants its runtime before Python's")
@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.stem)
def test_guide(page, prefix, tmp_path):
    """Every block of a page, in order, in a folder with what the guide's first page promises."""
    write_gguf(tmp_path / "SmolLM2.gguf", context=4096)
    rows = [line for line in ROWS.read_text().splitlines() if "messages" in line]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "test.jsonl").write_text("\n".join(rows[:3]) + "\n")
    shutil.copyfile(PAIRS, tmp_path / "pairs.jsonl")
    library = next(prefix.rglob("liblmfast.so")).parent
    env = {**os.environ, "PATH": f"{prefix}/bin:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
           "PYTHONPATH": str(BUILD / "python"), "PKG_CONFIG_PATH": str(library / "pkgconfig"), "LD_LIBRARY_PATH": str(library)}
    taken = {name: socket.socket() for name in set(PORT.findall(page.read_text()))}
    for s in taken.values():
        s.bind(("127.0.0.1", 0))
    ports = {name: str(s.getsockname()[1]) for name, s in taken.items()}
    for s in taken.values():
        s.close()
    blocks = BLOCK.findall(page.read_text())
    assert blocks
    for language, code in blocks:
        code = PORT.sub(lambda m: ports[m[0]], code)
        if language == "c":
            (tmp_path / "program.c").write_text(code)
            continue
        command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-c", code]
        r = run(*command, cwd=tmp_path, env=env)
        assert r.returncode == 0, f"{page.name}:\n{code}\n{r.stdout}{r.stderr}"


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    r = run(sys.executable, ROOT / "tools" / "manual.py", BUILD / "lmfast", folder)
    assert r.returncode == 0, r.stderr
    return folder


def test_manual_pages_are_clean_and_whole(lmfast, manual):
    whole = json.loads(lmfast("help", "--json").stdout)
    pages = sorted((manual / "man1").iterdir())
    assert {p.name for p in pages} == {"lmfast.1", *(f"lmfast-{c['name']}.1" for c in whole["commands"])}
    r = run("mandoc", "-T", "lint", "-W", "warning", *pages)
    assert r.returncode == 0 and r.stdout == "", r.stdout
    for c in whole["commands"]:
        text = re.sub(".\b", "", run("mandoc", "-T", "utf8", "-O", "width=500", manual / "man1" / f"lmfast-{c['name']}.1").stdout)
        for f in c["flags"]:
            assert f"--{f['name']}" in text and f["help"][1:40] in text, (c["name"], f["name"])
        assert c["example"] in text


def test_completions(lmfast, manual):
    """bash completes commands, flags, and the words of a choice; the other shells accept theirs."""
    def complete(*words):
        line = " ".join(f"'{w}'" for w in words)
        code = f". {manual}/bash/lmfast; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _lmfast; echo ${{COMPREPLY[@]}}"
        r = run("bash", "-euc", code)
        assert r.returncode == 0, r.stderr
        return r.stdout.split()
    assert complete("lmfast", "tr") == ["train"] and "serve" in complete("lmfast", "")
    assert complete("lmfast", "train", "--sched") == ["--scheduler"]
    assert complete("lmfast", "train", "--scheduler", "co") == ["cosine", "constant"]
    assert complete("lmfast", "help", "ex") == ["export"]
    for shell, path in (("zsh", manual / "zsh/_lmfast"), ("fish", manual / "fish/lmfast.fish")):
        r = run(shell, "-n", path)
        assert r.returncode == 0, r.stderr
    r = run("fish", "-c", f"source {manual}/fish/lmfast.fish; complete -C 'lmfast train --sched'")
    assert r.stdout.startswith("--scheduler"), r.stdout + r.stderr
