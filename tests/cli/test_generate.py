# SPDX-License-Identifier: Apache-2.0
"""lmfast generate and chat on a tiny model written here: streams, stop texts, stdin, signals, refusals."""
import json
import os
import pty
import random
import select
import signal
import struct
import subprocess
import time

import pytest

LAYERS, WIDTH, HEADS, KV, FFN, CONTEXT = 2, 32, 4, 2, 48, 512
TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def byte_tokens():
    """The byte-level alphabet: printable bytes stand for themselves, others for characters from U+0100 on."""
    out, other = [], 256
    for b in range(256):
        if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174:
            out.append(chr(b))
        else:
            out.append(chr(other))
            other += 1
    return out + ["<|im_start|>", "<|im_end|>"]


def text(s):
    s = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(s)) + s


def write_gguf(path, template=True, more=(), context=CONTEXT):
    """more: user-defined tokens behind the bytes."""
    rng = random.Random(1)
    tokens = byte_tokens()
    tokens[-2:-2] = more
    v = len(tokens)
    u32 = lambda k, n: text(k) + struct.pack("<II", 4, n)
    string = lambda k, s: text(k) + struct.pack("<I", 8) + text(s)
    kv = [string("general.architecture", "llama"), string("general.name", "tiny"), u32("llama.block_count", LAYERS), u32("llama.embedding_length", WIDTH),
          u32("llama.context_length", context), u32("llama.attention.head_count", HEADS), u32("llama.attention.head_count_kv", KV),
          text("llama.attention.layer_norm_rms_epsilon") + struct.pack("<If", 6, 1e-5),
          u32("llama.feed_forward_length", FFN), u32("tokenizer.ggml.eos_token_id", v - 1), string("tokenizer.ggml.model", "gpt2"),
          string("tokenizer.ggml.pre", "gpt-2"),
          text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, v) + b"".join(map(text, tokens)),
          text("tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, v) +
          struct.pack(f"<{v}i", *[1] * (v - 2 - len(more)), *[4] * len(more), 3, 3)]
    if template:
        kv.append(string("tokenizer.chat_template", TEMPLATE))
    head = WIDTH // HEADS
    shapes = [("token_embd", (v, WIDTH)), ("output_norm", (WIDTH,))]
    for i in range(LAYERS):
        b = f"blk.{i}."
        shapes += [(b + "attn_norm", (WIDTH,)), (b + "ffn_norm", (WIDTH,)), (b + "attn_q", (WIDTH, WIDTH)), (b + "attn_k", (KV * head, WIDTH)),
                   (b + "attn_v", (KV * head, WIDTH)), (b + "attn_output", (WIDTH, WIDTH)), (b + "ffn_gate", (FFN, WIDTH)), (b + "ffn_up", (FFN, WIDTH)),
                   (b + "ffn_down", (WIDTH, FFN))]
    infos, data = [], b""
    for name, shape in shapes:
        n = 1
        for d in shape:
            n *= d
        infos.append(text(name + ".weight") + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in reversed(shape)) + struct.pack("<IQ", 0, len(data)))
        size = 1.0 if name == "token_embd" else 0.4
        data += struct.pack(f"<{n}f", *(1 + rng.uniform(-.1, .1) if len(shape) == 1 else rng.uniform(-size, size) for _ in range(n)))
        data += b"\0" * (-len(data) % 32)
    meta = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(kv)) + b"".join(kv) + b"".join(infos)
    path.write_bytes(meta + b"\0" * (-len(meta) % 32) + data)
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("model") / "base.gguf", template=False)


def run(lmfast, *args, stdin="", **options):
    return subprocess.run([lmfast.path, *map(str, args)], input=stdin.encode() if isinstance(stdin, str) else stdin, capture_output=True, timeout=120, **options)


def answer(lmfast, model, *args, **options):
    r = run(lmfast, "generate", "-m", model, "--json", *args, **options)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def test_json(lmfast, model):
    r = answer(lmfast, model, "-p", "hello", "-n", 20, "-t", 0)
    assert set(r) == {"text", "prompt_tokens", "completion_tokens", "finish", "prefill_seconds", "decode_seconds", "tokens_per_second"}
    assert r["prompt_tokens"] == len("user\nhello\nassistant\n") + 3 and r["completion_tokens"] <= 20
    assert r["finish"] == ("length" if r["completion_tokens"] == 20 else "stop")


