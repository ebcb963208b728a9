"""The page about webhooks tells what the program does, and its code can be copied."""

import json
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.services.deliveries import LEASE_SECONDS, RETRY_SECONDS
from app.services.notification_kinds import NotificationKind
from app.webhook_address import AddressError, parse_address
from app.webhook_client import ATTEMPT_SECONDS
from app.webhook_signing import body_of, new_secret, signed_headers
from tests.docs.documents import ROOT, blocks
from tests.receiver import documented_verify

PAGE = ROOT / "docs" / "webhooks.md"
AT = datetime(2026, 11, 20, 19, 31, tzinfo=UTC)
PUBLISHED = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
PUBLISHED_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLISHED_BODY = b'{"test": 2432232314}'


def test_the_code_knows_a_true_message() -> None:
    """The convention's own example, and ours while a secret is replaced, by either secret."""
    verify = documented_verify()
    verify(PUBLISHED_SECRET, PUBLISHED, PUBLISHED_BODY, now=1614265330)
    old, new = new_secret(), new_secret()
    headers = signed_headers([new, old], "a", datetime.now(UTC), b"{}")
    for secret in (old, new):
        verify(secret, headers, b"{}")


@pytest.mark.parametrize(
    ("secret", "change", "body", "now"),
    [
        pytest.param(new_secret(), {}, PUBLISHED_BODY, 1614265330, id="another secret"),
        (PUBLISHED_SECRET, {}, PUBLISHED_BODY + b" ", 1614265330),
        (PUBLISHED_SECRET, {"webhook-id": "msg_other"}, PUBLISHED_BODY, 1614265330),
        (PUBLISHED_SECRET, {"webhook-timestamp": "1614265331"}, PUBLISHED_BODY, 1614265330),
        (PUBLISHED_SECRET, {"webhook-signature": ""}, PUBLISHED_BODY, 1614265330),
        (PUBLISHED_SECRET, {"webhook-signature": "v1,"}, PUBLISHED_BODY, 1614265330),
        (PUBLISHED_SECRET, {"webhook-signature": "v2,g0hM9SsE+OTPJTGt"}, PUBLISHED_BODY, 1614265330),
        (PUBLISHED_SECRET, {}, PUBLISHED_BODY, 1614265330 + 301),
        (PUBLISHED_SECRET, {}, PUBLISHED_BODY, 1614265330 - 301),
    ],
)
def test_the_code_refuses_any_other(secret: str, change: dict[str, str], body: bytes, now: int) -> None:
    """Another secret, body, id or time; no signature; too old."""
    with pytest.raises(ValueError, match=r"not signed|too old"):
        documented_verify()(secret, PUBLISHED | change, body, now=now)


def test_every_kind_is_explained() -> None:
    """A row for each of the catalogue."""
    rows = re.findall(r"^\| `([a-z_]+\.[a-z]+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(rows) == sorted(NotificationKind)


def test_the_message_is_one_of_ours() -> None:
    """Field for field."""
    (shown,) = blocks(PAGE, "json")
    message = json.loads(shown)
    ids = {name: UUID(value) for name, value in message["data"].items()}
    ours = body_of("alert.opened", AT, ids["id"], ids["patient_id"], ids["clinic_id"])
    assert json.loads(ours) == message


def test_the_numbers_are_the_programs() -> None:
    """Waits, lease and time limit."""
    text = PAGE.read_text(encoding="utf-8")
    hours = [seconds // 3_600 for seconds in RETRY_SECONDS[3:]]
    assert RETRY_SECONDS[:3] == (5, 5 * 60, 30 * 60)
    assert f"5 seconds, 5 minutes, 30 minutes, {', '.join(map(str, hours[:-1]))} and {hours[-1]} hours" in text
    assert f"for {LEASE_SECONDS} seconds" in text
    assert ATTEMPT_SECONDS == 10
    assert "within ten seconds" in text


def test_the_codes_are_the_programs() -> None:
    """What the page says of a refusal is what the reader of addresses says."""
    text = PAGE.read_text(encoding="utf-8")
    for url in ("x y", "https://a_b/", "http://a/", "https://a@b/", "https://a/#"):
        with pytest.raises(AddressError) as refused:
            parse_address(url)
        assert f"`{refused.value.code}`" in text
