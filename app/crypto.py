"""Keys, and what they seal. AES-256-GCM, HKDF and HMAC are the library's; ours is only what is bound to what.

A *master key* comes from outside the database, wraps data keys, and seals what is of no clinic. A *data key* belongs
to one patient, or to a clinic itself, seals their texts and is stored wrapped.
For every other purpose a key is derived from the clinic's.

What is sealed is bound to its place: carried to another table, column or row it does not open.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Final
from uuid import UUID  # noqa: TC003  # no branch for type checkers alone

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from app.errors import UnavailableError

KEY_BYTES: Final = 32  # AES-256

_FORMAT: Final = b"\x01"  # first byte of everything sealed, so that another way can come one day
_NONCE_BYTES: Final = 12  # random: safe for 2^32 texts under one key, and a patient has some hundreds
_NAME_BYTES: Final = 8


class BrokenSealError(Exception):
    """Changed, moved from its place, or sealed by another key."""


class DataKey:
    """The key of one patient or one clinic."""

    def __init__(self, secret: bytes) -> None:
        self._secret, self._cipher = secret, AESGCM(secret)

    def seal(self, text: bytes, place: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, text, _FORMAT + place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Raises BrokenSealError."""
        form, nonce, text = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, text, form + place.encode())
        except (InvalidTag, ValueError):
            raise BrokenSealError("Something stored is not what was sealed there.") from None

    def derive(self, purpose: str) -> bytes:
        """A key for one purpose, from which neither this one nor that of another purpose can be told."""
        return HKDFExpand(SHA256(), KEY_BYTES, b"tidemark-1 " + purpose.encode()).derive(self._secret)


class MasterKeys:
    """The current one, which wraps, and older ones, which still unwrap until everything is wrapped anew."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or any(len(secret) != KEY_BYTES for secret in secrets):
            raise ValueError("a master key has 32 bytes, and there is at least one")
        self._keys = {_name(secret): DataKey(secret) for secret in secrets}
        self._current = _name(secrets[0])

    @classmethod
    def parse(cls, text: str) -> "MasterKeys":
        """From Base64, separated by commas, the current one first. Raises ValueError."""
        try:
            return cls([base64.b64decode(part.strip(), validate=True) for part in text.split(",")])
        except ValueError:
            raise ValueError("write the Base64 of 32 random bytes") from None

    def wrap_new(self, place: str) -> tuple[DataKey, bytes]:
        """A fresh data key, and how it is stored."""
        secret = AESGCM.generate_key(8 * KEY_BYTES)
        return DataKey(secret), self._wrapped(secret, place)

    def unwrap(self, wrapped: bytes, place: str) -> DataKey:
        """Raises UnavailableError, BrokenSealError."""
        return DataKey(self._secret_of(wrapped, place))

    def wrap_again(self, wrapped: bytes, place: str) -> bytes:
        """The same data key under the current master key. Raises UnavailableError, BrokenSealError."""
        return self._wrapped(self._secret_of(wrapped, place), place)

    def seal(self, text: bytes, place: str) -> bytes:
        """What no clinic's key can seal, because it is of none."""
        return self._wrapped(text, place)

    def open(self, sealed: bytes, place: str) -> bytes:
        """Raises UnavailableError, BrokenSealError."""
        return self._secret_of(sealed, place)

    @property
    def current_name(self) -> bytes:
        """What everything wrapped by the current one begins with. Tells nothing of the key."""
        return self._current

    def _wrapped(self, secret: bytes, place: str) -> bytes:
        return self._current + self._keys[self._current].seal(secret, place)

    def _secret_of(self, wrapped: bytes, place: str) -> bytes:
        key = self._keys.get(wrapped[:_NAME_BYTES])
        if key is None:
            # Nothing is lost, and whoever runs the service can mend it.
            raise UnavailableError("The master key of this database is not among TIDEMARK_MASTER_KEYS.")
        return key.open(wrapped[_NAME_BYTES:], place)


class KeyRing:
    """The master keys of a process, and the clinics' keys it has unwrapped. Patients' keys are kept by nobody."""

    def __init__(self, masters: MasterKeys) -> None:
        self.masters = masters
        self.of_clinics: dict[UUID, DataKey] = {}


def new_master_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def keyed_hash(key: bytes, text: bytes) -> bytes:
    """HMAC-SHA256: without the key nobody can try what the text might have been."""
    return hmac.digest(key, text, hashlib.sha256)


def _name(secret: bytes) -> bytes:
    return hashlib.sha256(b"tidemark master key name\0" + secret).digest()[:_NAME_BYTES]
