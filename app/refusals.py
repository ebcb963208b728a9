"""What a known caller was refused, or asked for in vain, is told in the trail before they are answered."""

import logging
from typing import Final

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from app import problems
from app.audit import Outcome, record_refusal
from app.deps import actor_of, database_of
from app.errors import AppError, ForbiddenError, NotFoundError
from app.logs import trouble

log = logging.getLogger("tidemark")

OUTCOMES: Final[dict[type[AppError], Outcome]] = {
    ForbiddenError: Outcome.REFUSED,
    NotFoundError: Outcome.ABSENT,
}


def install(app: FastAPI) -> None:
    for error in OUTCOMES:
        app.add_exception_handler(error, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    await _tell(request, next(outcome for kind, outcome in OUTCOMES.items() if isinstance(error, kind)))
    return await problems.from_app_error(request, error)


async def _tell(request: Request, outcome: Outcome) -> None:
    """In a transaction of its own, behind the one that failed. If even that fails, a refusal is still a refusal."""
    actor, route = actor_of(request), request.scope.get("route")
    if actor is None or not isinstance(route, APIRoute):
        return
    try:
        async with database_of(request).connection(actor.clinic_id) as connection:
            await record_refusal(connection, actor, route.name, outcome)
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not turn a 403 into a 500
        log.warning("refusal_not_told", trouble(error))
