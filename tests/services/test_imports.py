"""Importing forms: nothing lost, nothing twice, nothing overwritten, no clinic but one's own."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select

from app.db import Database, driver_connection
from app.errors import InvalidError, NotFoundError
from app.form_file import FormRow
from app.form_map import ColumnMap
from app.form_records import RefusedRow, RowFault
from app.scoring import get_instrument, score
from app.services.imports import IMPORT_PRINCIPAL, FormImport, ImportReport, ImportSummary, form_id, import_forms
from app.services.references import find_references
from app.tables import Assessment, AuditEvent, Clinic, Patient

pytestmark = pytest.mark.anyio

PHQ_9 = get_instrument("phq-9")
COLUMNS = ColumnMap("person", tuple(f"phq{number}" for number in range(1, 10)), taken_at="filled_in")
AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
MILD = (1, 1, 1, 1, 1, 1, 0, 0, 0)
SEVERE = (3, 3, 3, 3, 3, 3, 3, 3, 0)
BLANK = (None,) * 9


def form(
    person: str, responses: tuple[int | None, ...] = MILD, *, days: int = 0, line: int = 2, taken_at: datetime = AT
) -> FormRow:
    moment = taken_at + timedelta(days=days)
    return FormRow(line, person, moment, responses, score(PHQ_9, responses))


class Told:
    """Everything an import says on its way."""

    def __init__(self) -> None:
        self.refused: list[RowFault] = []
        self.warned: list[RowFault] = []
        self.progress: list[int] = []

    @property
    def report(self) -> ImportReport:
        return ImportReport(self.refused.append, self.warned.append, lambda summary: self.progress.append(summary.read))


async def run(
    database: Database, clinic: Clinic, rows: Iterable[FormRow | RefusedRow], told: Told | None = None, **options: Any
) -> ImportSummary:
    order = FormImport(clinic.clinic_id, options.pop("instrument", PHQ_9), COLUMNS, **options)
    return await import_forms(database, order, rows, (told or Told()).report)


def figures(summary: ImportSummary) -> tuple[int, int, int]:
    return summary.stored, summary.already_stored, summary.refused


async def stored(database: Database, clinic_id: UUID) -> list[Assessment]:
    async with database.session(clinic_id) as session:
        query = select(Assessment).where(Assessment.clinic_id == clinic_id).order_by(col(Assessment.taken_at))
        return list(await session.exec(query))


async def references(database: Database, clinic_id: UUID) -> Counter[str | None]:
    async with database.session(clinic_id) as session:
        connection = await driver_connection(session)
        known = await find_references(connection, database.keys, clinic_id)
        ids = await session.exec(select(Patient.id).where(Patient.clinic_id == clinic_id))
        return Counter(known.get(id_) for id_ in ids)


async def test_each_form_is_stored_as_a_check_in_of_its_patient(database: Database, clinic: Clinic) -> None:
    """One patient per reference, one assessment per row with its total, and a trail that names the import."""
    summary = await run(database, clinic, [form("a"), form("b", SEVERE, days=1), form("a", BLANK, days=7)])
    assert figures(summary) == (3, 0, 0)
    assert summary.patients_added == 2
    assert summary.validities == {"valid": 2, "incomplete": 1}
    assert [one.total for one in await stored(database, clinic.clinic_id)] == [6, 24, None]
    assert await references(database, clinic.clinic_id) == {"a": 1, "b": 1}
    async with database.session(clinic.clinic_id) as session:
        events = list(await session.exec(select(AuditEvent).where(AuditEvent.clinic_id == clinic.clinic_id)))
    assert Counter(event.action for event in events) == {"patient.create": 2, "assessment.create": 3}
    assert {(event.actor_id, event.actor_role) for event in events} == {(IMPORT_PRINCIPAL, "service")}


async def test_the_same_rows_again_store_nothing(database: Database, clinic: Clinic) -> None:
    """In whatever order, and together with rows that are new."""
    rows = [form(person, days=days) for person in "abc" for days in range(4)]
    await run(database, clinic, rows)
    again = await run(database, clinic, [*reversed(rows), form("d")])
    assert figures(again) == (1, 12, 0)
    assert again.patients_added == 1
    assert len(await stored(database, clinic.clinic_id)) == 13


async def test_the_same_form_is_known_however_it_is_written(database: Database, clinic: Clinic) -> None:
    """Another offset of the same instant is the same form."""
    await run(database, clinic, [form("a")])
    elsewhere = AT.astimezone(datetime.fromisoformat("2026-01-01T00:00:00-07:00").tzinfo)
    assert figures(await run(database, clinic, [form("a", taken_at=elsewhere)])) == (0, 1, 0)


@pytest.mark.parametrize("dry_run", [False, True])
async def test_other_answers_of_the_same_person_and_time_are_refused(
    database: Database, clinic: Clinic, dry_run: bool
) -> None:
    """What is stored stays; the conflict is told by its line alone."""
    told = Told()
    await run(database, clinic, [form("a")])
    assert figures(await run(database, clinic, [form("a", SEVERE, line=9)], told, dry_run=dry_run)) == (0, 0, 1)
    assert [(fault.line, fault.column, fault.code) for fault in told.refused] == [(9, None, "conflict")]
    assert [one.responses for one in await stored(database, clinic.clinic_id)] == [list(MILD)]


async def test_another_mode_of_the_same_form_is_refused(database: Database, clinic: Clinic) -> None:
    """Who filled it in is part of what is stored; the import does not change it silently."""
    await run(database, clinic, [form("a")])
    assert figures(await run(database, clinic, [form("a")], mode="proxy")) == (0, 0, 1)


async def test_of_two_clashing_rows_of_a_file_the_first_is_kept(database: Database, clinic: Clinic) -> None:
    """Rows of one person are stored in the order of the file, however many are under way."""
    told = Told()
    rows = [one for number in range(40) for one in (form(f"p{number}"), form(f"p{number}", SEVERE, line=3))]
    assert figures(await run(database, clinic, rows, told)) == (40, 0, 40)
    assert {fault.line for fault in told.refused} == {3}
    assert {one.total for one in await stored(database, clinic.clinic_id)} == {6}


async def test_two_imports_at_once_store_each_form_and_each_patient_once(database: Database, clinic: Clinic) -> None:
    """Whoever comes second finds what the first has stored."""
    rows = [form(f"p{number}") for number in range(30)]
    first, second = await asyncio.gather(run(database, clinic, rows), run(database, clinic, rows))
    assert first.stored + second.stored == 30
    assert first.already_stored + second.already_stored == 30
    assert first.patients_added + second.patients_added == 30
    assert set((await references(database, clinic.clinic_id)).values()) == {1}


async def test_refused_rows_write_nothing(database: Database, clinic: Clinic) -> None:
    """Neither a form nor its patient; each is told with its column, and the good row between them is stored."""
    told = Told()
    refused = RefusedRow(2, (RowFault(2, "phq1", "not_an_integer", "…"), RowFault(2, "phq2", "not_a_choice", "…")))
    ahead = form("b", line=4, taken_at=datetime.now(UTC) + timedelta(hours=1))
    early = form("c", line=5, taken_at=datetime(1970, 1, 1, tzinfo=UTC))
    assert figures(await run(database, clinic, [refused, form("a", line=3), ahead, early], told)) == (1, 0, 3)
    assert sorted((fault.line, fault.column, fault.code) for fault in told.refused) == [
        (2, "phq1", "not_an_integer"),
        (2, "phq2", "not_a_choice"),
        (4, "filled_in", "in_the_future"),
        (5, "filled_in", "too_long_ago"),
    ]
    assert await references(database, clinic.clinic_id) == {"a": 1}
    assert sorted(told.progress) == [1, 2, 3, 4]


async def test_a_warning_is_told_and_the_row_stored(database: Database, clinic: Clinic) -> None:
    """A sender that adds badly loses no form."""
    told = Told()
    warning = RowFault(2, "total", "total_differs", "…")
    row = FormRow(2, "a", AT, MILD, score(PHQ_9, MILD), (warning,))
    summary = await run(database, clinic, [row], told)
    assert (summary.stored, summary.warned, told.warned) == (1, 1, [warning])


async def test_a_dry_run_says_what_would_happen_and_writes_nothing(database: Database, clinic: Clinic) -> None:
    """New, known and refused rows are counted; neither patient nor form nor trail is added."""
    await run(database, clinic, [form("a")])
    ahead = form("c", taken_at=datetime.now(UTC) + timedelta(hours=1))
    assert figures(await run(database, clinic, [form("a"), form("b"), ahead], dry_run=True)) == (1, 1, 1)
    assert await references(database, clinic.clinic_id) == {"a": 1}
    assert len(await stored(database, clinic.clinic_id)) == 1


async def test_an_unknown_clinic_is_refused_before_the_file_is_read(database: Database) -> None:
    """The rows are not even asked for."""
    asked: list[int] = []

    def rows() -> Iterable[FormRow]:
        asked.append(1)
        yield form("a")

    order = FormImport(uuid4(), PHQ_9, COLUMNS)
    with pytest.raises(NotFoundError, match="clinic"):
        await import_forms(database, order, rows(), Told().report)
    assert not asked


@pytest.mark.parametrize(("option", "value"), [("mode", "guessed"), ("language", "English, please")])
async def test_an_option_that_fits_no_form_is_refused_once(
    database: Database, clinic: Clinic, option: str, value: str
) -> None:
    """By the option's name, before any row."""
    options: dict[str, Any] = {option: value}
    with pytest.raises(InvalidError, match=f"^--{option}: "):
        await run(database, clinic, [form("a")], **options)
    assert await stored(database, clinic.clinic_id) == []


