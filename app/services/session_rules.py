"""What must be true of one treatment session, each rule by itself. Pure: no database, no clock."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from app.errors import Fault
from app.schemas.limits import DOSE_LIMITS, KETAMINE, MAX_DAYS_AHEAD, MAX_SESSION_HOURS, Limit
from app.schemas.treatment_sessions import TreatmentSessionContent
from app.services.clock import future_faults
from app.tables import EpisodeOfCare

DOSING_FIELDS: Final = ("medicine", "route", "dose_mg", "weight_kg", "concomitant_medicines")
NEEDED_WHEN_DONE: Final = ("medicine", "route", "dose_mg")


def settled(content: TreatmentSessionContent) -> TreatmentSessionContent:
    """With the defaults that depend on other fields: one that started was held, and planned by then."""
    status = content.status or ("planned" if content.started_at is None else "done")
    return content.model_copy(update={"status": status, "scheduled_at": content.scheduled_at or content.started_at})


def faults(content: TreatmentSessionContent, now: datetime) -> Iterator[Fault]:
    yield from future_faults(now, started_at=content.started_at, ended_at=content.ended_at)
    for rule in _RULES:
        yield from rule(content)
    if content.scheduled_at is not None and content.scheduled_at > now + timedelta(days=MAX_DAYS_AHEAD):
        yield Fault("/scheduled_at", "too_far_ahead", f"A session is planned at most {MAX_DAYS_AHEAD} days ahead.")


def faults_against_episode(content: TreatmentSessionContent, episode: EpisodeOfCare) -> Iterator[Fault]:
    """A cancelled session may lie anywhere: an episode can end before what was planned for it."""
    if content.status == "cancelled" or content.entered_in_error:
        return
    if episode.entered_in_error:
        yield Fault("", "episode_in_error", "The episode was entered in error.")
    name = "scheduled_at" if content.started_at is None else "started_at"
    begin = content.started_at or content.scheduled_at
    for pointer, time in ((name, begin), ("ended_at", content.ended_at)):
        if time is not None and not _covers(episode, time):
            yield Fault(f"/{pointer}", "outside_episode", "The episode was not open then.")


def mg_per_kg(dose_mg: float | None, weight_kg: float | None) -> float | None:
    return None if dose_mg is None or weight_kg is None else dose_mg / weight_kg


def _covers(episode: EpisodeOfCare, time: datetime) -> bool:
    return episode.opened_at <= time and (episode.closed_at is None or time <= episode.closed_at)


def _status_faults(content: TreatmentSessionContent) -> Iterator[Fault]:
    if content.scheduled_at is None:
        yield Fault("/scheduled_at", "missing", "Say when it is planned, or when it started.")
    if content.status == "done" and content.started_at is None:
        yield Fault("/started_at", "missing_when_done", "A session that is done has a start.")
    if content.status != "done" and content.started_at is not None:
        yield Fault("/started_at", "not_done", "Only a session that is `done` has a start; send the status with it.")


def _end_faults(content: TreatmentSessionContent) -> Iterator[Fault]:
    if content.ended_at is None:
        return
    if content.started_at is None:
        yield Fault("/ended_at", "not_started", "A session without a start has no end.")
    elif content.ended_at < content.started_at:
        yield Fault("/ended_at", "before_start", "The end lies before the start.")
    elif content.ended_at - content.started_at > timedelta(hours=MAX_SESSION_HOURS):
        yield Fault("/ended_at", "too_long", f"A session lasts at most {MAX_SESSION_HOURS} hours; check the date.")


def _medicine_faults(content: TreatmentSessionContent) -> Iterator[Fault]:
    if content.kind != "dosing":
        for name in DOSING_FIELDS:
            if getattr(content, name) is not None:
                yield Fault(f"/{name}", "dosing_only", "Only a dosing session says this.")
    elif content.status == "done":
        for name in NEEDED_WHEN_DONE:
            if getattr(content, name) is None:
                yield Fault(f"/{name}", "missing_when_done", "A dosing session that is done says what was given.")


def _dose_faults(content: TreatmentSessionContent) -> Iterator[Fault]:
    """Only ketamine's usual doses are known here."""
    if content.medicine not in KETAMINE or content.route is None or content.dose_mg is None:
        return
    limit, per_kg = DOSE_LIMITS[content.route], mg_per_kg(content.dose_mg, content.weight_kg)
    if not limit.mg.holds(content.dose_mg):
        yield Fault("/dose_mg", "implausible_for_route", _expected(limit.mg))
    elif per_kg is not None and not limit.mg_per_kg.holds(per_kg):
        yield Fault("/dose_mg", "implausible_for_weight", _expected(limit.mg_per_kg))


def _expected(limit: Limit) -> str:
    return f"By this route {limit.minimum:g} to {limit.maximum:g} {limit.unit} is expected; check the units."


_RULES: Final[tuple[Callable[[TreatmentSessionContent], Iterator[Fault]], ...]] = (
    _status_faults,
    _end_faults,
    _medicine_faults,
    _dose_faults,
)
