"""What a webhook is sent and how it is signed, after the Standard Webhooks convention. Pure."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # the mark of a secret, not one
SECRET_BYTES: Final = 32  # the convention asks for 24 to 64


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def body_of(kind: str, at: datetime, resource_id: UUID, patient_id: UUID, clinic_id: UUID) -> bytes:
    """Ids alone: whoever may know more reads it with a token of their own."""
    data = {"id": str(resource_id), "patient_id": str(patient_id), "clinic_id": str(clinic_id)}
    content = {"type": kind, "timestamp": at.astimezone(UTC).isoformat().replace("+00:00", "Z"), "data": data}
    return json.dumps(content, separators=(",", ":")).encode()


def signed_headers(webhook_secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """One signature for each secret: while one replaces another, a receiver may know either."""
    timestamp = str(int(at.timestamp()))
    signatures = (sign(secret, message_id, timestamp, body) for secret in webhook_secrets)
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
