"""What SQL reads of a cohort is what the pure core says of the same people, and who asks too much is refused."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from app.db import Database
from app.scoring.cohort_course import CohortFilter, CourseOutcome, CourseRecord, course_baseline, course_outcome
from app.scoring.model import Point, Validity
from app.scoring.nhs import first_and_last
from app.scoring.registry import get_instrument
from app.scoring.treatment import Dose
from app.services.cohort_courses import ReadCohort, read_cohort
from app.tables import Clinic
from tests.cohort_clinic import Invented, invented, settle

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
