"""Where a webhook may lead: outside, or to a host the operator has named."""

from ipaddress import ip_address

import pytest

from app.webhook_address import (
    AddressError,
    checked_addresses,
    is_public,
    parse_address,
    parse_internal_hosts,
)

# Each a way to say 127.0.0.1, or a number that somebody's resolver takes for an address.
NUMBERS = ("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.0.0.1", "127.0.0.01", "127.0.0.1.", "1.2.3.4.5")
INSIDE = (
    "0.0.0.0",  # noqa: S104  # an address to refuse, not one to listen on
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)
OUTSIDE = ("8.8.8.8", "93.184.215.14", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")


@pytest.mark.parametrize("address", INSIDE)
def test_inside_is_not_public(address: str) -> None:
    """Loopback, private, shared, link-local, multicast, reserved, metadata, and each of them in disguise."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside_is_public(address: str) -> None:
    """Also where it is carried in another notation."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "not_a_url"),
        ("hooks.example.org", "not_https"),
        ("//hooks.example.org/", "not_https"),
        ("http://hooks.example.org/", "not_https"),
        ("ftp://hooks.example.org/", "not_https"),
        ("file:///etc/passwd", "not_https"),
        ("https://user:word@hooks.example.org/", "has_credentials"),
        ("https://@hooks.example.org/", "has_credentials"),
        ("https://hooks.example.org/#part", "has_fragment"),
        ("https://hooks.example.org/#", "has_fragment"),
        ("https://hooks.example.org:0/", "not_a_url"),
        ("https://hooks.example.org:/", "not_a_url"),
        ("https://hooks.example.org:65536/", "not_a_url"),
        ("https://hooks.example.org:https/", "not_a_url"),
        ("https://hooks.example.org\\@127.0.0.1/", "not_a_url"),
        ("https://hooks.example.org/a b", "not_a_url"),
        ("https://hooks.example.org/\r\nHost: x", "not_a_url"),
        ("https://h\u00f6oks.example.org/", "not_a_url"),
        ("https://hooks\u3002example.org/", "not_a_url"),
        ("https://[::1/", "not_a_url"),
        ("https:///path", "not_a_host"),
        ("https://[fe80::1%25eth0]/", "not_a_host"),
        ("https://-a.example/", "not_a_host"),
        ("https://a..example/", "not_a_host"),
        ("https://a_b.example/", "not_a_host"),
        ("https://127.0.0.1%2f.example/", "not_a_host"),
        (f"https://{'a' * 64}.example/", "not_a_host"),
        (f"https://{'a.' * 130}example/", "not_a_host"),
        (f"https://hooks.example.org/{'a' * 2000}", "not_a_url"),
        *((f"https://{number}/", "not_a_host") for number in NUMBERS),
    ],
)
def test_what_is_no_address_is_refused(url: str, code: str) -> None:
    """Each with its own word, before anything is looked up."""
    with pytest.raises(AddressError) as refused:
        parse_address(url)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority"),
    [
        ("https://Hooks.Example.org", "hooks.example.org", 443, "/", "hooks.example.org"),
        ("https://hooks.example.org:443/a", "hooks.example.org", 443, "/a", "hooks.example.org"),
        ("https://receiver:8443/a/b?c=d@e", "receiver", 8443, "/a/b?c=d@e", "receiver:8443"),
        ("https://8.8.8.8/", "8.8.8.8", 443, "/", "8.8.8.8"),
        ("https://[2606:2800:220:1::1]:8443/", "2606:2800:220:1::1", 8443, "/", "[2606:2800:220:1::1]:8443"),
        ("https://xn--hks-sna.example/?q", "xn--hks-sna.example", 443, "/?q", "xn--hks-sna.example"),
    ],
)
def test_an_address_is_taken_apart(url: str, host: str, port: int, target: str, authority: str) -> None:
    """Into what is looked up, connected to and sent."""
    address = parse_address(url)
    assert (address.host, address.port, address.target, address.authority) == (host, port, target, authority)


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_what_leads_inside_is_refused(host: str) -> None:
    """By its number, or by the name that stands for it."""
    with pytest.raises(AddressError) as refused:
        await checked_addresses(parse_address(f"https://{host}/"), ())
    assert refused.value.code == "not_public"


@pytest.mark.anyio
async def test_a_name_nobody_has_is_told_apart() -> None:
    """`.invalid` never resolves (RFC 6761)."""
    with pytest.raises(AddressError) as refused:
        await checked_addresses(parse_address("https://hooks.invalid/"), ())
    assert refused.value.code == "name_not_found"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("setting", "url", "is_open"),
    [
        ("localhost", "https://localhost/", True),
        ("localhost", "https://localhost:8443/", False),
        ("a.example, LOCALHOST:8443", "https://localhost:8443/", True),
        ("localhost:8443", "https://localhost/", False),
        ("localhost:8443", "https://127.0.0.1:8443/", False),
        ("[::1]:8443", "https://[::1]:8443/", True),
        ("10.0.0.5", "https://10.0.0.5/", True),
        ("169.254.169.254", "https://169.254.169.254/", False),
        ("[::ffff:169.254.169.254]", "https://[::ffff:169.254.169.254]/", False),
        ("[::]", "https://[::]/", False),
        ("", "https://localhost/", False),
    ],
)
async def test_the_operator_opens_single_hosts(setting: str, url: str, is_open: bool) -> None:
    """Exactly the named host and port, 443 without one; metadata services never."""
    checked = checked_addresses(parse_address(url), parse_internal_hosts(setting))
    if is_open:
        assert await checked
        return
    with pytest.raises(AddressError):
        await checked
