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
    told = [record.args for record in caplog.records if record.msg == "refusal_not_told"]
    assert [fields["error"].partition(" ")[0] for fields in told] == [type(error).__name__] * 2  # type: ignore[call-overload, index, union-attr]  # mappings
    said = str([(record.msg, record.args) for record in caplog.records])
    assert "canary" not in said
    assert patient not in said
