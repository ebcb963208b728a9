"""A clinic with one of everything, for its first patient and again for its second, and a caller for each role."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI

from app.auth import Role
from app.db import Database
from app.ids import new_id
from app.privacy.cells import SMALLEST_CELL
from app.release_files.model import FileFacts
from app.schemas.releases import ReleaseAnswer
from app.services import clinics
from app.services.data_keys import get_key
from app.services.release_downloads import store_file
from tests.cohort_clinic import Invented, settle

NOW = datetime.now(UTC).replace(microsecond=0)
WORRYING = [3, 3, 3, 3, 2, 2, 1, 1, 2]
BETTER = [1, 1, 1, 1, 1, 1, 1, 1, 0]


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


CHECKLIST: dict[str, Any] = {
    "title": "Before each dose",
    "valid_days": 30,
    "questions": [
        {"code": "pregnant", "text": "Pregnant?", "answer": "yes_no"},
        {"code": "alcohol", "text": "Alcohol?", "answer": "choice", "choices": ["none", "some"], "look_back_days": 90},
    ],
}
SCREEN: dict[str, Any] = {
    "answers": {"pregnant": False, "alcohol": "some"},
    "answered_at": ago(days=3),
    "outcome": "suitable",
    "decided_by": "Dr. Example",
}
THRESHOLD: dict[str, Any] = {
    "instrument": "phq-9",
    "rule": "reliable_change",
    "code": "reliable_change_7_ours",
    "kind": "change_points",
    "inequality": ">=",
    "value": 7,
    "population": "adults of our programme",
    "source": "Clinic guideline 3, 2026",
}
EPISODE: dict[str, Any] = {
    "modality": "ketamine_assisted_psychotherapy",
    "label": "First course",
    "opened_at": ago(days=20),
}
SESSION: dict[str, Any] = {
    "kind": "dosing",
    "status": "done",
    "scheduled_at": ago(hours=50),
    "started_at": ago(hours=50),
    "ended_at": ago(hours=48),
    "medicine": "ketamine_racemic",
    "route": "intravenous",
    "dose_mg": 35,
    "weight_kg": 70,
    "concomitant_medicines": ["lamotrigine"],
}
OBSERVATION: dict[str, Any] = {
    "observed_at": ago(hours=49),
    "systolic": 138,
    "diastolic": 86,
    "dissociation": {"scale": "cadss", "score": 31},
}
ADVERSE_EVENT: dict[str, Any] = {
    "term": "nausea",
    "note": "gone after 30 minutes",
    "severity": "mild",
    "serious": False,
    "onset_at": ago(hours=49),
}
CONSENT: dict[str, Any] = {
    "purpose": "disclosure_to_recipient",
    "recipient": "Dr. Elsewhere",
    "how": "signed",
    "given_at": ago(days=18),
}
# Due now and long: the window of the first opened with the course, the second follows the dose.
SCHEDULE: dict[str, Any] = {
    "entries": [
        {
            "code": "trauma",
            "instrument": "pcl-5-week",
            "anchor": "first_dose",
            "after": {"hours": 24},
            "window": {"opens_hours": -12, "overdue_hours": 200, "closes_hours": 300},
        },
        {
            "code": "weekly",
            "instrument": "phq-9",
            "anchor": "first_dose",
            "after": {"days": 7},
            "window": {"opens_hours": -24, "overdue_hours": 24, "closes_hours": 72},
            "repeat": {"every_days": 7, "times": 3},
            "at": "09:00",
        },
    ],
    "quiet_hours": {"from": "21:00", "until": "08:00"},
}
RELEASE: dict[str, Any] = {
    "purpose": "Durability of response after the first course",
    "recipient": "University of Example",
    "tier": "safe_harbor",
    "instruments": ["phq-9"],
}
WEBHOOK: dict[str, Any] = {"url": "https://93.184.215.14/hook", "events": [], "label": "pager"}


@dataclass
class Estate:
    """A clinic, what it has by kind of thing, and who may ask for it."""

    clinic_id: UUID
    name: str
    database: Database
    http: dict[str, httpx2.AsyncClient]
    things: dict[str, str] = field(default_factory=dict)  # of the first patient, and the clinic's own
    others: dict[str, str] = field(default_factory=dict)  # of the second patient

    async def rows(self) -> dict[str, list[str]]:
        """Every row of every table, as this clinic sees them."""
        found = {}
        async with self.database.connection(self.clinic_id) as connection:
            for table in [row["name"] for row in await connection.fetch(_TABLES)]:
                rows = await connection.fetch(f"SELECT ({_ROW})::text AS row FROM {table} t ORDER BY 1")
                found[table] = [row["row"] for row in rows]
        return found

    async def refill(self) -> None:
        """What is refused costs a link a try; devices log out."""
        async with self.database.connection(self.clinic_id) as connection:
            await connection.execute("UPDATE check_in_link SET tries_left = 50 WHERE clinic_id = $1", self.clinic_id)
            await connection.execute(
                "UPDATE enrolment SET ended_at = NULL, ended_because = NULL WHERE clinic_id = $1", self.clinic_id
            )

    async def marks(self) -> frozenset[str]:
        """All ids of the clinic's own rows, and its name, which stands in every text written for it."""
        rows = [json.loads(row) for rows in (await self.rows()).values() for row in rows]
        texts = {value for row in rows for value in row.values() if isinstance(value, str)}
        return frozenset({text for text in texts if _is_id(text)} | {self.name})


