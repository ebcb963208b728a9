"""A course as a picture: one SVG, written by hand, the same bytes for the same course.

Pure: standard library and the core alone. Nothing in it needs colour, a script, a font or a file from elsewhere, and no
patient is named. It is drawn 420 units wide, so that its smallest text is still read on a telephone.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from textwrap import wrap
from typing import Final

from app import chart_words as words
from app import svg
from app.chart_frame import CHARACTER, EDGE, GREY, HALO, INK, WIDTH, Style, document, heading
from app.scoring.default_rules import default_cut_point
from app.scoring.model import Instrument, Validity
from app.scoring.timeline import DAY, elapsed, instant
from app.scoring.trajectory import Trajectory, TrajectoryPoint
from app.scoring.treatment import Baseline, Dose, NumberedDose, numbered

JOIN_DAYS: Final = 21  # days; forms further apart are not joined. Judgement: two missed weekly check-ins
SHORTEST_AXIS: Final = 6 * DAY  # so that an afternoon is not stretched over the whole width

LEFT: Final = 36  # units of the picture, as all that follow
RIGHT: Final = 336  # of the plot; names of bands stand beyond it
PLOT_HEIGHT: Final = 214
INSET: Final = (14, 32)  # left and right of the times; the latest total is written into the right one
TIER: Final = 27  # a dose's number over its mg
TIER_GAP: Final = 8  # between the lowest of them and the plot
MOST_TIERS: Final = 3
BOLD_CHARACTER: Final = 8.4  # same, of a bold digit
BASELINE: Final[Style] = {"stroke": INK, "stroke_width": 1.4, "stroke_dasharray": "9 3 2 3"}
RESPONSE: Final[Style] = {"stroke": INK, "stroke_width": 1.6, "stroke_dasharray": "1.5 3.5"}
DOSE: Final[Style] = {"stroke": "#8a4b08", "stroke_width": 1.3, "stroke_dasharray": "5 3"}
SEM: Final[Style] = {"stroke": GREY, "stroke_width": 1.2}
_DAY_STEPS: Final = (1, 2, 7, 14)  # days between marks of the time axis
_MONTH_STEPS: Final = (1, 2, 3, 6, *(12 * years for years in (1, 2, 5, 10, 20, 50, 100, 1000, 5000)))
_MOST_TICKS: Final = 5
_TOTAL_STEPS: Final = (1, 2, 5, 10, 20, 25, 50, 100)  # points between marks of the total axis


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the plot lies, and where times and totals lie in it."""

    top: float
    start: datetime
    end: datetime
    minimum: int
    maximum: int

    @property
    def bottom(self) -> float:
        return self.top + PLOT_HEIGHT

    def x(self, at: datetime) -> float:
        left, right = LEFT + INSET[0], RIGHT - INSET[1]
        return left + (right - left) * (elapsed(self.start, at) / elapsed(self.start, self.end))

    def y(self, total: float) -> float:
        inside = min(max(total, self.minimum), self.maximum)
        return self.bottom - PLOT_HEIGHT * (inside - self.minimum) / (self.maximum - self.minimum)


@dataclass(frozen=True, slots=True)
class _DoseMark:
    """One dosing session: its place, and the tier its label found room in; None: no room."""

    number: int
    at: datetime
    amount: str
    tier: int | None


def trajectory_svg(
    instrument: Instrument,
    course: Trajectory,
    doses: Iterable[Dose] = (),
    amounts_mg: Mapping[str, float] | None = None,
    shown_from: datetime | None = None,
) -> str:
    """The course as SVG text. `amounts_mg` are by the id of the dose; one that is not there is drawn as "?"."""
    shown = [each for each in course.points if shown_from is None or instant(each.point.at) >= instant(shown_from)]
    amounts = amounts_mg or {}
    given = [
        one for one in numbered(doses) if shown_from is None or instant(one.dose.started_at) >= instant(shown_from)
    ]
    title = wrap(instrument.title, 45)
    start, end = _period([each.point.at for each in shown] + [one.dose.started_at for one in given])
    marks = _dose_marks(given, amounts, _Frame(0, start, end, 0, 1))
    tiers = max((mark.tier + 1 for mark in marks if mark.tier is not None), default=0)
    frame = _Frame(
        30 + 18 * len(title) + (TIER * tiers + TIER_GAP if tiers else 0),
        start,
        end,
        instrument.minimum,
        instrument.maximum,
    )
    parts = [
        *heading(title, words.range_text(instrument)),
        *_background(instrument, frame),
        *_total_axis(instrument, frame),
        *_doses(marks, frame),
        *_reference_lines(instrument, course, frame),
        *_forms(course, shown, frame),
        *(_time_axis(frame, frame.bottom + 24) if shown or given else ()),
    ]
    legend, height = _legend(instrument, course, shown, marks, frame.bottom + 64)
    said = words.description(instrument, course, shown, given, amounts)
    title_said = f"{instrument.title}: course of the total"
    return document("trajectory", instrument.id, title_said, said, [*parts, *legend], height)


