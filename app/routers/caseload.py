"""Every patient's latest state, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.auth import Actor, Permission
from app.deps import Cursor, DatabaseDep, Limit, StrictRoute, allowed, link_next
from app.paging import DEFAULT_LIMIT
from app.schemas.caseload import ENTRY_EXAMPLE, CaseloadAnswer, Category
from app.schemas.fields import Id, InstrumentId
from app.scoring.registry import get_instrument
from app.services import caseload
from app.services.caseload_query import CaseloadFilter, CaseloadRequest, OnTrackAnswer, Sort
from app.services.caseload_rules import caseload_rules

router = APIRouter(prefix="/v1/caseload", tags=["caseload"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_CASELOAD))]
Categories = Annotated[list[Category] | None, Query(max_length=6, description="Any of these; repeat for more.")]
Silence = Annotated[int | None, Query(ge=1, le=36_500, description="No form on this instrument for so many days.")]


def _filter(
    category: Categories = None,
    on_track: OnTrackAnswer | None = None,
    has_open_alerts: Annotated[bool | None, Query(description="Alerts of any instrument.")] = None,
    overdue: Annotated[bool | None, Query(description="Whether a form of any instrument is overdue.")] = None,
    silent_for_days: Silence = None,
    patient_id: Id | None = None,
) -> CaseloadFilter:
    return CaseloadFilter(tuple(category or ()), on_track, has_open_alerts, overdue, silent_for_days, patient_id)


def _request(
    only: Annotated[CaseloadFilter, Depends(_filter)],
    instrument: Annotated[InstrumentId, Query(description="id without version")] = "phq-9",
    sort: Sort = Sort.WORST,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> CaseloadRequest:
    return CaseloadRequest(instrument, only, sort, limit, cursor)


def _example() -> dict[str, Any]:
    """With the rules as they are, so that the document cannot differ from them."""
    return {
        "data": [ENTRY_EXAMPLE],
        "next_cursor": None,
        "instrument": "phq-9",
        "as_of": "2026-11-20T19:30:00Z",
        "n": {"patients": 86, "with_form": 80, "without_form": 6, "matching": 1},
        "rules": caseload_rules(get_instrument("phq-9"), Sort.WORST).model_dump(),
    }


@router.get(
    "",
    summary="Every patient's latest state on one instrument, worst first",
    responses={200: {"content": {"application/json": {"example": _example()}}}},
)
async def list_caseload(
    actor: Reader,
    database: DatabaseDep,
    asked: Annotated[CaseloadRequest, Depends(_request)],
    request: Request,
    response: Response,
) -> CaseloadAnswer:
    """Patients without any form are in it, as unknown. That nothing is flagged is no all-clear."""
    page = await caseload.find_caseload(database, actor, asked)
    link_next(request, response, page.next_cursor)
    return page
