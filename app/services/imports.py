"""Importing forms: many rows at once, each stored as any check-in is, the same file twice stored once."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID, uuid5

from pydantic import ValidationError
from sqlmodel import select

from app.auth import Actor, Role
from app.db import Database
from app.errors import AppError, ConflictError, InvalidError, KeyReusedError, NotFoundError, UnavailableError
from app.form_file import FormRow
from app.form_map import ColumnMap
from app.form_records import RefusedRow, RowFault
from app.schemas.assessments import AssessmentSubmit
from app.schemas.faults import invalid
from app.schemas.patients import PatientCreate
from app.scoring.model import Instrument, Validity
from app.services.assessments import record_assessment
from app.services.clock import impossible_form
from app.services.patients import record_patient
from app.services.references import find_patient_id
from app.tables import Assessment, Clinic

IMPORT_PRINCIPAL: Final = UUID("00000000-0000-8000-8000-000000000001")  # whom the audit trail names for imported rows
WORKERS: Final = 8  # rows under way at once; as many as the pool has connections
QUEUED_ROWS: Final = 32  # per worker
KNOWN_PATIENTS: Final = 2_000  # per worker, so that the rows of one person cost one look-up

_FORM_NAMESPACE: Final = UUID("5d0c4d0e-9d4b-4f0a-8a53-6a0e6b1f7c21")
_PAUSES_SECONDS: Final = (0.1, 0.5, 2.0, 5.0)  # before trying again what a moment may cure
_NOBODY: Final = UUID(int=0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FormImport:
    """What is imported, for whom, how."""

    clinic_id: UUID
    instrument: Instrument
    columns: ColumnMap
    mode: str = "self"
    language: str = "en"
    dry_run: bool = False

    @property
    def actor(self) -> Actor:
        return Actor(self.clinic_id, IMPORT_PRINCIPAL, Role.SERVICE)


@dataclass(slots=True)
class ImportSummary:
    """What has become of the rows so far."""

    stored: int = 0
    already_stored: int = 0
    refused: int = 0
    warned: int = 0  # stored or already stored, with a total that is not ours
    patients_added: int = 0
    validities: Counter[Validity] = field(default_factory=Counter)  # of rows stored or already stored

    @property
    def read(self) -> int:
        return self.stored + self.already_stored + self.refused


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Who is told what, as it happens."""

    refused: Callable[[RowFault], None]
    warned: Callable[[RowFault], None]
    progress: Callable[[ImportSummary], None]


def form_id(clinic_id: UUID, instrument_id: str, external_ref: str, taken_at: datetime) -> UUID:
    """One person fills in one instrument once at one instant: whoever imports that again means the same form."""
    instant = taken_at.astimezone(UTC).isoformat()
    return uuid5(_FORM_NAMESPACE, json.dumps([str(clinic_id), instrument_id, external_ref, instant]))


async def import_forms(
    database: Database, order: FormImport, rows: Iterable[FormRow | RefusedRow], report: ImportReport
) -> ImportSummary:
    """Stores what can be stored and tells what cannot.

    Raises NotFoundError without the clinic, InvalidError or MalformedError for a file that cannot be used,
    UnavailableError when the database stays away; running the import again then goes on where it stopped.
    """
    await _refuse_unknown_clinic(database, order.clinic_id)
    _refuse_wrong_options(order)
    run = _Run(database, order, report)
    try:
        await _run_workers(run, rows)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return run.summary


async def _refuse_unknown_clinic(database: Database, clinic_id: UUID) -> None:
    async with database.session(clinic_id) as session:
        if (await session.exec(select(Clinic.clinic_id).where(Clinic.clinic_id == clinic_id))).first() is None:
            raise NotFoundError("There is no such clinic.")


def _refuse_wrong_options(order: FormImport) -> None:
    """What is the same for every row is told once."""
    try:
        _submission(order, _NOBODY, (), datetime(2000, 1, 1, tzinfo=UTC))
    except InvalidError as error:
        fault = error.faults[0]
        raise InvalidError(f"--{fault.pointer.strip('/')}: {fault.message}") from None


async def _run_workers(run: "_Run", rows: Iterable[FormRow | RefusedRow]) -> None:
    """All rows of one person go to one worker, in the order of the file: of two that clash the earlier one is kept."""
    queues: list[asyncio.Queue[FormRow | None]] = [asyncio.Queue(QUEUED_ROWS) for _ in range(WORKERS)]
    async with asyncio.TaskGroup() as group:
        for queue in queues:
            group.create_task(run.work(queue))
        for row in rows:
            if isinstance(row, RefusedRow):
                run.refuse(row.faults)
            else:
                await queues[hash(row.external_ref) % WORKERS].put(row)
        for queue in queues:
            await queue.put(None)


