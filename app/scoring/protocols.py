"""Ready-made plans, to be taken as they are or as a first draft. Which one suits a clinic is the clinic's to say."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from app.scoring.schedule import After, Anchor, PlanEntry, Repeat, Window
from app.scoring.treatment import MAXIMUM_BASELINE_AGE_DAYS

CPT_HANDOUT: Final = (
    "PCL-5 of the past month at intake and follow-up, of the past week in weekly sessions: CPT hand-out"
)
TRIAL_TIMES: Final = (
    "Before and 24 h after each dose, then weekly for 8 weeks: Albott 2018, J Clin Psychiatry; "
    "24, 48, 72 h and day 7: Feder 2014, JAMA Psychiatry; months 1, 3 and 6: Yermus 2024"
)


class UnknownProtocolError(LookupError):
    """No protocol, or no such version of it, under this reference."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A plan with where it comes from. A changed entry is a new version."""

    code: str
    version: int
    title: str
    description: str
    source: str
    entries: tuple[PlanEntry, ...]

    @property
    def key(self) -> str:
        """Identity of this version, e.g. `kap-standard@1`."""
        return f"{self.code}@{self.version}"


# All windows are judgements. Each closes before the next time of its kind opens, so that no form is late for one time
# and early for another; the day after a dose is tight, because by the third day it is another question.
_BASELINE: Final = Window(-24 * (MAXIMUM_BASELINE_AGE_DAYS - 1), 12, 24)  # 28 days before the dose up to its start
_INTAKE: Final = Window(0, 72, 5 * 24 - 1)  # up to the first weekly one
_AT_24_HOURS: Final = Window(-6, 12, 24)  # 18 to 48 h
_AT_72_HOURS: Final = Window(-24, 12, 24)  # 48 to 96 h
_AT_7_DAYS: Final = Window(-24, 24, 48)  # days 6 to 9
_WEEKLY: Final = Window(-48, 48, 5 * 24 - 1)  # hours; one to spare for the week in which the clock is put forward
_MONTHLY: Final = Window(-7 * 24, 7 * 24, 14 * 24)
_FOLLOW_UP: Final = Window(-14 * 24, 14 * 24, 28 * 24)


def _after_each_dose() -> Iterable[PlanEntry]:
    each = Anchor.EACH_DOSE
    yield PlanEntry("phq-9-24h", "phq-9", each, After(hours=24), _AT_24_HOURS)
    yield PlanEntry("phq-9-72h", "phq-9", each, After(hours=72), _AT_72_HOURS)
    yield PlanEntry("phq-9-7d", "phq-9", each, After(days=7), _AT_7_DAYS)


def _baseline(*instruments: str) -> Iterable[PlanEntry]:
    for instrument in instruments:
        yield PlanEntry(f"{instrument}-baseline", instrument, Anchor.FIRST_DOSE, After(hours=-24), _BASELINE)


def _months(months: Iterable[int], window: Window, *instruments: str) -> Iterable[PlanEntry]:
    for month in months:
        for instrument in instruments:
            code = f"{instrument}-month-{month}"
            yield PlanEntry(code, instrument, Anchor.FIRST_DOSE, After(months=month), window)


KAP_STANDARD: Final = Protocol(
    code="kap-standard",
    version=1,
    title="Ketamine-assisted psychotherapy, standard",
    description=(
        "PHQ-9 and PCL-5 before the first dose and at months 3, 6 and 12 after it, the PCL-5 of the past week weekly "
        "to week 8, and the PHQ-9 24 h, 72 h and 7 days after each dose. The PHQ-9 asks about two weeks: in the first "
        "days after a dose it speaks mostly of the time before, and no form of it with a shorter window is known."
    ),
    source=f"{TRIAL_TIMES}; {CPT_HANDOUT}. Judgement: the choice of forms for each time, month 12, and all windows.",
    entries=(
        *_baseline("phq-9", "pcl-5-month"),
        *_after_each_dose(),
        PlanEntry("pcl-5-week-weekly", "pcl-5-week", Anchor.FIRST_DOSE, After(days=7), _WEEKLY, Repeat(7, times=8)),
        *_months((3, 6, 12), _FOLLOW_UP, "phq-9", "pcl-5-month"),
    ),
)

