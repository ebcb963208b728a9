"""A phone that was offline for a month, with a wrong clock, sends all it has twice, from two processes, in any order.

What the clinic sees is what it sees of a patient whose forms came once, in order, by a right clock.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any
from uuid import UUID

import httpx2
import pytest

from app.auth import Role
from app.db import Database
from app.services import clinics
from tests.process.conftest import Site, added_patient
from tests.process.service import ROOT, Service, plain_environment

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
INSTRUMENTS = {"phq-9": (9, 3), "pcl-5-week": (20, 4)}  # number of items, highest answer
PAGE = 200
ASKED = ["upcoming", "due", "overdue", "missed", "received", "received_late"]
# When and how things arrived, and ids made of other ids; all that may differ.
OF_THE_WAY = {"received_at", "recorded_at", "recorded_by", "arrival", "known_at", "as_of", "oldest_open_at"}

PHONE_ZONE = timezone(2 * HOUR)
FAST = timedelta(hours=2, minutes=13)
MONTHS_BEHIND = -timedelta(days=131, minutes=17)


@dataclass(frozen=True)
class Course:
    """A month of one person."""

    begun: datetime  # the opening of the episode
    doses: tuple[timedelta, ...] = (7 * DAY, 14 * DAY, 21 * DAY)
    planned: tuple[timedelta, ...] = (45 * DAY,)

    def forms(self) -> list[dict[str, Any]]:
        """Two instruments at uneven hours, with empty answers, and an item 9 that comes and goes; the last just now."""
        draw = random.Random(9)  # noqa: S311  # the same month for everybody; no secret
        times = [self.begun + number * 12 * HOUR + draw.randint(0, 700) * MINUTE for number in range(60)]
        return [self._form(draw, at) for at in (*times, self.begun + 30 * DAY + 11 * HOUR)]

    def _form(self, draw: random.Random, at: datetime) -> dict[str, Any]:
        instrument = draw.choice(list(INSTRUMENTS))
        items, highest = INSTRUMENTS[instrument]
        level = draw.randint(0, 3)
        responses: list[int | None] = [min(highest, max(0, level + draw.randint(-1, 1))) for _ in range(items)]
        responses[8] = draw.choice([0, 0, 0, 1, 2, 3])
        for _ in range(draw.choice([0, 0, 0, 0, 1, 5])):
            responses[draw.randrange(items)] = None
        id_ = str(UUID(int=draw.getrandbits(128), version=4))
        return {"id": id_, "instrument": instrument, "responses": responses, "taken_at": at.isoformat()}


async def treated(http: httpx2.AsyncClient, patient_id: str, course: Course) -> None:
    """Episode, schedule, and the doses: those held, and one to come."""
    body: dict[str, Any] = {"modality": "ketamine_assisted_psychotherapy", "opened_at": course.begun.isoformat()}
    episode = (await told_by(partial(http.post, f"/v1/patients/{patient_id}/episodes", json=body)))["id"]
    await told_by(partial(http.put, f"/v1/episodes/{episode}/schedule", json={"protocol": "kap-standard"}))
    for after in course.doses + course.planned:
        at = (course.begun + after).isoformat()
        given = {"medicine": "ketamine_racemic", "route": "intravenous", "dose_mg": 35, "started_at": at}
        body = {"kind": "dosing", "scheduled_at": at} | (given if after in course.doses else {})
        await told_by(partial(http.post, f"/v1/episodes/{episode}/treatment-sessions", json=body))


async def told_by(call: Callable[[], Awaitable[httpx2.Response]]) -> dict[str, Any]:
    """The service may still be coming back from what the test before did to it; a 503 is safe to repeat."""
    answer, tries = await call(), 1
    while answer.status_code == 503 and tries < 40:
        await asyncio.sleep(0.25)
        answer, tries = await call(), tries + 1
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- The phone ------------------------------------------------------------------------------------------------------

PHONE = """
import json, random, sys, time
from datetime import UTC, datetime, timedelta
import httpx2
job = json.load(sys.stdin)
draw, skew = random.Random(job["seed"]), timedelta(seconds=job["skew_seconds"])
waiting = job["forms"] * 2
draw.shuffle(waiting)
statuses = []
http = httpx2.Client(base_url=job["url"], headers=job["headers"], timeout=30)
def post(path, body, key):
    while True:
        headers = {"Device-Time": (datetime.now(UTC) + skew).isoformat()}
        answer = http.post(path, json=body, headers=headers | ({"Idempotency-Key": key} if key else {}))
        if answer.status_code != 503:
            return answer
        time.sleep(0.1)