_ROW = "to_jsonb(t) - 'last_used_at'"  # which is written beside the requests, some time after them
_TABLES = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


def _is_id(text: str) -> bool:
    try:
        return UUID(text).version == 7
    except ValueError:
        return False


@asynccontextmanager
async def open_estate(app: FastAPI | str, database: Database, name: str) -> AsyncIterator[Estate]:
    """Asked of an application in this process, or of the service at an address."""
    clinic = await clinics.record_clinic(database, f"{name} clinic", "Europe/Berlin")
    async with AsyncExitStack() as stack:
        estate = Estate(clinic.clinic_id, name, database, {})

        async def enter(caller: str, token: str | None) -> None:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            estate.http[caller] = await stack.enter_async_context(_client(app, headers))

        await enter("anonymous", None)
        for role in (Role.ADMIN, Role.CLINICIAN, Role.SERVICE, Role.RESEARCHER):
            await enter(role, (await clinics.record_token(database, clinic.clinic_id, role, name))[1])
        await _furnish_clinic(estate)
        for things in (estate.things, estate.others):
            await _furnish_patient(estate, things)
        await settle(database, clinic.clinic_id, [Invented()] * SMALLEST_CELL)  # or no cohort would be told
        await _hide_patients(estate)
        patient = UUID(estate.things["patient"])
        _, token = await clinics.record_token(database, clinic.clinic_id, Role.PATIENT, name, patient_id=patient)
        await enter(Role.PATIENT, token)
        await enter(Role.LINK, estate.things["link_token"])
        await enter(Role.CODE, estate.things["code_token"])
        device = await _send(estate, "POST", f"/v1/patients/{patient}/enrolments", {})
        async with _client(app, {"Authorization": f"Bearer {device['token']}"}) as phone:
            await enter(Role.REFRESH, (await phone.post("/v1/enrolment")).json()["refresh_token"])
        yield estate


def _client(app: FastAPI | str, headers: dict[str, str]) -> httpx2.AsyncClient:
    if isinstance(app, str):
        return httpx2.AsyncClient(base_url=app, headers=headers, timeout=30)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test", headers=headers)


async def _furnish_clinic(estate: Estate) -> None:
    things, name = estate.things, estate.name
    rules = {"reason": f"{name} begins", "safety_text": f"{name}: call 555-0100 at any hour"}
    await _send(estate, "PATCH", "/v1/clinic", rules)
    checklist = CHECKLIST | {"title": f"{name} list"}
    things["checklist"] = (await _send(estate, "POST", "/v1/suitability-checklists", checklist))["id"]
    things["threshold"] = (await _send(estate, "POST", "/v1/thresholds", THRESHOLD | {"source": name}))["id"]
    gone = (await _send(estate, "POST", "/v1/patients", {"external_ref": f"{name} gone"}))["id"]
    things["erasure"] = (await _send(estate, "DELETE", f"/v1/patients/{gone}?ground=patient_request", None))["id"]
    things["principal"] = str(new_id())
    async with estate.database.connection(estate.clinic_id) as connection:  # as at somebody's first request
        await connection.execute(
            "INSERT INTO principal VALUES ($1, $2, $3, $4, now())",
            estate.clinic_id,
            UUID(things["principal"]),
            f"https://login.{name}.example",
            f"{name}-somebody",
        )
    await _make_releases(estate)
    things["webhook"] = (await _send(estate, "POST", "/v1/webhooks", WEBHOOK | {"label": name}))["id"]


