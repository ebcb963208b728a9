"""The baseline: the same check-in built the way the tutorials of FastAPI and SQLModel build an endpoint.

Same tables, role, row-level security, token, scoring and bodies. It does less than the service: no idempotency keys,
no repeats, no strict JSON, no problem documents. Kept for the benchmarks alone; nothing of the service uses it.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from app.auth import Actor, Role, parse_token
from app.crypto import MasterKeys
from app.ids import new_id
from app.schemas.assessments import ArrivalAnswer, AssessmentAnswer, AssessmentSubmit, ContextAnswer
from app.schemas.fields import offset_minutes
from app.schemas.instruments import ScoreAnswer
from app.scoring import get_instrument, score
from app.scoring.episode import Episode, place
from app.scoring.treatment import Dose
from app.tables import ApiToken, Assessment, AuditEvent, DataKey, EpisodeOfCare, TreatmentSession

engine = create_async_engine(
    make_url(os.environ["TIDEMARK_DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    connect_args={"server_settings": {"role": "tidemark_runtime", "jit": "off"}},
)
app = FastAPI()
masters = MasterKeys.parse(os.environ["TIDEMARK_MASTER_KEYS"])
token_keys: dict[UUID, bytes] = {}


async def get_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def token_key(session: AsyncSession, clinic_id: UUID) -> bytes:
    if clinic_id not in token_keys:
        query = select(DataKey).where(DataKey.clinic_id == clinic_id, DataKey.id == clinic_id)
        key = masters.unwrap((await session.exec(query)).one().wrapped, f"data_key.wrapped {clinic_id} {clinic_id}")
        token_keys[clinic_id] = key.derive("tokens")
    return token_keys[clinic_id]


async def get_actor(
    session: SessionDep, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> Actor:
    parts = parse_token(credentials.credentials)
    await session.exec(text("SELECT set_config('app.clinic_id', :id, true)"), params={"id": str(parts.clinic_id)})  # type: ignore[call-overload]  # text is accepted, its type is not
    token = await session.get(ApiToken, (parts.clinic_id, parts.token_id))
    key = await token_key(session, parts.clinic_id)
    if token is None or token.revoked_at is not None or not parts.matches(token.secret_hash, key):
        raise HTTPException(401)
    return Actor(parts.clinic_id, parts.token_id, Role(token.role))


async def find_episodes(session: AsyncSession, clinic_id: UUID, patient_id: UUID) -> list[Episode]:
    """Newest versions, with the doses given in each."""
    mine = (EpisodeOfCare.clinic_id == clinic_id, EpisodeOfCare.patient_id == patient_id)
    rows = (await session.exec(select(EpisodeOfCare).where(*mine).order_by(col(EpisodeOfCare.version)))).all()
    its = (TreatmentSession.clinic_id == clinic_id, TreatmentSession.patient_id == patient_id)
    sessions = (await session.exec(select(TreatmentSession).where(*its).order_by(col(TreatmentSession.version)))).all()
    doses: dict[UUID, list[Dose]] = {}
    for each in {row.id: row for row in sessions}.values():
        if each.kind == "dosing" and each.started_at is not None and not each.entered_in_error:
            doses.setdefault(each.episode_id, []).append(Dose(str(each.id), each.started_at, each.ended_at))
    return [
        Episode(
            str(row.id),
            row.opened_at,
            row.closed_at,
            tuple(sorted(doses.get(row.id, ()), key=lambda dose: dose.started_at)),
        )
        for row in {row.id: row for row in rows}.values()
        if not row.entered_in_error
    ]


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
        device_skew_seconds=None,
        clock_correction_minutes=0,
        fingerprint=b"",
    )
    session.add(assessment)
    session.add(
        AuditEvent(
            clinic_id=actor.clinic_id,
            id=new_id(),
            at=assessment.received_at,
            actor_id=actor.token_id,
            actor_role=actor.role,
            action="assessment.create",
            subject_id=form.patient_id,
            resource_id=assessment.id,
        )
    )
    placed = place(
        form.taken_at, await find_episodes(session, actor.clinic_id, form.patient_id), instrument.recall_days
    )
    await session.commit()
    return AssessmentAnswer(
        **assessment.model_dump(exclude={"instrument", "taken_at_offset_minutes"}),
        instrument=instrument.key,
        taken_at_offset=assessment.taken_at_offset_minutes,
        score=ScoreAnswer.of(result),
        context=ContextAnswer(
            episode_id=None if placed.episode_id is None else UUID(placed.episode_id),
            dose_number=placed.context.dose_number,
            hours_since_dose=placed.context.hours_since_dose,
            recall_after_dose=placed.context.recall_after_dose,
        ),
        arrival=ArrivalAnswer(
            late=False,
            hours_after=(assessment.received_at - form.taken_at).total_seconds() / 3600,
            device_skew_seconds=None,
            clock_correction_minutes=0,
        ),
        alerts=[],
        safety_text=None,
    )
