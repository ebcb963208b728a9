"""Whatever is done to a record, in whatever order: rows and answers are those of a small model of it."""

import asyncio
import os
import random
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.auth import Role
from app.embedded_postgres import PostgresAddress
from app.main import create_app
from app.scoring.schedule import ZoneFrom
from app.services import clinics
from app.settings import Settings
from tests.api.schedules import DAY_AFTER, WEEKLY
from tests.conftest import Api, client
from tests.services.record_checks import RecordChecks
from tests.services.record_model import (
    INSTRUMENTS,
    EpisodeModel,
    FormModel,
    PatientModel,
    SessionModel,
)

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "16"))  # `make soak` may ask for more
STEPS = 24  # of each
ZONE = "Europe/Berlin"
FROM_OPENING: dict[str, Any] = {
    "code": "from-opening",
    "instrument": "phq-9",
    "anchor": "episode",
    "after": {"days": 3},
    "window": {"opens_hours": -24, "overdue_hours": 12, "closes_hours": 48},
    "repeat": {"every_days": 5, "times": 8},
    "at": "10:00",
}
SCHEDULES: tuple[list[dict[str, Any]], ...] = (
    [DAY_AFTER, WEEKLY],
    [FROM_OPENING],
    [WEEKLY, FROM_OPENING],
    [DAY_AFTER],
    [],
)
DONE: dict[str, Any] = {"status": "done", "medicine": "ketamine_racemic", "route": "intravenous", "dose_mg": 35}
HOUR = timedelta(hours=1)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
OFFSETS = tuple(timezone(hours * HOUR) for hours in (0, 2, -7))  # of the senders' clocks

T = TypeVar("T")


@dataclass
class World:
    """The application, and the loop it lives in."""

    runner: asyncio.Runner
    app: FastAPI

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(what)


@pytest.fixture
def world(address: PostgresAddress, settings: Settings) -> Iterator[World]:
    with asyncio.Runner() as runner:
        app = create_app(settings, address.runtime_url)
        lifespan = app.router.lifespan_context(app)
        runner.run(lifespan.__aenter__())
        try:
            yield World(runner, app)
        finally:
            runner.run(lifespan.__aexit__(None, None, None))


def test_the_record_is_what_the_model_says(world: World) -> None:
    """After each step: forms, courses, alerts, standings and expected check-ins; and the story of before stays told."""
    bounded = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    RecordMachine.world = world
    run_state_machine_as_test(RecordMachine, settings=bounded)


@dataclass
class Queued:
    """A form on a phone without a connection."""

    patient: PatientModel
    body: dict[str, Any]
    key: str | None
    taken_at: datetime


@dataclass
class Phone:
    """Its clock is wrong by the same amount all the time."""

    skew: timedelta = timedelta(0)
    queue: list[Queued] = field(default_factory=list)


answers = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9))  # of most items, of item 9, how many empty
hours_ago = st.one_of(st.integers(0, 24 * 40), st.sampled_from([1, 24, 48, 24 * 10]))  # the same ones now and then
skews = st.sampled_from([None, 0, 3, -3, 133, -47, -150 * 24 * 60])  # minutes
which = st.integers(0, 30)


