"""What a patient has consented to, and whether 42 CFR Part 2 protects their record."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import (
    BasedOnDep,
    BasedOnIfAnyDep,
    IdempotencyKeyDep,
    SessionDep,
    StrictRoute,
    allowed,
    mark_replayed,
    tag_version,
)
from app.schemas.consents import (
    ConsentAnswer,
    ConsentPut,
    ConsentWithdrawal,
    PartTwoAnswer,
    PartTwoPut,
    consent_answer,
    part_two_answer,
)
from app.schemas.fields import Id, Page
from app.services import consents, part_two

router = APIRouter(prefix="/v1/patients/{patient_id}", tags=["consents"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_CONSENTS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_CONSENTS))]
Withdrawer = Annotated[Actor, Depends(allowed(Permission.WITHDRAW_CONSENTS))]


@router.get("/consents", summary="What a patient has consented to, newest version of each")
async def list_consents(actor: Reader, session: SessionDep, patient_id: Id, response: Response) -> Page[ConsentAnswer]:
    """What is not listed was not consented to. The `ETag` is that of the whole list; an empty one has none."""
    found = await consents.find_consents(session, actor, patient_id)
    shown = len(found.newest)
    await record_read(session, actor, "consent.list", of=patient_id, resource_id=patient_id, rows=shown)
    if found.rows:
        tag_version(response, found.version)
    return Page(data=[consent_answer(row) for row in found.newest], next_cursor=None)


@router.get("/consents/history", summary="All versions of all consents of a patient, newest first")
async def list_consent_versions(actor: Reader, session: SessionDep, patient_id: Id) -> Page[ConsentAnswer]:
    found = await consents.find_consents(session, actor, patient_id)
    newest = {(row.id, row.version) for row in found.newest}
    rows = [consent_answer(row, is_newest=(row.id, row.version) in newest) for row in reversed(found.rows)]
    await record_read(session, actor, "consent.history", of=patient_id, resource_id=patient_id, rows=len(rows))
    return Page(data=rows, next_cursor=None)


@router.put(
    "/consents",
    summary="Record a consent as it was given, renewed or corrected",
    responses={201: {"model": ConsentAnswer, "description": "The first for this purpose and recipient."}},
)
async def put_consent(
    actor: Writer,
    session: SessionDep,
    patient_id: Id,
    body: ConsentPut,
    based_on: BasedOnIfAnyDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> ConsentAnswer:
    """Purpose and recipient say which. The patient's first needs no `If-Match`; later ones want the list's `ETag`."""
    made, version, replayed = await consents.put_consent(session, actor, patient_id, body, based_on, key)
    if made.version == 1:
        response.status_code = 201
        response.headers["Location"] = f"/v1/patients/{patient_id}/consents"
    tag_version(response, version)
    mark_replayed(response, replayed=replayed)
    return consent_answer(made)


@router.post("/consents/{consent_id}/withdrawal", summary="Withdraw a consent")
async def withdraw_consent(
    actor: Withdrawer,
    session: SessionDep,
    patient_id: Id,
    consent_id: Id,
    body: ConsentWithdrawal,
    key: IdempotencyKeyDep,
    response: Response,
) -> ConsentAnswer:
    """By staff, and by the patient. Wants no `If-Match`, and twice is no error: nothing is in its way."""
    made, version, replayed = await consents.withdraw_consent(session, actor, patient_id, consent_id, body, key)
    tag_version(response, version)
    mark_replayed(response, replayed=replayed)
    return consent_answer(made)


@router.get("/part-2", summary="Whether 42 CFR Part 2 protects a patient's record")
async def get_part_two(actor: Reader, session: SessionDep, patient_id: Id, response: Response) -> PartTwoAnswer:
    found = await part_two.get_part_two(session, actor, patient_id)
    await record_read(session, actor, "part_two.read", of=patient_id, resource_id=patient_id)
    tag_version(response, found.version)
    return part_two_answer(found)


@router.get("/part-2/history", summary="All versions of that, newest first")
async def list_part_two_versions(actor: Reader, session: SessionDep, patient_id: Id) -> Page[PartTwoAnswer]:
    rows = await part_two.find_part_two_versions(session, actor, patient_id)
    await record_read(session, actor, "part_two.history", of=patient_id, resource_id=patient_id, rows=len(rows))
    return Page(data=[part_two_answer(row) for row in rows], next_cursor=None)


@router.put("/part-2", summary="Say whether 42 CFR Part 2 protects a patient's record")
async def put_part_two(
    actor: Writer,
    session: SessionDep,
    patient_id: Id,
    body: PartTwoPut,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> PartTwoAnswer:
    made, replayed = await part_two.put_part_two(session, actor, patient_id, body, based_on, key)
    tag_version(response, made.version)
    mark_replayed(response, replayed=replayed)
    return part_two_answer(made)
