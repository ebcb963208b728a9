"""What a known caller was refused, or asked for in vain, is told in the trail before they are answered.

Of research data every refusal is told: a filter that singles somebody out, a second download, an approval by oneself.
Elsewhere content that breaks a rule is a slip, and the form it is about is sent again.
"""

import logging
from typing import Final
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from app import problems
from app.audit import Outcome, record_refusal
from app.deps import actor_of, database_of
from app.errors import AppError, ConflictError, ForbiddenError, GoneError, InvalidError, NotFoundError, TooManyError
from app.logs import trouble
from app.schemas.faults import invalid

log = logging.getLogger("tidemark")

OUTCOMES: Final[dict[type[AppError], Outcome]] = {
    ForbiddenError: Outcome.REFUSED,
    NotFoundError: Outcome.ABSENT,
}
OF_RESEARCH: Final = (ConflictError, GoneError, InvalidError, TooManyError)
RESEARCH: Final = frozenset({"releases", "cohorts"})  # tags of routes
_OF_WHAT_WAS_FOUND: Final = (ConflictError, GoneError)


def install(app: FastAPI) -> None:
    for error in (*OUTCOMES, *OF_RESEARCH):
        app.add_exception_handler(error, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # registered for this class alone; narrows the type
    return await _answer(request, invalid(error.errors()))


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)  # noqa: S101  # same
    await _tell(request, error)
    return await problems.from_app_error(request, error)


async def _tell(request: Request, error: AppError) -> None:
    """In a transaction of its own, behind the one that failed. If even that fails, a refusal is still a refusal."""
    actor, route = actor_of(request), request.scope.get("route")
    if actor is None or error.is_told or not isinstance(route, APIRoute):
        return
    outcome = OUTCOMES.get(type(error)) or (Outcome.REFUSED if RESEARCH.intersection(route.tags) else None)
    if outcome is None:
        return
    try:
        async with database_of(request).connection(actor.clinic_id) as connection:
            await record_refusal(connection, actor, route.name, outcome, _found(request, error))
    except Exception as trouble_:  # noqa: BLE001  # whatever it is, it must not turn a 403 into a 500
        log.warning("refusal_not_told", trouble(trouble_))


def _found(request: Request, error: AppError) -> UUID | None:
    """An id that was not found may be of another clinic, and is written nowhere."""
    id_ = request.path_params.get("release_id")
    return UUID(id_) if id_ and isinstance(error, _OF_WHAT_WAS_FOUND) else None
