"""What the tests of schedules share: sound entries, and a look at what is expected."""

from datetime import datetime
from typing import Any
from uuid import UUID

import httpx2

from app.db import Database
from tests.conftest import Api

DAY_AFTER: dict[str, Any] = {
    "code": "day-after",
    "instrument": "phq-9",
    "anchor": "each_dose",
    "after": {"hours": 24},
    "window": {"opens_hours": -12, "overdue_hours": 12, "closes_hours": 24},
}
WEEKLY: dict[str, Any] = {
    "code": "weekly",
    "instrument": "pcl-5-week",
    "anchor": "first_dose",
    "after": {"days": 7},
    "window": {"opens_hours": -24, "overdue_hours": 24, "closes_hours": 72},
    "repeat": {"every_days": 7, "times": 4},
    "at": "09:00",
}


async def put(
    api: Api, episode: str, body: dict[str, Any], version: int | None = None, key: str | None = None
) -> httpx2.Response:
    headers = {} if version is None else {"If-Match": f'"{version}"'}
    headers |= {} if key is None else {"Idempotency-Key": key}
    return await api.http.put(f"/v1/episodes/{episode}/schedule", json=body, headers=headers)


async def plan(api: Api, episode: str, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The first schedule of an episode."""
    answer = await put(api, episode, {"entries": list(entries)} | more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def expected_rows(database: Database, api: Api, patient: str) -> list[dict[str, Any]]:
    """All that is expected of a patient, in order of opening."""
    query = "SELECT * FROM expected_check_in WHERE clinic_id = $1 AND patient_id = $2 ORDER BY opens_at, key"
    async with database.connection(api.clinic_id) as connection:
        return [dict(row) for row in await connection.fetch(query, api.clinic_id, UUID(patient))]


async def fill(api: Api, patient: str, taken_at: datetime, instrument: str = "phq-9") -> str:
    """A form of nothing but zeros."""
    responses = [0] * (9 if instrument == "phq-9" else 20)
    body = {"patient_id": patient, "instrument": instrument, "responses": responses, "taken_at": taken_at.isoformat()}
    answer = await api.http.post("/v1/assessments", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
