"""`tidemark caseload`, `due`, `alerts`: what waits for somebody, in tables of 80 columns or as the API answers it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.audit import record_read
from app.cli_database import run_with_database
from app.db import Database
from app.errors import InvalidError
from app.paging import DEFAULT_LIMIT, MAX_LIMIT, PageRequest, Position, cut, decode
from app.schemas.alerts import NOTE, AlertPage, listed
from app.schemas.caseload import CaseloadAnswer, CaseloadEntry, Category
from app.schemas.due import DueAnswer
from app.schemas.fields import Page
from app.scoring.alerting import AlertKind, AlertStatus
from app.scoring.schedule_matching import DueStatus
from app.services.alerts import WAITING, AlertFilter, find_alerts
from app.services.caseload import find_caseload
from app.services.caseload_query import CaseloadFilter, CaseloadRequest, OnTrackAnswer, Sort
from app.services.due import DueFilter, find_due
from app.services.operators import find_references, get_operator

NAME_WIDTH: Final = 14  # columns; a longer reference is cut, --json has it whole
UNKNOWN: Final = "?"

out = Console()

ClinicId = Annotated[UUID, typer.Option("--clinic", help="The clinic's id, as `clinic create` printed it.")]
PatientId = Annotated[UUID | None, typer.Option("--patient", help="This patient alone; the whole id.")]
Instrument = Annotated[str | None, typer.Option(help="This instrument alone: phq-9.")]
Limit = Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="Rows to show.")]
Cursor = Annotated[str | None, typer.Option(help="`next_cursor` of the page before, from --json.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answers, with whole ids.")]


# --- The caseload -----------------------------------------------------------------------------------------------------


def show_caseload(
    clinic: ClinicId,
    *,
    instrument: Annotated[str, typer.Option(help="Scores of this instrument.")] = "phq-9",
    sort: Annotated[Sort, typer.Option(help="What comes first.")] = Sort.WORST,
    category: Annotated[list[Category] | None, typer.Option(help="Any of these; repeat for several.")] = None,
    on_track: Annotated[OnTrackAnswer | None, typer.Option(help="By the rule that --json states.")] = None,
    alerts: Annotated[bool | None, typer.Option("--alerts/--no-alerts", help="With open alerts, or without.")] = None,
    overdue: Annotated[bool | None, typer.Option("--overdue/--not-overdue", help="With a form that is late.")] = None,
    silent_for_days: Annotated[int | None, typer.Option(min=1, max=36_500, help="No form for so many days.")] = None,
    patient: PatientId = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """Every patient's latest state, worst first. That nothing is flagged is no all-clear."""
    only = CaseloadFilter(tuple(category or ()), on_track, alerts, overdue, silent_for_days, patient)
    request = CaseloadRequest(instrument, only, sort, limit, cursor)

    async def work(database: Database) -> CaseloadAnswer:
        return await find_caseload(database, await get_operator(database, clinic), request)

    found = run_with_database(work)
    if as_json:
        typer.echo(found.model_dump_json())
        return
    table = _table("patient", "score", "change", "category", "track", "alerts", "late", "missed", "silent", "next")
    for entry in found.data:
        table.add_row(*_caseload_cells(entry, found.as_of))
    n = found.n
    without = f"{n.without_form} of them without any {found.instrument}"
    _print(
        table,
        f"{len(found.data)} of {n.matching} shown. {n.patients} patients in the clinic, {without}.",
        "alerts: open+seen. late, missed: forms. silent: days since the last form. next: days to the next session. "
        f"{UNKNOWN}: unknown. No alert is no all-clear.",
    )


def _caseload_cells(entry: CaseloadEntry, as_of: datetime) -> Iterable[Text]:
    form, alerts, session = entry.last_form, entry.alerts, entry.next_session
    track = {True: "yes", False: "no", None: UNKNOWN}[entry.on_track]
    days = entry.days_since_last_form
    return (
        _name(entry.patient_id, entry.external_ref),
        _number(None if form is None else form.total, ""),
        _number(entry.change, "+"),
        _cell(entry.category or UNKNOWN, red=entry.category in {"harmed", "deteriorated"}),
        _cell(track, red=entry.on_track is False),
        _cell(f"{alerts.open}+{alerts.acknowledged}", red=alerts.open > 0),
        _cell(str(entry.check_ins.overdue), red=entry.check_ins.overdue > 0),
        _cell(str(entry.check_ins.missed)),
        _cell("never" if days is None else f"{days}d"),
        _cell("none" if session is None else f"{(session.at - as_of).days}d"),
    )


# --- Due --------------------------------------------------------------------------------------------------------------


