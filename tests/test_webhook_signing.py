"""Signatures of the outbox, held to the convention's own example."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.webhook_signing import body_of, new_secret, sign, signed_headers

ID = UUID("019a9c21-0000-7000-8000-000000000001")
PUBLISHED_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_published_example_is_signed_as_published() -> None:
    """The vector that the libraries of Standard Webhooks test themselves by."""
    signature = sign(PUBLISHED_SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_long_enough_and_never_the_same() -> None:
    """24 to 64 bytes behind the prefix."""
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    for secret in made:
        assert secret.startswith("whsec_")
        assert 24 <= len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) <= 64


def test_body_is_ids_alone() -> None:
    """Kind, time in UTC, three ids, and no other word."""
    at = datetime(2026, 3, 2, 2, tzinfo=timezone(timedelta(hours=-7)))
    patient, clinic = UUID(int=2), UUID(int=3)
    assert json.loads(body_of("alert.opened", at, ID, patient, clinic)) == {
        "type": "alert.opened",
        "timestamp": "2026-03-02T09:00:00Z",
        "data": {"id": str(ID), "patient_id": str(patient), "clinic_id": str(clinic)},
    }


def test_each_valid_secret_signs() -> None:
    """While one replaces another, both signatures are there, apart by a space."""
    at, body = datetime(2026, 3, 2, tzinfo=UTC), b"{}"
    old, new = new_secret(), new_secret()
    headers = signed_headers([new, old], str(ID), at, body)
    timestamp = headers["webhook-timestamp"]
    assert (headers["webhook-id"], timestamp) == (str(ID), str(int(at.timestamp())))
    assert headers["webhook-signature"].split(" ") == [sign(one, str(ID), timestamp, body) for one in (new, old)]


@given(st.binary(), st.binary(), st.integers(0, 2**33), st.integers(0, 2**33))
def test_another_body_or_time_has_another_signature(body: bytes, other: bytes, time: int, later: int) -> None:
    """What is signed is the id, the time and every byte."""
    same = (body, time) == (other, later)
    assert (sign(PUBLISHED_SECRET, "a", str(time), body) == sign(PUBLISHED_SECRET, "a", str(later), other)) is same
    assert sign(PUBLISHED_SECRET, "a", str(time), body) != sign(PUBLISHED_SECRET, "b", str(time), body)
