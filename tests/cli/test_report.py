# SPDX-License-Identifier: Apache-2.0
"""lmfast report: what the log says is on the page, in a real browser too; TensorBoard's event file says the same."""
import html.parser
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "golden"))
import formula  # noqa: E402

ROWS = ROOT / "tests" / "parity" / "train_rows.jsonl"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formula") / "model"
    formula.save(folder)
    return folder


def train(lmfast, model, out, *more, steps=20):
    r = lmfast("train", "--model", model, "--data", ROWS, "--val-set-size", "4", "--output", out, "--max-steps", steps,
               "--logging-steps", "2",
               "--eval-steps", "5", "--lora-r", "2", "--lr", "1e-2", "--quiet", *more)
    assert r.returncode == 0, r.stderr
    return [json.loads(x) for x in (out / "metrics.jsonl").open()]


def page(lmfast, run, *more):
    out = run.parent / "page.html"
    r = lmfast("report", run, "--output", out, "--overwrite", *more)
    assert r.returncode == 0 and r.stdout.strip() == str(out), r.stderr
    return out.read_text()


def charts(text):
    """Title -> the points of each line, back in the chart's own numbers through its ticks."""
    out = {}
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        root = xml.etree.ElementTree.fromstring(svg)
        out[root.get("aria-label")] = [[tuple(map(float, p.split())) for p in re.split("[ML]", line.get("d"))[1:]]
                                       for line in root.iter("path") if "line" in line.get("class")]
    return out


class Whole(html.parser.HTMLParser):
    """Every element is closed in its turn, and nothing is fetched."""
    void = {"meta", "!doctype"}

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag != "script" and not any(k in ("src", "href") for k, _ in attrs)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page(lmfast, model, tmp_path):
    log = train(lmfast, model, tmp_path / "o")
    text = page(lmfast, tmp_path / "o")
    Whole(text)
    assert set(charts(text)) == {"Loss", "Gradient norm", "Learning rate", "Tokens a second", "Memory of the process, MB"}
    raw, smooth, held = charts(text)["Loss"]
    losses = [x["loss"] for x in log]
    assert len(raw) == len(smooth) == len(losses) and len(held) == 4
    # heights are a linear map of the values
    lo, hi = losses.index(min(losses)), losses.index(max(losses))
    scale = (raw[hi][1] - raw[lo][1]) / (losses[hi] - losses[lo])
    assert [y for _, y in raw] == pytest.approx([raw[lo][1] + scale * (v - losses[lo]) for v in losses], abs=0.11)
    for words in ("20 of 20", "<td>lora_r</td><td>2</td>", f"{log[0]['loss']:.4g} → {log[-1]['loss']:.4g}", str(ROWS), "<td>24</td>"):
        assert words in text, words


def test_reports_of_an_objective_have_charts(lmfast, model, tmp_path):
    pairs = ROOT / "tests" / "parity" / "dpo_rows.jsonl"
    r = lmfast("train", "--model", model, "--data", pairs, "--output", tmp_path / "o", "--objective", "dpo", "--max-steps", "4",
               "--logging-steps", "1",
               "--lora-r", "2", "--quiet")
    assert r.returncode == 0, r.stderr
    first = json.loads((tmp_path / "o" / "metrics.jsonl").read_text().splitlines()[0])
    names = [k for k in first if "reward" in k or "accurac" in k or "margin" in k]
    assert names and set(names) <= set(charts(page(lmfast, tmp_path / "o")))


def test_words_of_a_file_are_text(lmfast, model, tmp_path):
    run = tmp_path / "<b>&"
    data = tmp_path / "<script>alert(1)<!--.jsonl"
    data.write_text(ROWS.read_text())
    r = lmfast("train", "--model", model, "--data", data, "--output", run, "--max-steps", "2", "--lora-r", "2", "--quiet")
    assert r.returncode == 0, r.stderr
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().replace('"loss"', '"<img src=x>\\" onload=\\"a": 1, "loss"'))
    text = page(lmfast, run)
    Whole(text)
    assert "&#60;script&#62;alert(1)" in text and "<script" not in text and "<img" not in text
    assert 'onload="' not in text and "onload=&#34;" in text


@pytest.mark.parametrize("break_it, sentence", [
    (lambda run: (run / "metrics.jsonl").unlink(), "is no folder of a training run"),
    (lambda run: (run / "metrics.jsonl").write_text("{}\n"), "the log of this run holds no step"),
    (lambda run: (run / "metrics.jsonl").write_text(""), "holds no step"),
    (lambda run: shutil.rmtree(run), "is no folder of a training run"),
])
def test_refused(lmfast, model, tmp_path, break_it, sentence):
    train(lmfast, model, tmp_path / "o", steps=2)
    break_it(tmp_path / "o")
    r = lmfast("report", tmp_path / "o", "--output", tmp_path / "r.html")
    assert r.returncode == 1 and sentence in r.stderr and not (tmp_path / "r.html").exists()


