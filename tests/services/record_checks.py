"""What must hold of a stored record, each promise by itself: it is held against the model of it."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.db import Database
from app.scoring.episode import episode_at
from app.scoring.timeline import in_time_order
from app.scoring.treatment import Baseline, usual_baseline
from app.services.alert_states import find_alert_histories
from app.services.standings import standing_row
from tests.conftest import Api
from tests.services.record_model import INSTRUMENTS, PatientModel, expected_row

EXPECTED = (
    *("code", "instrument", "treatment_session_id", "target_at", "opens_at", "overdue_at", "closes_at", "remind_at"),
    *("assessment_id", "answered_at"),
)


@dataclass
class RecordChecks:
    """Of one clinic."""

    api: Api
    database: Database
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # trajectories as they were answered

    async def check(self, patient: PatientModel, begun: datetime, ended: datetime) -> None:
        await self._check_forms(patient)
        for instrument in INSTRUMENTS:
            await self._check_trajectory(patient, instrument)
        async with self.database.connection(self.api.clinic_id) as connection:
            await self._check_alerts(connection, patient, begun, ended)
            await self._check_standings(connection, patient)
            await self._check_expected(connection, patient)

    async def _check_forms(self, patient: PatientModel) -> None:
        listed = (await self.api.http.get("/v1/assessments", params={"patient_id": patient.id, "limit": 200})).json()
        stored = {
            one["id"]: (one["version"], one["status"], one["instrument"], at(one["taken_at"]), one["responses"])
            for one in listed["data"]
        }
        assert stored == {
            one.id: (one.version, one.status, f"{one.instrument}@1", one.taken_at, list(one.responses))
            for one in patient.forms.values()
        }

    async def _check_trajectory(self, patient: PatientModel, instrument: str) -> None:
        path = f"/v1/patients/{patient.id}/trajectory"
        told = (await self.api.http.get(path, params={"instrument": instrument})).json()
        self.seen.append((path, told))
        episode = episode_at(datetime.now(UTC), patient.history)
        points = [form.point for form in patient.in_course(instrument, episode)]
        told_points = {one["assessment_id"]: (at(one["taken_at"]), one["total"]) for one in told["points"]}
        assert told["episode_id"] == (None if episode is None else episode.id)
        assert told_points == {point.id: (point.at, point.total) for point in points}
        assert list(told_points) == [point.id for point in in_time_order(points)]
        baseline = usual_baseline(points, () if episode is None else episode.doses)
        chosen = baseline.point.id if isinstance(baseline, Baseline) else None
        assert (told["baseline"] and told["baseline"]["assessment_id"]) == chosen

    async def _check_alerts(self, connection: Any, patient: PatientModel, begun: datetime, ended: datetime) -> None:
        rows = await connection.fetch("SELECT * FROM alert WHERE patient_id = $1", UUID(patient.id))
        histories = await find_alert_histories(connection, self.api.clinic_id, [row["id"] for row in rows])
        active = {
            (one.subject.kind.value, one.subject.instrument, one.subject.item, cause)
            for one in histories
            for cause in one.state.active
        }
        # Time made a window close between the two: either is right.
        assert active in (patient.causes(begun), patient.causes(ended))
        status = {one.subject.id: (one.state.status.value, one.version) for one in histories}
        assert status == {row["id"]: (row["status"], row["version"]) for row in rows}

    async def _check_standings(self, connection: Any, patient: PatientModel) -> None:
        rows = await connection.fetch("SELECT * FROM standing WHERE patient_id = $1", UUID(patient.id))
        derived = [
            asdict(standing_row(instrument, episode, found))
            for instrument, (episode, found) in patient.standings(datetime.now(UTC)).items()
        ]
        stored = {row["instrument"]: {name: row[name] for name in derived[0]} for row in rows if derived}
        assert len(rows) == len(derived)
        assert stored == {one["instrument"]: one for one in derived}

    async def _check_expected(self, connection: Any, patient: PatientModel) -> None:
        rows = await connection.fetch("SELECT * FROM expected_check_in WHERE patient_id = $1", UUID(patient.id))
        assert {(str(row["episode_id"]), row["key"]): tuple(row[name] for name in EXPECTED) for row in rows} == {
            key: expected_row(*found) for key, found in patient.expected().items()
        }

    async def check_the_story_of_before(self) -> None:
        """As it was known then, it is told for ever."""
        for path, told in self.seen:
            asked = {"instrument": told["instrument"].partition("@")[0], "known_at": told["known_at"]}
            assert (await self.api.http.get(path, params=asked)).json() == told


def at(time: str) -> datetime:
    return datetime.fromisoformat(time)
