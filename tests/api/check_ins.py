"""What the tests of check-in links share: links, their bearers, and check-ins that are wanted."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2

from app.db import Database
from app.ids import new_id
from tests.conftest import Api

DUE = "/v1/check-in"
FORMS = "/v1/check-in/forms"
CALM = [1, 1, 1, 1, 0, 0, 1, 0, 0, 1]
AT_RISK = [3, 3, 3, 3, 2, 2, 1, 1, 2, 2]

_EXPECT = """
INSERT INTO expected_check_in (clinic_id, id, patient_id, episode_id, key, code, instrument, target_at, opens_at,
    overdue_at, closes_at)
VALUES ($1, $2, $3, $4, $5, 'weekly', $6, $7, $7, $8, $8)
"""
_FILL = """
UPDATE expected_check_in SET assessment_id = $3, answered_at = now() WHERE clinic_id = $1 AND id = $2
"""


async def expect(
    database: Database,
    clinic_id: UUID,
    patient_id: str,
    instrument: str = "phq-9",
    opens_in: float = -1,
    closes_in: float = 24,
) -> str:
    """Its id. Opens and closes so many hours from now; written as the derivation of schedules writes it."""
    expected_id, now = new_id(), datetime.now(UTC)
    opens_at, closes_at = now + timedelta(hours=opens_in), now + timedelta(hours=closes_in)
    values = (UUID(patient_id), new_id(), str(expected_id), instrument, opens_at, closes_at)
    async with database.connection(clinic_id) as connection:
        await connection.execute(_EXPECT, clinic_id, expected_id, *values)
    return str(expected_id)


async def fill(database: Database, clinic_id: UUID, expected_id: str, form_id: str) -> None:
    """What happens in the transaction of the form that answers it."""
    async with database.connection(clinic_id) as connection:
        await connection.execute(_FILL, clinic_id, UUID(expected_id), UUID(form_id))


def links_of(patient_id: str) -> str:
    return f"/v1/patients/{patient_id}/check-in-links"


async def make_link(api: Api, patient_id: str, **body: Any) -> dict[str, Any]:
    answer = await api.http.post(links_of(patient_id), json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def read_link(api: Api, link: dict[str, Any]) -> dict[str, Any]:
    answer = await api.http.get(f"/v1/check-in-links/{link['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def stored_forms(api: Api, patient_id: str) -> list[dict[str, Any]]:
    answer = await api.http.get("/v1/assessments", params={"patient_id": patient_id})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


class Bearer:
    """Somebody who opened a link."""

    def __init__(self, http: httpx2.AsyncClient, link: dict[str, Any]) -> None:
        self.http, self.headers = http, {"Authorization": f"Bearer {link['token']}"}

    async def due(self) -> httpx2.Response:
        return await self.http.get(DUE, headers=self.headers)

    async def answer(self, expected_id: str, key: str | None = None, **changes: Any) -> httpx2.Response:
        headers = self.headers | ({} if key is None else {"Idempotency-Key": key})
        return await self.http.post(FORMS, json=filled(expected_id) | changes, headers=headers)


def filled(expected_id: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"id": str(uuid4()), "expected_id": expected_id, "responses": CALM, "taken_at": now, "language": "en"}
