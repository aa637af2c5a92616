# SPDX-License-Identifier: Apache-2.0
"""lmfast guard: what is found, where, and the text without it."""
import json

import pytest

TEXT = "Zoë, mail bob@example.com\nor pay 4111 1111 1111 1111.\n"


@pytest.fixture
def letter(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text(TEXT)
    return path


def test_check_says_what_and_where(lmfast, letter):
    r = lmfast("guard", "check", letter)
    assert r.stdout.splitlines() == ["1: EMAIL_ADDRESS      1.00  bob@example.com", "2: CREDIT_CARD        1.00  4111 1111 1111 1111"]
    found = json.loads(lmfast("guard", "check", letter, "--json").stdout)
    assert found["counts"] == {"EMAIL_ADDRESS": 1, "CREDIT_CARD": 1}
    for f in found["findings"]:
        assert TEXT.encode()[f["begin"]:f["end"]].decode() == f["text"] == TEXT[f["begin_char"]:f["end_char"]]
        assert f["line"] == TEXT[:f["begin_char"]].count("\n") + 1


def test_redact(lmfast, letter, tmp_path):
    assert lmfast("guard", "redact", letter).stdout == "Zoë, mail <EMAIL_ADDRESS>\nor pay <CREDIT_CARD>.\n"
    assert lmfast("guard", "redact", letter, "-e", "CREDIT_CARD", "--operator", "mask").stdout == TEXT.replace("4111 1111 1111 1111",
        "*" * 19)
    policy = tmp_path / "policy.yaml"
    policy.write_text("entities:\n  DEFAULT: redact\n  CREDIT_CARD: keep\n")
    assert lmfast("guard", "redact", letter, "--policy", policy).stdout == TEXT.replace("bob@example.com", "")


def test_encrypt_and_restore(lmfast, letter, tmp_path):
    marked = lmfast("guard", "redact", letter, "--operator", "encrypt", "--key", "a key of some length").stdout
    assert "bob@" not in marked and "<EMAIL_ADDRESS:" in marked
    (tmp_path / "marked.txt").write_text(marked)
    assert lmfast("guard", "restore", tmp_path / "marked.txt", env={"LMFAST_GUARD_KEY": "a key of some length"}).stdout == TEXT
    r = lmfast("guard", "restore", tmp_path / "marked.txt", "--key", "a key of another length")
    assert r.returncode == 1 and r.stdout == "" and "byte 11: what stands there was not encrypted with this key" in r.stderr
    r = lmfast("guard", "redact", letter, "--operator", "encrypt", "--key", "short")
    assert r.returncode == 1 and "16 characters" in r.stderr


def test_block_and_wrong_policies_let_nothing_through(lmfast, letter, tmp_path):
    r = lmfast("guard", "redact", letter, "--operator", "block")
    assert r.returncode == 1 and r.stdout == "" and "blocks" in r.stderr
    for text, says in [("entities:\n  EMAIL: mask\n", "no entity is called EMAIL"), ("threshold: high\n", "0 to 1"), ("on: yes\n",
        "no setting is called on")]:
        policy = tmp_path / "wrong.yaml"
        policy.write_text(text)
        r = lmfast("guard", "redact", letter, "--policy", policy)
        assert r.returncode == 1 and r.stdout == "" and says in r.stderr
    r = lmfast("guard", "redact", tmp_path / "none.txt")
    assert r.returncode == 1 and r.stdout == ""