while waiting:
    if draw.random() < 0.3:
        rows = [waiting.pop() for _ in range(min(len(waiting), draw.randint(2, 25)))]
        answer = post("/v1/assessments/batch", {"assessments": rows}, None)
        statuses += [(row["id"], one["status"], one["replayed"])
                     for row, one in zip(rows, answer.json()["outcomes"], strict=True)]
    else:
        row = waiting.pop()
        answer = post("/v1/assessments", row, "once-" + row["id"] if job["with_keys"] else None)
        statuses.append((row["id"], answer.status_code, "idempotency-replayed" in answer.headers))
json.dump(statuses, sys.stdout)
"""


def shifted(forms: list[dict[str, Any]], skew: timedelta) -> list[dict[str, Any]]:
    """As the phone's clock had it."""
    return [form | {"taken_at": (datetime.fromisoformat(form["taken_at"]) + skew).isoformat()} for form in forms]


async def send_twice_from_two_processes(site: Site, forms: list[dict[str, Any]], skew: timedelta) -> None:
    """The app and its background task do not know of each other; each form is stored by one send of four."""
    jobs = [
        {
            "url": site.url,
            "headers": site.headers,
            "forms": shifted(forms, skew),
            "skew_seconds": skew.total_seconds(),
            "seed": seed,
            "with_keys": seed == 1,
        }
        for seed in (1, 2)
    ]
    told = await asyncio.gather(*(asyncio.to_thread(_run_phone, job) for job in jobs))
    for form in forms:
        sends = sorted((status, replayed) for one in told for id_, status, replayed in one if id_ == form["id"])
        assert sends == [(201, False), (201, True), (201, True), (201, True)]


def _run_phone(job: Mapping[str, Any]) -> list[tuple[str, int, bool]]:
    done = subprocess.run(
        [sys.executable, "-c", PHONE],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=plain_environment(),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(one) for one in json.loads(done.stdout)]


# --- What the clinic sees ---------------------------------------------------------------------------------------------


async def everything(site: Site, course: Course) -> dict[str, Any]:
    """All the API tells of the patient."""
    seen: dict[str, Any] = {}
    of_patient: dict[str, Any] = {"patient_id": site.patient_id, "limit": PAGE}
    async with site.client() as http:

        async def ask(path: str, **asked: Any) -> dict[str, Any]:
            return await told_by(partial(http.get, path, params=asked))

        seen["forms"] = (await ask("/v1/assessments", **of_patient))["data"]
        seen["versions"] = [await ask(f"/v1/assessments/{form['id']}/history") for form in seen["forms"]]
        for instrument in INSTRUMENTS:
            path = f"/v1/patients/{site.patient_id}/trajectory"
            seen[f"{instrument} now"] = await ask(path, instrument=instrument)
            seen[f"{instrument} then"] = await ask(
                path, instrument=instrument, to=(course.begun + 12 * DAY).isoformat()
            )
            seen[f"{instrument} caseload"] = await ask("/v1/caseload", instrument=instrument)
        alerts = (await ask("/v1/alerts", **of_patient))["data"]
        seen["alerts"] = sorted([_standing(await ask(f"/v1/alerts/{one['id']}")) for one in alerts])
        due = await ask(f"/v1/patients/{site.patient_id}/due", status=ASKED)
        listed = await ask("/v1/due", **of_patient, status=ASKED[:4])
        seen["due"] = due | {"data": _in_order(due), "of clinic": _in_order(listed)}
        (episode,) = (await ask(f"/v1/patients/{site.patient_id}/episodes"))["data"]
        seen["schedule"] = await ask(f"/v1/episodes/{episode['id']}/schedule")
        sessions = (await ask(f"/v1/episodes/{episode['id']}/treatment-sessions"))["data"]
    ids = {site.patient_id: "patient", episode["id"]: "episode"}
    ids |= {one["id"]: f"session {number}" for number, one in enumerate(sessions)}
    ids |= {one["id"]: f"alert {one['label']}" for one in alerts}
    found: dict[str, Any] = _plain(seen, ids)
    return found


