"""Webhooks: who is told, of what, and how each delivery went."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from app.schemas.fields import Answer, Body, Id, Timestamp

EventKind = Literal["check_in.due", "check_in.missed", "alert.opened", "alert.reopened", "emergency_access.opened"]
DeliveryStatus = Literal["pending", "delivered", "dead"]
Label = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)]

_ID = "019a9c21-0000-7000-8000-000000000001"
_URL = "https://hooks.example.org/tidemark"
_EXAMPLE: dict[str, Any] = {"url": _URL, "events": ["alert.opened", "alert.reopened"], "label": "pager of the ward"}
_ANSWER: dict[str, Any] = {
    "id": _ID,
    **_EXAMPLE,
    "created_at": "2026-11-20T19:31:00Z",
    "created_by": "019a9c1e-0000-7000-8000-00000000000a",
    "disabled_at": None,
    "previous_secret_until": None,
}
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105  # the one the convention publishes


class WebhookCreate(Body):
    """An address of your own that is told when something waits to be read."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    url: str = Field(
        max_length=2_000, description="https, a public host, no login and no fragment. Redirects are not followed."
    )
    events: list[EventKind] = Field(default=[], max_length=20, description="Kinds to be told of; empty: all.")
    label: Label = Field(default="", description="For people; it is never sent.")


class WebhookAnswer(Answer):
    model_config = ConfigDict(json_schema_extra={"example": _ANSWER})

    id: Id
    url: str
    events: list[EventKind]
    label: str
    created_at: Timestamp
    created_by: Id = Field(description="id of the token")
    disabled_at: Timestamp | None = Field(description="Since when nothing is sent; null while it is.")
    previous_secret_until: Timestamp | None = Field(description="Until when the secret before signs beside the new one")


class WebhookWithSecret(WebhookAnswer):
    """Shown once, to whoever made the webhook or its secret."""

    model_config = ConfigDict(json_schema_extra={"example": _ANSWER | {"secret": _SECRET}})

    secret: str | None = Field(
        description="`whsec_` and the Base64 of the key every delivery is signed with; null on a replay"
    )


class DeliveryAnswer(Answer):
    """One notification on its way to one webhook."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "notification_id": "019a9c21-0000-7000-8000-000000000002",
                "kind": "alert.opened",
                "patient_id": "019a9c1e-5a00-7c3e-8b1a-1f2e3d4c5b6a",
                "resource_id": "019a9c21-0000-7000-8000-000000000003",
                "created_at": "2026-11-20T19:31:00Z",
                "status": "pending",
                "attempts": 2,
                "next_attempt_at": "2026-11-20T19:36:10Z",
                "last_attempt_at": "2026-11-20T19:31:06Z",
                "last_status": 500,
                "last_error": "http_status",
                "delivered_at": None,
            }
        }
    )

    notification_id: Id = Field(description="the `webhook-id` of every attempt")
    kind: EventKind
    patient_id: Id
    resource_id: Id
    created_at: Timestamp
    status: DeliveryStatus = Field(description="`dead` after the last attempt; it can be sent again by hand.")
    attempts: int
    next_attempt_at: Timestamp | None = Field(description="null when there is none")
    last_attempt_at: Timestamp | None
    last_status: int | None = Field(description="HTTP status of the last answer, if there was one")
    last_error: str | None = Field(
        description="`http_status`, `redirect`, `gone`, `timeout`, `connection`, `certificate`, or a code of a refused "
        "address such as `not_public` or `name_not_found`",
        examples=["http_status"],
    )
    delivered_at: Timestamp | None
