"""What SQL reads of a cohort is what the pure core says of the same people, and who asks too much is refused."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.db import Database
from app.scoring.cohort_course import CohortFilter, CourseOutcome, CourseRecord, course_baseline, course_outcome
from app.scoring.cohort_outcomes import EventCount
from app.scoring.model import Point, Validity
from app.scoring.nhs import first_and_last
from app.scoring.registry import get_instrument
from app.scoring.score import severity_of
from app.scoring.treatment import Dose
from app.services.cohort_courses import ReadCohort, read_cohort
from app.tables import Clinic
from tests.cohort_clinic import KETAMINE, START, Invented, invented, settle

pytestmark = pytest.mark.anyio

PHQ_9 = get_instrument("phq-9")
AS_OF = datetime(2027, 6, 1, tzinfo=UTC)
EVERYBODY = CohortFilter()


def points(one: Invented, instrument: str) -> list[Point]:
    return [
        Point(str(day), one.at(day), total, Validity.INCOMPLETE if total is None else Validity.VALID)
        for day, total in sorted(one.forms.get(instrument, ()))
    ]


def expected(one: Invented, as_of: datetime = AS_OF) -> CourseOutcome:
    """By the pure core alone."""
    ends_at = None if one.next_opened_on is None else one.at(one.next_opened_on)
    in_course = [each for each in points(one, "gad-7") if ends_at is None or each.at < ends_at]
    record = CourseRecord(
        doses=tuple(Dose(str(day), one.at(day)) for day in one.doses),
        points=points(one, "phq-9"),
        ends_at=ends_at,
        closed=one.closed_on is not None,
        contacts=len(one.doses) + (one.preparations > 0),
        companions={"gad-7": first_and_last(in_course)} if in_course else {},
    )
    return course_outcome(PHQ_9, record, course_baseline(record), as_of)


async def read(
    database: Database, clinic: Clinic, only: CohortFilter = EVERYBODY, as_of: datetime = AS_OF
) -> ReadCohort:
    async with database.connection(clinic.clinic_id) as connection:
        return await read_cohort(connection, clinic.clinic_id, PHQ_9, only, as_of)


def alike(found: Sequence[CourseOutcome], wanted: Sequence[CourseOutcome]) -> bool:
    return Counter(map(repr, found)) == Counter(map(repr, wanted))


async def test_what_is_read_is_what_the_core_says(database: Database, clinic: Clinic, other_clinic: Clinic) -> None:
    """Of everybody, whatever is missing of them; another clinic's people are not among them."""
    people = [invented(number) for number in range(120)]
    await settle(database, clinic.clinic_id, people)
    await settle(database, other_clinic.clinic_id, [invented(number, seed=2) for number in range(3)])
    found = await read(database, clinic)
    assert alike(found.record.courses, [expected(one) for one in people])
    assert found.traits.total() == len(people)
    early = await read(database, clinic, as_of=people[0].at(30))
    started = [one for one in people if one.first_dose_at <= people[0].at(30)]
    assert len(early.record.courses) == len(started) < len(people)


@pytest.mark.parametrize(
    "only",
    [
        CohortFilter(first_dose_from="2026-02", first_dose_to="2026-03"),
        CohortFilter(route="sublingual"),
        CohortFilter(modality="emdr"),
        CohortFilter(dose_band="50_to_149_mg"),
        CohortFilter(doses="2_to_3"),
        CohortFilter(severity="moderate"),
        CohortFilter(route="intravenous", doses="1", severity="severe"),
    ],
    ids=str,
)
async def test_a_filter_leaves_in_whom_it_names(database: Database, clinic: Clinic, only: CohortFilter) -> None:
    """Chosen by hand from the same people."""
    people = [replace(invented(number), modality="emdr" if number % 5 == 0 else KETAMINE) for number in range(80)]
    await settle(database, clinic.clinic_id, people)
    wanted = [one for one in people if belongs(one, only)]
    found = await read(database, clinic, only)
    assert alike(found.record.courses, [expected(one) for one in wanted])
    assert 0 < len(wanted) < len(people)
    assert sum(count for traits, count in found.traits.items() if only.admits(traits)) == len(wanted)


