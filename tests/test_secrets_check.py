"""Secrets that protect nothing are refused before anything starts, by name and without a word of them."""

import base64
import hashlib
import os
import re
import secrets
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidError
from app.secrets_check import (
    refuse_weak_key,
    refuse_weak_login,
    weakness_of_key,
    weakness_of_login,
    weakness_of_password,
)
from app.settings import Settings

ROOT = Path(__file__).parent.parent
GOOD = secrets.token_hex(32)
DIGEST = hashlib.sha256(b"any").digest()  # random, and the same in each run


# --- Keys -------------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=64).filter(lambda key: len(set(key)) >= 24 and not key.isascii()))
def test_what_looks_random_is_let_through(key: bytes) -> None:
    """Hypothesis likes patterns, which those with few distinct bytes are."""
    assert weakness_of_key(key) is None or key[:16] == key[16:32]


def test_random_keys_are_let_through() -> None:
    """As `openssl rand` makes them."""
    assert {weakness_of_key(os.urandom(size)) for size in (32, 48, 64) for _ in range(2_000)} == {None}


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (b"", "has 0 bytes"),
        (DIGEST[:31], "has 31 bytes"),
        (bytes(32), "repeats"),
        (b"\xff" * 64, "repeats"),
        (DIGEST[:16] * 2, "repeats"),
        (DIGEST[:4] * 9, "repeats"),
        (b"\x01\x02" * 16 + b"\x01", "repeats"),
        (bytes(range(32)), "counts"),
        (bytes(range(1, 33)), "counts"),
        (bytes(range(255, 223, -1)), "counts"),
        (bytes(index * 7 % 256 for index in range(32)), "counts"),
        (bytes.fromhex("00112233445566778899aabbccddeeff") * 2, "repeats"),
        (b"0123456789abcdef0123456789abcdef", "repeats"),
        (b"this is my very secret master key", "text"),
        (b"MCxTjSoS0rC/Kf2dhT9Ww5x8YAQbVgEo", "text"),
        (b"Xq9vT2mKp7LzR4wNc8HsYb3JdF6gAeUi", "text"),
    ],
)
def test_a_weak_key_is_refused(key: bytes, told: str) -> None:
    """Short, repeated, counted, or typed."""
    weakness = weakness_of_key(key)
    assert weakness is not None
    assert told in weakness
    with pytest.raises(InvalidError, match=r"^TIDEMARK_TEST_KEY is not safe: .*`tidemark keys new`\.$"):
        refuse_weak_key("TIDEMARK_TEST_KEY", key, "tidemark keys new")


# --- Passwords --------------------------------------------------------------------------------------------------------


def test_random_passwords_are_let_through() -> None:
    """As the commands of our pages, the private Postgres and password managers make them."""
    made = [secrets.token_hex(32) for _ in range(2_000)] + [secrets.token_urlsafe(32) for _ in range(2_000)]
    assert {weakness_of_password(one) for one in made} == {None}
    assert weakness_of_password("correct horse battery staple") is None


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("", "no password"),
        ("postgres", "well known"),
        ("Postgres", "well known"),
        ("password", "well known"),
        ("PassWord1234567890", "well known"),
        ("p4ssw0rd-2026!!", "well known"),
        ("changeme", "well known"),
        ("change_me_please", "well known"),
        ("changethispassword", "well known"),
        ("tidemark", "well known"),
        ("tidemark_owner_password", "well known"),
        ("admin", "well known"),
        ("secret", "well known"),
        ("example-password", "well known"),
        ("<your-password-here>", "well known"),
        ("123456789012", "well known"),
        ("hunter2", "well known"),
        ("k3v9x", "fewer than 12"),
        ("zkvwpqxmrtj", "fewer than 12"),
        ("zzzzzzzzzzzzzzzz", "pattern"),
        ("xkzvxkzvxkzvxkzv", "pattern"),
        ("jklmnopqrstuvwx", "pattern"),
    ],
)
def test_a_weak_password_is_refused(password: str, told: str) -> None:
    """On everybody's list, however spelt; short; a pattern."""
    weakness = weakness_of_password(password)
    assert weakness is not None
    assert told in weakness


