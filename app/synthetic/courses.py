"""The kinds of course, their shares, and how severe a person of each kind is on a given day.

Every number here was chosen to exercise the software. None is evidence about any treatment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.synthetic.chance import chance, interpolate
from app.synthetic.model import CourseKind

Knots = tuple[tuple[float, float], ...]

# The first patients of every clinic, one of each kind; with too little noise to hide it: docs point to them.
NAMED: Final[Mapping[str, CourseKind]] = {
    "demo-fast-relapse": CourseKind.FAST_RELAPSE,
    "demo-fast-durable": CourseKind.FAST_DURABLE,
    "demo-slow": CourseKind.SLOW,
    "demo-partial": CourseKind.PARTIAL,
    "demo-never": CourseKind.NEVER,
    "demo-worse-after-dose-2": CourseKind.WORSE_AFTER_DOSE_2,
    "demo-dropped-out": CourseKind.DROPPED_OUT,
    "demo-low-severity": CourseKind.LOW_SEVERITY,
}

# Of every twenty patients after the named ones, in shuffled order.
SHARES: Final[Mapping[CourseKind, int]] = {
    CourseKind.FAST_RELAPSE: 4,
    CourseKind.FAST_DURABLE: 3,
    CourseKind.SLOW: 3,
    CourseKind.PARTIAL: 3,
    CourseKind.NEVER: 3,
    CourseKind.WORSE_AFTER_DOSE_2: 1,
    CourseKind.DROPPED_OUT: 2,
    CourseKind.LOW_SEVERITY: 1,
}
_DECK: Final = tuple(kind for kind, count in SHARES.items() for _ in range(count))

# Days since the first dose, and severity as a multiple of what it was before.
CURVES: Final[Mapping[CourseKind, Knots]] = {
    CourseKind.FAST_RELAPSE: ((0, 1.0), (1, 0.5), (3, 0.32), (24, 0.28), (35, 0.85), (365, 0.9)),
    CourseKind.FAST_DURABLE: ((0, 1.0), (1, 0.5), (3, 0.35), (14, 0.2), (365, 0.18)),
    CourseKind.SLOW: ((0, 1.0), (14, 0.88), (28, 0.7), (42, 0.5), (56, 0.35), (365, 0.3)),
    CourseKind.PARTIAL: ((0, 1.0), (7, 0.75), (14, 0.63), (365, 0.65)),
    CourseKind.NEVER: ((0, 1.0), (7, 0.96), (365, 0.97)),
    CourseKind.WORSE_AFTER_DOSE_2: ((0, 1.0), (3, 0.85), (365, 0.85)),
    CourseKind.DROPPED_OUT: ((0, 1.0), (7, 0.8), (365, 0.7)),
    CourseKind.LOW_SEVERITY: ((0, 1.0), (14, 0.6), (365, 0.55)),
}
# Days since the second dose; from there on it is this one that counts.
WORSENING: Final[Knots] = ((0, 0.85), (1, 1.2), (3, 1.55), (21, 1.4), (60, 1.15), (365, 1.05))

_PHQ_9: Final[Mapping[CourseKind, tuple[float, float]]] = {  # points before treatment, from and to
    CourseKind.FAST_RELAPSE: (15, 21),
    CourseKind.FAST_DURABLE: (14, 21),
    CourseKind.SLOW: (14, 21),
    CourseKind.PARTIAL: (14, 20),
    CourseKind.NEVER: (14, 22),
    CourseKind.WORSE_AFTER_DOSE_2: (13, 17),
    CourseKind.DROPPED_OUT: (12, 20),
    CourseKind.LOW_SEVERITY: (5, 8),
}


@dataclass(frozen=True, slots=True)
class Course:
    """How severe one person is before treatment, and by which curve that changes."""

    kind: CourseKind
    named: bool
    phq_9: float  # points before treatment
    pcl_5: float  # points before treatment
    gad_7: float  # points before treatment
    carry: float  # share of the change of the PHQ-9 that the PCL-5 and the GAD-7 show, 0 to 1
    pace: float  # how many times slower than the curve
    self_harm: float  # answer to item 9 of the PHQ-9 before treatment, 0 to 3


def reference(index: int) -> str:
    """The clinic's own number of a patient: named first, then `demo-009` and on."""
    names = tuple(NAMED)
    return names[index] if index < len(names) else f"demo-{index + 1:03d}"


def kind_of(seed: int, index: int) -> CourseKind:
    """The kind of a patient; it does not depend on how many others there are."""
    named = tuple(NAMED.values())
    if index < len(named):
        return named[index]
    block, place = divmod(index - len(named), len(_DECK))
    deck = list(_DECK)
    chance(seed, "kinds", block).shuffle(deck)
    return deck[place]


def course_of(seed: int, index: int) -> Course:
    """The course of a patient."""
    kind = kind_of(seed, index)
    low = kind is CourseKind.LOW_SEVERITY
    if index < len(NAMED):
        phq_9, pcl_5, gad_7 = (7.0, 16.0, 5.0) if low else (sum(_PHQ_9[kind]) / 2, 50.0, 13.0)
        return Course(kind, True, phq_9, pcl_5, gad_7, 0.9, 1.0, float(kind is CourseKind.NEVER))
    draw = chance(seed, index, "course")
    return Course(
        kind=kind,
        named=False,
        phq_9=draw.uniform(*_PHQ_9[kind]),
        pcl_5=draw.uniform(10, 22) if low else draw.uniform(36, 62),
        gad_7=draw.uniform(2, 6) if low else draw.uniform(9, 18),
        carry=draw.uniform(0.6, 1.0),
        pace=draw.uniform(0.85, 1.2),
        self_harm=0.0 if low else draw.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0)),
    )


def relative_severity(course: Course, days: float, days_since_dose_2: float | None) -> float:
    """Severity as a multiple of what it was before treatment; `days` since the first dose, negative before it."""
    if course.kind is CourseKind.WORSE_AFTER_DOSE_2 and days_since_dose_2 is not None and days_since_dose_2 > 0:
        return interpolate(WORSENING, days_since_dose_2)
    return interpolate(CURVES[course.kind], days / course.pace)


def self_harm_severity(course: Course, relative: float, days_since_dose_2: float | None) -> float:
    """Expected answer to item 9 of the PHQ-9. It falls with the rest, and rises by two steps in those who get worse."""
    worse = course.kind is CourseKind.WORSE_AFTER_DOSE_2 and days_since_dose_2 is not None and days_since_dose_2 > 0
    return course.self_harm * relative + 2.0 * worse
