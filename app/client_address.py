"""Who is counted as one sender."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

UNKNOWN: Final = "unknown"  # a socket without addresses, or a proxy that forwards what is none: together they are one
HOME_BITS: Final = 64  # of an IPv6 address: what one household is given, and may choose from freely


@lru_cache(maxsize=4_096)
def sender(host: str | None) -> str:
    """The address, or the network of one IPv6 household."""
    try:
        address = ip_address((host or "").partition("%")[0])
    except ValueError:
        return UNKNOWN
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, HOME_BITS), strict=False))