# --- What the forms are seen against ----------------------------------------------------------------------------------


def _background(instrument: Instrument, frame: _Frame) -> Iterator[str]:
    """Severity bands; where an instrument has none, its cut-point with the side it speaks of in grey."""
    if not instrument.bands:
        yield from _cut_point(instrument, frame)
    for place, band in enumerate(instrument.bands):
        top, bottom = frame.y(band.maximum + 0.5), frame.y(band.minimum - 0.5)  # a prorated total is rounded
        yield _band(top, bottom, shade=250 - 34 * place // max(len(instrument.bands) - 1, 1))
        yield _side_text(band.label, (top + bottom) / 2)
    yield svg.tag("rect", x=LEFT, y=frame.top, width=RIGHT - LEFT, height=PLOT_HEIGHT, fill="none", stroke=EDGE)


def _cut_point(instrument: Instrument, frame: _Frame) -> Iterator[str]:
    screen = default_cut_point(instrument)
    if screen is None:
        return
    lower, upper = screen.total_at_least, screen.total_at_most
    top = frame.top if lower is not None or upper is None else frame.y(upper)
    bottom = frame.bottom if lower is None else frame.y(lower)
    edge = bottom if lower is not None else top
    yield _band(top, bottom, shade=236)
    yield svg.line(LEFT, edge, RIGHT, edge, stroke=GREY, stroke_width=1.2, class_="cut-point")
    yield _side_text(f"cut-point: {lower} or more" if lower is not None else f"cut-point: {upper} or less", edge)


def _band(top: float, bottom: float, shade: int) -> str:
    fill = f"#{shade:02x}{shade:02x}{shade:02x}"
    return svg.tag("rect", x=LEFT, y=top, width=RIGHT - LEFT, height=bottom - top, fill=fill, stroke="#fff")


def _side_text(label: str, middle: float) -> str:
    lines = wrap(label, 11)
    first = middle + 4 - 6.5 * (len(lines) - 1)
    rows = (svg.text(line, RIGHT + 6, first + 13 * row, font_size=11.5) for row, line in enumerate(lines))
    return svg.group(rows, fill=GREY)


def _total_axis(instrument: Instrument, frame: _Frame) -> Iterator[str]:
    span = instrument.maximum - instrument.minimum
    step = next((step for step in _TOTAL_STEPS if span / step <= 6), span)
    marks = [mark for mark in range(instrument.minimum, instrument.maximum, step) if frame.y(mark) - frame.top > 12]
    for mark in (*marks, instrument.maximum):
        yield svg.line(LEFT - 4, frame.y(mark), LEFT, frame.y(mark), stroke=GREY)
        yield svg.text(str(mark), LEFT - 7, frame.y(mark) + 4, text_anchor="end")


def _reference_lines(instrument: Instrument, course: Trajectory, frame: _Frame) -> Iterator[str]:
    if isinstance(course.baseline, Baseline) and course.baseline.point.total is not None:
        y = frame.y(course.baseline.point.total)
        yield svg.line(LEFT, y, RIGHT, y, class_="baseline", **BASELINE)
    if found := words.response_line(instrument, course):
        y = frame.y(found[1])
        yield svg.line(LEFT, y, RIGHT, y, class_="response", **RESPONSE)


# --- Doses ------------------------------------------------------------------------------------------------------------


def _dose_marks(doses: Sequence[NumberedDose], amounts_mg: Mapping[str, float], frame: _Frame) -> list[_DoseMark]:
    """Each label takes the lowest tier with room left of it."""
    ends = [-math.inf] * MOST_TIERS
    marks = []
    for one in doses:
        amount = words.amount_text(amounts_mg.get(one.dose.id))
        half = max(CHARACTER * len(amount), BOLD_CHARACTER * len(str(one.number))) / 2 + 2
        x = frame.x(one.dose.started_at)
        tier = next((tier for tier, end in enumerate(ends) if end <= x - half), None)
        if tier is not None:
            ends[tier] = x + half
        marks.append(_DoseMark(one.number, one.dose.started_at, amount, tier))
    return marks


def _doses(marks: Sequence[_DoseMark], frame: _Frame) -> Iterator[str]:
    for mark in marks:
        x = frame.x(mark.at)
        top = frame.top - TIER_GAP * (mark.tier is not None) - TIER * (mark.tier or 0)
        yield svg.line(x, top, x, frame.bottom, class_="dose", **DOSE)
    labelled = [mark for mark in marks if mark.tier is not None]
    for mark in labelled:
        x, base = frame.x(mark.at), frame.top - TIER_GAP - TIER * (mark.tier or 0)
        yield svg.text(str(mark.number), x, base - 15, text_anchor="middle", font_weight="bold", **HALO)
        yield svg.text(mark.amount, x, base - 3, text_anchor="middle", font_size=11, **HALO)
    if labelled:
        yield svg.text("dose", 6, frame.top - TIER_GAP - 15, fill=GREY, font_size=11)
        yield svg.text("mg", 6, frame.top - TIER_GAP - 3, fill=GREY, font_size=11)


# --- Forms ------------------------------------------------------------------------------------------------------------


def _forms(course: Trajectory, shown: Sequence[TrajectoryPoint], frame: _Frame) -> Iterator[str]:
    if not shown:
        said = "No forms in this period" if course.points else "No forms yet"
        middle = (LEFT + RIGHT) / 2, frame.top + PLOT_HEIGHT / 2
        yield svg.text(said, *middle, text_anchor="middle", font_size=16, font_weight="bold", **HALO)
    scored = [(each.point.at, each.point.total) for each in shown if each.point.total is not None]
    radius = 4.2 if len(shown) <= 60 else 2.4
    if course.error is not None:
        yield from (_whisker(frame.x(at), total, course.error.sem, radius, frame) for at, total in scored)
    for run in _runs(scored):
        corners = " ".join(f"{svg.number(frame.x(at))},{svg.number(frame.y(total))}" for at, total in run)
        yield svg.tag("polyline", points=corners, fill="none", stroke=INK, stroke_width=1.6, class_="run")
    yield from (_form(each, frame, radius) for each in shown)
    if scored:
        at, total = scored[-1]
        y = min(frame.y(total) + 4.5, frame.bottom - 3)
        yield svg.text(words.number_text(total), frame.x(at) + 8, y, font_size=14, font_weight="bold", **HALO)


def _runs(scored: Sequence[tuple[datetime, float]]) -> Iterator[list[tuple[datetime, float]]]:
    """Neighbours near enough to be joined, two or more of them."""
    run = list(scored[:1])
    for before, after in pairwise(scored):
        if elapsed(before[0], after[0]) > JOIN_DAYS * DAY:
            yield from [run] if len(run) > 1 else []
            run = []
        run.append(after)
    yield from [run] if len(run) > 1 else []


def _whisker(x: float, total: float, sem: float, radius: float, frame: _Frame) -> str:
    top, bottom = frame.y(total + sem), frame.y(total - sem)
    ends = (svg.line(x - radius + 1, y, x + radius - 1, y) for y in (top, bottom))
    faint = 0.4 if radius < 4 else None  # many whiskers stand so near that they would hide the bands
    return svg.group([svg.line(x, top, x, bottom), *ends], class_="sem", stroke_opacity=faint, **SEM)


def _form(each: TrajectoryPoint, frame: _Frame, radius: float) -> str:
    point = each.point
    said = f"{words.date_text(point.at)}: " + ("no total" if point.total is None else words.number_text(point.total))
    y = frame.bottom + 10 if point.total is None else frame.y(point.total)
    return _shape(point.validity, frame.x(point.at), y, radius, said)


def _shape(validity: Validity, x: float, y: float, radius: float, said: str | None = None) -> str:
    """Filled circle, open circle, open cross: told apart without colour. `said` is shown to a pointing device."""
    note = None if said is None else svg.tag("title", said)
    outline: Style = {"stroke": INK, "stroke_width": 1.5, "class_": f"form {validity}" if said else None}
    if validity is Validity.INCOMPLETE:
        return svg.element("polygon", note, points=_cross(x, y, radius + 0.8), fill="#fff", **outline)
    fill = INK if validity is Validity.VALID else "#fff"
    return svg.element("circle", note, cx=x, cy=y, r=radius, fill=fill, **outline)


def _cross(x: float, y: float, size: float) -> str:
    """The outline of a diagonal cross, from its twelve corners in one quarter turned four times."""
    arm = size * 0.4
    corners = [(0.0, -arm), (size - arm, -size), (size, -size + arm)]
    for _ in range(3):
        corners += [(-dy, dx) for dx, dy in corners[-3:]]
    return " ".join(f"{svg.number(x + dx)},{svg.number(y + dy)}" for dx, dy in corners)


# --- Time axis --------------------------------------------------------------------------------------------------------


def _period(times: Sequence[datetime]) -> tuple[datetime, datetime]:
    """From the first to the last time, widened to the shortest axis."""
    inside = sorted(map(instant, times)) or [datetime(2000, 1, 1, tzinfo=UTC)]
    lacking = max(SHORTEST_AXIS - (inside[-1] - inside[0]), timedelta(0))
    return inside[0] - lacking / 2, inside[-1] + lacking / 2


def _ticks(start: datetime, end: datetime) -> list[datetime]:
    """At most five round dates: midnights, over longer times firsts of months."""
    for step in _DAY_STEPS:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight if midnight == start else midnight + DAY
        if (end - first) // (step * DAY) < _MOST_TICKS:
            return [first + place * step * DAY for place in range((end - first) // (step * DAY) + 1)]
    months = range(start.year * 12 + start.month - 1, end.year * 12 + end.month)
    for step in _MONTH_STEPS:
        firsts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months if month % step == 0]
        if len(inside := [first for first in firsts if start <= first <= end]) <= _MOST_TICKS:
            return inside
    return []


def _time_axis(frame: _Frame, base: float) -> Iterator[str]:
    ticks = _ticks(frame.start, frame.end)
    year = None
    for tick in ticks:
        x, month = frame.x(tick), words.MONTHS[tick.month - 1]
        yield svg.line(x, frame.bottom, x, frame.bottom + 4, stroke=GREY)
        yield svg.text(f"{tick.day} {month}", x, base + 4, text_anchor="middle")
        if tick.year != year:
            yield svg.text(str(tick.year), x, base + 18, text_anchor="middle", fill=GREY)
        year = tick.year


# --- Legend -----------------------------------------------------------------------------------------------------------


def _legend(
    instrument: Instrument,
    course: Trajectory,
    shown: Sequence[TrajectoryPoint],
    marks: Sequence[_DoseMark],
    top: float,
) -> tuple[list[str], float]:
    """What the shapes mean, each as wide as its words; then what the picture does not show. And where it ends."""
    parts, x, y = [], 6.0, top
    for sample, label in _samples(instrument, course, shown, marks):
        width = 34 + CHARACTER * len(label)
        if x + width > WIDTH and x > 6:
            x, y = 6.0, y + 19
        parts += [
            svg.group([sample], transform=f"translate({svg.number(x)} {svg.number(y)})"),
            svg.text(label, x + 28, y + 4),
        ]
        x += width + 6
    for note in _notes(course, shown, marks):
        for line in wrap(note, 66):
            y += 17
            parts.append(svg.text(line, 6, y + 6, fill=GREY, font_size=11.5))
    return parts, y + 16


def _samples(
    instrument: Instrument, course: Trajectory, shown: Sequence[TrajectoryPoint], marks: Sequence[_DoseMark]
) -> Iterator[tuple[str, str]]:
    labels = {Validity.VALID: "all answered", Validity.PRORATED: "prorated", Validity.INCOMPLETE: "no total"}
    kinds = {each.point.validity for each in shown}
    yield from ((_shape(kind, 13, 0, 4.2), label) for kind, label in labels.items() if kind in kinds)
    if course.error is not None and any(each.point.total is not None for each in shown):
        ends = (svg.line(10, y, 16, y, **SEM) for y in (-7, 7))
        yield (
            svg.group([svg.line(13, -7, 13, 7, **SEM), *ends]),
            f"±1 SEM ({words.number_text(course.error.sem)} points)",
        )
    if marks:
        yield svg.line(13, -8, 13, 8, **DOSE), "dosing session"
    if isinstance(course.baseline, Baseline):
        yield svg.line(0, 0, 24, 0, **BASELINE), words.baseline_text(course)
    if found := words.response_line(instrument, course):
        yield svg.line(0, 0, 24, 0, **RESPONSE), words.response_text(*found)


def _notes(course: Trajectory, shown: Sequence[TrajectoryPoint], marks: Sequence[_DoseMark]) -> Iterator[str]:
    if shown and not isinstance(course.baseline, Baseline):
        yield f"There is {words.baseline_text(course)}."
    if shown and course.error is None:
        yield "No measurement error is declared, so none is drawn."
    if unlabelled := sum(mark.tier is None for mark in marks):
        yield f"{unlabelled} of {len(marks)} dosing sessions have no label, for want of room."
    if shown or marks:
        yield f"Forms more than {JOIN_DAYS} days apart are not joined. Dates in UTC."
        yield "Time order is not cause."