def filled(instrument: str, found: tuple[int, int, int]) -> list[int | None]:
    level, item_9, empty = found
    responses: list[int | None] = [level] * (9 if instrument == "phq-9" else 20)
    responses[8] = item_9
    responses[: empty // 3] = [None] * (empty // 3)
    return responses if empty < 9 else [*responses[:8], None, *responses[9:]]


class RecordMachine(RuleBasedStateMachine):
    world: ClassVar[World]  # there is one server; each machine has a clinic of its own

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.patients: list[PatientModel] = []
        self.touched: dict[str, tuple[datetime, datetime]] = {}  # between which times a record was written last
        self.phone = Phone()

    # --- To begin with ------------------------------------------------------------------------------------------------

    @initialize(
        skew=st.sampled_from([0, 133, -150 * 24 * 60]),
        seed=st.integers(0, 1_000),
        entries=st.sampled_from(SCHEDULES),
        days=st.integers(5, 30),
    )
    def open_clinic(self, skew: int, seed: int, entries: list[dict[str, Any]], days: int) -> None:
        """One of the patients is in treatment, or most runs would end before there is anything to move."""
        self.phone.skew = timedelta(minutes=skew)
        self.draw = random.Random(seed)  # noqa: S311  # the same ids in every run of one example; no secret
        self.api = self.world.run(self._open_clinic())
        self.checks = RecordChecks(self.api, self.world.app.state.database)
        self._open_episode(self.patients[0], days)
        self._put_schedule(*self.pick_episode(0), entries)
        self._add_dose(*self.pick_episode(0), 24, held=False)

    async def _open_clinic(self) -> Api:
        database = self.world.app.state.database
        clinic = await clinics.record_clinic(database, "Machine", ZONE)
        api = await client(self.world.app, database, clinic, Role.CLINICIAN)
        self.patients = [PatientModel(await api.add_patient(), ZONE) for _ in range(2)]
        return api

    def teardown(self) -> None:
        if self.patients:
            self.touched = {patient.id: self.touched.get(patient.id, (self.now, self.now)) for patient in self.patients}
            self.world.run(self.checks.check_the_story_of_before())
            self.world.run(self.api.http.aclose())

    # --- Talking to the service ---------------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: Any, **headers: str) -> httpx2.Response:
        return self.world.run(self.api.http.request(method, path, json=body, headers=headers))

    def write(self, patient: PatientModel, method: str, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """One that must succeed."""
        begun = datetime.now(UTC)
        answer = self.send(method, path, body, **headers)
        assert answer.status_code in (200, 201), answer.text
        self.touched[patient.id] = begun, datetime.now(UTC)
        found: dict[str, Any] = answer.json()
        return found

    def form(self, patient: PatientModel, instrument: str, found: tuple[int, int, int], taken_at: datetime) -> Any:
        responses = filled(instrument, found)
        shown = taken_at.astimezone(OFFSETS[len(patient.forms) % len(OFFSETS)]).isoformat()
        body = {"patient_id": patient.id, "instrument": instrument, "responses": responses, "taken_at": shown}
        return body | {"id": self.new_id()}

    def new_id(self) -> str:
        """A client's; the same in the next run of the same example, because ids decide between equal times."""
        return str(UUID(int=self.draw.getrandbits(128), version=4))

    def keep(self, patient: PatientModel, body: dict[str, Any], key: str | None, id_: str, taken_at: datetime) -> None:
        patient.forms[id_] = FormModel(id_, body["instrument"], body["responses"], taken_at, body, key)

    # --- Forms --------------------------------------------------------------------------------------------------------

    @rule(
        patient=which,
        instrument=st.sampled_from(INSTRUMENTS),
        found=answers,
        ago=hours_ago,
        skew=skews,
        how=st.sampled_from(["id", "key", "both"]),
    )
    def submit(
        self, patient: int, instrument: str, found: tuple[int, int, int], ago: int, skew: int | None, how: str
    ) -> None:
        """By whatever clock: it is stored at the time it was filled in, or as told within five minutes."""
        mine = self.pick(patient)
        wrong = timedelta(minutes=skew or 0)
        taken_at = self.now - ago * HOUR
        body = self.form(mine, instrument, found, taken_at + wrong)
        if how == "key":
            del body["id"]
        headers = {} if skew is None else {"Device-Time": (datetime.now(UTC) + wrong).isoformat()}
        key = None if how == "id" else f"key-{self.new_id()}"
        answer = self.write(mine, "POST", "/v1/assessments", body, **headers | keyed(key))
        believed = abs(wrong) <= timedelta(minutes=5)
        self.keep(mine, body, key, answer["id"], taken_at + wrong if believed else taken_at)
        assert (answer["version"], answer["arrival"]["device_skew_seconds"] is None) == (1, skew is None)

    @precondition(lambda self: any(patient.forms for patient in self.patients))
    @rule(patient=which, form=which, batch=st.booleans())
    def replay(self, patient: int, form: int, batch: bool) -> None:
        """The first answer, whatever became of the form, and nothing is written."""
        known = self.pick_form(patient, form)
        if batch and "id" in known.sent:
            (one,) = self.send("POST", "/v1/assessments/batch", {"assessments": [known.sent]}).json()["outcomes"]
            assert (one["status"], one["replayed"]) == (201, True)
            told = one["assessment"]
        else:
            answer = self.send("POST", "/v1/assessments", known.sent, **keyed(known.key))
            assert (answer.status_code, answer.headers["idempotency-replayed"]) == (201, "true")
            told = answer.json()
        assert (told["id"], told["version"], told["responses"]) == (known.id, 1, known.sent["responses"])

    @precondition(lambda self: any(patient.forms for patient in self.patients))
    @rule(patient=which, form=which, batch=st.booleans())
    def replay_with_other_content(self, patient: int, form: int, batch: bool) -> None:
        known = self.pick_form(patient, form)
        other = known.sent | {"language": "de"}
        if batch and "id" in other:
            (one,) = self.send("POST", "/v1/assessments/batch", {"assessments": [other]}).json()["outcomes"]
            assert (one["status"], one["problem"]["type"]) == (422, "/problems/key-reused")
        else:
            answer = self.send("POST", "/v1/assessments", other, **keyed(known.key))
            assert (answer.status_code, answer.json()["type"]) == (422, "/problems/key-reused")

    @rule(patients=st.lists(st.tuples(which, st.sampled_from(INSTRUMENTS), answers, hours_ago), min_size=1, max_size=5))
    def batch(self, patients: list[tuple[int, str, tuple[int, int, int], int]]) -> None:
        """Every row twice, and one that nobody can read, which harms no other."""
        rows, begun = [], datetime.now(UTC)
        for patient, instrument, found, ago in patients:
            mine, taken_at = self.pick(patient), self.now - ago * HOUR
            rows.append((mine, self.form(mine, instrument, found, taken_at), taken_at))
        sent = [*(body for _, body, _ in rows), {"instrument": "phq-9"}, *(body for _, body, _ in rows)]
        answer = self.send("POST", "/v1/assessments/batch", {"assessments": sent})
        outcomes = [(one["status"], one["replayed"]) for one in answer.json()["outcomes"]]
        assert outcomes == [*[(201, False)] * len(rows), (422, False), *[(201, True)] * len(rows)]
        for mine, body, taken_at in rows:
            self.touched[mine.id] = begun, datetime.now(UTC)
            self.keep(mine, body, None, body["id"], taken_at)

    @precondition(lambda self: any(patient.forms for patient in self.patients))
    @rule(patient=which, form=which, found=st.none() | answers, ago=st.none() | hours_ago, void=st.booleans())
    def correct(self, patient: int, form: int, found: tuple[int, int, int] | None, ago: int | None, void: bool) -> None:
        """A stale tag changes nothing; what is void stays so."""
        mine, known = self.pick(patient, with_forms=True), self.pick_form(patient, form)
        change: dict[str, Any] = {"reason": "a slip"}
        if not void:
            change |= {"responses": filled(known.instrument, found or (1, 0, 0))}
            change |= {} if ago is None else {"taken_at": (self.now - ago * HOUR).isoformat()}
        path = f"/v1/assessments/{known.id}/{'void' if void else 'amendments'}"
        stale = self.send("POST", path, change, **{"If-Match": f'"{known.version + 1}"'})
        assert stale.status_code == 412, stale.text
        if known.is_void:
            assert self.send("POST", path, change, **{"If-Match": f'"{known.version}"'}).status_code == 409
            return
        answer = self.write(mine, "POST", path, change, **{"If-Match": f'"{known.version}"'})
        known.version, known.is_void = known.version + 1, void
        known.responses = change.get("responses", known.responses)
        known.taken_at = self.now - ago * HOUR if "taken_at" in change and ago is not None else known.taken_at
        assert (answer["version"], answer["status"]) == (known.version, known.status)

    # --- A phone without a connection ---------------------------------------------------------------------------------

    @rule(patient=which, instrument=st.sampled_from(INSTRUMENTS), found=answers, ago=hours_ago, by_key=st.booleans())
    def fill_in_offline(
        self, patient: int, instrument: str, found: tuple[int, int, int], ago: int, by_key: bool
    ) -> None:
        mine, taken_at = self.pick(patient), self.now - ago * HOUR
        body = self.form(mine, instrument, found, taken_at + self.phone.skew)
        self.phone.queue.append(Queued(mine, body, f"key-{self.new_id()}" if by_key else None, taken_at))

    @precondition(lambda self: self.phone.queue)
    @rule(seed=st.integers(0, 1_000))
    def come_back(self, seed: int) -> None:
        """Everything twice, in any order, singles and batches at once."""
        begun, queue = datetime.now(UTC), self.phone.queue
        draw = random.Random(seed)  # noqa: S311  # same
        self.phone.queue = []
        told = self.world.run(self._send_all(draw, queue))
        for one in queue:
            mine = [(status, replayed) for id_, status, replayed in told if id_ == one.body["id"]]
            assert sorted(mine) == [(201, False), (201, True)]
            self.touched[one.patient.id] = begun, datetime.now(UTC)
            self.keep(one.patient, one.body, one.key, one.body["id"], one.taken_at)

    async def _send_all(self, draw: random.Random, queue: list[Queued]) -> list[tuple[str, int, bool]]:
        waiting = queue * 2
        draw.shuffle(waiting)
        batched = draw.randrange(len(waiting) + 1)
        headers = {"Device-Time": (datetime.now(UTC) + self.phone.skew).isoformat()}
        calls = [self._send_batch(waiting[:batched], headers)] if batched else []
        calls += [self._send_single(one, headers) for one in waiting[batched:]]
        return [one for outcomes in await asyncio.gather(*calls) for one in outcomes]

    async def _send_batch(self, rows: list[Queued], headers: dict[str, str]) -> list[tuple[str, int, bool]]:
        body = {"assessments": [row.body for row in rows]}
        answer = await self.api.http.post("/v1/assessments/batch", json=body, headers=headers)
        outcomes = answer.json()["outcomes"]
        return [(row.body["id"], one["status"], one["replayed"]) for row, one in zip(rows, outcomes, strict=True)]

    async def _send_single(self, one: Queued, headers: dict[str, str]) -> list[tuple[str, int, bool]]:
        answer = await self.api.http.post("/v1/assessments", json=one.body, headers=headers | keyed(one.key))
        return [(one.body["id"], answer.status_code, "idempotency-replayed" in answer.headers)]

    # --- Treatment ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: sum(len(patient.episodes) for patient in self.patients) < 4)
    @rule(patient=which, days=st.integers(1, 40))
    def open_episode(self, patient: int, days: int) -> None:
        self._open_episode(self.pick(patient), days)

    def _open_episode(self, mine: PatientModel, days: int) -> None:
        opened_at = self.now - timedelta(days=days)
        body = {"modality": "ketamine_assisted_psychotherapy", "opened_at": opened_at.isoformat()}
        made = self.write(mine, "POST", f"/v1/patients/{mine.id}/episodes", body)
        mine.episodes[made["id"]] = EpisodeModel(made["id"], opened_at)

    @precondition(lambda self: self.episodes)
    @rule(episode=which, ago=st.integers(0, 24 * 20))
    def close_or_open_again(self, episode: int, ago: int) -> None:
        mine, this = self.pick_episode(episode)
        closed_at = self.now - ago * HOUR if this.closed_at is None else None
        latest = max((one.at for one in this.sessions.values() if one.counts), default=this.opened_at)
        if closed_at is not None and closed_at < latest:
            return
        change = {"closed_at": closed_at and closed_at.isoformat(), "reason": "as it was"}
        self.write(mine, "PATCH", f"/v1/episodes/{this.id}", change, **{"If-Match": f'"{this.version}"'})
        this.closed_at, this.version = closed_at, this.version + 1

    @precondition(lambda self: self.episodes)
    @rule(episode=which, entries=st.sampled_from(SCHEDULES))
    def put_schedule(self, episode: int, entries: list[dict[str, Any]]) -> None:
        self._put_schedule(*self.pick_episode(episode), entries)

    def _put_schedule(self, mine: PatientModel, this: EpisodeModel, entries: list[dict[str, Any]]) -> None:
        headers = {"If-Match": f'"{this.schedule_version}"'} if this.schedule_version else {}
        body = {"entries": entries, "reason": "another plan"}
        self.write(mine, "PUT", f"/v1/episodes/{this.id}/schedule", body, **headers)
        this.schedule, this.schedule_version = entries, this.schedule_version + 1

    @precondition(lambda self: self.episodes)
    @rule(episode=which, after=st.integers(0, 24 * 60), held=st.booleans())
    def add_dose(self, episode: int, after: int, held: bool) -> None:
        self._add_dose(*self.pick_episode(episode), after, held=held)

    def _add_dose(self, mine: PatientModel, this: EpisodeModel, after: int, *, held: bool) -> None:
        at = min(this.opened_at + after * HOUR, this.closed_at or LATEST)
        body: dict[str, Any] = {"kind": "dosing", "scheduled_at": at.isoformat()}
        held = held and at <= self.now
        body |= DONE | {"started_at": at.isoformat()} if held else {}
        made = self.write(mine, "POST", f"/v1/episodes/{this.id}/treatment-sessions", body)
        this.sessions[made["id"]] = SessionModel(made["id"], at, at if held else None, "done" if held else "planned")

    @precondition(lambda self: any(episode.sessions for _, episode in self.episodes))
    @rule(
        episode=which,
        session=which,
        what=st.sampled_from(["cancel", "do", "move", "cancel", "mark"]),
        after=st.integers(0, 900),
    )
    def change_dose(self, episode: int, session: int, what: str, after: int) -> None:
        mine, this = self.pick_episode(episode, with_sessions=True)
        ahead = [one for one in this.sessions.values() if one.counts and one.status == "planned"]
        candidates = ahead if ahead and what != "mark" else list(this.sessions.values())
        one = candidates[session % len(candidates)]
        at = min(this.opened_at + after * HOUR, this.closed_at or LATEST)
        change: dict[str, Any] = {}
        if what == "mark":
            change, one.in_error = {"entered_in_error": True}, True
        elif one.in_error or one.status == "cancelled":
            return
        elif what == "cancel" and one.status == "planned":
            change, one.status = {"status": "cancelled"}, "cancelled"
        elif what == "move" and one.status == "planned":
            change, one.scheduled_at = {"scheduled_at": at.isoformat()}, at
        elif what in ("do", "move") and at <= self.now:
            change, one.status, one.started_at = DONE | {"started_at": at.isoformat()}, "done", at
        else:
            return
        path, tag = f"/v1/treatment-sessions/{one.id}", {"If-Match": f'"{one.version}"'}
        self.write(mine, "PATCH", path, change | {"reason": "as it was"}, **tag)
        one.version += 1

    @rule(patient=which, zone=st.sampled_from(["America/Denver", "Asia/Kolkata", ZONE]), ago=st.integers(-400, 900))
    def travel(self, patient: int, zone: str, ago: int) -> None:
        mine, begins = self.pick(patient), self.now - ago * HOUR
        change = {"time_zone": zone, "time_zone_from": begins.isoformat(), "reason": "travels"}
        self.write(mine, "PATCH", f"/v1/patients/{mine.id}", change, **{"If-Match": f'"{len(mine.zones) + 1}"'})
        mine.zones.append(ZoneFrom(begins, zone))

    # --- Which one ----------------------------------------------------------------------------------------------------

    def pick(self, number: int, *, with_forms: bool = False) -> PatientModel:
        candidates = [patient for patient in self.patients if patient.forms or not with_forms]
        return candidates[number % len(candidates)]

    def pick_form(self, patient: int, number: int) -> FormModel:
        forms = list(self.pick(patient, with_forms=True).forms.values())
        return forms[number % len(forms)]

    @property
    def episodes(self) -> list[tuple[PatientModel, EpisodeModel]]:
        return [(patient, episode) for patient in self.patients for episode in patient.episodes.values()]

    def pick_episode(self, number: int, *, with_sessions: bool = False) -> tuple[PatientModel, EpisodeModel]:
        candidates = [(patient, one) for patient, one in self.episodes if one.sessions or not with_sessions]
        return candidates[number % len(candidates)]

    # --- What must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def rows_and_answers_are_those_of_the_model(self) -> None:
        for patient in self.patients:
            if between := self.touched.pop(patient.id, None):
                self.world.run(self.checks.check(patient, *between))


def keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}
