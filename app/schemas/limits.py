"""What is taken for a slip of the pen or of the unit, and why. Judgements of ours, not clinical advice.

Wide on purpose: a record must be able to say what really happened. `docs/treatment-record.md` prints these tables.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """A range, both ends included."""

    minimum: float
    maximum: float
    unit: str
    reason: str

    def holds(self, value: float) -> bool:
        return self.minimum <= value <= self.maximum


LIMITS: Final = {
    "weight_kg": Limit(25, 300, "kg", "adults; a weight in pounds is often beyond 300 or makes the dose per kg odd"),
    "dose_mg": Limit(0.1, 5000, "mg", "any medicine; catches micrograms and grams"),
    "therapist_hours": Limit(0, 72, "hours", "three therapists for a whole day"),
    "systolic": Limit(40, 300, "mmHg", "lowest seen in shock, highest a cuff reads"),
    "diastolic": Limit(20, 200, "mmHg", "lowest seen in shock, highest a cuff reads"),
    "heart_rate": Limit(20, 300, "1/min", "catches a swapped column"),
    "oxygen_saturation": Limit(40, 100, "%", "oximeters are not calibrated below; catches a share of 1"),
    "dissociation": Limit(0, 92, "points", "CADSS: 23 items from 0 to 4"),
    "valid_days": Limit(1, 366, "days", "a decision older than a year is none"),
    "look_back_days": Limit(1, 36_500, "days", "a hundred years is a lifetime"),
}


@dataclass(frozen=True, slots=True)
class DoseLimit:
    """Ketamine by one route: the whole dose, and the dose for each kilogram when the weight is known."""

    mg: Limit
    mg_per_kg: Limit


_MG: Final = "below: a dose for each kg was entered as mg; above: ten times too much"
_MG_PER_KG: Final = "below and above what is used in psychiatry by a wide margin: check both units"


def _by_route(mg: tuple[float, float], mg_per_kg: tuple[float, float]) -> DoseLimit:
    return DoseLimit(Limit(*mg, "mg", _MG), Limit(*mg_per_kg, "mg/kg", _MG_PER_KG))


# Typical doses: intravenous 0.5 mg/kg (0.2 to 1.0 explored), intramuscular 0.5 to 1.5 mg/kg, sublingual 50 to 400 mg.
KETAMINE: Final = frozenset({"ketamine_racemic", "esketamine"})
DOSE_LIMITS: Final = {
    "intravenous": _by_route((3, 300), (0.05, 3)),
    "intramuscular": _by_route((5, 400), (0.05, 5)),
    "subcutaneous": _by_route((5, 400), (0.05, 5)),
    "intranasal": _by_route((5, 400), (0.05, 5)),
    "sublingual": _by_route((10, 1000), (0.1, 15)),
    "oral": _by_route((10, 1500), (0.1, 20)),
}

MAX_SESSION_HOURS: Final = 24  # a session that ends later has the wrong date
MAX_DAYS_AHEAD: Final = 731  # nobody books two years ahead; catches a slip in the year
MAX_VERSIONS: Final = 200  # a thing corrected more often is a program in a loop
