"""Heads of chains: what has to be kept away from the database to find a cut end or a chain that was made anew."""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from app.errors import InvalidError

MAX_HEADS: Final = 100_000  # lines of one file: eleven years of hourly heads

_NAMES: Final = {"clinic_id", "number", "hash", "at", "signature"}
_MAX_NUMBER: Final = 2**63 - 1
_SCHEME: Final = "ed25519:"
_PURPOSE: Final = b"tidemark-audit-head-1\0"  # so that no signature of a head is one of anything else
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a clinic's chain at a time, as it is sent away: one line of JSON."""

    clinic_id: UUID
    number: int
    hash: str  # hexadecimal
    at: str  # UTC, to the second
    signature: str | None = None

    def signed(self, key: Ed25519PrivateKey | None) -> "Head":
        signature = None if key is None else _SCHEME + _encoded(key.sign(self._message()))
        return Head(self.clinic_id, self.number, self.hash, self.at, signature)

    def is_signed_by(self, signer: Ed25519PublicKey) -> bool:
        signature = self.signature or ""
        try:
            signer.verify(base64.b64decode(signature.removeprefix(_SCHEME), validate=True), self._message())
        except (InvalidSignature, ValueError):
            return False
        return signature.startswith(_SCHEME)

    def _message(self) -> bytes:
        return _PURPOSE + self._content().encode()

    def _content(self) -> str:
        values = {"clinic_id": str(self.clinic_id), "number": self.number, "hash": self.hash, "at": self.at}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def line(self) -> str:
        return json.dumps(json.loads(self._content()) | {"signature": self.signature})


def private_key(encoded: str) -> Ed25519PrivateKey:
    """Of a setting that was checked when it was read."""
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(encoded, validate=True))


def public_key(encoded: str) -> Ed25519PublicKey:
    """Raises InvalidError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True))
    except ValueError:
        raise InvalidError("A public key is the Base64 of 32 bytes, as `tidemark audit key` prints it.") from None


def new_key() -> tuple[str, str]:
    """A fresh private key and its public key, as people carry them about."""
    key = Ed25519PrivateKey.generate()
    return _encoded(key.private_bytes_raw()), _encoded(key.public_key().public_bytes_raw())


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def parse_heads(text: str) -> list[Head]:
    """One on each line, at least one. Raises InvalidError."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not 1 <= len(lines) <= MAX_HEADS:
        raise InvalidError("A file of heads has one on each line, as `tidemark audit head --json` prints it.")
    return [_parse(number, line) for number, line in lines]


def _parse(number: int, line: str) -> Head:
    try:
        head = _head_of(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error):
        raise InvalidError(f"Line {number} is no head of a chain, as `tidemark audit head --json` prints it.") from None
    return head


def _head_of(values: dict[str, Any]) -> Head:
    """Raises ValueError, TypeError, KeyError or AttributeError for anything `line` did not make."""
    number, signature = values["number"], values["signature"]
    if values.keys() != _NAMES or type(number) is not int or not 0 <= number <= _MAX_NUMBER:
        raise ValueError
    if not _HASH.fullmatch(values["hash"]) or not _TIME.fullmatch(values["at"]):
        raise ValueError
    if not (signature is None or isinstance(signature, str)):
        raise ValueError
    return Head(UUID(values["clinic_id"]), number, values["hash"], values["at"], signature)