def show_due(
    clinic: ClinicId,
    *,
    status: Annotated[
        list[DueStatus] | None, typer.Option(help="Repeat for several; if none is given, due and overdue.")
    ] = None,
    instrument: Instrument = None,
    patient: PatientId = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """Forms that are wanted and have not come, first to close first."""
    statuses = frozenset(status or (DueStatus.DUE, DueStatus.OVERDUE))
    if statuses & {DueStatus.RECEIVED, DueStatus.RECEIVED_LATE}:
        raise InvalidError("What was received is not waited for: --status takes upcoming, due, overdue, missed.")
    wanted, page = DueFilter(statuses, instrument, patient), _page(limit, cursor)

    async def work(database: Database) -> tuple[Page[DueAnswer], Mapping[UUID, str]]:
        actor = await get_operator(database, clinic)
        found = await find_due(database, actor, wanted, page, datetime.now(UTC))
        rows, following = cut(found, page, lambda row: Position(row["closes_at"], row["id"]))
        data = [DueAnswer.model_validate(dict(row)) for row in rows]
        names = await find_references(database, actor, (row.patient_id for row in data))
        return Page(data=data, next_cursor=following), names

    found, names = run_with_database(work)
    if as_json:
        typer.echo(found.model_dump_json())
        return
    table = _table("patient", "instrument", "status", "late from (UTC)", "closes (UTC)")
    for row in found.data:
        times = (_time(at) for at in (row.overdue_at, row.closes_at))
        status_cell = _cell(row.status, red=row.status in {"overdue", "missed"})
        table.add_row(_name(row.patient_id, names.get(row.patient_id)), _cell(row.instrument), status_cell, *times)
    _print(table, _shown(found))


# --- Alerts -----------------------------------------------------------------------------------------------------------


def show_alerts(
    clinic: ClinicId,
    *,
    status: Annotated[
        list[AlertStatus] | None, typer.Option(help="Repeat for several; if none is given, open and acknowledged.")
    ] = None,
    kind: Annotated[AlertKind | None, typer.Option(help="Alerts of this kind alone.")] = None,
    patient: PatientId = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """What needs a person's eyes, longest waiting first. No alert is no all-clear."""
    wanted, page = AlertFilter(tuple(status or WAITING), kind, patient), _page(limit, cursor)

    async def work(database: Database) -> tuple[AlertPage, Mapping[UUID, str]]:
        actor = await get_operator(database, clinic)
        async with database.session(clinic) as session:
            found = await find_alerts(session, actor, wanted, page)
            rows, following = cut(found, page, lambda one: Position(one.row.raised_at, one.row.id))
            patients = [one.row.patient_id for one in rows]
            await record_read(session, actor, "alert.list", of=patients, rows=len(rows), asked=wanted)
        data = [listed(one.row, one.answered_at) for one in rows]
        names = await find_references(database, actor, (row.patient_id for row in data))
        return AlertPage(data=data, next_cursor=following, note=NOTE), names

    found, names = run_with_database(work)
    if as_json:
        typer.echo(found.model_dump_json())
        return
    now = datetime.now(UTC)
    table = _table("patient", "what", "status", "raised (UTC)", "age")
    for row in found.data:
        status_cell = _cell(row.status.value, red=row.status is AlertStatus.OPEN)
        age = _cell(f"{(now - row.raised_at).days}d")
        table.add_row(
            _name(row.patient_id, names.get(row.patient_id)), Text(row.label), status_cell, _time(row.raised_at), age
        )
    _print(table, _shown(found), found.note)


# --- Cells ------------------------------------------------------------------------------------------------------------


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        wide = {"max_width": NAME_WIDTH} if column == "patient" else {}
        table.add_column(column, no_wrap=column != "what", overflow="ellipsis", **wide)  # type: ignore[arg-type]  # widths
    return table


def _print(table: Table, *notes: str) -> None:
    out.print(table)
    for note in notes:
        out.print(note, markup=False, highlight=False)


def _shown(found: Page[Any]) -> str:
    return f"{len(found.data)} shown{'.' if found.next_cursor is None else '; there are more: --limit, or --json.'}"


def _name(patient_id: UUID, external_ref: str | None) -> Text:
    """What the clinic calls the patient; without that the end of the id, because ids made at one time begin alike."""
    if external_ref is None:
        return Text(f"…{str(patient_id)[-12:]}")
    return Text("".join(sign if sign.isprintable() else UNKNOWN for sign in external_ref))  # no terminal's commands


def _cell(text: str, *, red: bool = False) -> Text:
    return Text(text, style="bold red" if red else "")


def _number(value: float | None, sign: str) -> Text:
    return _cell(UNKNOWN if value is None else f"{value:{sign}.3g}")


def _time(at: datetime) -> Text:
    return _cell(f"{at.astimezone(UTC):%Y-%m-%d %H:%M}")


def _page(limit: int, cursor: str | None) -> PageRequest:
    return PageRequest(limit, None if cursor is None else decode(cursor))
