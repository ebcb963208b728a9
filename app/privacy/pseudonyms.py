"""Random names for people, new in every release."""

import secrets
from collections.abc import Callable, Hashable, Iterable
from typing import Final, TypeVar

_BYTES: Final = 16  # 128 bits: two of a billion people meet with a chance under 1 in 10**20
_FIRST: Final = "p"  # a letter, or a spreadsheet takes 32 digits, or 12e34, for a number and rounds it

Person = TypeVar("Person", bound=Hashable)


def draw_pseudonyms(
    people: Iterable[Person], random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> dict[Person, str]:
    """A fresh random name for each person, taken from nothing about the person, the clinic or an earlier release.

    The answer is the only link back: keep it under its own key and destroy it when the release expires, or never store
    it. A hash or HMAC of an identifier would not do: it is derived from the person and comes out equal in two releases.

    Units and range: a `p` and 32 hexadecimal digits; people given twice are one. Missing data: none.

    Raises:
        ValueError: the source of randomness gave two people the same name.

    Source: 45 CFR 164.514(c): a code is not derived from or related to information about the individual.

    >>> names = draw_pseudonyms(["a", "b", "a"])
    >>> sorted(names), len(set(names.values())), len(names["a"])
    (['a', 'b'], 2, 33)
    >>> names["a"] == draw_pseudonyms(["a"])["a"]
    False
    """
    names = {person: f"{_FIRST}{random_bytes(_BYTES).hex()}" for person in people}
    if len(set(names.values())) < len(names):
        raise ValueError("two people were given one pseudonym: the source of randomness is broken")
    return names
