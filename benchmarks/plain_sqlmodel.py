"""The baseline: the same check-in built the way the tutorials of FastAPI and SQLModel build an endpoint.

Same tables, role, row-level security, token, scoring and bodies. It does less than the service: no idempotency keys,
no repeats, no strict JSON, no problem documents. Kept for the benchmarks alone; nothing of the service uses it.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor, Role, parse_token
from app.ids import new_id
from app.schemas.assessments import AlertAnswer, AssessmentAnswer, AssessmentSubmit
from app.schemas.fields import offset_minutes
from app.schemas.instruments import ScoreAnswer
from app.scoring import get_instrument, score
from app.tables import ApiToken, Assessment

engine = create_async_engine(
    make_url(os.environ["TIDEMARK_DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    connect_args={"server_settings": {"role": "tidemark_runtime", "jit": "off"}},
)
app = FastAPI()


async def get_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def get_actor(
    session: SessionDep, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> Actor:
    parts = parse_token(credentials.credentials)
    await session.exec(text("SELECT set_config('app.clinic_id', :id, true)"), params={"id": str(parts.clinic_id)})  # type: ignore[call-overload]  # text is accepted, its type is not
    token = await session.get(ApiToken, (parts.clinic_id, parts.token_id))
    if token is None or token.revoked_at is not None or not parts.matches(token.secret_hash):
        raise HTTPException(401)
    return Actor(parts.clinic_id, parts.token_id, Role(token.role))


@app.post("/v1/assessments", status_code=201)
async def submit_assessment(
    form: AssessmentSubmit, session: SessionDep, actor: Annotated[Actor, Depends(get_actor)]
) -> AssessmentAnswer:
    instrument = get_instrument(form.instrument)
    result = score(instrument, form.responses)
    assessment = Assessment(
        clinic_id=actor.clinic_id,
        id=form.id or new_id(),
        version=1,
        patient_id=form.patient_id,
        instrument=instrument.id,
        instrument_version=instrument.version,
        responses=form.responses,
        validity=result.validity,
        total=result.total,
        taken_at=form.taken_at,
        taken_at_offset_minutes=offset_minutes(form.taken_at),
        received_at=datetime.now(UTC),
        mode=form.mode,
        language=form.language,
        status="final",
        reason=None,
        recorded_by=actor.token_id,
        fingerprint=b"",
    )
    session.add(assessment)
    record_event(
        session,
        actor,
        "assessment.create",
        at=assessment.received_at,
        subject_id=form.patient_id,
        resource_id=assessment.id,
    )
    await session.commit()
    labels = {critical.code: critical.label for critical in instrument.critical_items}
    return AssessmentAnswer(
        **assessment.model_dump(exclude={"instrument", "taken_at_offset_minutes"}),
        instrument=instrument.key,
        taken_at_offset=assessment.taken_at_offset_minutes,
        score=ScoreAnswer.of(result),
        alerts=[
            AlertAnswer(code=finding.code, item=finding.item, label=labels[finding.code])
            for finding in result.critical_items
            if finding.raised
        ],
    )
