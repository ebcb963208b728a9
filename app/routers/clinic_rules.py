"""The clinic and what it has decided for itself."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from app.auth import Actor, Permission
from app.deps import BasedOnDep, IdempotencyKeyDep, SessionDep, StrictRoute, allowed, mark_replayed, tag_version
from app.schemas.clinic_rules import ClinicAnswer, ClinicRulesChange
from app.schemas.fields import Page
from app.services import clinic_rules
from app.services.clinic_rules import ClinicInView

router = APIRouter(prefix="/v1/clinic", tags=["clinic"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_CLINIC_RULES))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_CLINIC_RULES))]


@router.get("", summary="The clinic of the token, with its rules")
async def get_clinic(actor: Reader, session: SessionDep, response: Response) -> ClinicAnswer:
    found = await clinic_rules.get_clinic(session, actor)
    tag_version(response, found.rules.version)
    return _answer(found)


@router.patch("", summary="Change rules of the clinic")
async def amend_clinic_rules(
    actor: Writer,
    session: SessionDep,
    body: ClinicRulesChange,
    based_on: BasedOnDep,
    key: IdempotencyKeyDep,
    response: Response,
) -> ClinicAnswer:
    made, replayed = await clinic_rules.amend_clinic_rules(session, actor, body, based_on, key)
    tag_version(response, made.rules.version)
    mark_replayed(response, replayed=replayed)
    return _answer(made)


@router.get("/history", summary="All versions of the rules, newest first, down to the defaults")
async def list_clinic_versions(actor: Reader, session: SessionDep) -> Page[ClinicAnswer]:
    rows = await clinic_rules.find_clinic_versions(session, actor)
    return Page(data=[_answer(row) for row in rows], next_cursor=None)


def _answer(found: ClinicInView) -> ClinicAnswer:
    named = {"name": found.clinic.name, "time_zone": found.clinic.time_zone}
    return ClinicAnswer.model_validate(found.rules.model_dump() | named)
