"""What follows from a patient's record: alerts, expected check-ins, standings.

All of it is a function of the record as it stands, never of the way it came about, so that forms may arrive late,
twice or in any order. It is made in the transaction of whatever changed the record, under the patient's lock.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor
from app.db import driver_connection
from app.scoring.alerting import AlertCause, AlertKind, form_causes, missed_causes
from app.scoring.episode import Episode, episode_at, stretch
from app.scoring.standing import standing
from app.scoring.treatment import NO_COURSE, Dose, usual_baseline
from app.scoring.worse_after_dose import FormPoint
from app.services.alert_states import RaisedAlert, find_alerts_of_forms, raise_alerts, reconcile_alerts
from app.services.clinic_rules import rules_of
from app.services.expected_check_ins import FilledForm, reconcile_expected
from app.services.histories import History, find_histories
from app.services.locks import lock_patient
from app.services.newest_forms import Course, judge_newest
from app.services.patient_records import PatientRecord, find_records
from app.services.patient_treatments import PatientTreatment, find_treatments
from app.services.scored_assessments import ScoredAssessment
from app.services.standings import StandingRow, reconcile_standings, standing_row, store_standings

_OF_ONE_FORM = frozenset({AlertKind.CRITICAL_ITEM, AlertKind.CRITICAL_ITEM_RISE})


async def rederive(
    connection: asyncpg.Connection, clinic_id: UUID, patient_ids: Collection[UUID], now: datetime
) -> None:
    """Makes what is derived of these patients anew. The caller holds their locks and has written what changed."""
    histories = await find_histories(connection, clinic_id, patient_ids, now)
    treatments = await find_treatments(connection, clinic_id, patient_ids)
    await _make_anew(connection, clinic_id, patient_ids, histories, treatments, now)


async def _make_anew(
    connection: asyncpg.Connection,
    clinic_id: UUID,
    patient_ids: Collection[UUID],
    histories: Mapping[UUID, History],
    treatments: Mapping[UUID, PatientTreatment],
    now: datetime,
) -> None:
    records = await find_records(connection, clinic_id, patient_ids, histories)
    forms = {patient: tuple(_filled(record)) for patient, record in records.items()}
    expected = await reconcile_expected(connection, clinic_id, records, treatments, forms, now)
    in_a_row = (await rules_of(connection, clinic_id)).missed_in_a_row if any(expected.values()) else 1
    causes = {
        patient: (
            *_causes(record),
            *missed_causes([(one.expected, one.status) for one in expected.get(patient, ())], in_a_row),
        )
        for patient, record in records.items()
    }
    await reconcile_alerts(connection, clinic_id, causes, now)
    standings = {patient: tuple(_standings(record, now)) for patient, record in records.items()}
    await reconcile_standings(connection, clinic_id, standings)


async def rederive_patient(session: AsyncSession, actor: Actor, patient_id: UUID, now: datetime) -> None:
    """The same for one patient whose record this session has changed; waits for others who are at it."""
    await lock_patient(session, patient_id)
    await rederive(await driver_connection(session), actor.clinic_id, [patient_id], now)


async def follow(
    connection: asyncpg.Connection, clinic_id: UUID, forms: Collection[ScoredAssessment], now: datetime
) -> tuple[dict[UUID, History], dict[UUID, list[RaisedAlert]]]:
    """The same after forms came in: what is known of their patients' treatment, and the alerts each form raised.

    Most forms are the newest of their course and answer no schedule. What they change is the standing of one course and
    the alerts they raise themselves, and that follows from a few forms as from all.
    """
    patients = {form.patient_id for form in forms}
    histories = await find_histories(connection, clinic_id, patients, now)
    planned = await find_treatments(connection, clinic_id, patients)
    new: dict[Course, set[UUID]] = defaultdict(set)
    for form in forms:
        if form.patient_id not in planned:
            new[form.patient_id, form.instrument.id].add(form.id)
    judged = await judge_newest(connection, clinic_id, new, histories, now)
    anew = set(planned) | {patient for patient, instrument in new.keys() - judged.keys()}
    usual = [(patient, found) for (patient, _), found in judged.items() if patient not in anew]
    await store_standings(connection, clinic_id, [(patient, found.standing) for patient, found in usual])
    causes: dict[UUID, list[AlertCause]] = defaultdict(list)
    for patient, found in usual:
        causes[patient] += found.causes
    raised = await raise_alerts(connection, clinic_id, causes, now)
    if anew:
        await _make_anew(connection, clinic_id, anew, histories, planned, now)
        watched = [form.id for form in forms if form.patient_id in anew]
        raised |= await find_alerts_of_forms(connection, clinic_id, watched)
    return histories, raised


def _filled(record: PatientRecord) -> Iterator[FilledForm]:
    for instrument, forms in record.forms.items():
        for form in forms:
            yield FilledForm(UUID(form.point.id), instrument.id, form.point.at)


def _causes(record: PatientRecord) -> Iterator[AlertCause]:
    """What a single form raises looks at all forms; what a course raises, at each episode's own."""
    for instrument, forms in record.forms.items():
        everywhere = form_causes(instrument, forms, (), NO_COURSE)
        yield from (cause for cause in everywhere if cause.kind in _OF_ONE_FORM)
        for mine, doses in _courses(forms, record.history):
            baseline = usual_baseline([form.point for form in mine], doses)
            in_course = form_causes(instrument, mine, doses, baseline)
            yield from (cause for cause in in_course if cause.kind not in _OF_ONE_FORM)


def _courses(
    forms: Sequence[FormPoint], history: Sequence[Episode]
) -> Iterator[tuple[Sequence[FormPoint], Sequence[Dose]]]:
    """Each episode's forms and doses; without any episode all forms are one course."""
    if not history:
        yield forms, ()
    for episode in history:
        yield _of(episode, forms, history), episode.doses


def _of(episode: Episode, forms: Sequence[FormPoint], history: Sequence[Episode]) -> tuple[FormPoint, ...]:
    start, end = stretch(episode, history)
    return tuple(form for form in forms if form.point.at >= start and (end is None or form.point.at < end))


def _standings(record: PatientRecord, now: datetime) -> Iterator[StandingRow]:
    """In the episode the patient is in, or was in last."""
    episode = episode_at(now, record.history)
    for instrument, forms in record.forms.items():
        mine = forms if episode is None else _of(episode, forms, record.history)
        doses = () if episode is None else tuple(dose for dose in episode.doses if dose.started_at <= now)
        points = [form.point for form in mine]
        found = standing(instrument, points, doses, usual_baseline(points, doses))
        if found is not None:
            yield standing_row(instrument, episode, found)