def belongs(one: Invented, only: CohortFilter) -> bool:
    month = f"{one.first_dose_at:%Y-%m}"
    baseline = next((total for day, total in one.forms["phq-9"] if day < 0), None)
    severity = None if baseline is None or (band := severity_of(PHQ_9, baseline)) is None else band.code
    bands = {"under_50_mg": one.dose_mg < 50, "50_to_149_mg": 50 <= one.dose_mg < 150}
    counts = {"1": len(one.doses) == 1, "2_to_3": len(one.doses) in {2, 3}}
    return all(
        (
            only.first_dose_from is None or month >= only.first_dose_from,
            only.first_dose_to is None or month <= only.first_dose_to,
            only.modality in {None, one.modality},
            only.route in {None, one.route},
            only.dose_band is None or bands[only.dose_band],
            only.doses is None or counts[only.doses],
            only.severity in {None, severity},
        )
    )


async def test_adverse_events_are_counted_by_person_and_by_dose(database: Database, clinic: Clinic) -> None:
    """A person with three counts once, a dose with two counts once."""
    people = [
        Invented(doses=(0, 7, 14), events=((0, "nausea", False), (0, "headache", True), (1, "nausea", False))),
        Invented(doses=(0,), events=((0, "nausea", False),)),
        Invented(doses=(0, 7)),
    ]
    await settle(database, clinic.clinic_id, people)
    assert (await read(database, clinic)).record.events == {
        "any": EventCount(2, 3),
        "any_serious": EventCount(1, 1),
        "nausea": EventCount(2, 3),
        "headache": EventCount(1, 1),
    }


async def test_only_what_stands_now_counts(database: Database, clinic: Clinic) -> None:
    """The newest version of form, session, episode and event; none that was entered in error."""
    await settle(
        database, clinic.clinic_id, [Invented(forms={"phq-9": [(-2, 18), (8, 6)]}, events=((0, "nausea", True),))]
    )
    before = (await read(database, clinic)).record
    assert [look.total for look in before.courses[0].looks[:2]] == [None, 6]
    await correct(database, clinic, "assessment", "total = 6", total=12, status="amended")
    assert [look.total for look in (await read(database, clinic)).record.courses[0].looks[:2]] == [None, 12]
    await correct(database, clinic, "assessment", "total = 12", status="entered_in_error")
    assert (await read(database, clinic)).record.courses[0].looks[1].total is None
    await correct(database, clinic, "adverse_event", entered_in_error=True)
    assert set((await read(database, clinic)).record.events.values()) == {EventCount(0, 0)}
    await correct(database, clinic, "treatment_session", entered_in_error=True)
    empty = (await read(database, clinic)).record
    assert (empty.courses, empty.not_dosed) == ([], 1)
    await correct(database, clinic, "episode", entered_in_error=True)
    assert (await read(database, clinic)).record.not_dosed == 0


async def correct(database: Database, clinic: Clinic, table: str, which: str = "true", **change: object) -> None:
    """The next version of what is so now, which differs in this."""
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(newest, $1::jsonb"
            " || jsonb_build_object('version', newest.version + 1, 'reason', 'a slip'))).*"
            f" FROM {table} newest WHERE {which}"
            f" AND version = (SELECT max(version) FROM {table} each WHERE each.id = newest.id)",
            json.dumps(change),
        )


async def test_who_was_never_dosed_is_told_only_where_doses_are_not_asked_for(
    database: Database, clinic: Clinic
) -> None:
    """By the month the course opened, and by its modality."""
    never = [Invented(doses=()), Invented(doses=(), first_dose_at=START + timedelta(days=60))]
    await settle(database, clinic.clinic_id, [Invented(), *never])
    counts = {
        only: (await read(database, clinic, only)).record.not_dosed
        for only in (
            EVERYBODY,
            CohortFilter(first_dose_from="2026-02"),
            CohortFilter(modality="emdr"),
            CohortFilter(route="oral"),
        )
    }
    assert list(counts.values()) == [2, 1, 0, None]


async def test_a_person_counts_once_with_the_first_course(database: Database, clinic: Clinic) -> None:
    """A second course with doses is no second person, and its forms are not of the first."""
    one = Invented(forms={"phq-9": [(-2, 18), (8, 6), (28, 20)]}, closed_on=14, next_opened_on=20)
    await settle(database, clinic.clinic_id, [one])
    async with database.connection(clinic.clinic_id) as connection:
        await connection.execute(
            "INSERT INTO treatment_session SELECT (jsonb_populate_record(dose, jsonb_build_object("
            "'id', gen_random_uuid(), 'episode_id', later.id, 'started_at', later.opened_at + interval '5 days'))).*"
            " FROM treatment_session dose, episode later WHERE later.closed_at IS NULL"
        )
    (found,) = (await read(database, clinic)).record.courses
    assert found.doses == 1
    assert [look.presence.value for look in found.looks] == ["missed", "observed", "missed", *["ended"] * 4]
