"""Research releases: asked for, approved, read, downloaded, revoked."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import (
    DatabaseDep,
    IdempotencyKeyDep,
    PageDep,
    SessionDep,
    StrictRoute,
    allowed,
    link_next,
    mark_replayed,
)
from app.paging import Position, cut
from app.schemas.fields import Id, Page
from app.schemas.releases import ReleaseAnswer, ReleaseCreate, ReleaseDecision
from app.services import release_downloads, releases

router = APIRouter(prefix="/v1/releases", tags=["releases"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_RELEASES))]
Asker = Annotated[Actor, Depends(allowed(Permission.REQUEST_RELEASES))]
Decider = Annotated[Actor, Depends(allowed(Permission.DECIDE_RELEASES))]
FileName = Annotated[
    str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,60}(\.[a-z0-9]{1,10}){1,2}$", description="As the manifest names it")
]


@router.post("", status_code=201, summary="Ask for a research data set")
async def request_release(
    actor: Asker, session: SessionDep, body: ReleaseCreate, key: IdempotencyKeyDep, response: Response
) -> ReleaseAnswer:
    """Nothing is built before an administrator who is not you has approved it."""
    made, replayed = await releases.request_release(session, actor, body, key)
    response.headers["Location"] = f"{router.prefix}/{made.id}"
    mark_replayed(response, replayed=replayed)
    return ReleaseAnswer.model_validate(releases.answered(made))


@router.get("", summary="Releases, newest first: one's own, or all to an administrator")
async def list_releases(
    actor: Reader, session: SessionDep, page: PageDep, request: Request, response: Response
) -> Page[ReleaseAnswer]:
    found = await releases.find_releases(session, actor, page)
    rows, cursor = cut(found, page, lambda row: Position(row.requested_at, row.id))
    link_next(request, response, cursor)
    return Page(data=[ReleaseAnswer.model_validate(releases.answered(row)) for row in rows], next_cursor=cursor)


@router.get("/{release_id}", summary="One release: how far it is, and its manifest once it is ready")
async def get_release(actor: Reader, session: SessionDep, release_id: Id) -> ReleaseAnswer:
    return ReleaseAnswer.model_validate(releases.answered(await releases.get_release(session, actor, release_id)))


@router.post("/{release_id}/approval", summary="Approve or reject a release that somebody else asked for")
async def decide_release(
    actor: Decider,
    session: SessionDep,
    release_id: Id,
    body: ReleaseDecision,
    key: IdempotencyKeyDep,
    response: Response,
) -> ReleaseAnswer:
    made, replayed = await releases.decide_release(session, actor, release_id, body, key)
    mark_replayed(response, replayed=replayed)
    return ReleaseAnswer.model_validate(releases.answered(made))


@router.post("/{release_id}/revocation", summary="End a release before its time")
async def revoke_release(
    actor: Asker, session: SessionDep, release_id: Id, key: IdempotencyKeyDep, response: Response
) -> ReleaseAnswer:
    """Nobody can download it from now on. What was downloaded is not reached."""
    made, replayed = await releases.revoke_release(session, actor, release_id, key)
    mark_replayed(response, replayed=replayed)
    return ReleaseAnswer.model_validate(releases.answered(made))


@router.get(
    "/{release_id}/files/{name}",
    summary="Download one file of a release that is ready",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def download_release_file(
    actor: Reader, session: SessionDep, database: DatabaseDep, release_id: Id, name: FileName
) -> StreamingResponse:
    """Gone when the release has ended, and when somebody in it has withdrawn since."""
    row = await releases.get_release(session, actor, release_id)
    releases.refuse_ended(row, datetime.now(UTC))
    file = release_downloads.get_file(row, name)
    await releases.refuse_without_consent(database, row)
    chunks = await release_downloads.open_file(database, row.clinic_id, row.id, file)
    await record_read(session, actor, "release_file.read", of=None, resource_id=row.id, rows=file["rows"] or 0)
    headers = {
        "ETag": f'"{file["sha256"]}"',
        "Content-Length": str(file["bytes"]),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return StreamingResponse(_streamed(chunks), media_type="application/octet-stream", headers=headers)


async def _streamed(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk
