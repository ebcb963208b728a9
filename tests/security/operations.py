"""Every operation of the document with a sound request: an operation without one fails the test that asks for it."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
from fastapi.routing import APIRoute

from app.auth import Role
from app.main import create_app
from app.settings import Settings
from tests.security.estate import (
    ADVERSE_EVENT,
    BETTER,
    CHECKLIST,
    CONSENT,
    EPISODE,
    OBSERVATION,
    RELEASE,
    SCHEDULE,
    SCREEN,
    SESSION,
    THRESHOLD,
    WEBHOOK,
    Estate,
    ago,
)

# Never started: only its routes and its document are read.
_APP: Final = create_app(Settings(data_dir=Path("unused")), "postgresql://nobody@localhost:1/none")
DOCUMENT: Final = _APP.openapi()
PAGES: Final = [route.path for route in _APP.routes if isinstance(route, APIRoute) and not route.include_in_schema]
FORM: Final[dict[str, Any]] = {"instrument": "phq-9", "responses": BETTER, "taken_at": ago(days=1), "language": "en"}

# What a parameter of a path names.
NAMED: Final = {
    "patient_id": "patient",
    "assessment_id": "assessment",
    "episode_id": "episode",
    "treatment_session_id": "session",
    "observation_id": "observation",
    "adverse_event_id": "adverse_event",
    "alert_id": "alert",
    "checklist_id": "checklist",
    "screen_id": "screen",
    "threshold_id": "threshold",
    "webhook_id": "webhook",
    "notification_id": "notification",
    "link_id": "link",
    "token_id": "token",
    "enrolment_id": "enrolment",
    "principal_id": "principal",
    "access_id": "emergency_access",
    "consent_id": "consent",
    "erasure_id": "erasure",
    "release_id": "release",
}


@dataclass(frozen=True)
class Thing:
    """Stands for the id of a thing in a body or a query."""

    kind: str


@dataclass(frozen=True)
class Sound:
    """A request that succeeds as long as the things it names are the caller's."""

    body: Any = None
    query: dict[str, Any] = field(default_factory=dict)
    reference: str = ""  # of an instrument or a protocol
    named: dict[str, str] = field(default_factory=dict)  # parameters of the path that name something unusual


_PATIENT: Final = Thing("patient")
_COURSE: Final = {"instrument": "phq-9", "episode_id": Thing("episode")}
_TRAJECTORY: Final = _COURSE | {"baseline": Thing("assessment")}
_WHY: Final = {"reason": "a slip"}

