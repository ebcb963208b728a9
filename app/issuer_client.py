"""The worker's way to an issuer's keys: one address, set by the operator, and nothing that it leads on to."""

import asyncio
import logging
from pathlib import Path
from typing import Final, Self

import httpx2

from app.db import Database
from app.services.issuer_keys import claim_fetch, record_keys
from app.services.issuers import Issuer, sound_keys
from app.webhook_client import trust

log = logging.getLogger("tidemark")

FETCH_SECONDS: Final = 10.0  # from the look-up of the name to the last byte
MAX_BYTES: Final = 262_144  # of a key set; a large one has 20 KiB


class FetchError(Exception):
    """Why there are no newer keys, in a word of ours."""


class IssuerClient:
    """Keeps the table's keys those of the issuer. Raises InvalidError for a file that holds no certificate."""

    def __init__(self, issuer: Issuer, ca_file: Path | None) -> None:
        self._issuer = issuer
        # No proxy and nothing else out of the environment; a redirect is no key set.
        self._http = httpx2.AsyncClient(
            verify=trust(ca_file, "TIDEMARK_OIDC_CA_FILE"),
            trust_env=False,
            follow_redirects=False,
            timeout=FETCH_SECONDS,
            limits=httpx2.Limits(max_keepalive_connections=0),
            headers={"User-Agent": "Tidemark", "Accept": "application/json", "Connection": "close"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def take_turn(self, database: Database) -> None:
        """Fetches if it is time to. A fetch that fails leaves the keys as they are, and is tried again soon."""
        claimed_at = await claim_fetch(database, self._issuer.name)
        if claimed_at is None:
            return
        try:
            keys = await self._fetch()
        except FetchError as error:
            log.warning("issuer_keys_not_fetched", {"reason": str(error)})
        else:
            await record_keys(database, self._issuer.name, keys, claimed_at)

    async def _fetch(self) -> list[dict[str, str]]:
        try:
            async with asyncio.timeout(FETCH_SECONDS), self._http.stream("GET", self._issuer.keys_url) as answer:
                if answer.status_code != httpx2.codes.OK:
                    raise FetchError("http_status")
                return _read(await _bounded(answer))
        except (TimeoutError, httpx2.TimeoutException):
            raise FetchError("timeout") from None
        except (httpx2.HTTPError, httpx2.InvalidURL):
            raise FetchError("connection") from None


def _read(document: bytes) -> list[dict[str, str]]:
    if not (keys := sound_keys(document)):
        raise FetchError("no_keys")
    return keys


async def _bounded(answer: httpx2.Response) -> bytes:
    document = bytearray()
    async for chunk in answer.aiter_bytes():
        document += chunk
        if len(document) > MAX_BYTES:
            raise FetchError("too_large")
    return bytes(document)
