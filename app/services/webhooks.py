"""A clinic's webhooks, and how its deliveries went. Sending is `app.delivery`'s."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from app.audit import record_event
from app.auth import Actor
from app.errors import ConflictError, Fault, InvalidError, NotFoundError
from app.ids import new_id
from app.paging import PageRequest
from app.schemas.webhooks import DeliveryAnswer, WebhookCreate
from app.services.pages import newest_first
from app.services.sealing import opened, sealed
from app.services.versions import find_replayed
from app.tables import Delivery, Notification, Webhook
from app.webhook_address import AddressError, WebhookAddress, checked_addresses, parse_address
from app.webhook_signing import new_secret

MAX_WEBHOOKS: Final = 20  # of one clinic: each multiplies what is written and sent
BOTH_SECRETS_HOURS: Final = 24  # time to give the new one to every receiver


async def record_webhook(
    session: AsyncSession, actor: Actor, content: WebhookCreate, internal_hosts: Collection[str], key: str | None
) -> tuple[Webhook, bool]:
    """The webhook, and whether this was a repeat of an earlier call: then its secret stays sealed."""
    now, new, asked = datetime.now(UTC), new_id(), content.model_dump(mode="json")
    address = _parsed(content.url)
    if known := await find_replayed(session, actor, "webhook.create", asked, key, new):
        return await get_webhook(session, actor, known), True
    await _refuse_unreachable(address, internal_hosts)
    await _refuse_too_many(session, actor)
    row = Webhook(
        clinic_id=actor.clinic_id,
        id=new,
        url=content.url,
        events=sorted(set(content.events)),
        label=content.label,
        secret=new_secret(),
        previous_secret=None,
        previous_secret_until=None,
        created_at=now,
        created_by=actor.token_id,
        disabled_at=None,
    )
    session.add(Webhook(**await sealed(session, row)))
    _record(session, actor, "webhook.create", row, now)
    return row, False


async def get_webhook(session: AsyncSession, actor: Actor, webhook_id: UUID, *, to_change: bool = False) -> Webhook:
    """Raises NotFoundError. `to_change` holds it against other writers until the end of the transaction."""
    row = await session.get(Webhook, (actor.clinic_id, webhook_id), with_for_update=to_change or None)
    if row is None:
        raise NotFoundError("There is no such webhook.")
    return row


async def find_webhooks(session: AsyncSession, actor: Actor, page: PageRequest) -> Sequence[Webhook]:
    """Newest first; one row more than the page holds, if there is one."""
    query = select(Webhook).where(Webhook.clinic_id == actor.clinic_id)
    return await newest_first(session, query, Webhook.created_at, Webhook.id, page)


async def rotate_secret(session: AsyncSession, actor: Actor, id_: UUID, key: str | None) -> tuple[Webhook, bool]:
    """A new secret; for a day the one before signs beside it, so that receivers can change in their own time."""
    now = datetime.now(UTC)
    if await _is_repeat(session, actor, "webhook.rotate", id_, key):
        return await get_webhook(session, actor, id_), True
    (row,) = await opened(session, [await get_webhook(session, actor, id_, to_change=True)])
    row.previous_secret, row.secret = row.secret, new_secret()
    row.previous_secret_until = now + timedelta(hours=BOTH_SECRETS_HOURS)
    changed = update(Webhook).where(col(Webhook.clinic_id) == actor.clinic_id, col(Webhook.id) == id_)
    await session.exec(changed.values(**await sealed(session, row)))
    _record(session, actor, "webhook.rotate", row, now)
    return row, False


async def disable_webhook(session: AsyncSession, actor: Actor, id_: UUID, key: str | None) -> tuple[Webhook, bool]:
    """Nothing more is sent to it, and nothing new is kept for it."""
    now = datetime.now(UTC)
    if await _is_repeat(session, actor, "webhook.disable", id_, key):
        return await get_webhook(session, actor, id_), True
    row = await get_webhook(session, actor, id_, to_change=True)
    if row.disabled_at is not None:
        raise ConflictError("The webhook is disabled already.")
    row.disabled_at = now
    _record(session, actor, "webhook.disable", row, now)
    return row, False


async def enable_webhook(session: AsyncSession, actor: Actor, id_: UUID, key: str | None) -> tuple[Webhook, bool]:
    """What was on its way when it was disabled goes on."""
    if await _is_repeat(session, actor, "webhook.enable", id_, key):
        return await get_webhook(session, actor, id_), True
    row = await get_webhook(session, actor, id_, to_change=True)
    if row.disabled_at is None:
        raise ConflictError("The webhook is enabled already.")
    row.disabled_at = None
    _record(session, actor, "webhook.enable", row, datetime.now(UTC))
    return row, False


async def find_deliveries(
    session: AsyncSession, actor: Actor, webhook_id: UUID, status: str | None, page: PageRequest
) -> list[DeliveryAnswer]:
    """Latest notification first; one row more than the page holds, if there is one. Raises NotFoundError."""
    await get_webhook(session, actor, webhook_id)
    query = _deliveries(actor, webhook_id)
    if status is not None:
        query = query.where(Delivery.status == status)
    found = await newest_first(session, query, Notification.created_at, Notification.id, page)
    return [_told(delivery, notification) for delivery, notification in found]


async def retry_delivery(
    session: AsyncSession, actor: Actor, webhook_id: UUID, notification_id: UUID, key: str | None
) -> tuple[DeliveryAnswer, bool]:
    """A dead one begins anew, with all its attempts. Raises NotFoundError, ConflictError."""
    asked = {"webhook_id": str(webhook_id), "notification_id": str(notification_id)}
    replayed = await find_replayed(session, actor, "webhook.retry", asked, key, notification_id) is not None
    query = _deliveries(actor, webhook_id).where(Delivery.notification_id == notification_id)
    found = (await session.exec(query.with_for_update(of=Delivery))).first()
    if found is None:
        raise NotFoundError("There is no such delivery.")
    delivery, notification = found
    if not replayed:
        if delivery.status != "dead":
            raise ConflictError("Only a dead delivery can be sent again: this one was delivered, or still will be.")
        now = datetime.now(UTC)
        delivery.status, delivery.attempts, delivery.next_attempt_at = "pending", 0, now
        record_event(
            session, actor, "webhook.retry", at=now, subject_id=notification.patient_id, resource_id=webhook_id
        )
    return _told(delivery, notification), replayed


def _deliveries(actor: Actor, webhook_id: UUID) -> Any:
    return (
        select(Delivery, Notification)
        .join(
            Notification,
            (col(Notification.clinic_id) == Delivery.clinic_id) & (col(Notification.id) == Delivery.notification_id),
        )
        .where(Delivery.clinic_id == actor.clinic_id, Delivery.webhook_id == webhook_id)
    )


def _told(delivery: Delivery, notification: Notification) -> DeliveryAnswer:
    waiting = delivery.status == "pending"
    known = notification.model_dump(include={"kind", "patient_id", "resource_id", "created_at"})
    sent = delivery.model_dump(exclude={"clinic_id", "webhook_id"})
    return DeliveryAnswer.model_validate(
        sent | known | {"next_attempt_at": delivery.next_attempt_at if waiting else None}
    )


def _parsed(url: str) -> WebhookAddress:
    try:
        return parse_address(url)
    except AddressError as error:
        raise _refused(error) from None


async def _refuse_unreachable(address: WebhookAddress, internal_hosts: Collection[str]) -> None:
    try:
        await checked_addresses(address, internal_hosts)
    except AddressError as error:
        raise _refused(error) from None


def _refused(error: AddressError) -> InvalidError:
    return InvalidError("This address cannot be used.", faults=(Fault("/url", error.code, error.message),))


async def _refuse_too_many(session: AsyncSession, actor: Actor) -> None:
    query = select(func.count()).select_from(Webhook).where(Webhook.clinic_id == actor.clinic_id)
    if (await session.exec(query)).one() >= MAX_WEBHOOKS:
        raise ConflictError(f"There are {MAX_WEBHOOKS} webhooks of this clinic already.")


async def _is_repeat(session: AsyncSession, actor: Actor, operation: str, id_: UUID, key: str | None) -> bool:
    return await find_replayed(session, actor, operation, {"id": str(id_)}, key, id_) is not None


def _record(session: AsyncSession, actor: Actor, action: str, row: Webhook, at: datetime) -> None:
    record_event(session, actor, action, at=at, subject_id=None, resource_id=row.id)
