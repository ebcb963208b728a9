"""Which addresses a webhook may have: nobody shall make us call the inside of the network we stand in.

A name is looked up when the webhook is made, so that a mistake is told at once, and again at every delivery, which
then connects to the very address that was checked: what a name meant yesterday protects nobody.
"""

import asyncio
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

MAX_URL: Final = 2_000  # characters
LOOKUP_SECONDS: Final = 2.0
DEFAULT_PORT: Final = 443

IpAddress = IPv4Address | IPv6Address

_VISIBLE: Final = re.compile(r"[!-\[\]-~]+")  # ASCII without the backslash, which some programs read as a slash
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter: 127.1 and 0x7f.1 are numbers to whoever looks them up, whatever they look like.
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
# Public to look at, but answered by the cloud's own control plane: Azure, Oracle (older Pythons call it public).
_CONTROL_PLANES: Final = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))


class AddressError(Exception):
    """Why an address is not called. The message never repeats it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """An https address taken apart; whether it leads outside is not known yet."""

    host: str  # lower case; an IPv6 address without its brackets
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        """As the Host header says it."""
        host = bracketed(self.host)
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def parse_address(url: str) -> WebhookAddress:
    """Raises AddressError."""
    if len(url) > MAX_URL or not _VISIBLE.fullmatch(url):
        raise AddressError("not_a_url", f"Write an address of at most {MAX_URL} visible ASCII characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressError("not_a_url", "This is not an address.") from None
    if parts.scheme != "https":
        raise AddressError("not_https", "The address has to begin with https://.")
    if "@" in parts.netloc:
        raise AddressError("has_credentials", "No login and no password: every delivery is signed instead.")
    if "#" in url:
        raise AddressError("has_fragment", "What follows a # is never sent: leave it out.")
    if port == 0 or parts.netloc.endswith(":"):
        raise AddressError("not_a_url", "There is no such port.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookAddress(_sound_host(host), port or DEFAULT_PORT, target)


def _sound_host(host: str) -> str:
    literal = _literal(host)
    if literal is not None:
        return str(literal)
    if len(host) > 253 or not _NAME.fullmatch(host):  # 253: the longest name there is (RFC 1035)
        raise AddressError("not_a_host", "Write a host name in ASCII, or an IP address in its usual form.")
    return host


def _literal(host: str) -> IpAddress | None:
    try:
        return ip_address(host) if "%" not in host else None  # a zone names a network card of ours
    except ValueError:
        return None


def is_public(address: IpAddress) -> bool:
    """Whether this can only be somewhere outside, also for what it turns into on the way."""
    plain = _carried(address)
    if isinstance(plain, IPv6Address):
        return plain.is_global and plain in _GLOBAL_UNICAST
    refused = plain.is_multicast or plain.is_reserved or any(plain in network for network in _CONTROL_PLANES)
    return plain.is_global and not refused


def is_inside(address: IpAddress) -> bool:
    """Where an operator may let webhooks go: even a name of their own shall not turn into a metadata service."""
    plain = _carried(address)
    return not (plain.is_link_local or plain.is_multicast or plain.is_unspecified)


def _carried(address: IpAddress) -> IpAddress:
    """The address itself, or the IPv4 address that it is another notation of."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def parse_internal_hosts(setting: str) -> frozenset[str]:
    """Those the operator lets webhooks reach inside the network, each as `host:port`."""
    entries = (entry.strip().lower() for entry in setting.split(","))
    return frozenset(entry if re.search(r":\d+$", entry) else f"{entry}:{DEFAULT_PORT}" for entry in entries if entry)


async def checked_addresses(address: WebhookAddress, internal_hosts: Collection[str]) -> tuple[IpAddress, ...]:
    """Where to connect to, in order of preference. Raises AddressError unless every one of them may be called."""
    found = await _look_up(address)
    internal = f"{bracketed(address.host)}:{address.port}" in internal_hosts
    if not all(is_public(one) or (internal and is_inside(one)) for one in found):
        raise AddressError(
            "not_public", "The address leads into the network of this service. Its operator can allow single hosts."
        )
    return found


async def _look_up(address: WebhookAddress) -> tuple[IpAddress, ...]:
    literal = _literal(address.host)
    if literal is not None:
        return (literal,)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # a TimeoutError is an OSError
        raise AddressError("name_not_found", "The host name cannot be looked up.") from None
    return tuple(dict.fromkeys(ip_address(place[0]) for *_, place in found))
