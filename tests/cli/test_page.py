# SPDX-License-Identifier: Apache-2.0
"""The chat page in a real browser: it streams, stops, keeps what was said, works by keyboard and on a phone, asks nobody but its server."""
import json
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from browser import PROGRAM, Browser  # noqa: E402
from test_generate import write_gguf  # noqa: E402
from test_serve import Server, leave_no_child, model  # noqa: E402, F401 -- fixtures
from test_serve_forms import NAMES, WEATHER  # noqa: E402

needs_browser = pytest.mark.skipif(not PROGRAM, reason="tools/setup browser installs one")
PICTURES = os.environ.get("LMFAST_PICTURES")  # a folder: pictures are left there to be looked at


@pytest.fixture(scope="module")
def server(lmfast, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "t.jinja"
    path.write_text(NAMES)
    s = Server(lmfast, "-m", model, "--name", "tiny", "--chat-template", path)
    yield s
    s.settles(slots_free=8, requests_active=0)
    assert s.stop() == 0


def picture(b, name):
    if PICTURES:
        b.picture(pathlib.Path(PICTURES) / f"{name}.png")


def setting(b, **values):
    b.run("document.getElementById('settings').click()")
    for name, v in values.items():
        key = "checked" if isinstance(v, bool) else "value"
        b.run(f"document.getElementById({json.dumps(name)}).{key} = {json.dumps(v)}")
    b.run("document.getElementById('done').click()")


def say(b, text):
    b.run("document.getElementById('words').focus()")
    b.type(text)
    b.press("Enter")


LAST = "document.querySelector('#log > div:last-child')"
RESTS = "document.getElementById('stop').hidden"


def test_headers(server):
    r, text = server.ask("GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert r.status == 200 and r.getheader("Content-Type") == "text/html; charset=utf-8" and b"%NONCE%" not in text
    policy, again = r.getheader("Content-Security-Policy"), server.ask("GET", "/",
        headers={"Accept": "text/html"})[0].getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and policy != again  # a nonce each
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert text.count(b"<script") == 1 == text.count(f'<script nonce="{nonce}"'.encode())
    assert b"http://" not in text and b"https://" not in text
    r, e = server.ask("GET", "/")
    assert r.status == 200 and e["description"] == "/openapi.json"
    assert server.ask("GET", "/", headers={"Accept": "text/html", "Host": "evil.example"})[0].status == 403


@needs_browser
def test_chat(server):
    with Browser() as b:
        b.open(server.url)
        b.until("document.getElementById('model').value === 'tiny'")
        assert b.run("document.activeElement.id") == "words"
        setting(b, max_tokens="60", temperature="0", odds_on=True)
        say(b, "hello <b>you</b>")
        b.until(f"{RESTS} && {LAST}.querySelectorAll('.token').length > 20")
        assert b.run("document.querySelector('.user').textContent") == "hello <b>you</b>" and b.run(
            "document.querySelector('.user b')") is None
        want = server.ask("POST", "/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "hello <b>you</b>"}],
            "max_tokens": 60, "temperature": 0, "top_p": 0.95})[1]["choices"][0]["message"]["content"]
        assert b.run(f"talk.messages.at(-1).content") == want
        b.run("document.querySelectorAll('.token')[3].focus()")
        assert b.run("document.querySelectorAll('#odds tr').length") == 5 and "%" in b.run("document.getElementById('odds').textContent")
        picture(b, "odds")
        setting(b, odds_on=False, max_tokens="400")
        b.run("talk.messages.length = 0; talk.title = ''; draw()")
        say(b, "a long one")  # and a stop in the middle, by key
        b.until("talk.messages.at(-1).content.length > 5")
        b.press("Escape")
        b.until(RESTS)
        n = b.run("talk.messages.at(-1).content.length")
        server.settles(requests_active=0)
        assert 0 < n < 400 and b.run("talk.messages.at(-1).content.length") == n
        b.press("o", modifiers=2 | 8)  # a new conversation
        assert b.run("talk.messages.length") == 0 and b.run("talks.length") == 2
        b.open(server.url)  # what was said is there again
        assert "a long one" in b.run("document.getElementById('list').textContent")
        b.run("document.querySelectorAll('#list button')[2].click()")
        assert b.run("talk.messages[0].content") == "a long one"
        b.run("document.querySelectorAll('#list button')[3].click()")
        assert "a long one" not in b.run("document.getElementById('list').textContent + localStorage['lmfast.talks']")
        assert all(u.startswith((server.url, "data:")) for u in b.requests()) and b.complaints() == []


@needs_browser
def test_tools_and_faults(server):
    with Browser() as b:
        b.open(server.url)
        b.until("document.getElementById('model').value === 'tiny'")
        setting(b, max_tokens="x", temperature="3")
        assert "Temperature" in b.run("document.getElementById('wrong').textContent") and b.run("document.getElementById('panel').open")
        setting(b, temperature="1.5", max_tokens="200", tools="{")
        assert "Tools" in b.run("document.getElementById('wrong').textContent")
        b.run("document.getElementById('panel').close()")
        setting(b, tools=json.dumps([WEATHER]), schema='{"enum": []}', temperature="1.5", max_tokens="200")
        say(b, "hi")
        b.until(f"{RESTS} && {LAST}.querySelector('.bad')")  # the server's sentence
        assert "enum" in b.run(f"{LAST}.querySelector('.bad').textContent")
        b.run("talk.messages.length = 0; talk.title = ''; draw()")
        # a form that is a call or 1, and a bias that the page does not know: asked for until a call comes
        setting(b, schema='{"enum": [1]}', top_p="1", temperature="2")
        for seed in range(30):
            setting(b, seed=str(seed))
            b.run("talk.messages.length = 0; talk.title = ''; draw()")
            say(b, "call")
            b.until(f"{RESTS} && talk.messages.length === 2 && talk.messages[1].finish")
            if b.run("!!talk.messages[1].tool_calls"):
                break
        assert b.run(f"{LAST}.querySelector('.call b').textContent") == "weather" and "city" in b.run(
            f"{LAST}.querySelector('.call pre').textContent")
        picture(b, "call")
        n = b.run("talk.messages[1].tool_calls.length")
        for _ in range(n):
            b.run("{ const c = [...document.querySelectorAll('.call')].find(c => c.querySelector('textarea')); "
                "c.querySelector('textarea').value = 'rain';"
                  " c.querySelector('button').click(); }")
        b.until(f"{RESTS} && talk.messages.length > 2 + {n} && talk.messages.at(-1).finish")
        assert b.run("talk.messages[2].content") == "rain" and b.complaints() == [] or all("400" in c for c in b.complaints())


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_phone(server, dark):
    with Browser(360, 640, dark) as b:
        b.open(server.url)
        b.until("document.getElementById('model').value === 'tiny'")
        assert b.run("document.documentElement.scrollWidth <= innerWidth")
        back = b.run("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(23, 24, 26)" if dark else "rgb(251, 251, 250)")
        b.run("document.getElementById('theme').click()")
        assert b.run("getComputedStyle(document.body).backgroundColor") != back
        assert b.run("getComputedStyle(document.querySelector('nav')).display") == "none"
        b.run("document.getElementById('menu').click()")
        assert b.run("getComputedStyle(document.querySelector('nav')).display") == "block"
        b.run("document.getElementById('new').click()")
        setting(b, max_tokens="20")
        say(b, "hello")
        b.until(f"{RESTS} && talk.messages.at(-1).finish")
        assert b.run("document.documentElement.scrollWidth <= innerWidth")
        picture(b, f"phone-{'dark' if dark else 'light'}")


@needs_browser
def test_thoughts(lmfast, tmp_path):
    (tmp_path / "t.jinja").write_text(NAMES.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"))
    s = Server(lmfast, "-m", write_gguf(tmp_path / "t.gguf", more=["<think>", "</think>"]), "--name", "tiny", "--chat-template",
        tmp_path / "t.jinja")
    with Browser() as b:
        b.open(s.url)
        b.until("document.getElementById('model').value === 'tiny'")
        setting(b, max_tokens="60", temperature="0", schema='{"enum": [1]}')
        say(b, "hello")
        b.until(f"{RESTS} && talk.messages.at(-1).finish")
        assert b.run("talk.messages.at(-1).content") == "1" and b.run(f"{LAST}.querySelector('details .words').textContent").strip()
        assert b.complaints() == []
    assert s.stop() == 0


@needs_browser
def test_key(lmfast, model):
    s = Server(lmfast, "-m", model, "--name", "tiny", "--api-key", "a-long-secret")
    with Browser() as b:
        b.open(s.url)
        b.until("document.getElementById('panel').open")  # it asks for the key
        assert "key" in b.run("document.getElementById('wrong').textContent")
        b.run("document.getElementById('key').value = 'a-long-secret'; document.getElementById('max_tokens').value = '5'")
        b.run("document.getElementById('done').click()")
        b.until("document.getElementById('model').value === 'tiny'")
        say(b, "hello")
        b.until(f"{RESTS} && talk.messages.at(-1).finish")
    assert s.stop() == 0
