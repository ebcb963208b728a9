"""Secrets that protect nothing: left out, too short, on everybody's list, made by a pattern, copied from our own pages.

Whether a secret is random cannot be proven. What is refused here was certainly not made by the command we name.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from app.errors import InvalidError

KEY_BYTES: Final = 32
PASSWORD_CHARACTERS: Final = 12
_DISTINCT: Final = 12  # bytes; 32 random ones have fewer once in 10^21 times
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# What guessing programs, tutorials and our own examples begin with; with digits and signs between and around.
_WORDS: Final = (
    *("postgresql", "postgres", "pgsql", "psql", "database", "tidemark", "runtime", "owner", "app", "db"),
    *("password", "passwort", "passwd", "passw", "pass", "word", "pwd", "pw", "secret", "hunter", "letmein", "welcome"),
    *("changeme", "change", "replace", "your", "the", "my", "this", "me", "here", "please", "insert"),
    *("admin", "administrator", "root", "user", "login", "test", "demo", "example", "sample", "default", "guest"),
    *("clinic", "health", "qwerty", "qwertz", "asdf", "abcdef", "abcd", "abc", "monkey", "dragon", "iloveyou"),
)
_SPELLINGS: Final = {
    "a": "[a4@]",
    "b": "[b8]",
    "e": "[e3]",
    "i": "[i1!]",
    "l": "[l1]",
    "o": "[o0]",
    "s": "[s5$]",
    "t": "[t7]",
}
_SPELT: Final = "|".join(
    "".join(_SPELLINGS.get(letter, letter) for letter in word) for word in sorted(_WORDS, key=len, reverse=True)
)
_WELL_KNOWN: Final = re.compile(f"(?:{_SPELT}|[^a-z])*+")  # never going back: no password is hard to check

MAKE_PASSWORD: Final = "openssl rand -hex 32"  # noqa: S105  # a command


def refuse_weak_key(name: str, key: bytes, remedy: str) -> None:
    """Raises InvalidError that names the variable, and never the value."""
    _refuse(name, weakness_of_key(key), remedy)


def refuse_weak_password(name: str, password: str) -> None:
    """Raises InvalidError that names the variable, and never the value."""
    _refuse(name, weakness_of_password(password), MAKE_PASSWORD)


def refuse_weak_login(name: str, url: str) -> None:
    """Of a database's address. Raises InvalidError that names the variable, and never the value."""
    _refuse(name, weakness_of_login(url), MAKE_PASSWORD)


def _refuse(name: str, weakness: str | None, remedy: str) -> None:
    if weakness is not None:
        raise InvalidError(f"{name} is not safe: {weakness}. Make a new one with `{remedy}`.")


def weakness_of_key(key: bytes) -> str | None:
    if len(key) < KEY_BYTES:
        return f"the key has {len(key)} bytes, and {KEY_BYTES} are needed"
    if _is_periodic(key) or len(set(key)) < _DISTINCT:
        return "the key repeats itself"
    if _is_sequence(key):
        return "the key counts up or down"
    if key.isascii() and key.decode().isprintable() and len(key) < 2 * KEY_BYTES:
        return "the key is a text, not random bytes"
    return None


def weakness_of_password(password: str, login: str = "") -> str | None:
    if not password:
        return "there is no password"
    if password.lower() == login.lower() or _WELL_KNOWN.fullmatch(password.lower()):
        return "the password is well known"
    if len(password) < PASSWORD_CHARACTERS:
        return f"the password has fewer than {PASSWORD_CHARACTERS} characters"
    if _is_periodic(password) or _is_sequence(password.encode()):
        return "the password is a pattern"
    return None


def weakness_of_login(url: str) -> str | None:
    """A server on this machine may know whom it talks to without a password, and others by a certificate or a file."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None  # it is no address at all, which others say better
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    login = unquote(parts.username or options.get("user", ""))
    password = unquote(parts.password or "") or options.get("password", "")
    host = parts.hostname or options.get("host", "")
    proven_otherwise = host in _LOOPBACK or host.startswith("/") or not host or options.keys() & {"sslcert", "passfile"}
    if not password and proven_otherwise:
        return None
    return weakness_of_password(password, login)


def _is_periodic(text: Sequence[object]) -> bool:
    size = len(text)
    return any(text[period:] == text[:-period] for period in range(1, size // 2 + 1))


def _is_sequence(key: bytes) -> bool:
    return len({(after - before) % 256 for before, after in pairwise(key)}) == 1