SHARED = ("checklist", "threshold", "webhook", "erasure", "principal", "release", "ready_release")


async def _make_releases(estate: Estate) -> None:
    """One that waits, and one that is ready: of nobody, for a cohort that may be told has more people than this."""
    for kind in ("release", "ready_release"):
        asked = RELEASE | {"purpose": f"{estate.name} outcomes"}
        answer = await estate.http[Role.RESEARCHER].post("/v1/releases", json=asked)
        assert answer.status_code == 201, answer.text
        estate.things[kind] = answer.json()["id"]
    id_, file = UUID(estate.things["ready_release"]), BytesIO(b"patient,total\r\n")
    told = FileFacts("assessments.csv", 15, sha256(file.getvalue()).hexdigest(), rows=1, persons=1)
    manifest = json.dumps(release_example()["manifest"] | {"persons_out": 0, "files": [asdict(told)]})
    async with estate.database.connection(estate.clinic_id) as connection:
        await connection.execute(
            "UPDATE release SET status = 'ready', manifest = $3 WHERE clinic_id = $1 AND id = $2",
            estate.clinic_id,
            id_,
            manifest,
        )
        key = await get_key(connection, estate.database.keys, estate.clinic_id, id_)
        await store_file(connection, key, estate.clinic_id, id_, "assessments.csv", file)


async def release_long_ago(estate: Estate, patient: str, **manifest: Any) -> str:
    """With this patient in it, for somebody who has left; its names and files are gone."""
    id_, left = new_id(), new_id()
    asked, made = RELEASE | {"recipient": estate.name}, release_example()["manifest"] | manifest
    async with estate.database.connection(estate.clinic_id) as connection:
        await connection.execute(_LONG_AGO, estate.clinic_id, id_, left, json.dumps(asked), json.dumps(made))
        await connection.execute(_IN_IT, estate.clinic_id, id_, UUID(patient))
    return str(id_)


_LONG_AGO = """
INSERT INTO release (clinic_id, id, status, request, manifest, requested_at, requested_by, decided_at, decided_by,
    ready_at, expires_at, ended_at, ended_because, attempts, persons_read, rows_written)
VALUES ($1, $2, 'expired', $4, $5, now(), $3, now(), $1, now(), now(), now(), 'expired', 1, 0, 0)
"""
_IN_IT = "INSERT INTO release_person (clinic_id, release_id, patient_id) VALUES ($1, $2, $3)"


def release_example() -> dict[str, Any]:
    found: dict[str, Any] = ReleaseAnswer.model_config["json_schema_extra"]["example"]  # type: ignore[index,assignment]
    return found


