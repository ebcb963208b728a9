"""Which episode of care a time belongs to, and which stretch of a person's record an episode speaks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.scoring.timeline import DAY, instant
from app.scoring.treatment import MAXIMUM_BASELINE_AGE_DAYS, Context, Dose, context

_LONG_AGO: datetime = datetime.min.replace(tzinfo=UTC)
_LEAD: timedelta = MAXIMUM_BASELINE_AGE_DAYS * DAY  # before it opens: where its baseline may lie


@dataclass(frozen=True, slots=True)
class Episode:
    """One course of treatment with the doses given in it; open while `closed_at` is None."""

    id: str
    opened_at: datetime
    closed_at: datetime | None
    doses: tuple[Dose, ...]


@dataclass(frozen=True, slots=True)
class PlacedContext:
    """Where a form stands: in which episode, and among its doses."""

    episode_id: str | None
    context: Context


def episode_at(at: datetime, episodes: Iterable[Episode]) -> Episode | None:
    """The episode a time belongs to.

    Of the episodes open at that time the one with the latest dose before it, else the one opened last. With none open,
    the last one opened before: follow-up after treatment belongs to the treatment it follows.

    Units and range: times carry an offset; both ends of an episode belong to it.
    Missing data: None before any episode was opened.

    Raises:
        ValueError: a time has no offset.

    Source: judgement.

    >>> from datetime import UTC
    >>> first, second = (Episode(str(year), datetime(year, 1, 1, tzinfo=UTC), datetime(year, 6, 1, tzinfo=UTC), ())
    ...                  for year in (2025, 2026))
    >>> [found and found.id for found in (episode_at(datetime(year, month, 1, tzinfo=UTC), [second, first])
    ...                                   for year, month in ((2024, 1), (2025, 9), (2026, 3)))]
    [None, '2025', '2026']
    """
    moment = instant(at)
    begun = [one for one in episodes if instant(one.opened_at) <= moment]
    opened = [one for one in begun if one.closed_at is None or instant(one.closed_at) >= moment]
    if opened:
        return max(opened, key=lambda one: (_latest_dose(one, moment), _age(one)))
    return max(begun, key=_age, default=None)


def place(at: datetime, episodes: Sequence[Episode], recall_days: float) -> PlacedContext:
    """Where a form stands: its episode, and its context among the doses of that episode.

    Units and range: as in `treatment.context`. Missing data: all None outside any episode.

    Raises:
        ValueError: a time has no offset, or the recall window is not above 0.

    Source: judgement.

    >>> from datetime import UTC
    >>> opened = datetime(2026, 1, 1, tzinfo=UTC)
    >>> course = Episode("e", opened, None, (Dose("d", opened + 7 * DAY),))
    >>> placed = place(opened + 14 * DAY, [course], 14)
    >>> placed.episode_id, placed.context.dose_number, placed.context.recall_after_dose
    ('e', 1, 0.5)
    """
    episode = episode_at(at, episodes)
    if episode is None:
        return PlacedContext(None, context(at, (), recall_days))
    return PlacedContext(episode.id, context(at, episode.doses, recall_days))


def stretch(episode: Episode, episodes: Iterable[Episode]) -> tuple[datetime, datetime | None]:
    """From when until when (exclusive) the record speaks for an episode.

    It begins four weeks before the episode opened, so that a baseline fits in, and ends where the next episode opens
    after this one was closed; None: it has not ended.

    Units and range: times carry an offset. Missing data: an episode still open has no end.

    Raises:
        ValueError: a time has no offset.

    Source: judgement.

    >>> from datetime import UTC
    >>> first, second = (Episode(str(year), datetime(year, 2, 1, tzinfo=UTC), datetime(year, 6, 1, tzinfo=UTC), ())
    ...                  for year in (2025, 2026))
    >>> start, end = stretch(first, [first, second])
    >>> start.date().isoformat(), end.date().isoformat()
    ('2025-01-04', '2026-02-01')
    """
    start = instant(episode.opened_at) - _LEAD
    if episode.closed_at is None:
        return start, None
    closed = instant(episode.closed_at)
    later = [instant(one.opened_at) for one in episodes if one.id != episode.id and instant(one.opened_at) >= closed]
    return start, min(later, default=None)


def _age(episode: Episode) -> tuple[datetime, str]:
    return instant(episode.opened_at), episode.id


def _latest_dose(episode: Episode, moment: datetime) -> datetime:
    """By a moment; one without is behind all others."""
    return max((at for dose in episode.doses if (at := instant(dose.started_at)) <= moment), default=_LONG_AGO)
