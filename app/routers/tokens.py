"""Tokens of a clinic's people and programs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import IdempotencyKeyDep, PageDep, SessionDep, StrictRoute, allowed, link_next, mark_replayed
from app.paging import Position, cut
from app.schemas.fields import Id, Page
from app.schemas.tokens import NewTokenAnswer, TokenAnswer, TokenCreate
from app.services import api_tokens

router = APIRouter(prefix="/v1/tokens", tags=["tokens"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_TOKENS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_TOKENS))]


@router.post("", status_code=201, summary="Make a token; its secret is shown this once")
async def create_token(
    actor: Writer, session: SessionDep, body: TokenCreate, key: IdempotencyKeyDep, response: Response
) -> NewTokenAnswer:
    """A replay answers the same token without its secret: make another and revoke this one."""
    made, text, replayed = await api_tokens.record_token(session, actor, body, key)
    response.headers["Location"] = f"{router.prefix}/{made.id}"
    mark_replayed(response, replayed=replayed)
    return NewTokenAnswer(**api_tokens.described(made), token=text)


@router.get("", summary="Tokens of the clinic, newest first, dead ones too")
async def list_tokens(
    actor: Reader, session: SessionDep, page: PageDep, request: Request, response: Response
) -> Page[TokenAnswer]:
    found = await api_tokens.find_tokens(session, actor, page)
    rows, cursor = cut(found, page, lambda row: Position(row.created_at, row.id))
    patients = [row.patient_id for row in rows if row.patient_id is not None]
    await record_read(session, actor, "token.list", of=patients, rows=len(rows))
    link_next(request, response, cursor)
    return Page(data=[TokenAnswer(**api_tokens.described(row)) for row in rows], next_cursor=cursor)


@router.get("/{token_id}", summary="One token, without its secret")
async def get_token(actor: Reader, session: SessionDep, token_id: Id) -> TokenAnswer:
    found = await api_tokens.get_token(session, actor, token_id)
    await record_read(session, actor, "token.read", of=found.patient_id, resource_id=token_id)
    return TokenAnswer(**api_tokens.described(found))


@router.post("/{token_id}/revocation", summary="Revoke a token")
async def revoke_token(
    actor: Writer, session: SessionDep, token_id: Id, key: IdempotencyKeyDep, response: Response
) -> TokenAnswer:
    """Every worker refuses it within a second. Revoking twice is no error."""
    revoked, replayed = await api_tokens.revoke_token(session, actor, token_id, key)
    mark_replayed(response, replayed=replayed)
    return TokenAnswer(**api_tokens.described(revoked))
