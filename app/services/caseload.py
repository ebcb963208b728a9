"""Every patient's latest state on one instrument, for a whole clinic at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.audit import record_read
from app.auth import Actor
from app.db import Database
from app.errors import Fault, InvalidError
from app.paging import Key, decode_keys, encode_keys
from app.schemas.caseload import (
    CaseloadAlerts,
    CaseloadAnswer,
    CaseloadBaseline,
    CaseloadCheckIns,
    CaseloadCounts,
    CaseloadEntry,
    CaseloadForm,
    NextSession,
)
from app.schemas.instruments import SeverityAnswer
from app.scoring.model import Instrument
from app.services.caseload_query import ORDERS, UNNAMED, CaseloadQuery, CaseloadRequest, Sort
from app.services.caseload_rules import caseload_rules
from app.services.patient_records import whole
from app.services.references import find_references
from app.services.scored_assessments import known_instrument

_IS_THERE: Final = "SELECT EXISTS (SELECT FROM patient WHERE clinic_id = $1 AND id = $2)"
_DAY: Final = timedelta(days=1)


async def find_caseload(database: Database, actor: Actor, request: CaseloadRequest) -> CaseloadAnswer:
    """One page; a walk through all pages looks from the moment of its first one."""
    instrument = known_instrument(request.instrument, "query/instrument")
    as_of, place = _where(actor, request)
    async with database.connection(actor) as connection:
        named: tuple[UUID, ...] = ()
        if request.sort is Sort.NAME:
            named = _in_order(await find_references(connection, database.keys, actor.clinic_id))
            place = place and await _place_by_name(connection, actor, named, place)
        query = CaseloadQuery(request, instrument, place, named)
        found = await connection.fetch(
            query.text, actor.clinic_id, instrument.id, as_of, request.limit + 1, *query.values
        )
        head, listed = found[0], [row for row in found if row["id"] is not None]
        kept = listed[: request.limit]
        shown = [row["id"] for row in kept]
        names = await find_references(connection, database.keys, actor.clinic_id, shown)
        await record_read(connection, actor, "caseload.list", of=shown, rows=len(shown), asked=_asked(request))
    return CaseloadAnswer(
        data=[_entry(row, names.get(row["id"]), instrument, as_of) for row in kept],
        next_cursor=_cursor(actor, request, as_of, kept[-1]) if len(listed) > request.limit else None,
        instrument=instrument.id,
        as_of=as_of,
        n=_counts(head),
        rules=caseload_rules(instrument, request.sort),
    )


def _asked(request: CaseloadRequest) -> CaseloadRequest:
    """Without the place in the list, which says nothing to a reader of the trail."""
    return replace(request, cursor=None)


def _where(actor: Actor, request: CaseloadRequest) -> tuple[datetime, tuple[Key, ...] | None]:
    """The moment to look from, and the place to go on from."""
    if request.cursor is None:
        return datetime.now(UTC), None
    kinds = (datetime, *ORDERS[request.sort].kinds, UUID)
    as_of, *place = decode_keys(request.question(actor.clinic_id), request.cursor, kinds)
    assert isinstance(as_of, datetime)  # noqa: S101  # its kind was asked for; narrows the type
    return as_of, tuple(place)


def _in_order(references: Mapping[UUID, str]) -> tuple[UUID, ...]:
    """Character by character, as the database orders texts of no language."""
    return tuple(sorted(references, key=lambda id_: references[id_].encode()))


async def _place_by_name(
    connection: asyncpg.Connection, actor: Actor, named: Sequence[UUID], place: Sequence[Key]
) -> tuple[Key, ...]:
    """Where the last of the page before stands now. Raises InvalidError when it is gone."""
    last = place[-1]
    assert isinstance(last, UUID)  # noqa: S101  # its kind was asked for; narrows the type
    places = {id_: number for number, id_ in enumerate(named, start=1)}
    if last not in places and not await connection.fetchval(_IS_THERE, actor.clinic_id, last):
        raise _place_lost()
    return places.get(last, UNNAMED), last


def _cursor(actor: Actor, request: CaseloadRequest, as_of: datetime, last: Any) -> str:
    keys = (last[f"key_{number}"] for number, _ in enumerate(ORDERS[request.sort].kinds))
    return encode_keys(request.question(actor.clinic_id), (as_of, *keys, last["id"]))


def _place_lost() -> InvalidError:
    fault = Fault("query/cursor", "place_lost", "The patient the page before ended with is gone: begin again.")
    return InvalidError("The list cannot be gone on with.", faults=(fault,))


def _counts(head: Any) -> CaseloadCounts:
    patients, with_form = head["patients"], head["with_form"]
    without_form = patients - with_form
    return CaseloadCounts(patients=patients, with_form=with_form, without_form=without_form, matching=head["matching"])


def _entry(row: Any, external_ref: str | None, instrument: Instrument, as_of: datetime) -> CaseloadEntry:
    taken_at, next_at = row["taken_at"], row["next_session_at"]
    return CaseloadEntry(
        patient_id=row["id"],
        external_ref=external_ref,
        episode_id=row["episode_id"],
        last_form=None if taken_at is None else _form(row, instrument),
        # A form from a clock that runs ahead is of today.
        days_since_last_form=None if taken_at is None else max(0, (as_of - taken_at) // _DAY),
        baseline=_baseline(row),
        change=whole(row["change"]),
        percent_change=row["percent_change"],
        change_since_last=whole(row["change_since_last"]),
        category=row["category"],
        on_track=row["on_track"],
        on_track_reason=row["on_track_reason"],
        forms=row["forms"],
        doses=row["doses"],
        last_dose_at=row["last_dose_at"],
        alerts=CaseloadAlerts(
            open=row["alerts_open"], acknowledged=row["alerts_acknowledged"], oldest_open_at=row["oldest_open_at"]
        ),
        check_ins=CaseloadCheckIns(overdue=row["overdue"], missed=row["missed"]),
        next_session=None if next_at is None else NextSession(at=next_at, kind=row["next_session_kind"]),
    )


def _form(row: Any, instrument: Instrument) -> CaseloadForm:
    band = next((band for band in instrument.bands if band.code == row["severity"]), None)
    return CaseloadForm(
        assessment_id=row["assessment_id"],
        taken_at=row["taken_at"],
        total=whole(row["total"]),
        validity=row["validity"],
        severity=None if band is None else SeverityAnswer.model_validate(band),
    )


def _baseline(row: Any) -> CaseloadBaseline | None:
    total = whole(row["baseline_total"])
    if total is None:
        return None
    return CaseloadBaseline(assessment_id=row["baseline_id"], rule=row["baseline_rule"], total=total)
