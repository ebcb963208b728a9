"""One patient's course on one instrument: every form against the baseline, the latest judged by every rule."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.scoring.change import change
from app.scoring.judgement import CategoryResult, Verdict, category_of, judge
from app.scoring.measurement import measurement_error
from app.scoring.model import Instrument, Point, SeverityBand, Threshold
from app.scoring.score import severity_of
from app.scoring.treatment import Baseline


@dataclass(frozen=True, slots=True)
class TrajectoryPoint:
    """One form on the time line, with what changed since baseline."""

    point: Point
    severity: SeverityBand | None
    change: int | float | None  # points, latest minus baseline; None before or without a baseline
    percent_change: float | None  # percent of the baseline's distance to the best total


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest scored form after the baseline, and what each rule says of it."""

    point: Point
    change: int | float
    percent_change: float | None
    verdicts: tuple[Verdict, ...]
    category: CategoryResult


@dataclass(frozen=True, slots=True)
class Trajectory:
    """All of it. `sem` is the instrument's standard error of measurement in points."""

    points: tuple[TrajectoryPoint, ...]
    latest: Latest | None
    sem: float | None


def trajectory(
    instrument: Instrument,
    points: Sequence[Point],
    baseline: Baseline | None,
    extra_thresholds: Iterable[Threshold] = (),
) -> Trajectory:
    """The course of one patient on one instrument.

    Units and range: totals and changes in points of the scale; percent as a number, 50.0 is half. `points` are of this
    instrument alone, oldest first.

    Missing data: a form without a total is shown and never judged. Forms before the baseline carry no change. Without
    a baseline, or with no scored form after it, nothing is judged: `latest` is None.

    Raises:
        ValueError: a total is infinite or not a number.

    Source: each verdict names its own; the standard error follows `measurement.measurement_error`.

    >>> from datetime import UTC, datetime
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> first, second = (Point(str(day), datetime(2026, 3, day, tzinfo=UTC), total, Validity.VALID)
    ...                  for day, total in ((1, 19), (8, 8)))
    >>> course = trajectory(get_instrument("phq-9"), [first, second], Baseline(first, "first"))
    >>> course.latest.change, round(course.latest.percent_change, 1), course.latest.category.category.value
    (-11, -57.9, 'recovered')
    """
    error = measurement_error(instrument)
    return Trajectory(
        points=tuple(_against(instrument, baseline, point) for point in points),
        latest=None if baseline is None else _latest(instrument, points, baseline, extra_thresholds),
        sem=None if error is None else error.sem,
    )


def _against(instrument: Instrument, baseline: Baseline | None, point: Point) -> TrajectoryPoint:
    severity = None if point.total is None else severity_of(instrument, point.total)
    if baseline is None or point.at < baseline.point.at:
        return TrajectoryPoint(point, severity, None, None)
    since = change(instrument, baseline.point.total, point.total)
    return TrajectoryPoint(point, severity, since.points, since.percent_change)


def _latest(
    instrument: Instrument, points: Sequence[Point], baseline: Baseline, extra_thresholds: Iterable[Threshold]
) -> Latest | None:
    start = baseline.point
    later = [point for point in points if point.total is not None and point.at >= start.at and point.id != start.id]
    if not later:
        return None
    point = later[-1]
    since = change(instrument, start.total, point.total)
    assert since.points is not None  # noqa: S101  # both totals are there; narrows the type
    return Latest(
        point=point,
        change=since.points,
        percent_change=since.percent_change,
        verdicts=judge(instrument, start.total, point.total, extra_thresholds),
        category=category_of(instrument, start.total, point.total),
    )
