"""One attempt of one delivery: to the very address that was checked, and without reading what comes back."""

import asyncio
import ssl
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self
from uuid import UUID

import httpx2

from app.errors import InvalidError
from app.services.deliveries import Claim, Outcome
from app.webhook_address import AddressError, IpAddress, WebhookAddress, bracketed, checked_addresses, parse_address
from app.webhook_signing import body_of, signed_headers

ATTEMPT_SECONDS: Final = 10.0  # look-up, connection, sending and the first line of the answer together
CONNECT_SECONDS: Final = 4.0  # of one address: a name may have another that works


class WebhookClient:
    """Sends claims, each over a connection of its own. Raises InvalidError for a file that holds no certificate."""

    def __init__(self, internal_hosts: Collection[str], ca_file: Path | None) -> None:
        self._internal_hosts = internal_hosts
        # No connection is kept: the pool knows them by IP alone, and would lend the one of a name to another name
        # at the same IP, whose certificate nobody has checked. No proxy and nothing else out of the environment.
        self._http = httpx2.AsyncClient(
            verify=trust(ca_file, "TIDEMARK_WEBHOOK_CA_FILE"),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(ATTEMPT_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_keepalive_connections=0),
            headers={"User-Agent": "Tidemark-Webhook", "Content-Type": "application/json", "Connection": "close"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, clinic_id: UUID, claim: Claim) -> Outcome:
        """Never raises for what lies at the other end."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                return await self._sent(clinic_id, claim)
        except AddressError as error:
            return Outcome(error=error.code)
        except (TimeoutError, httpx2.TimeoutException):
            return Outcome(error="timeout")
        except httpx2.TransportError as error:
            return Outcome(error="certificate" if _is_about_certificate(error) else "connection")

    async def _sent(self, clinic_id: UUID, claim: Claim) -> Outcome:
        address = parse_address(claim.url)
        *others, last = await checked_addresses(address, self._internal_hosts)
        body = body_of(claim.kind, claim.created_at, claim.resource_id, claim.patient_id, clinic_id)
        headers = signed_headers(claim.secrets, str(claim.notification_id), datetime.now(UTC), body)
        for place in others:
            try:
                return await self._posted(address, place, headers, body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):  # nothing was sent: the next one may answer
                continue
        return await self._posted(address, last, headers, body)

    async def _posted(self, address: WebhookAddress, place: IpAddress, headers: dict[str, str], body: bytes) -> Outcome:
        """To the IP itself, with the name in the Host header, in TLS, and in the check of the certificate."""
        async with self._http.stream(
            "POST",
            f"https://{bracketed(str(place))}:{address.port}{address.target}",
            headers=headers | {"Host": address.authority},
            content=body,
            extensions={"sni_hostname": address.host},
        ) as answer:
            return outcome_of(answer.status_code)  # leaving closes the connection; the answer's body is never read


def outcome_of(status: int) -> Outcome:
    match status // 100:
        case 2:
            return Outcome(status)
        case 3:
            return Outcome(status, "redirect")
    return Outcome(status, "gone" if status == httpx2.codes.GONE else "http_status")


def trust(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """The system's authorities and those of the file. Raises InvalidError for a file that holds no certificate."""
    context = httpx2.create_ssl_context(trust_env=False)
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError:  # what is no certificate is an SSLError, which is one
            raise InvalidError(f"{setting} names no file of certificates (PEM).") from None
    return context


def _is_about_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