def test_a_password_is_checked_at_once() -> None:
    """Whatever it is made of: no pattern of words takes the check long."""
    begun = time.process_time()  # of ours alone, however busy the machine is
    for password in ("password" * 500 + "~é", "passpasswordword" * 300 + "ñ", "a" * 4_000 + "ñ"):
        weakness_of_password(password)
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"postgresql://tidemark_app:{GOOD}@db:5432/tidemark", None),
        (f"postgresql://tidemark_app@db/tidemark?password={GOOD}", None),
        ("postgresql://tidemark_app@localhost/tidemark", None),
        ("postgresql://tidemark_app@127.0.0.1:6000/tidemark", None),
        ("postgresql://tidemark_app@[::1]/tidemark", None),
        ("postgresql:///tidemark?host=/var/run/postgresql", None),
        ("postgresql://tidemark_app@db/tidemark?sslcert=/run/client.pem", None),
        ("postgresql://tidemark_app@db/tidemark", "no password"),
        ("postgresql://tidemark_app:@db/tidemark", "no password"),
        ("postgresql://tidemark_app@db/tidemark?password=", "no password"),
        ("postgresql://postgres:postgres@localhost/tidemark", "well known"),
        ("postgresql://x:p%61ssword@db/tidemark", "well known"),
        ("postgresql://dr_zwqkvx_the_owner:Dr_zwqkvx_the_Owner@db/tidemark", "well known"),
        ("postgresql://x@db/tidemark?password=changeme", "well known"),
        ("postgresql://x:k3v9x@db/tidemark", "fewer than"),
        ("nonsense", None),
        ("postgresql://[", None),
    ],
)
def test_a_login_is_judged_by_its_address(url: str, told: str | None) -> None:
    """A server on this machine, or one that asks for a certificate, may do without; a bad one is bad anywhere."""
    weakness = weakness_of_login(url)
    assert weakness == told or (weakness is not None and told is not None and told in weakness)


def test_the_refusal_names_the_variable_and_not_the_value() -> None:
    """With the command that makes a good one."""
    with pytest.raises(InvalidError) as refused:
        refuse_weak_login("TIDEMARK_DATABASE_URL", "postgresql://someone:k3v9x@db.example/tidemark")
    assert str(refused.value.detail).startswith("TIDEMARK_DATABASE_URL is not safe: ")
    assert "`openssl rand -hex 32`" in refused.value.detail
    for word in ("k3v9x", "someone", "db.example"):
        assert word not in refused.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgresql://a:changeme@db/c"),
        ("owner_database_url", "postgresql://a:changeme@db/c"),
        ("metrics_token", "changeme"),
        ("audit_key", base64.b64encode(bytes(32)).decode()),
    ],
)
def test_every_secret_of_the_settings_is_looked_at(name: str, value: str) -> None:
    """Each by the name under which it was given."""
    with pytest.raises(InvalidError, match=f"^TIDEMARK_{name.upper()} is not safe: "):
        Settings.model_validate({name: value}).refuse_weak_secrets()


def test_an_empty_token_is_none() -> None:
    """As compose files hand on what is not set."""
    settings = Settings.model_validate({"metrics_token": ""})
    assert settings.metrics_token is None
    settings.refuse_weak_secrets()


# --- Our own pages ----------------------------------------------------------------------------------------------------


def pages() -> list[Path]:
    others = [ROOT / "compose.yaml", ROOT / "Makefile", ROOT / "app" / "settings.py"]
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *others]


def test_what_our_pages_show_is_refused() -> None:
    """Whoever copies an address or a secret from them is told, for everybody else can read them, too."""
    urls = {
        url
        for page in pages()
        for url in re.findall(r"postgres(?:ql)?://[^\s`\"']+:[^\s`\"'@]+@[^\s`\"']+", page.read_text())
    }
    shown = {url for url in urls if "$" not in url}
    assert len(shown) >= 2
    assert {url for url in shown if weakness_of_login(url) is None} == set()
    assigned = r"\bTIDEMARK_\w*(?:PASSWORD|TOKEN|KEYS?)=(?![$<…])([^\s`,;]+)"
    assert [value for page in pages() for value in re.findall(assigned, page.read_text())] == []
