"""Noise that is the same whenever the same question is asked, so that asking again averages nothing out.

It hangs on the question as it is written, not on who is in the cohort: if two questions with the same people gave the
same answer, a comparison would tell that the extra condition of one of them is met by nobody, or not by somebody known
to be the only one it could be about.

A key belongs to one frozen state of the data. With one key over changing data the noise would stay and the people would
change, and two answers would differ by exactly the person who came.
"""

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from statistics import NormalDist
from typing import Final

STANDARD_DEVIATION: Final = 3.0  # people; judgement: against one pair of neighbouring cohorts no better than guessing
SHORTEST_KEY: Final = 32  # bytes
_BITS: Final = 52  # of the uniform number; a float holds it exactly

Condition = str | int | float | bool | None


def canonical(question: Mapping[str, Condition | Collection[Condition]]) -> bytes:
    """One spelling for each question: whatever means the same by its form is the same in bytes.

    The order of names, the order and repetition in lists, 4 and 4.0, and conditions that are not set (None) make no
    difference. That two different conditions pick the same people is not seen here; that is what `budget` is for.

    Units and range: finite numbers; lists are alternatives, in which order says nothing.
    Missing data: a name with None is a condition not set.

    Raises:
        ValueError: a number is not finite.
        TypeError: a value is none of those.

    Source: judgement, on RFC 8259.

    >>> canonical({"route": ["oral", "intranasal", "oral"], "week": 4.0, "sex": None})
    b'{"route":["intranasal","oral"],"week":4}'
    """
    plain = {name: _plain(value) for name, value in question.items() if value is not None}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def keyed_uniform(key: bytes, *parts: bytes) -> float:
    """A number strictly between 0 and 1 that nobody without the key can foresee, always the same for the same parts.

    Units and range: 0 to 1, in steps of 2**-52. Missing data: none.

    Raises:
        ValueError: the key is shorter than 32 bytes.

    Source: HMAC-SHA256, RFC 2104, over each part with its length.

    >>> keyed_uniform(bytes(32), b"a", b"b") == keyed_uniform(bytes(32), b"a", b"b")
    True
    >>> keyed_uniform(bytes(32), b"a", b"b") == keyed_uniform(bytes(32), b"ab", b"")
    False
    """
    if len(key) < SHORTEST_KEY:
        raise ValueError("a key has at least 32 bytes")
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    drawn = int.from_bytes(hmac.digest(key, message, hashlib.sha256)[:8], "big") >> (64 - _BITS)
    return (drawn + 0.5) / (1 << _BITS)


def noisy_count(count: int, key: bytes, question: bytes, figure: str) -> int:
    """A count with Gaussian noise, whole and never negative.

    Cutting off at 0 raises the mean of small counts: by 1.2 people at 0, by less than 0.001
    from 11 on. `answers` prints none below 11.

    Units and range: people. `question` is what `canonical` gives, `figure` the name of the
        count within the answer.
    Missing data: none.

    Raises:
        ValueError: the count is negative, or the key too short.

    Source: noise of standard deviation 3 fixed for each question, judgement after i2b2 (Murphy 2011, J Am Med Inform
        Assoc 18 Suppl 1:i103-108).

    >>> key, question = bytes(range(32)), canonical({"route": "oral"})
    >>> [noisy_count(40, key, question, "responders") for _ in range(3)]
    [43, 43, 43]
    """
    if count < 0:
        raise ValueError("a count is not negative")
    noise = NormalDist(0, STANDARD_DEVIATION).inv_cdf(keyed_uniform(key, question, figure.encode()))
    return max(0, count + round(noise))


def _plain(value: Condition | Collection[Condition]) -> object:
    if isinstance(value, list | tuple | set | frozenset):
        return [json.loads(text) for text in sorted({json.dumps(_plain(one)) for one in value})]
    return int(value) if isinstance(value, float) and value.is_integer() else value
