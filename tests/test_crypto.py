"""Keys and what they seal: published vectors, and nothing opens elsewhere, changed, or with another key."""

import base64
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from app.crypto import BrokenSealError, DataKey, MasterKeys, keyed_hash, new_master_key
from app.errors import UnavailableError

KEY = bytes(range(32))


def masters(*secrets: bytes) -> MasterKeys:
    return MasterKeys(secrets)


@given(st.binary(max_size=300), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_place(text: bytes, place: str) -> None:
    """Never twice the same, and without the text in it."""
    key = DataKey(KEY)
    sealed = key.seal(text, place)
    assert key.open(sealed, place) == text
    assert key.seal(text, place) != sealed
    assert len(text) < 4 or text not in sealed


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_changed_byte_breaks_the_seal(position: int, change: int) -> None:
    """Wherever it is: format, nonce, text or tag."""
    sealed = bytearray(DataKey(KEY).seal(b"thirty-two bytes of a text, or so", "here"))
    sealed[position] ^= change
    with pytest.raises(BrokenSealError):
        DataKey(KEY).open(bytes(sealed), "here")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + bytes(12), b"\x01" + bytes(27), b"\x02" + bytes(40)])
def test_what_was_never_sealed_does_not_open(sealed: bytes) -> None:
    """Too short for a nonce or a tag included."""
    with pytest.raises(BrokenSealError):
        DataKey(KEY).open(sealed, "here")


def test_no_other_place_and_no_other_key_opens_it() -> None:
    """A cell copied into another row, column or table stays shut."""
    sealed = DataKey(KEY).seal(b"text", "patient.identifiers 1 2")
    for key, place in (
        (KEY, "patient.identifiers 1 3"),
        (KEY, "patient.note 1 2"),
        (bytes(32), "patient.identifiers 1 2"),
    ):
        with pytest.raises(BrokenSealError):
            DataKey(key).open(sealed, place)


def test_the_cipher_is_the_published_one() -> None:
    """Test case 16 of the Galois/Counter Mode specification (McGrew and Viega 2005): AES-256, with additional data."""
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    text = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    place = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    sealed = AESGCM(key).encrypt(bytes.fromhex("cafebabefacedbaddecaf888"), text, place)
    assert sealed[-16:].hex() == "76fc6ece0f4e1768cddf8853bb2d551b"
    assert sealed[:16].hex() == "522dc1f099567d07f47f37a32a84427d"


def test_keys_for_purposes_do_not_tell_of_each_other() -> None:
    """Always the same for one purpose; RFC 5869's expansion, and HMAC-SHA256 as the standard library makes it."""
    key = DataKey(KEY)
    assert key.derive("tokens") == DataKey(KEY).derive("tokens") != key.derive("external_ref")
    assert KEY not in key.derive("tokens")
    assert len(key.derive("tokens")) == 32
    assert keyed_hash(KEY, b"a") != keyed_hash(bytes(32), b"a")


def test_a_data_key_is_wrapped_and_unwrapped() -> None:
    """By whichever master key it was; anew by the current one; by none that is unknown, and only in its place."""
    old, new, strange = (os.urandom(32) for _ in range(3))
    key, wrapped = masters(old).wrap_new("here")
    sealed = key.seal(b"text", "there")
    both = masters(new, old)
    assert not wrapped.startswith(both.current_name)
    assert both.unwrap(wrapped, "here").open(sealed, "there") == b"text"
    again = both.wrap_again(wrapped, "here")
    assert again.startswith(both.current_name)
    assert masters(new).unwrap(again, "here").open(sealed, "there") == b"text"
    with pytest.raises(UnavailableError, match="TIDEMARK_MASTER_KEYS"):
        masters(new).unwrap(wrapped, "here")
    with pytest.raises(UnavailableError):
        masters(strange).wrap_again(wrapped, "here")
    with pytest.raises(BrokenSealError):
        both.unwrap(again, "elsewhere")


def test_master_keys_are_read_from_base64() -> None:
    """The first is the current one."""
    first, second = new_master_key(), new_master_key()
    assert first != second
    assert MasterKeys.parse(f"{first}, {second}").current_name == MasterKeys.parse(first).current_name


@pytest.mark.parametrize("text", ["", ",", "short", base64.b64encode(bytes(31)).decode(), "not base64 at all!", "é"])
def test_other_texts_are_no_master_keys(text: str) -> None:
    """31 bytes are not 32, and nothing is guessed."""
    with pytest.raises(ValueError, match=r"32"):
        MasterKeys.parse(text)
