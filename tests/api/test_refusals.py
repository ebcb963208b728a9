"""A refusal stays one, whether or not it can be told."""

from typing import Any
from uuid import uuid4

import pytest

from app import refusals
from app.errors import UnavailableError
from tests.conftest import Api

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("error", [UnavailableError("away"), ZeroDivisionError("canary")])
async def test_what_cannot_be_told_is_refused_all_the_same(
    api: Api, researcher: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Byte for byte; the log names the request and the class of the trouble, and nothing more."""
    patient = await api.add_patient()
    calls = [(api, f"/v1/patients/{uuid4()}"), (researcher, f"/v1/patients/{patient}")]
    before = [await caller.http.get(path) for caller, path in calls]

    async def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(refusals, "record_refusal", fail)
    after = [await caller.http.get(path) for caller, path in calls]
    assert [answer.status_code for answer in after] == [404, 403]
    assert [answer.content for answer in after] == [answer.content for answer in before]
    for answer in after:
        assert f"request_id={answer.headers['x-request-id']} error={type(error).__name__}" in caplog.text
    assert "canary" not in caplog.text
    assert patient not in caplog.text