# In the order in which one clinic can do them all: what ends a thing stands behind what needs it.
SOUND: Final[dict[str, Sound]] = {
    "livez": Sound(),
    "readyz": Sound(),
    "get_metrics": Sound(),
    # Reads
    "list_assessments": Sound(query={"patient_id": _PATIENT}),
    "get_assessment": Sound(),
    "list_assessment_versions": Sound(),
    "get_trajectory": Sound(query=_TRAJECTORY),
    "get_trajectory_picture": Sound(query=_TRAJECTORY),
    "get_comparison": Sound(query=_COURSE),
    "get_cohort_outcomes": Sound(query={"instrument": "phq-9"}),
    "get_cohort_picture": Sound(query={"instrument": "phq-9", "picture": "mean"}),
    "list_caseload": Sound(query={"patient_id": _PATIENT}),
    "list_patients": Sound(),
    "get_patient": Sound(),
    "list_patient_versions": Sound(),
    "get_clinic": Sound(),
    "list_clinic_versions": Sound(),
    "list_instruments": Sound(),
    "get_instrument_by_reference": Sound(reference="phq-9"),
    "list_episodes": Sound(),
    "get_episode": Sound(),
    "list_episode_versions": Sound(),
    "list_protocols": Sound(),
    "get_protocol": Sound(reference="kap-standard"),
    "get_schedule": Sound(),
    "list_schedule_versions": Sound(),
    "list_due_of_patient": Sound(),
    "list_due": Sound(query={"patient_id": _PATIENT}),
    "list_treatment_sessions": Sound(),
    "get_treatment_session": Sound(),
    "list_treatment_session_versions": Sound(),
    "list_observations": Sound(),
    "get_observation": Sound(),
    "list_observation_versions": Sound(),
    "list_adverse_events": Sound(),
    "get_adverse_event": Sound(),
    "list_adverse_event_versions": Sound(),
    "list_alerts": Sound(query={"patient_id": _PATIENT}),
    "get_alert_latency": Sound(),
    "list_audit_events": Sound(query={"patient_id": _PATIENT}),
    "list_accesses": Sound(),
    "list_consents": Sound(),
    "list_consent_versions": Sound(),
    "get_part_two": Sound(),
    "list_part_two_versions": Sound(),
    "get_everything": Sound(),
    "list_erasures": Sound(query={"patient_id": _PATIENT}),
    "get_erasure": Sound(),
    "get_alert": Sound(),
    "list_suitability_checklists": Sound(),
    "get_suitability_checklist": Sound(),
    "list_suitability_checklist_versions": Sound(),
    "list_suitability_screens": Sound(),
    "get_suitability_screen": Sound(),
    "list_thresholds": Sound(),
    "get_threshold": Sound(),
    "list_threshold_versions": Sound(),
    "list_releases": Sound(),
    "get_release": Sound(),
    "download_release_file": Sound(reference="assessments.csv", named={"release_id": "ready_release"}),
    "list_webhooks": Sound(),
    "get_webhook": Sound(),
    "list_webhook_deliveries": Sound(),
    "list_check_in_links": Sound(),
    "get_check_in_link": Sound(),
    "get_care_team": Sound(),
    "list_care_team_versions": Sound(),
    "list_emergency_accesses": Sound(),
    "get_emergency_access": Sound(),
    "get_check_in": Sound(),
    "list_tokens": Sound(),
    "list_enrolments": Sound(),
    "get_enrolment": Sound(),
    "get_principal": Sound(),
    "get_token": Sound(),
    # Writes
    "score_without_storing": Sound({"responses": BETTER}, reference="phq-9"),
    "create_patient": Sound({"external_ref": "chart-9"}),
    "put_consent": Sound(_WHY | CONSENT),
    "withdraw_consent": Sound({"withdrawn_at": ago(minutes=1)}),
    "put_part_two": Sound(_WHY | {"applies": True}),
    "amend_patient": Sound(_WHY | {"time_zone": "America/Denver", "time_zone_from": ago(days=1)}),
    "amend_clinic_rules": Sound(
        _WHY | {"amend_window_hours": 48, "safety_text": "Call 555-0111.", "quiet_from": "22:00"}
    ),
    "answer_check_in": Sound(
        {
            "id": "019a9c20-0000-7000-8000-000000000001",
            "expected_id": Thing("expected"),
            "responses": [1] * 20,
            "taken_at": ago(minutes=1),
            "language": "en",
        }
    ),
    "submit_assessment": Sound(FORM | {"patient_id": _PATIENT, "mode": "self"}),
    "submit_batch": Sound({"assessments": [FORM | {"patient_id": _PATIENT, "taken_at": ago(days=2)}]}),
    "amend_assessment": Sound(_WHY | {"responses": BETTER}),
    "void_assessment": Sound(_WHY),
    "open_episode": Sound(EPISODE),
    "amend_episode": Sound(_WHY | {"label": "Second course"}),
    "put_schedule": Sound(_WHY | SCHEDULE | {"entries": SCHEDULE["entries"][1:]}),
    "create_treatment_session": Sound(SESSION),
    "amend_treatment_session": Sound(_WHY | {"dose_mg": 40, "concomitant_medicines": ["naltrexone"]}),
    "create_observation": Sound(OBSERVATION),
    "amend_observation": Sound(_WHY | {"systolic": 148, "dissociation": {"scale": "cadss", "score": 30}}),
    "create_adverse_event": Sound(ADVERSE_EVENT),
    "amend_adverse_event": Sound(_WHY | {"note": "seen at discharge", "term": "headache"}),
    "acknowledge_alert": Sound({"note": "calling at noon"}),
    "resolve_alert": Sound({"action": "contacted_patient", "note": "plan renewed"}),
    "create_suitability_checklist": Sound(CHECKLIST),
    "create_suitability_screen": Sound(SCREEN | {"checklist_id": Thing("checklist")}),
    "amend_suitability_checklist": Sound(
        _WHY | {"title": "Before the first dose", "questions": CHECKLIST["questions"]}
    ),
    "create_threshold": Sound(THRESHOLD | {"code": "reliable_change_9_ours"}),
    "retire_threshold": Sound(_WHY),
    "request_release": Sound(RELEASE),
    "decide_release": Sound({"decision": "approved", "note": "agreement seen"}),
    "revoke_release": Sound(named={"release_id": "ready_release"}),
    "create_webhook": Sound(WEBHOOK),
    "rotate_webhook_secret": Sound(),
    "disable_webhook": Sound(),
    "enable_webhook": Sound(),
    "retry_webhook_delivery": Sound(),
    "create_check_in_link": Sound({"expires_in_hours": 24, "tries": 5}),
    "revoke_check_in_link": Sound(),
    "create_token": Sound({"label": "her own", "role": "patient", "patient_id": _PATIENT, "expires_in_days": 30}),
    "revoke_token": Sound(),
    "create_enrolment": Sound({"expires_in_hours": 24, "tries": 5}),
    "redeem_enrolment": Sound(),
    "refresh_token": Sound(),
    "log_out": Sound(),
    "revoke_enrolment": Sound(),
    "put_care_team": Sound(_WHY | {"restricted": False, "members": []}),
    "open_emergency_access": Sound(
        {"reason": "found unconscious at home", "hours": 1}, named={"patient_id": "restricted"}
    ),
    "end_emergency_access": Sound(),
    "erase_patient": Sound(query={"ground": "patient_request"}),
}


