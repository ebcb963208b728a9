"""Addresses of a clinic's own programs, and what became of each delivery."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.audit import record_read
from app.auth import Actor, Permission
from app.deps import IdempotencyKeyDep, PageDep, SessionDep, StrictRoute, allowed, link_next, mark_replayed
from app.paging import Position, cut
from app.schemas.fields import Id, Page
from app.schemas.webhooks import DeliveryAnswer, DeliveryStatus, WebhookAnswer, WebhookCreate, WebhookWithSecret
from app.services import webhooks
from app.webhook_address import parse_internal_hosts

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictRoute)

Reader = Annotated[Actor, Depends(allowed(Permission.READ_WEBHOOKS))]
Writer = Annotated[Actor, Depends(allowed(Permission.WRITE_WEBHOOKS))]


async def _internal_hosts(request: Request) -> frozenset[str]:
    return parse_internal_hosts(request.app.state.settings.webhook_internal_hosts)


def _told(made: object) -> dict[str, Any]:
    return WebhookAnswer.model_validate(made).model_dump()


@router.post("", status_code=201, summary="Add a webhook; its secret is shown this once")
async def create_webhook(
    actor: Writer,
    session: SessionDep,
    body: WebhookCreate,
    internal_hosts: Annotated[frozenset[str], Depends(_internal_hosts)],
    key: IdempotencyKeyDep,
    response: Response,
) -> WebhookWithSecret:
    """A replay answers the same webhook without its secret: rotate it."""
    made, replayed = await webhooks.record_webhook(session, actor, body, internal_hosts, key)
    response.headers["Location"] = f"{router.prefix}/{made.id}"
    mark_replayed(response, replayed=replayed)
    return WebhookWithSecret(**_told(made), secret=None if replayed else made.secret)


@router.get("", summary="Webhooks of the clinic, newest first, disabled ones too")
async def list_webhooks(
    actor: Reader, session: SessionDep, page: PageDep, request: Request, response: Response
) -> Page[WebhookAnswer]:
    found = await webhooks.find_webhooks(session, actor, page)
    rows, cursor = cut(found, page, lambda row: Position(row.created_at, row.id))
    link_next(request, response, cursor)
    return Page(data=[WebhookAnswer.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/{webhook_id}", summary="One webhook, without its secret")
async def get_webhook(actor: Reader, session: SessionDep, webhook_id: Id) -> WebhookAnswer:
    return WebhookAnswer.model_validate(await webhooks.get_webhook(session, actor, webhook_id))


@router.post("/{webhook_id}/secret-rotation", summary="Make a new secret; the one before signs for another day")
async def rotate_webhook_secret(
    actor: Writer, session: SessionDep, webhook_id: Id, key: IdempotencyKeyDep, response: Response
) -> WebhookWithSecret:
    """A replay answers without the secret: rotate once more, with another key."""
    made, replayed = await webhooks.rotate_secret(session, actor, webhook_id, key)
    mark_replayed(response, replayed=replayed)
    return WebhookWithSecret(**_told(made), secret=None if replayed else made.secret)


@router.post("/{webhook_id}/disablement", summary="Send nothing more to a webhook")
async def disable_webhook(
    actor: Writer, session: SessionDep, webhook_id: Id, key: IdempotencyKeyDep, response: Response
) -> WebhookAnswer:
    made, replayed = await webhooks.disable_webhook(session, actor, webhook_id, key)
    mark_replayed(response, replayed=replayed)
    return WebhookAnswer.model_validate(made)


@router.post("/{webhook_id}/enablement", summary="Send to a disabled webhook again")
async def enable_webhook(
    actor: Writer, session: SessionDep, webhook_id: Id, key: IdempotencyKeyDep, response: Response
) -> WebhookAnswer:
    made, replayed = await webhooks.enable_webhook(session, actor, webhook_id, key)
    mark_replayed(response, replayed=replayed)
    return WebhookAnswer.model_validate(made)


@router.get("/{webhook_id}/deliveries", summary="What was sent to a webhook or still will be, latest first")
async def list_webhook_deliveries(
    actor: Reader,
    session: SessionDep,
    webhook_id: Id,
    page: PageDep,
    request: Request,
    response: Response,
    status: Annotated[DeliveryStatus | None, Query(description="Only these")] = None,
) -> Page[DeliveryAnswer]:
    found = await webhooks.find_deliveries(session, actor, webhook_id, status, page)
    rows, cursor = cut(found, page, lambda row: Position(row.created_at, row.notification_id))
    await record_read(
        session, actor, "delivery.list", of=[row.patient_id for row in rows], resource_id=webhook_id, rows=len(rows)
    )
    link_next(request, response, cursor)
    return Page(data=rows, next_cursor=cursor)


@router.post("/{webhook_id}/deliveries/{notification_id}/retry", summary="Send a dead delivery again")
async def retry_webhook_delivery(
    actor: Writer, session: SessionDep, webhook_id: Id, notification_id: Id, key: IdempotencyKeyDep, response: Response
) -> DeliveryAnswer:
    sent, replayed = await webhooks.retry_delivery(session, actor, webhook_id, notification_id, key)
    mark_replayed(response, replayed=replayed)
    return sent