def _standing(alert: dict[str, Any]) -> tuple[Any, ...]:
    """What waits for a person, and why. How it came to that is another story for forms that come out of order."""
    causes = sorted((one["assessment_id"] or "", one["cause"]) for one in alert["causes"])
    return (alert["kind"], alert["instrument"] or "", alert["status"], alert["label"], causes)


def _in_order(due: dict[str, Any]) -> list[dict[str, Any]]:
    """Its ids are made of the episode's; what opens together is listed by them."""
    rows = [{name: value for name, value in one.items() if name != "id"} for one in due["data"]]
    return sorted(rows, key=lambda one: (one["opens_at"], one["code"], str(one["treatment_session_id"])))


def _plain(told: Any, ids: Mapping[str, str]) -> Any:
    """Without what is of the way, and with names for the ids that the service made."""
    if isinstance(told, dict):
        return {key: _plain(value, ids) for key, value in told.items() if key not in OF_THE_WAY}
    if isinstance(told, list | tuple):
        return [_plain(one, ids) for one in told]
    if isinstance(told, str):
        for id_, name in ids.items():
            told = told.replace(id_, name)
    return told


@pytest.fixture
async def other_site(service: Service, stored: Database) -> Site:
    clinic = await clinics.record_clinic(stored, "Test clinic", "Europe/Berlin")
    _, token = await clinics.record_token(stored, clinic.clinic_id, Role.CLINICIAN)
    site = Site(service.url, clinic.clinic_id, token, "")
    site.patient_id = await added_patient(site)
    return site


@pytest.mark.parametrize(
    ("skew", "treated_first"), [(FAST, True), (FAST, False), (MONTHS_BEHIND, True), (timedelta(0), False)]
)
async def test_a_month_offline_changes_nothing(
    site: Site, other_site: Site, skew: timedelta, *, treated_first: bool
) -> None:
    """Record, course, alerts, what is due and the caseload are those of whoever was online all the time."""
    begun = (
        datetime.now(UTC).astimezone(PHONE_ZONE).replace(second=0, microsecond=0) - 30 * DAY - 11 * HOUR - 7 * MINUTE
    )
    course = Course(begun)
    forms = course.forms()
    async with site.client() as http, other_site.client() as other_http:
        await treated(other_http, other_site.patient_id, course)
        for form in forms:
            body = form | {"patient_id": other_site.patient_id}
            await told_by(partial(other_http.post, "/v1/assessments", json=body))
        if treated_first:
            await treated(http, site.patient_id, course)
        mine = [form | {"patient_id": site.patient_id} for form in forms]
        await send_twice_from_two_processes(site, mine, skew)
        if not treated_first:
            await treated(http, site.patient_id, course)
    seen, other = await everything(site, course), await everything(other_site, course)
    for part in other:
        assert seen[part] == other[part], part
    assert len(seen["forms"]) == len(forms)
    assert {alert[0] for alert in seen["alerts"]} >= {"critical_item", "critical_item_rise", "worse_after_dose"}
    assert {one["status"] for one in seen["due"]["data"]} >= {"upcoming", "received"}
