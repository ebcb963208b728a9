"""The ready-made plans: whole, honest about what their forms can tell, and asking what they say."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from itertools import combinations
from typing import Final

import pytest

from app.scoring.protocols import Protocol, UnknownProtocolError, all_protocols, get_protocol
from app.scoring.registry import get_instrument
from app.scoring.schedule import Expected, QuietHours, Session, ZoneFrom, expected_check_ins
from app.scoring.schedule_checks import plan_faults, plan_warnings

OPENED: Final = datetime(2026, 1, 5, 9, tzinfo=UTC)
DAY: Final = timedelta(days=1)
NIGHT: Final = QuietHours(time(21), time(8))
RECALL: Final = "asked_within_recall"
BEFORE: Final = "recall_reaches_before_dose"

# Each warning is a choice that was made knowing it: no form of the PHQ-9 over fewer days is known.
WARNINGS: Final = {
    "kap-light@1": [("phq-9-7d", RECALL, None), ("phq-9-7d", BEFORE, None)],
    "kap-standard@1": [
        ("phq-9-24h", RECALL, None),
        ("phq-9-24h", BEFORE, None),
        ("phq-9-72h", RECALL, None),
        ("phq-9-72h", BEFORE, None),
        ("phq-9-7d", RECALL, None),
        ("phq-9-7d", BEFORE, None),
    ],
    "talking-therapy-weekly@1": [("phq-9-weekly", RECALL, None)],
}

each_protocol = pytest.mark.parametrize("protocol", all_protocols(), ids=lambda protocol: protocol.key)


def course(protocol: Protocol, doses: int) -> tuple[Expected, ...]:
    """Doses two weeks apart, the first two weeks after the opening."""
    sessions = [Session(f"dose-{n}", OPENED + 14 * DAY * n) for n in range(1, doses + 1)]
    return expected_check_ins(protocol.entries, OPENED, sessions, [ZoneFrom(None, "Europe/Berlin")], NIGHT)


@each_protocol
def test_no_faults(protocol: Protocol) -> None:
    """Every plan can be carried out."""
    assert plan_faults(protocol.entries, NIGHT) == ()


@each_protocol
def test_the_warnings_are_these(protocol: Protocol) -> None:
    """No more, no fewer: a change of a plan that adds one is seen."""
    found = [
        (protocol.entries[warning.index].code, warning.code, warning.offer)
        for warning in plan_warnings(protocol.entries)
    ]
    assert found == WARNINGS[protocol.key]


@each_protocol
def test_sources_and_judgement_are_told_apart(protocol: Protocol) -> None:
    """Each names what was read and what is our own."""
    assert protocol.title
    assert protocol.description.endswith(".")
    assert "Judgement: " in protocol.source
    assert protocol.source.index("Judgement: ") > 0


@each_protocol
def test_windows_of_one_instrument_never_overlap_after_one_dose(protocol: Protocol) -> None:
    """No form is late for one time and early for the next."""
    for one, other in combinations(course(protocol, 1), 2):
        if one.instrument == other.instrument:
            assert one.closes_at <= other.opens_at, (one.key, other.key)


@each_protocol
def test_everybody_can_be_reminded_of_everything(protocol: Protocol) -> None:
    """No window lies wholly in the night, whatever the time of the dose."""
    zones = [ZoneFrom(None, "America/New_York")]
    for hour in range(24):
        opened = OPENED + timedelta(hours=hour)
        found = expected_check_ins(protocol.entries, opened, [Session("a", opened + 7 * DAY)], zones, NIGHT)
        assert found
        assert all(form.remind_at is not None for form in found)


def test_the_standard_course() -> None:
    """Six doses: what is asked how often."""
    asked = course(get_protocol("kap-standard"), 6)
    assert Counter(form.code for form in asked) == {
        "phq-9-baseline": 1,
        "pcl-5-month-baseline": 1,
        "phq-9-24h": 6,
        "phq-9-72h": 6,
        "phq-9-7d": 6,
        "pcl-5-week-weekly": 8,
        **{f"{name}-month-{month}": 1 for name in ("phq-9", "pcl-5-month") for month in (3, 6, 12)},
    }


def test_the_light_course() -> None:
    """A third of the questions, none of them weekly or in the first days."""
    light, standard = (course(get_protocol(f"kap-{name}"), 6) for name in ("light", "standard"))
    assert Counter(form.code for form in light) == {
        "phq-9-baseline": 1,
        "pcl-5-month-baseline": 1,
        "phq-9-7d": 6,
        **{f"{name}-month-{month}": 1 for name in ("phq-9", "pcl-5-month") for month in (1, 3, 6)},
    }
    items = [sum(len(get_instrument(form.instrument).items) for form in each) for each in (light, standard)]
    assert items[0] < 0.5 * items[1]


def test_talking_therapy_needs_no_dose() -> None:
    """All is counted from the opening; intake, twelve weeks, month six."""
    asked = course(get_protocol("talking-therapy-weekly"), 0)
    assert Counter(form.instrument for form in asked) == {"phq-9": 14, "pcl-5-month": 2, "pcl-5-week": 12}


@pytest.mark.parametrize("name", ["kap-standard", "kap-light"])
def test_the_baseline_closes_with_the_first_dose(name: str) -> None:
    """Also over the night that has an hour less: nothing of it is filled in after the dose has begun."""
    dose = Session("a", datetime(2026, 3, 29, 8, tzinfo=UTC))
    asked = expected_check_ins(get_protocol(name).entries, OPENED, [dose], [ZoneFrom(None, "Europe/Berlin")], NIGHT)
    baselines = [form for form in asked if form.code.endswith("-baseline")]
    assert {(form.opens_at, form.closes_at) for form in baselines} == {(dose.at - 28 * DAY, dose.at)}
    assert len(baselines) == 2


def test_references() -> None:
    """By code the newest, by code and version that one, anything else an error that names nothing."""
    assert get_protocol("kap-light") is get_protocol("kap-light@1")
    assert set(WARNINGS) == {protocol.key for protocol in all_protocols()}
    for reference in ("", "kap", "kap-light@2", "KAP-LIGHT", "kap-light@1@1"):
        with pytest.raises(UnknownProtocolError, match=r"^no such protocol$"):
            get_protocol(reference)