def test_stream_is_the_same_text(lmfast, model):
    want = answer(lmfast, model, "-p", "hello", "-n", 30)["text"]
    r = run(lmfast, "generate", "-m", model, "-p", "hello", "-n", 30)
    assert r.returncode == 0 and r.stdout == want.encode() + b"\n" and b"tokens/s" in r.stderr
    assert run(lmfast, "generate", "-m", model, "-p", "hello", "-n", 30, "--quiet").stderr == b""


def test_seed(lmfast, model):
    texts = [answer(lmfast, model, "-p", "hello", "-n", 30, "-t", 1.5, "--seed", seed)["text"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_stop(lmfast, model):
    full = answer(lmfast, model, "-p", "hello", "-n", 60, "-t", 0, "--repetition-penalty", 1.3)["text"]
    at = next(i for i in range(5, len(full) - 3) if full[i:i + 2].isascii() and full[i:i + 2].strip("\0"))
    stop = full[at:at + 2]
    r = answer(lmfast, model, "-p", "hello", "-n", 60, "-t", 0, "--repetition-penalty", 1.3, "--stop", stop)
    assert r["text"] == full[:full.index(stop)] and r["finish"] == "stop"
    streamed = run(lmfast, "generate", "-m", model, "-p", "hello", "-n", 60, "-t", 0, "--repetition-penalty", 1.3, "--stop", stop)
    assert streamed.stdout == full[:full.index(stop)].encode() + b"\n"


def test_stdin(lmfast, model):
    want = answer(lmfast, model, "-p", "hello\nyou", "-n", 10)
    for flags in ([], ["-p", "-"]):
        got = answer(lmfast, model, *flags, "-n", 10, stdin="hello\nyou")
        assert got["text"] == want["text"] and got["prompt_tokens"] == want["prompt_tokens"]


def test_interactive(lmfast, model):
    want = [answer(lmfast, model, "-p", p, "-n", 5)["text"] for p in ("one", "two")]
    r = run(lmfast, "generate", "-m", model, "-i", "-n", 5, "--json", stdin="one\n\ntwo")
    assert [json.loads(line)["text"] for line in r.stdout.splitlines()] == want


def test_raw_and_system(lmfast, model, base):
    assert answer(lmfast, base, "-p", "hello", "--raw", "-n", 3)["prompt_tokens"] == 5
    with_system = answer(lmfast, model, "-p", "hello", "--system", "Be brief.", "-n", 3)["prompt_tokens"]
    assert with_system == answer(lmfast, model, "-p", "hello", "-n", 3)["prompt_tokens"] + len("system\nBe brief.\n") + 2
    for args, words in ((["-m", base, "-p", "x"], b"no chat template"), (["-m", base, "-p", "x", "--raw", "--system", "s"], b"--raw"),
                        (["-m", base, "-p", "", "--raw"], b"empty"), (["-m", model, "-p", b"\xff"], b"not valid UTF-8"),
                        (["-m", model, "-p", "x" * 600], b"do not fit in a context of 512"), (["-m", model, "-p", "x", "--context", 513], b"513 is more than the 512"),
                        (["-m", model, "-p", "x", "--adapter", "/nowhere"], b"/nowhere"), (["-m", "/nowhere.gguf", "-p", "x"], b"/nowhere.gguf"),
                        (["-m", model, "-p", "x", "--device", "abacus"], b"abacus")):
        r = subprocess.run([lmfast.path, "generate", *[a if isinstance(a, bytes) else str(a) for a in args]], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        assert r.returncode == 1 and words in r.stderr and r.stdout == b"", (args, r)
    assert run(lmfast, "generate", "-m", model, "-p", "x", "--top-p", 2).returncode == 2


def test_full_disk(lmfast, model):
    with open("/dev/full", "wb") as full:
        r = subprocess.run([lmfast.path, "generate", "-m", model, "-p", "x"], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert r.returncode == 1 and b"No space left" in r.stderr


def test_interrupt_while_reading(lmfast, model):
    p = subprocess.Popen([lmfast.path, "generate", "-m", model, "-i", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    time.sleep(1)
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=120)
    assert p.returncode == 130 and json.loads(out)["error"]["status"] == "E_CANCELLED"


def test_chat_keeps_history(lmfast, model):
    flags = ["-m", model, "-t", 0, "-n", 12, "--repetition-penalty", 1]
    r = run(lmfast, "chat", *flags, "--json", stdin="one\n\ntwo\n/clear\n/etc/passwd\n/exit\n")
    assert r.returncode == 0, r.stderr
    chat = json.loads(r.stdout)  # in a pipe every line is text
    assert chat["answers"] == 5 and [m["content"] for m in chat["messages"][::2]] == ["one", "two", "/clear", "/etc/passwd", "/exit"]
    first = answer(lmfast, *flags[1:2], "-p", "one", *flags[2:])["text"]
    assert chat["messages"][1]["content"] == first
    r = run(lmfast, "chat", *flags, stdin="one\r\n")
    assert r.stdout == first.encode() + b"\n"
    # with history the second answer is that to both turns, which generate can be given as raw text
    two = json.loads(run(lmfast, "chat", *flags, "--json", stdin="one\ntwo\n").stdout)["messages"]
    assert [m["content"] for m in two[:3]] == ["one", first, "two"]


def test_chat_long(lmfast, model):
    r = run(lmfast, "chat", "-m", model, "-n", 20, "--json", "--context", 200, stdin="".join(f"{'x' * 40} {i}\n" for i in range(6)))
    chat = json.loads(r.stdout)
    assert r.returncode == 0 and chat["answers"] == 6 and b"left out" in r.stderr
    assert len(chat["messages"]) < 12 and chat["messages"][0]["role"] == "user" and chat["messages"][-2]["content"].endswith("5")
    r = run(lmfast, "chat", "-m", model, "--context", 200, stdin="x" * 300 + "\n")
    assert r.returncode == 1 and b"holds no such message" in r.stderr
    r = run(lmfast, "chat", "-m", model, stdin=b"\xff\xfe\n")
    assert r.returncode == 1 and b"not valid UTF-8" in r.stderr


def test_chat_without_template(lmfast, base):
    r = run(lmfast, "chat", "-m", base, stdin="hi\n")
    assert r.returncode == 1 and b"no chat template" in r.stderr


class Terminal:
    def __init__(self, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execv(args[0], list(map(str, args)))
        self.seen = b""

    def until(self, words, seconds=30):
        end = time.time() + seconds
        while words not in self.seen:
            assert time.time() < end, self.seen[-500:]
            if select.select([self.fd], [], [], 0.2)[0]:
                self.seen += os.read(self.fd, 65536)
        self.seen = self.seen.split(words, 1)[1]

    def type(self, data):
        os.write(self.fd, data)

    def code(self):
        end = time.time() + 30
        while time.time() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("it does not end")


def test_chat_interrupts(lmfast, model):
    t = Terminal(lmfast.path, "chat", "-m", model, "-n", 500, "--stop", "")
    t.until(b"> ")
    t.type(b"/help\n")
    t.until(b"/clear begins")
    t.until(b"> ")
    t.type(b"\x03")  # at the prompt: a hint
    t.until(b"again leaves")
    t.until(b"> ")
    t.type(b"hello\n")
    t.until(b"tokens/s")
    t.until(b"> ")
    t.type(b"\x03")
    t.until(b"again leaves")
    t.until(b"> ")
    t.type(b"\x03")
    assert t.code() == 130
    t = Terminal(lmfast.path, "chat", "-m", model)
    t.until(b"> ")
    t.type(b"/exit\n")
    assert t.code() == 0
    t = Terminal(lmfast.path, "chat", "-m", model)
    t.until(b"> ")
    os.kill(t.pid, signal.SIGTERM)
    assert t.code() == 143