KAP_LIGHT: Final = Protocol(
    code="kap-light",
    version=1,
    title="Ketamine-assisted psychotherapy, few questions",
    description=(
        "PHQ-9 and PCL-5 before the first dose and at months 1, 3 and 6 after it, and the PHQ-9 alone 7 days after "
        "each dose, when half of the two weeks it asks about lie after the dose."
    ),
    source=(
        "Months 1, 3 and 6: Yermus 2024; day 7: Feder 2014, JAMA Psychiatry. "
        "Judgement: what may be left out where questions are many and answers few, and all windows."
    ),
    entries=(
        *_baseline("phq-9", "pcl-5-month"),
        PlanEntry("phq-9-7d", "phq-9", Anchor.EACH_DOSE, After(days=7), _AT_7_DAYS),
        *_months((1,), _MONTHLY, "phq-9", "pcl-5-month"),
        *_months((3, 6), _FOLLOW_UP, "phq-9", "pcl-5-month"),
    ),
)

TALKING_THERAPY_WEEKLY: Final = Protocol(
    code="talking-therapy-weekly",
    version=1,
    title="Talking therapy, weekly",
    description=(
        "PHQ-9 and PCL-5 when the episode opens, then every week for 12 weeks, the PCL-5 in its form for the past "
        "week, and both at month 6. Two PHQ-9 a week apart share one of their two weeks: a change shows with delay."
    ),
    source=f"{CPT_HANDOUT}. Judgement: 12 weeks, the weekly PHQ-9 in spite of its two weeks, and all windows.",
    entries=(
        *(
            PlanEntry(f"{instrument}-intake", instrument, Anchor.EPISODE, After(days=0), _INTAKE)
            for instrument in ("phq-9", "pcl-5-month")
        ),
        *(
            PlanEntry(f"{instrument}-weekly", instrument, Anchor.EPISODE, After(days=7), _WEEKLY, Repeat(7, times=12))
            for instrument in ("phq-9", "pcl-5-week")
        ),
        *(
            PlanEntry(f"{instrument}-month-6", instrument, Anchor.EPISODE, After(months=6), _FOLLOW_UP)
            for instrument in ("phq-9", "pcl-5-month")
        ),
    ),
)

_DECLARED: Final = (KAP_LIGHT, KAP_STANDARD, TALKING_THERAPY_WEEKLY)


def all_protocols() -> tuple[Protocol, ...]:
    """The newest version of every protocol, sorted by code.

    Units and range: none. Missing data: does not arise.
    Source: each protocol names its own.

    >>> [protocol.key for protocol in all_protocols()]
    ['kap-light@1', 'kap-standard@1', 'talking-therapy-weekly@1']
    """
    codes = sorted({protocol.code for protocol in _DECLARED})
    return tuple(get_protocol(code) for code in codes)


def get_protocol(reference: str) -> Protocol:
    """The protocol named `kap-standard` (its newest version) or `kap-standard@1` (exactly that one).

    Units and range: `reference` is a code, or a code, `@` and a version from 1.
    Missing data: does not arise.

    Raises:
        UnknownProtocolError: nothing of that name or version is declared.

    Source: each protocol names its own.

    >>> get_protocol("kap-standard").key
    'kap-standard@1'
    """
    try:
        return _by_reference()[reference]
    except KeyError:
        raise UnknownProtocolError("no such protocol") from None


@cache
def _by_reference() -> dict[str, Protocol]:
    found: dict[str, Protocol] = {}
    for protocol in sorted(_DECLARED, key=lambda each: each.version):
        found[protocol.key] = found[protocol.code] = protocol
    return found