def test_a_log_cut_by_a_kill_and_without_a_configuration(lmfast, model, tmp_path):
    train(lmfast, model, tmp_path / "o")
    path = tmp_path / "o" / "metrics.jsonl"
    path.write_text(path.read_text()[:-40].replace("0.", "null, \"x\": 0.", 1))
    (tmp_path / "o" / "lmfast_config.yaml").unlink()
    Whole(page(lmfast, tmp_path / "o"))


def test_nothing_of_others_is_replaced(lmfast, model, tmp_path):
    train(lmfast, model, tmp_path / "o", steps=2)
    out = tmp_path / "o_report.html"
    assert lmfast("report", tmp_path / "o").stdout.strip() == str(out)
    r = lmfast("report", tmp_path / "o")
    assert r.returncode == 1 and "--overwrite replaces it" in r.stderr
    assert lmfast("report", tmp_path / "o", "--overwrite").returncode == 0
    for text in out.read_text().replace("loss", "lass", 1), "mine", "":
        out.write_text(text)
        r = lmfast("report", tmp_path / "o", "--overwrite")
        assert r.returncode == 1 and "is no report, or was changed since; it is left alone" in r.stderr and out.read_text() == text


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
def test_in_a_browser(lmfast, model, tmp_path):
    log = train(lmfast, model, tmp_path / "o")
    page(lmfast, tmp_path / "o")
    r = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom",
                        f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()], capture_output=True, text=True,
                            timeout=120)
    assert r.stdout.count("<svg") == 5 and f"{log[-1]['loss']:.4g}" in r.stdout, r.stderr[-500:]
    r = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={tmp_path / 'page.png'}",
                        "--window-size=800,1200",
                        f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()], capture_output=True, text=True,
                            timeout=120)
    assert (tmp_path / "page.png").stat().st_size > 20000


# ---- TensorBoard ----
def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c ^= b
        for _ in range(8):
            c = c >> 1 ^ (0x82F63B78 & -(c & 1))
    c ^= 0xFFFFFFFF
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(data):
    """(number, value) of a protobuf message."""
    at, out = 0, []

    def varint():
        nonlocal at
        x = shift = 0
        while True:
            b = data[at]
            at += 1
            x |= (b & 127) << shift
            shift += 7
            if b < 128:
                return x
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            out.append((key >> 3, varint()))
        else:
            n = {1: 8, 5: 4}.get(key & 7) or varint()
            out.append((key >> 3, data[at:at + n]))
            at += n
    return out


def events(path):
    """step -> {tag: value}, each record's checks looked at."""
    data, out = path.read_bytes(), {}
    while data:
        n, = struct.unpack("<Q", data[:8])
        body = data[12:12 + n]
        assert struct.unpack("<I", data[8:12])[0] == crc32c(data[:8]) and struct.unpack("<I", data[12 + n:16 + n])[0] == crc32c(body)
        e = dict(fields(body))
        if 5 in e:
            out[e[2]] = {dict(fields(v))[1].decode(): struct.unpack("<f", dict(fields(v))[2])[0] for _, v in fields(e[5])}
        else:
            assert e[3] == b"brain.Event:2" and e[10] == b"\n\x06lmfast"
        data = data[16 + n:]
    return out


def test_events_are_the_log(lmfast, model, tmp_path):
    log = train(lmfast, model, tmp_path / "o", "--save-steps", "5")
    path = tmp_path / "o" / "events.out.tfevents.0.lmfast"
    got = events(path)
    assert sorted(got) == [x["step"] for x in log]
    for x in log:
        assert got[x["step"]]["train/loss"] == pytest.approx(x["loss"], rel=1e-6)
        assert ("eval/loss" in got[x["step"]]) == ("eval_loss" in x) and "train/seconds" not in got[x["step"]]
    # a resumed run's file is that of its log
    shutil.rmtree(tmp_path / "o" / "checkpoint-15")
    for name in "adapter_config.json", "adapter_model.safetensors", "README.md", "lmfast_train.json":
        (tmp_path / "o" / name).unlink()
    log = train(lmfast, model, tmp_path / "o", "--save-steps", "5", "--resume", "last")
    assert sorted(events(path)) == [x["step"] for x in log] and len(log) > 8


def test_no_events(lmfast, model, tmp_path):
    train(lmfast, model, tmp_path / "o", "--no-tensorboard", steps=2)
    assert not list((tmp_path / "o").glob("events*"))


def test_events_of_others_are_left_alone(lmfast, model, tmp_path):
    train(lmfast, model, tmp_path / "o", steps=2)
    path = tmp_path / "o" / "events.out.tfevents.0.lmfast"
    path.write_bytes(b"mine")
    r = lmfast("train", "--model", model, "--data", ROWS, "--output", tmp_path / "o", "--max-steps", "2", "--overwrite")
    assert r.returncode == 1 and "was not written by a training run; it is left alone" in r.stderr and path.read_bytes() == b"mine"
