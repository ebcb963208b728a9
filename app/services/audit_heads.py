"""Heads of chains: what has to be kept away from the database to find a cut end or a chain that was made anew."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from app.errors import InvalidError

MAX_HEADS: Final = 100_000  # lines of one file: eleven years of hourly heads

_NAMES: Final = {"clinic_id", "number", "hash", "at", "signature"}
_MAX_NUMBER: Final = 2**63 - 1
_SCHEME: Final = "hmac-sha256:"
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

    def signed(self, key: bytes | None) -> "Head":
        signature = None if key is None else self._signature(key)
        return Head(self.clinic_id, self.number, self.hash, self.at, signature)

    def is_signed_by(self, key: bytes) -> bool:
        return self.signature is not None and hmac.compare_digest(
            self.signature.encode(), self._signature(key).encode()
        )

    def _signature(self, key: bytes) -> str:
        mac = hmac.digest(key, b"tidemark-audit-head-1\0" + self._content().encode(), hashlib.sha256)
        return _SCHEME + base64.b64encode(mac).decode()

    def _content(self) -> str:
        values = {"clinic_id": str(self.clinic_id), "number": self.number, "hash": self.hash, "at": self.at}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def line(self) -> str:
        return json.dumps(json.loads(self._content()) | {"signature": self.signature})


def read_key(encoded: str | None) -> bytes | None:
    """The key of a setting that was checked when it was read."""
    return None if encoded is None else base64.b64decode(encoded, validate=True)


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
