"""Is the process alive, and can it serve? No token, no patient data."""

from typing import Any, Final, Literal

from fastapi import APIRouter, Response

from app.deps import DatabaseDep
from app.errors import UnavailableError
from app.migrate import head_revision
from app.schemas.fields import Answer

router = APIRouter(tags=["health"])


class Liveness(Answer):
    status: Literal["alive"]


class Readiness(Answer):
    status: Literal["ready", "not_ready"]
    database: Literal["reachable", "away"]
    schema_revision: Literal["current", "other", "unknown"]


_NOT_READY_EXAMPLE: Final[dict[str, Any]] = {
    "application/json": {"example": {"status": "not_ready", "database": "away", "schema_revision": "unknown"}}
}


@router.get("/livez", summary="The process answers")
async def livez() -> Liveness:
    return Liveness(status="alive")


@router.get(
    "/readyz",
    summary="The database answers and has the schema this version needs",
    responses={503: {"model": Readiness, "description": "It does not, or not yet.", "content": _NOT_READY_EXAMPLE}},
)
async def readyz(database: DatabaseDep, response: Response) -> Readiness:
    try:
        current = await database.schema_revision() == head_revision()
    except UnavailableError:
        return _not_ready(response, Readiness(status="not_ready", database="away", schema_revision="unknown"))
    if not current:
        return _not_ready(response, Readiness(status="not_ready", database="reachable", schema_revision="other"))
    return Readiness(status="ready", database="reachable", schema_revision="current")


def _not_ready(response: Response, readiness: Readiness) -> Readiness:
    response.status_code = 503
    response.headers["Retry-After"] = str(UnavailableError.retry_after_seconds)
    return readiness
