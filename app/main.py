"""The application, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import openapi, problems, refusals
from app.cross_origin import CrossOrigin
from app.db import Database
from app.deps import TokenCache
from app.middleware import Envelope
from app.routers import (
    adverse_events,
    alerts,
    amendments,
    assessments,
    audit,
    care_teams,
    caseload,
    check_in_links,
    check_in_page,
    clinic_rules,
    cohorts,
    comparisons,
    consents,
    due,
    emergency_accesses,
    enrolments,
    episodes,
    erasures,
    everything,
    health,
    instruments,
    metrics,
    observations,
    patients,
    principals,
    reference,
    releases,
    schedules,
    suitability,
    thresholds,
    tokens,
    trajectories,
    treatment_sessions,
    webhooks,
)
from app.services.issuers import issuer_of
from app.services.persons import Persons
from app.services.rate_limits import RateLimits
from app.services.worker_lag import LagWatch
from app.settings import Settings

DESCRIPTION = """\
Measures whether trauma and depression treatment helps: check-ins in, trajectories out.
A screen is not a diagnosis, and this is not a crisis service."""

ROUTERS = (  # searched in this order: the hot ones first
    assessments,
    trajectories,
    comparisons,
    amendments,
    caseload,
    cohorts,
    patients,
    clinic_rules,
    instruments,
    episodes,
    schedules,
    due,
    treatment_sessions,
    observations,
    adverse_events,
    alerts,
    suitability,
    thresholds,
    webhooks,
    check_in_links,
    care_teams,
    emergency_accesses,
    consents,
    releases,
    everything,
    erasures,
    enrolments,
    tokens,
    audit,
    principals,
    health,
    metrics,
    check_in_page,
    reference,
)


def create_app(settings: Settings, database_url: str) -> FastAPI:
    issuer = issuer_of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = Database(database_url, settings)
        await database.open()
        app.state.database, app.state.settings = database, settings
        app.state.tokens = TokenCache(None if issuer is None else Persons(issuer))
        app.state.limits, app.state.lag = RateLimits.of(settings), LagWatch()
        yield
        await app.state.limits.table.close()
        await app.state.tokens.close()
        await database.close()

    app = FastAPI(
        title="Tidemark",
        version=version("tidemark"),
        description=DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    # Flat, not included: one table of routes, so that a wrong method can be told all the right ones.
    for module in ROUTERS:
        app.router.routes.extend(module.router.routes)
    problems.install(app)
    refusals.install(app)
    openapi.install(app)
    if settings.cors_origins:
        app.add_middleware(CrossOrigin, origins=settings.cors_origins.split(","))
    app.add_middleware(Envelope, hsts_seconds=settings.hsts_seconds)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
    return app


def from_environment() -> FastAPI:
    """What each worker process runs; the command line has put the address into the environment."""
    settings = Settings()
    if settings.database_url is None:
        raise SystemExit("Set TIDEMARK_DATABASE_URL, or start with `tidemark serve`, which brings its own Postgres.")
    settings.refuse_weak_secrets()
    return create_app(settings, settings.database_url.get_secret_value())