class _Run:
    """One import under way."""

    def __init__(self, database: Database, order: FormImport, report: ImportReport) -> None:
        self._database, self._order, self._report = database, order, report
        self.summary = ImportSummary()

    async def work(self, queue: "asyncio.Queue[FormRow | None]") -> None:
        known: dict[str, UUID] = {}
        while (row := await queue.get()) is not None:
            if len(known) > KNOWN_PATIENTS:
                known.clear()
            try:
                was_stored = await self._keep(row, known)
            except (InvalidError, KeyReusedError, NotFoundError) as error:
                self.refuse(_told(error, row.line, self._order.columns))
            else:
                self._count(row, was_stored=was_stored)

    def refuse(self, faults: Iterable[RowFault]) -> None:
        self.summary.refused += 1
        for fault in faults:
            self._report.refused(fault)
        self._report.progress(self.summary)

    def _count(self, row: FormRow, *, was_stored: bool) -> None:
        if was_stored:
            self.summary.already_stored += 1
        else:
            self.summary.stored += 1
        self.summary.validities[row.score.validity] += 1
        self.summary.warned += bool(row.warnings)
        for warning in row.warnings:
            self._report.warned(warning)
        self._report.progress(self.summary)

    async def _keep(self, row: FormRow, known: dict[str, UUID]) -> bool:
        """Stores a row unless it is stored; returns whether it was. Nothing is written for a row that is refused."""
        order = self._order
        row_id = form_id(order.clinic_id, order.instrument.id, row.external_ref, row.taken_at)
        form = _submission(order, row_id, row.responses, row.taken_at)
        if refusal := impossible_form(datetime.now(UTC), form.taken_at):
            raise refusal
        if order.dry_run:
            return await _patiently(lambda: _is_stored(self._database, order, form))
        if row.external_ref not in known:
            known[row.external_ref] = await self._patient_id(row.external_ref)
        form = form.model_copy(update={"patient_id": known[row.external_ref]})
        try:
            _, was_stored = await _patiently(lambda: record_assessment(self._database, order.actor, form, None))
        except KeyReusedError:
            # The instrument or the offset may be written differently this time; the same form it is all the same.
            if not await _patiently(lambda: _is_stored(self._database, order, form)):
                raise  # erased this very moment: not stored, so not to be counted as such
            was_stored = True
        return was_stored

    async def _patient_id(self, external_ref: str) -> UUID:
        patient_id, added = await _patiently(lambda: _get_or_add_patient(self._database, self._order, external_ref))
        self.summary.patients_added += added
        return patient_id


def _submission(
    order: FormImport, row_id: UUID, responses: Iterable[int | None], taken_at: datetime
) -> AssessmentSubmit:
    """A row as a client would have sent it, but for the patient. Raises InvalidError."""
    try:
        return AssessmentSubmit.model_validate(
            {
                "id": row_id,
                "patient_id": _NOBODY,
                "instrument": order.instrument.key,
                "responses": list(responses),
                "taken_at": taken_at.isoformat(),
                "mode": order.mode,
                "language": order.language,
            }
        )
    except ValidationError as error:
        raise invalid(error.errors()) from None


async def _is_stored(database: Database, order: FormImport, form: AssessmentSubmit) -> bool:
    """Raises KeyReusedError when another form is stored under this one's id."""
    async with database.session(order.actor) as session:
        query = select(Assessment).where(
            Assessment.clinic_id == order.clinic_id, Assessment.id == form.id, Assessment.version == 1
        )
        stored = (await session.exec(query)).first()
    if stored is None:
        return False
    if (stored.responses, stored.mode, stored.language) != (form.responses, form.mode, form.language):
        raise KeyReusedError("This id belongs to a form with other content.")
    return True


async def _get_or_add_patient(database: Database, order: FormImport, external_ref: str) -> tuple[UUID, bool]:
    """The patient of this reference, and whether it was added now. Somebody else may be adding it at the same time."""
    for _ in range(2):
        with suppress(ConflictError):
            return await _look_then_add(database, order, external_ref)
    raise NotFoundError("The patient was added and erased again meanwhile.")


async def _look_then_add(database: Database, order: FormImport, external_ref: str) -> tuple[UUID, bool]:
    async with database.session(order.actor) as session:
        found = await find_patient_id(session, order.clinic_id, external_ref)
        if found is not None:
            return found, False
        patient, _ = await record_patient(session, order.actor, PatientCreate(external_ref=external_ref), None)
    return patient.id, True


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """A long import outlives a moment's trouble of the database. Everything done through here may be repeated."""
    for pause in _PAUSES_SECONDS:
        try:
            return await work()
        except UnavailableError:
            await asyncio.sleep(pause)
    return await work()


def _told(error: AppError, line: int, columns: ColumnMap) -> tuple[RowFault, ...]:
    match error:
        case KeyReusedError():
            message = "A form of this person and time is stored with other answers; it stays. Amend it if it is wrong."
            return (RowFault(line, None, "conflict", message),)
        case NotFoundError():
            return (RowFault(line, columns.patient, "patient_gone", "The patient was erased during the import."),)
        case _:
            return tuple(
                RowFault(line, columns.column_of(fault.pointer), fault.code, fault.message) for fault in error.faults
            )
