"""One patient's record as plain Python, and what the pure core makes of it. No database, no service decides here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app.schemas.schedules import ScheduleEntry, plan_entry, quiet_hours
from app.scoring.alerting import AlertKind, form_causes, missed_causes
from app.scoring.episode import Episode, episode_at, stretch
from app.scoring.model import Instrument, Point
from app.scoring.registry import get_instrument
from app.scoring.schedule import Expected, Session, ZoneFrom, expected_check_ins
from app.scoring.schedule_matching import Form, due_status, match
from app.scoring.score import score
from app.scoring.standing import Standing, standing
from app.scoring.treatment import NO_COURSE, Dose, usual_baseline
from app.scoring.worse_after_dose import FormPoint

INSTRUMENTS = ("phq-9", "pcl-5-week")
MISSED_IN_A_ROW = 3  # until a clinic decides otherwise
OF_ONE_FORM = (AlertKind.CRITICAL_ITEM, AlertKind.CRITICAL_ITEM_RISE)

Responses = Sequence[int | None]
Cause = tuple[str, str | None, int | None, str]  # kind, instrument, item, key


@dataclass
class FormModel:
    """The current version of one form, with the words it was first sent in."""

    id: str
    instrument: str
    responses: Responses
    taken_at: datetime  # by the service's clock
    sent: dict[str, Any]
    key: str | None
    version: int = 1
    is_void: bool = False

    @property
    def status(self) -> str:
        return "entered_in_error" if self.is_void else ("final" if self.version == 1 else "amended")

    @property
    def point(self) -> FormPoint:
        instrument = get_instrument(self.instrument)
        found = score(instrument, self.responses)
        watched = {one.item: self.responses[one.item - 1] for one in instrument.critical_items}
        return FormPoint(Point(self.id, self.taken_at, found.total, found.validity), watched)


@dataclass
class SessionModel:
    """A dosing session."""

    id: str
    scheduled_at: datetime
    started_at: datetime | None = None
    status: str = "planned"
    in_error: bool = False
    version: int = 1

    @property
    def at(self) -> datetime:
        return self.started_at or self.scheduled_at

    @property
    def counts(self) -> bool:
        return self.status in ("planned", "done") and not self.in_error


@dataclass
class EpisodeModel:
    id: str
    opened_at: datetime
    closed_at: datetime | None = None
    version: int = 1
    sessions: dict[str, SessionModel] = field(default_factory=dict)
    schedule: list[dict[str, Any]] | None = None
    schedule_version: int = 0

    @property
    def pure(self) -> Episode:
        given = [one for one in self.sessions.values() if one.counts and one.status == "done"]
        doses = (Dose(one.id, one.at) for one in sorted(given, key=lambda one: (one.at, one.id)))
        return Episode(self.id, self.opened_at, self.closed_at, tuple(doses))


@dataclass
class PatientModel:
    """Everything that was ever said of one patient, as it stands."""

    id: str
    clinic_zone: str
    forms: dict[str, FormModel] = field(default_factory=dict)
    episodes: dict[str, EpisodeModel] = field(default_factory=dict)
    zones: list[ZoneFrom] = field(default_factory=list)  # in the order in which they were entered

    @property
    def history(self) -> list[Episode]:
        return sorted((one.pure for one in self.episodes.values()), key=lambda one: (one.opened_at, one.id))

    @property
    def courses(self) -> Sequence[Episode | None]:
        """Without any episode all forms are one course."""
        return self.history or [None]

    def of(self, instrument: str) -> list[FormPoint]:
        return [one.point for one in self.forms.values() if one.instrument == instrument and not one.is_void]

    def in_course(self, instrument: str, episode: Episode | None) -> list[FormPoint]:
        if episode is None:
            return self.of(instrument)
        start, end = stretch(episode, self.history)
        return [one for one in self.of(instrument) if one.point.at >= start and (end is None or one.point.at < end)]

    # --- What follows -------------------------------------------------------------------------------------------------

    def expected(self) -> dict[tuple[str, str], tuple[Expected, str | None, datetime | None]]:
        """By episode and key: what is wanted, the form that answers it, and when that was filled in."""
        zones = [ZoneFrom(None, self.clinic_zone), *sorted(self.zones, key=lambda zone: zone.valid_from or _never())]
        wanted: dict[str, tuple[str, Expected]] = {}
        for episode in self.episodes.values():
            sessions = [Session(one.id, one.at) for one in episode.sessions.values() if one.counts]
            entries = [plan_entry(ScheduleEntry.model_validate(entry)) for entry in episode.schedule or ()]
            night = quiet_hours("21:00", "08:00")
            for one in expected_check_ins(entries, episode.opened_at, sessions, zones, night):
                wanted[f"{episode.id}:{one.key}"] = episode.id, one
        forms = [Form(one.id, one.instrument, one.taken_at) for one in self.forms.values() if not one.is_void]
        filled = match([_renamed(one, key) for key, (_, one) in wanted.items()], forms)
        return {
            (episode, one.key): (one, filled[key].id, filled[key].taken_at) if key in filled else (one, None, None)
            for key, (episode, one) in wanted.items()
        }

    def causes(self, now: datetime) -> set[Cause]:
        """What every alert of this patient rests on."""
        found = [*self._causes_of_forms()]
        statuses = [
            (_renamed(one, f"{episode}:{one.key}"), due_status(one, answered_at, now))
            for (episode, _), (one, _, answered_at) in self.expected().items()
        ]
        found += [(one.kind.value, None, None, one.key) for one in missed_causes(statuses, MISSED_IN_A_ROW)]
        return set(found)

    def _causes_of_forms(self) -> Iterator[Cause]:
        for instrument in map(get_instrument, INSTRUMENTS):
            for cause in form_causes(instrument, self.of(instrument.id), (), NO_COURSE):
                if cause.kind in OF_ONE_FORM:
                    yield cause.kind.value, cause.instrument, cause.item, cause.key
            for episode in self.courses:
                forms = self.in_course(instrument.id, episode)
                doses = () if episode is None else episode.doses
                baseline = usual_baseline([form.point for form in forms], doses)
                for cause in form_causes(instrument, forms, doses, baseline):
                    if cause.kind not in OF_ONE_FORM:
                        yield cause.kind.value, cause.instrument, cause.item, cause.key

    def standings(self, now: datetime) -> Mapping[Instrument, tuple[Episode | None, Standing]]:
        found = {}
        episode = episode_at(now, self.history)
        for instrument in map(get_instrument, INSTRUMENTS):
            points = [form.point for form in self.in_course(instrument.id, episode)]
            doses = () if episode is None else episode.doses
            if (one := standing(instrument, points, doses, usual_baseline(points, doses))) is not None:
                found[instrument] = episode, one
        return found


def _renamed(one: Expected, key: str) -> Expected:
    """Under a key that no other episode has; ties are drawn by lot from it."""
    return Expected(
        key,
        one.code,
        one.instrument,
        one.session_id,
        one.target_at,
        one.opens_at,
        one.overdue_at,
        one.closes_at,
        one.remind_at,
    )


def _never() -> datetime:
    raise AssertionError("a journey begins some time")


def expected_row(one: Expected, form_id: str | None, answered_at: datetime | None) -> tuple[Any, ...]:
    """As the table has it."""
    session = None if one.session_id is None else UUID(one.session_id)
    form = None if form_id is None else UUID(form_id)
    times = (one.target_at, one.opens_at, one.overdue_at, one.closes_at, one.remind_at)
    return (one.code, one.instrument, session, *times, form, answered_at)
