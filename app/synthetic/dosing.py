"""What happens in one dosing session: the dose, the readings, and what goes wrong.

Doses lie within ranges seen in practice; readings and events are invented. Nothing here is guidance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final, Literal

from app.synthetic.chance import chance, clamp
from app.synthetic.courses import Course
from app.synthetic.model import CourseKind, Route, SyntheticAdverseEvent, SyntheticObservation

Severity = Literal["mild", "moderate", "severe"]

MEDICINE: Final = "ketamine"
STEP_MG: Final[Mapping[Route, int]] = {
    "intramuscular": 5,
    "sublingual": 50,
    "intravenous": 5,
}  # mg a dose is rounded to
EVENT_RATE: Final = 0.3  # of doses after which something mild or moderate is noted
BENZODIAZEPINE_RATE: Final = 0.12  # of patients who take one
EVENTS: Final[tuple[tuple[str, int, int], ...]] = (  # term, minutes to onset, minutes it lasts
    ("dizziness", 20, 100),
    ("nausea", 45, 120),
    ("vomiting", 60, 30),
    ("headache", 150, 400),
    ("anxiety", 25, 60),
    ("blurred vision", 20, 80),
    ("raised blood pressure", 40, 60),
)
WORSENING: Final = "worsening of depression with suicidal thoughts"
# Minutes since the start, and how far towards its peak the effect is.
READINGS: Final = ((-10, 0.0), (40, 1.0), (90, 0.4), (125, 0.1))


@dataclass(frozen=True, slots=True)
class Dosing:
    """What stays the same over all doses of one person."""

    route: Route
    setting: Literal["clinic", "home"]
    weight_kg: float  # kg at the first dose
    systolic: float  # mmHg at rest
    benzodiazepine: bool
    dissociation: float  # peak rating, 0 to 10


def dosing_of(seed: int, index: int) -> Dosing:
    """How one person is dosed."""
    draw = chance(seed, index, "dosing")
    route: Route = draw.choice(("intramuscular", "intramuscular", "sublingual", "sublingual", "intravenous"))
    at_home = route == "sublingual" and draw.random() < 0.4
    return Dosing(
        route=route,
        setting="home" if at_home else "clinic",
        weight_kg=draw.uniform(52, 108),
        systolic=draw.uniform(108, 136),
        benzodiazepine=draw.random() < BENZODIAZEPINE_RATE,
        dissociation=draw.uniform(2, 9),
    )


def dose_mg(dosing: Dosing, weight_kg: float, dose_number: int) -> int:
    """Milligrams: by weight and rising with the doses, except infusions, which stay at 0.5 mg/kg."""
    rise = min(dose_number - 1, 4)
    mg = {
        "intramuscular": weight_kg * (0.7 + 0.1 * rise),
        "sublingual": 100 + 50.0 * rise,
        "intravenous": weight_kg * 0.5,
    }[dosing.route]
    step = STEP_MG[dosing.route]
    return step * round(mg / step)


def observations(
    draw: Random, dosing: Dosing, started_at: datetime, dose_number: int
) -> Iterator[SyntheticObservation]:
    """Readings before, at the peak, and until discharge; at home the blood pressure is not taken."""
    fading = 0.9 ** (dose_number - 1)  # dissociation gets less with repeats
    for minutes, effect in READINGS:
        at = started_at + timedelta(minutes=minutes)
        systolic = clamp(dosing.systolic + 24 * effect + draw.gauss(0, 4), 85, 200)
        diastolic = clamp(0.62 * systolic + draw.gauss(0, 3), 45, 120)
        heart_rate = clamp(70 + 16 * effect + draw.gauss(0, 5), 48, 140)
        oxygen = clamp(97.5 - 1.5 * effect + draw.gauss(0, 0.8), 90, 100)
        dissociation = clamp(dosing.dissociation * effect * fading + draw.gauss(0, 0.3), 0, 10)
        if dosing.setting == "clinic":
            yield SyntheticObservation("systolic_blood_pressure", systolic, "mmHg", at)
            yield SyntheticObservation("diastolic_blood_pressure", diastolic, "mmHg", at)
        yield SyntheticObservation("heart_rate", heart_rate, "/min", at)
        yield SyntheticObservation("oxygen_saturation", oxygen, "%", at)
        yield SyntheticObservation("dissociation", dissociation, "0-10", at)


def adverse_events(
    draw: Random, course: Course, started_at: datetime, dose_number: int, now: datetime
) -> Iterator[SyntheticAdverseEvent]:
    """What is noted after a dose. In those who get worse the second one leads to a serious event."""
    if draw.random() < EVENT_RATE:
        term, onset, lasts = draw.choice(EVENTS)
        severity: Severity = "moderate" if draw.random() < 0.2 else "mild"
        onset_at = started_at + timedelta(minutes=clamp(onset * draw.uniform(0.6, 1.4), 5, 240))
        yield from _noted(
            term, severity, onset_at, timedelta(minutes=clamp(lasts * draw.uniform(0.5, 1.5), 10, 600)), now
        )
    if course.kind is CourseKind.WORSE_AFTER_DOSE_2 and dose_number == 2:
        yield from _noted(WORSENING, "severe", started_at + timedelta(hours=26), timedelta(days=24), now)


def _noted(
    term: str, severity: Severity, onset_at: datetime, lasts: timedelta, now: datetime
) -> Iterator[SyntheticAdverseEvent]:
    if onset_at <= now:
        resolved_at = onset_at + lasts
        yield SyntheticAdverseEvent(
            term, severity, severity == "severe", onset_at, resolved_at if resolved_at <= now else None
        )
