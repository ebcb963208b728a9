"""Names that come from nowhere: new in each release, with no order to go by."""

import pytest

from app.privacy.pseudonyms import draw_pseudonyms

PEOPLE = [f"mrn-{number:04}" for number in range(1_000)]


def test_two_releases_of_the_same_people_share_no_name() -> None:
    """Nor does a name hold anything of what it stands for."""
    one, other = draw_pseudonyms(PEOPLE), draw_pseudonyms(PEOPLE)
    assert not set(one.values()) & set(other.values())
    assert all(person.removeprefix("mrn-").encode().hex() not in name for person, name in one.items())


def test_names_are_nothing_but_the_randomness_that_was_given() -> None:
    """With the source exchanged, the person changes nothing."""
    counted = iter(range(2))
    assert draw_pseudonyms(["a", "b"], lambda size: next(counted).to_bytes(size)) == {
        "a": "p" + "0" * 32,
        "b": "p" + "0" * 31 + "1",
    }


def test_two_releases_share_no_order() -> None:
    """By name hardly any person stands in one release where they stand in another."""
    one, other = (sorted(PEOPLE, key=draw_pseudonyms(PEOPLE).__getitem__) for _ in range(2))
    assert sum(first == second for first, second in zip(one, other, strict=True)) < 15  # expected: 1


def test_broken_randomness_makes_nobody_one_with_another() -> None:
    """A source that repeats itself is refused."""
    with pytest.raises(ValueError, match="broken"):
        draw_pseudonyms(["a", "b"], bytes)
