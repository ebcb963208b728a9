"""Input nobody should send. Our own lists, by what has broken services of this kind."""

import json
from typing import Any, Final

RTL, PDF = "\u202e", "\u202c"
TEXTS: Final = [
    "",
    " ",
    "\u00a0\u2003",
    "nul \0 inside",
    "\0",
    "half \ud83d of a pair",
    "\udc00",
    f"{RTL}backwards{PDF}",
    "zero\u200bwidth\u200d\ufeffjoiners",
    "cafe\u0301 and " + "\u0300" * 60,
    "\U0001f9d1\u200d\u2695\ufe0f \U0001f1e9\U0001f1ea",
    "\u6f22\u5b57 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \U00020000",
    "\u0130\u0131\u00df\ufb03",
    "line\nbreak\r\n\ttab\x0b\x0c\x1b[31m\x7f\x85\u2028",
    "\ufffe\uffff",
    "'; DROP TABLE patient; --",
    "' OR '1'='1",
    "1); SELECT pg_sleep(5); --",
    "$1 $2 %s %(id)s {0} {self.__class__} %n%x",
    "${jndi:ldap://x/a} {{7*7}} <%= 7*7 %>",
    "`id` $(id) | cat /etc/passwd; &",
    "../../../etc/passwd",
    "..\\..\\x\\%2e%2e%2f",
    "<script>alert(1)</script><svg onload=alert(1)>",
    "=1+1",
    "@SUM(A1)\t+1\t-1",
    "*)(uid=*))(|(uid=*",
    "' or count(/*)=1 or 'a'='b",
    '{"$gt": ""}',
    "x\r\nSet-Cookie: a=b\r\n\r\n<p>",
    "#{7*7} *{7*7} @(7*7) [[7*7]]",
    "javascript:alert(1)//' onfocus=alert(1) \"",
    "1/0 CON NUL ~root \u2215 \uff07 OR 1=1",
    "null",
    "NaN",
    "true",
    "\\u0000 \\x00 %00",
    "x" * 201,
    "\U0001f600" * 3_000,
]
_LONG: Final = "y" * 40_000
NUMBERS: Final = [
    0, -1, -0.0, 0.1, 2**15, -(2**15) - 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63,
    -(2**63) - 1, 2**64, 10**40, 1e22, 1.7976931348623157e308, 5e-324, float("nan"), float("inf"), float("-inf"),
]  # fmt: skip
TIMES: Final = [
    "2026-03-02T09:00:00",
    "2026-03-02",
    "2026-03-02T09:00:00+99:99",
    "2026-03-02T09:00:60Z",
    "2026-02-30T09:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1969-12-31T23:59:59Z",
    "1989-12-31T23:59:59Z",
    "2999-01-01T00:00:00Z",
    "2026-03-02t09:00:00.999999999z",
    "20260302T090000Z",
    "1700000000",
    "-2026-03-02T09:00:00Z",
    "\u0662\u0660\u0662\u0666-03-02T09:00:00Z",
]
OTHERS: Final[list[Any]] = [None, True, False, [], {}, [None], [[]], {"": ""}, {"__proto__": 1}, "3", "3.0", _LONG]
EVERYWHERE: Final[list[Any]] = [*OTHERS, *TEXTS[:5], *TIMES[:1], *NUMBERS[:2], *NUMBERS[-2:]]

# Written as they stand: no library would.
SPLICED: Final = [
    b"1e400",
    b"-1e400",
    b"1e-400",
    b"1" + b"0" * 5_000,
    b"0." + b"1" * 5_000,
    b"01",
    b"+1",
    b"1.",
    b".5",
    b"0x10",
    b"'x'",
    b'"\x01"',
    b'"\xff\xfe"',
    b'"\xc0\x80"',
    b'"\xed\xa0\x80"',
    b'"\\ud800\\ud800"',
    b'"\\u0000"',
    b"[" * 13 + b"]" * 13,
    b"[" * 20_000 + b"]" * 20_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"a":1,"a":2}',
    b"undefined",
    b"",
]
_SPLICE: Final = "splice-here"

QUERIES: Final = [
    *(text for text in TEXTS if len(text) < 1_000),
    *TIMES[:7],
    *(str(number) for number in NUMBERS[:12]),
    "x" * 4_000,
]


def spliced(body: Any, path: tuple[Any, ...], raw: bytes) -> bytes:
    """The body with something in one place that is not JSON, or that no library writes."""
    return json.dumps(_marked(body, path)).encode().replace(f'"{_SPLICE}"'.encode(), raw)


def _marked(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return _SPLICE
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _marked(copy[path[0]], path[1:])
    return copy


def whole_bodies(sound: bytes) -> list[bytes]:
    """Bodies that are wrong as a whole."""
    return [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"x"',
        b"0",
        b"true",
        sound[:-1],
        sound + sound,
        sound + b"\0",
        b"\xef\xbb\xbf" + sound,
        sound.decode().encode("utf-16"),
        sound.decode().encode("utf-32"),
        sound[:1] + sound[1:-1] + b"," + sound[1:-1] + sound[-1:],
        b"[" * 30_000,
        b"[" * 30_000 + b"]" * 30_000,
        b"{" + b",".join(b'"k%d":1' % number for number in range(5_000)) + b"}",
        b'{"pad":"' + b"x" * 2_000_000 + b'"}',
    ]


_LONG_VALUE: Final = b"x" * 4_000
HEADERS: Final = {
    "Idempotency-Key": [
        b"", b" ", b"two words", b"k" * 255, b"k" * 256, b"\xff\xfe", b"a\tb", "\u00e9".encode(), b"'; --", b"%s%n",
    ],
    "If-Match": [
        b"", b"*",
        b'"1', b'W/"1"', b'"0"', b'"-1"', b'"1", "2"', b'"99999"', b'"' + b"9" * 4_000 + b'"', b"\xff", b'"1\t"',
    ],
    "Device-Time": [*(time.encode() for time in TIMES), b"", b"\xff", _LONG_VALUE, b"1e400"],
    "Authorization": [
        b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"Bearer x", b"Bearer tmk_", b"Bearer " + _LONG_VALUE,
        b"Bearer \xff\xfe", b"Bearer tmk_" + b"A" * 43 + b"_" + b"A" * 43,
        b"Bearer tml_" + b"A" * 43 + b"_" + b"A" * 43,
        b"Bearer tmk_" + b"_" * 87, b"Bearer tmk_" + b"A" * 42 + b"=_" + b"A" * 43,
        b"bearer tmk_'; DROP TABLE api_token; --",
    ],
    "Content-Type": [
        b"", b"text/plain", b"application/json; charset=utf-16", b"application/x-json", b"\xff",
        b"application/" + b"a+" * 2_000 + b"json", b"multipart/form-data",
    ],
    "If-None-Match": [b"", b"*", b"\xff", b'"' + _LONG_VALUE + b'"', b"W/x"],
}  # fmt: skip
