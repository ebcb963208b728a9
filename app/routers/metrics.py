"""What monitoring reads: counts of the service, without a patient and without a clinic."""

import asyncio
import hmac
from typing import Any, Final, cast

from fastapi import APIRouter, Request, Response

from app import metrics
from app.deps import DatabaseDep
from app.errors import UnauthenticatedError
from app.services.worker_lag import LagWatch
from app.settings import Settings

router = APIRouter(tags=["health"])

_EXAMPLE: Final = 'tidemark_requests_total{method="POST",route="/v1/assessments",status="2xx"} 1024.0\n'


class PrometheusText(Response):
    media_type = metrics.MEDIA_TYPE


_DECLARED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {metrics.MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}}}
}


@router.get(
    "/metrics",
    summary="Counts for monitoring, in Prometheus' text format",
    response_class=PrometheusText,
    responses=_DECLARED,
)
async def get_metrics(database: DatabaseDep, request: Request) -> PrometheusText:
    """Where `TIDEMARK_METRICS_TOKEN` is set, it has to be sent as the bearer token."""
    refuse_strangers(request)
    database_up, lag = await cast("LagWatch", request.app.state.lag).look(database)
    moment = metrics.Moment(request.app.version, database_up, lag)
    return PrometheusText(await asyncio.to_thread(metrics.text, moment))


def refuse_strangers(request: Request) -> None:
    """Raises UnauthenticatedError."""
    token = cast("Settings", request.app.state.settings).metrics_token
    if token is None:
        return
    expected = f"Bearer {token.get_secret_value()}".encode()
    if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
        raise UnauthenticatedError("Send `Authorization: Bearer` with the token that TIDEMARK_METRICS_TOKEN names.")