@dataclass(frozen=True)
class Slot:
    """A place of a request that names a thing."""

    place: str  # path, query or body
    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.place}.{self.name}"


@dataclass(frozen=True)
class Operation:
    """One method of one path, with its entry in the document."""

    method: str
    path: str
    entry: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.entry["operationId"])

    @property
    def sound(self) -> Sound:
        return SOUND[self.id]

    @property
    def roles(self) -> frozenset[str]:
        """Who may, by the table of roles; a test elsewhere holds the document to it."""
        return frozenset(self.entry.get("x-roles", ()))

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def has_body(self) -> bool:
        return "requestBody" in self.entry

    def parameters(self, place: str) -> list[str]:
        return [one["name"] for one in self.entry.get("parameters", ()) if one["in"] == place]

    def kind_of(self, parameter: str) -> str:
        return self.sound.named.get(parameter, NAMED[parameter])

    def slots(self) -> list[Slot]:
        """Where this operation names things."""
        paths = [Slot("path", name, self.kind_of(name)) for name in self.parameters("path") if name in NAMED]
        queries = [Slot("query", name, at.kind) for name, at in self.sound.query.items() if isinstance(at, Thing)]
        return paths + queries + [Slot("body", "", kind) for kind in sorted(set(_kinds(self.sound.body)))]

    def request(self, things: Mapping[str, str], swap: Slot | None = None, by: str = "") -> dict[str, Any]:
        """What to send about these things, with one of them swapped for another."""

        def named(place: str, name: str, kind: str) -> str:
            is_swapped = swap is not None and (swap.place, swap.kind) == (place, kind) and swap.name in {name, ""}
            return by if is_swapped else things[kind]

        path = self.path.replace("{reference}", self.sound.reference).replace("{name}", self.sound.reference)
        for name in self.parameters("path"):
            if name in NAMED:
                path = path.replace("{" + name + "}", named("path", name, self.kind_of(name)))
        query = {
            name: named("query", name, at.kind) if isinstance(at, Thing) else at
            for name, at in self.sound.query.items()
        }
        asked: dict[str, Any] = {"method": self.method, "url": path, "params": query}
        if self.has_body:
            asked["json"] = _filled(self.sound.body, lambda kind: named("body", "", kind))
        if "If-Match" in self.parameters("header"):
            asked["headers"] = {"If-Match": '"1"'}
        return asked


OPERATIONS: Final = [
    Operation(method.upper(), path, entry) for path, item in DOCUMENT["paths"].items() for method, entry in item.items()
]
BY_ID: Final = {operation.id: operation for operation in OPERATIONS}
IN_ORDER: Final = sorted(OPERATIONS, key=lambda operation: [*SOUND, operation.id].index(operation.id))
WRITES: Final = [operation for operation in IN_ORDER if operation.has_body]


async def tag_of(http: httpx2.AsyncClient, address: str) -> str:
    """The ETag of what an address changes: itself, or what it is a step of."""
    while address.count("/") > 1:
        answer = await http.get(address)
        if "etag" in answer.headers:
            return str(answer.headers["etag"])
        address = address.rpartition("/")[0]
    return '"1"'


def _kinds(value: Any) -> list[str]:
    if isinstance(value, Thing):
        return [value.kind]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [kind for one in inner for kind in _kinds(one)]


def _filled(value: Any, named: Any) -> Any:
    if isinstance(value, Thing):
        return named(value.kind)
    if isinstance(value, dict):
        return {key: _filled(one, named) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, named) for one in value]
    return deepcopy(value)


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a body, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in leaves_of(one, (*path, key)))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def put_at(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """A copy with one place replaced."""
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put_at(copy[path[0]], path[1:], by)
    return copy


def texts_of(value: Any) -> set[str]:
    """Every text in a JSON value."""
    if isinstance(value, (dict, list)):
        return {text for one in (value.values() if isinstance(value, dict) else value) for text in texts_of(one)}
    return {value} if isinstance(value, str) else set()


async def walk(estate: Estate) -> None:
    """Every operation once, in the name of somebody who may: all succeed."""
    for operation in IN_ORDER:
        asked = operation.request(estate.things)
        if "headers" in asked:
            asked["headers"] = {"If-Match": await tag_of(estate.http[Role.ADMIN], asked["url"])}
        answer = await estate.http[min(operation.roles, default="anonymous")].request(**asked)
        assert answer.is_success, (operation.id, answer.text)
