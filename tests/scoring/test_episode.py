"""Which episode a time belongs to."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.scoring.episode import Episode, episode_at, place, stretch
from app.scoring.treatment import Dose

START = datetime(2026, 1, 1, 9, tzinfo=UTC)
DAYS = st.integers(0, 400)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def episode(id_: str, opened: float, closed: float | None = None, *doses: float) -> Episode:
    given_at = tuple(Dose(f"{id_}{number}", day(number)) for number in doses)
    return Episode(id_, day(opened), None if closed is None else day(closed), given_at)


EPISODES = st.lists(
    st.builds(
        lambda opened, length, doses: (opened, length, tuple(opened + dose for dose in doses)),
        DAYS,
        st.none() | st.integers(0, 100),
        st.lists(st.integers(0, 50), max_size=3),
    ),
    max_size=4,
).map(
    lambda rows: [
        episode(str(index), opened, None if length is None else opened + length, *doses)
        for index, (opened, length, doses) in enumerate(rows)
    ]
)


def test_follow_up_belongs_to_the_treatment_it_follows() -> None:
    """A form half a year after the end still speaks of that treatment."""
    found = episode_at(day(300), [episode("a", 0, 60, 7, 14)])
    assert found is not None
    assert found.id == "a"
    assert place(day(300), [found], 14).context.dose_number == 2


def test_a_new_episode_takes_over_from_a_closed_one() -> None:
    """Before its first dose already: the old doses say nothing of it."""
    placed = place(day(105), [episode("old", 0, 60, 7), episode("new", 100, None, 110)], 14)
    assert placed.episode_id == "new"
    assert placed.context.dose_number is None


def test_of_two_open_ones_the_latest_dose_decides() -> None:
    """A form the day after a dose stands by that dose, whichever episode opened last."""
    both = [episode("ketamine", 0, None, 20), episode("exposure", 10)]
    found = [episode_at(day(number), both) for number in (5, 15, 21)]
    assert [one and one.id for one in found] == ["ketamine", "exposure", "ketamine"]


@given(DAYS, EPISODES)
def test_order_of_episodes_changes_nothing(at: int, episodes: list[Episode]) -> None:
    """The record is a set."""
    shuffled = list(reversed(episodes))
    assert episode_at(day(at), episodes) == episode_at(day(at), shuffled)


@given(DAYS, EPISODES)
def test_an_episode_never_speaks_before_it_opened(at: int, episodes: list[Episode]) -> None:
    """And there is one as soon as any has opened."""
    found = episode_at(day(at), episodes)
    assert (found is not None) == any(one.opened_at <= day(at) for one in episodes)
    assert found is None or found.opened_at <= day(at)


@given(EPISODES)
def test_a_stretch_holds_its_doses_and_baseline(episodes: list[Episode]) -> None:
    """From four weeks before it opens; a closed one ends where a later one opens, never before its own close."""
    for one in episodes:
        start, end = stretch(one, episodes)
        assert start == one.opened_at - timedelta(days=28)
        if end is not None:
            assert one.closed_at is not None
            assert end >= one.closed_at
        else:
            assert one.closed_at is None or not any(
                other.opened_at >= one.closed_at for other in episodes if other.id != one.id
            )