async def _furnish_patient(estate: Estate, things: dict[str, str]) -> None:
    name, shared = estate.name, estate.things
    number = 1 if things is estate.things else 2
    things |= {kind: shared[kind] for kind in SHARED}
    patient = (await _send(estate, "POST", "/v1/patients", {"external_ref": f"{name}-chart-{number}"}))["id"]
    await _send(estate, "PATCH", f"/v1/patients/{patient}", {"reason": name, "time_zone": "Europe/Lisbon"})
    episode = (await _send(estate, "POST", f"/v1/patients/{patient}/episodes", EPISODE | {"label": name}))["id"]
    await _send(estate, "PUT", f"/v1/episodes/{episode}/schedule", SCHEDULE)
    session = (await _send(estate, "POST", f"/v1/episodes/{episode}/treatment-sessions", SESSION))["id"]
    made = {
        "patient": patient,
        "episode": episode,
        "session": session,
        "observation": f"/v1/treatment-sessions/{session}/observations",
        "adverse_event": f"/v1/treatment-sessions/{session}/adverse-events",
        "screen": f"/v1/episodes/{episode}/suitability-screens",
        "link": f"/v1/patients/{patient}/check-in-links",
        "enrolment": f"/v1/patients/{patient}/enrolments",
        "token": "/v1/tokens",
    }
    bodies = {
        "observation": OBSERVATION,
        "adverse_event": ADVERSE_EVENT | {"note": name},
        "screen": SCREEN | {"checklist_id": shared["checklist"], "decided_by": f"Dr. {name}"},
        "link": {},
        "enrolment": {},
        "token": {"label": name, "role": "patient", "patient_id": patient},
    }
    for kind, body in bodies.items():
        answer = await _send(estate, "POST", made[kind], body)
        made[kind] = answer["id"]
        if kind in {"link", "enrolment"}:
            made["link_token" if kind == "link" else "code_token"] = answer["token"]
    consent = await _send(estate, "PUT", f"/v1/patients/{patient}/consents", CONSENT | {"document": f"{name} scan"})
    made["consent"] = consent["id"]
    made["past_release"] = await release_long_ago(estate, patient)
    made |= await _fill_forms(estate, patient)
    things |= made


async def _hide_patients(estate: Estate) -> None:
    """Two more, restricted to nobody: one stays hidden from the clinician, the other is opened in an emergency."""
    made = []
    for number in (3, 4):
        reference = {"external_ref": f"{estate.name}-chart-{number}"}
        made.append((await _send(estate, "POST", "/v1/patients", reference))["id"])
        team = {"restricted": True, "members": [], "reason": estate.name}
        await _send(estate, "PUT", f"/v1/patients/{made[-1]}/care-team", team, {"If-Match": '"1"'})
    hidden, opened = made
    why = {"reason": f"{estate.name}: on call tonight", "hours": 2}
    answer = await estate.http[Role.CLINICIAN].post(f"/v1/patients/{opened}/emergency-access", json=why)
    assert answer.status_code == 201, answer.text
    for things in (estate.things, estate.others):
        things |= {"restricted": hidden, "emergency_access": answer.json()["id"]}


async def _fill_forms(estate: Estate, patient: str) -> dict[str, str]:
    form = {"patient_id": patient, "instrument": "phq-9"}
    first = await _send(estate, "POST", "/v1/assessments", form | {"responses": BETTER, "taken_at": ago(days=9)})
    correction = {"reason": estate.name, "responses": [*BETTER[:-2], 2, 0]}
    await _send(estate, "POST", f"/v1/assessments/{first['id']}/amendments", correction)
    last = await _send(estate, "POST", "/v1/assessments", form | {"responses": WORRYING, "taken_at": ago(hours=20)})
    (alert, *_) = (await _get(estate, f"/v1/alerts?patient_id={patient}&kind=critical_item"))["data"]
    due = (await _get(estate, f"/v1/patients/{patient}/due?status=due"))["data"]
    (expected,) = [one["id"] for one in due if one["instrument"].startswith("pcl-5-week")]
    deliveries = (await _get(estate, f"/v1/webhooks/{estate.things['webhook']}/deliveries"))["data"]
    (notification, *_) = [one["notification_id"] for one in deliveries if one["patient_id"] == patient]
    async with estate.database.connection(estate.clinic_id) as connection:  # as after the last failed attempt
        await connection.execute("UPDATE delivery SET status = 'dead' WHERE clinic_id = $1", estate.clinic_id)
    return {
        "assessment": first["id"],
        "last_assessment": last["id"],
        "alert": alert["id"],
        "expected": expected,
        "notification": notification,
    }


async def _send(
    estate: Estate, method: str, address: str, body: dict[str, Any] | None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    if headers is None:
        headers = {} if method == "PUT" else {"If-Match": '"1"'}
    answer = await estate.http[Role.ADMIN].request(method, address, json=body, headers=headers)
    assert answer.is_success, (method, address, answer.text)
    made: dict[str, Any] = answer.json()
    return made


async def _get(estate: Estate, address: str) -> dict[str, Any]:
    answer = await estate.http[Role.ADMIN].get(address)
    assert answer.status_code == 200, (address, answer.text)
    found: dict[str, Any] = answer.json()
    return found