async def test_a_file_that_turns_out_unusable_is_told_as_it_is(database: Database, clinic: Clinic) -> None:
    """The error of the reader, not a bundle of errors of the workers."""

    def rows() -> Iterable[FormRow]:
        yield form("a")
        raise InvalidError("The file has no column phq9.")

    with pytest.raises(InvalidError, match="no column phq9"):
        await run(database, clinic, rows())


def test_the_id_of_a_form_is_its_clinic_instrument_person_and_instant() -> None:
    """Each of the four makes another id, and how the instant is written does not."""
    clinic_id = UUID(int=1)
    base = form_id(clinic_id, "phq-9", "a", AT)
    others = {
        form_id(UUID(int=2), "phq-9", "a", AT),
        form_id(clinic_id, "gad-7", "a", AT),
        form_id(clinic_id, "phq-9", "b", AT),
        form_id(clinic_id, "phq-9", "a", AT + timedelta(seconds=1)),
        form_id(clinic_id, "phq-9", 'a", "b', AT),
    }
    assert len(others - {base}) == 5
    assert form_id(clinic_id, "phq-9", "a", datetime.fromisoformat("2026-03-02T09:00:00+01:00")) == base
    assert str(base) == "16a49c2f-1c0d-53a2-9cf3-aa2858842793"  # ids already stored depend on it: it must never change
