"""Names that come from nowhere: new in each release, with no order to go by."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.pseudonyms import draw_pseudonyms, under_pseudonyms

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
    """A row's place in one release says nothing of its place in another: hardly any row stands where it stood."""
    rows = [(person, number) for number, person in enumerate(PEOPLE)]
    one = [row for _, row in under_pseudonyms(rows, draw_pseudonyms(PEOPLE))]
    other = [row for _, row in under_pseudonyms(rows, draw_pseudonyms(PEOPLE))]
    assert sorted(one) == sorted(other) == list(range(1_000))
    assert sum(first == second for first, second in zip(one, other, strict=True)) < 15  # expected: 1


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers())))
@settings(max_examples=50, deadline=None)
def test_no_row_is_lost_and_a_person_stays_together(rows: list[tuple[str, int]]) -> None:
    """The rows of one person follow each other, in the order they were given."""
    names = draw_pseudonyms("abcdef")
    out = under_pseudonyms(rows, names)
    assert [name for name, _ in out] == sorted(names[person] for person, _ in rows)
    for person in "abcdef":
        assert [row for name, row in out if name == names[person]] == [row for owner, row in rows if owner == person]


def test_broken_randomness_makes_nobody_one_with_another() -> None:
    """A source that repeats itself is refused, and a row of a stranger too."""
    with pytest.raises(ValueError, match="broken"):
        draw_pseudonyms(["a", "b"], bytes)
    with pytest.raises(KeyError):
        under_pseudonyms([("c", 1)], {"a": "00"})
