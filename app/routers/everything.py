"""Everything kept about one person: what the law calls access."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import SessionDep, StrictRoute, allowed
from app.schemas.everything import EverythingAnswer
from app.schemas.fields import Id
from app.services import everything

router = APIRouter(tags=["patients"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_EVERYTHING))]


@router.get("/v1/patients/{patient_id}/everything", summary="Everything that is kept about a patient")
async def get_everything(actor: Reader, session: SessionDep, patient_id: Id) -> EverythingAnswer:
    """For the patient too. Secrets are left out, and nothing else of what names the person."""
    found = await everything.get_everything(session, actor, patient_id)
    await record_read(session, actor, "everything.read", of=patient_id, resource_id=patient_id)
    return found
