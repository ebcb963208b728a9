"""Who an id of the trail is, where an issuer vouched for them."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.auth import Actor, Permission
from app.deps import SessionDep, StrictRoute, allowed
from app.schemas.fields import Id
from app.schemas.principals import PrincipalAnswer
from app.services import persons

router = APIRouter(prefix="/v1/principals", tags=["audit"], route_class=StrictRoute)

Auditor = Annotated[Actor, Depends(allowed(Permission.READ_AUDIT))]


@router.get("/{principal_id}", summary="Who a person in the trail is")
async def get_principal(actor: Auditor, session: SessionDep, principal_id: Id) -> PrincipalAnswer:
    """For `actor_id`s of people who sign in with an identity provider; those of tokens are under `/v1/tokens`."""
    return PrincipalAnswer.model_validate(await persons.get_principal(session, actor, principal_id))
