"""One attempt of one delivery against a real receiver."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app import webhook_client
from app.errors import InvalidError
from app.services.deliveries import Claim, Outcome
from app.webhook_client import WebhookClient
from app.webhook_signing import new_secret
from tests.receiver import Answer, Received, Receiver, documented_verify, running_receiver

pytestmark = pytest.mark.anyio

CLINIC = UUID(int=1)
SECRETS = (new_secret(), new_secret())


def claim(url: str) -> Claim:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    return Claim(uuid4(), uuid4(), 1, "alert.opened", uuid4(), uuid4(), at, url, SECRETS)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with running_receiver(tmp_path) as receiver:
        yield receiver


def allowing(receiver: Receiver) -> WebhookClient:
    return WebhookClient({f"localhost:{receiver.port}", f"127.0.0.1:{receiver.port}"}, receiver.ca_file)


async def sent(receiver: Receiver, url: str | None = None) -> Outcome:
    async with allowing(receiver) as client:
        return await client.send(CLINIC, claim(url or receiver.url()))


async def test_a_delivery_arrives_signed(receiver: Receiver) -> None:
    """With path and query as given, the name in the Host header, ids in the body, and a signature by each secret."""
    made = claim(receiver.url("/hook/a?b=c"))
    async with allowing(receiver) as client:
        assert await client.send(CLINIC, made) == Outcome(204)
    (one,) = receiver.received
    assert (one.path, one.id) == ("/hook/a?b=c", str(made.notification_id))
    assert one.headers["host"] == f"localhost:{receiver.port}"
    assert one.headers["content-type"] == "application/json"
    assert one.headers["cookie"] is one.headers["authorization"] is None
    for secret in SECRETS:
        documented_verify()(secret, one.headers, one.body)
    assert json.loads(one.body)["data"]["id"] == str(made.resource_id)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (299, None),
        (301, "redirect"),
        (307, "redirect"),
        (304, "redirect"),
        (400, "http_status"),
        (404, "http_status"),
        (410, "gone"),
        (429, "http_status"),
        (500, "http_status"),
        (503, "http_status"),
    ],
)
async def test_answers_have_a_meaning(receiver: Receiver, status: int, error: str | None) -> None:
    """2xx alone is delivered; nobody is sent on, not even to the same host."""
    receiver.answer = lambda _: Answer(status, {"Location": receiver.url("/elsewhere")})
    assert await sent(receiver) == Outcome(status, error)
    assert [one.path for one in receiver.received] == ["/hook"]


async def test_the_body_of_an_answer_is_not_awaited(receiver: Receiver) -> None:
    """However long it is."""
    receiver.answer = lambda _: Answer(200, body=b"x" * 50_000_000)
    begun = time.monotonic()
    assert await sent(receiver) == Outcome(200)
    assert time.monotonic() - begun < 5


async def test_a_receiver_that_never_answers_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time for one attempt, not after that of the other side."""
    monkeypatch.setattr(webhook_client, "ATTEMPT_SECONDS", 0.3)

    def answer(_: Received) -> Answer:
        time.sleep(2)
        return Answer()

    receiver.answer = answer
    assert await sent(receiver) == Outcome(error="timeout")


async def test_nobody_there(receiver: Receiver, tmp_path: Path) -> None:
    """A closed port is a word, not an exception."""
    with running_receiver(tmp_path) as gone:
        pass
    assert await sent(gone) == Outcome(error="connection")
    assert receiver.received == []


async def test_a_certificate_nobody_vouches_for_is_refused(receiver: Receiver) -> None:
    """Before a byte of the message is sent."""
    async with WebhookClient({f"localhost:{receiver.port}"}, None) as client:
        assert await client.send(CLINIC, claim(receiver.url())) == Outcome(error="certificate")
    assert receiver.received == []


async def test_the_certificate_is_checked_against_the_name(tmp_path: Path) -> None:
    """Not against the IP that is connected to, and not against any name of the same authority."""
    with running_receiver(tmp_path, "hooks.example.org") as other:
        assert await sent(other) == Outcome(error="certificate")
        assert other.received == []
    with running_receiver(tmp_path, "localhost") as named:
        assert await sent(named, named.url(host="127.0.0.1")) == Outcome(error="certificate")
        assert await sent(named) == Outcome(204)


async def test_no_connection_is_lent_to_another_name(tmp_path: Path) -> None:
    """Two names at one IP: the second one's certificate is checked, though a connection is there."""
    with running_receiver(tmp_path) as named:
        async with allowing(named) as client:
            assert await client.send(CLINIC, claim(named.url())) == Outcome(204)
            answer = await client.send(CLINIC, claim(named.url(host="127.0.0.1")))
    assert answer == Outcome(error="certificate")


async def test_what_leads_inside_is_not_called(receiver: Receiver) -> None:
    """Looked up again at each delivery: a name may lead elsewhere than when the webhook was made."""
    async with WebhookClient((), receiver.ca_file) as client:
        for host in ("localhost", "127.0.0.1"):
            assert await client.send(CLINIC, claim(receiver.url(host=host))) == Outcome(error="not_public")
        assert await client.send(CLINIC, claim("https://hooks.invalid/")) == Outcome(error="name_not_found")
    assert receiver.received == []


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would look the name up itself, and connect to whatever it finds."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await sent(receiver) == Outcome(204)


async def test_a_file_without_certificates_is_told_plainly(tmp_path: Path) -> None:
    """Absent, or of another kind: by the name of the setting, when the worker starts."""
    other = tmp_path / "other.pem"
    other.write_text("no certificate")
    for file in (other, tmp_path / "absent.pem", tmp_path):
        with pytest.raises(InvalidError, match="TIDEMARK_WEBHOOK_CA_FILE"):
            WebhookClient((), file)
