"""The registry and the declarations it finds."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from app.scoring import UnknownInstrumentError, all_instruments, faults, get_instrument, item_hash
from app.scoring import instruments as package
from app.scoring.model import Answer, Criterion, Instrument, Screen, SeverityBand, Subscale, ThresholdKind
from app.scoring.registry import index

ROOT: Final = Path(__file__).parents[2]
INSTRUMENTS: Final = all_instruments()

# What people read, by version. A changed text changes its hash: raise the version and add a line, change none.
WORDING: Final = {
    "gad-7@1": "c8621cb1db987887f35374b1b4037d9fa431a974cd4405663b0d61bde3c81730",
    "pc-ptsd-5@1": "51a3f9dbbc51fb879dd4e5fa8502b6ad780e251ec3c307846578058157f1a43d",
    "pcl-5-month@1": "1b46f6426926479df2c239b6908f5113679ea0f11ab96ad1263e8cc50a77fb06",
    "pcl-5-week@1": "efa0bce211a2d910be6a27f508ae4972eda23e890fd61cc4a1774233d24bef82",
    "phq-2@1": "f4e7b896461c83e7733f59498c3e28e1af994c0843296c60d96e5194a863d6c0",
    "phq-8@1": "18a64aa8d3fbf0f41b1716220d63af62e9b519d3bc2b0bd661c7158dd3be40c2",
    "phq-9@1": "ce40d386cae2d646a5b0cc167ded942d301fabc706117f921e949693a9a4a375",
    "who-5@1": "11a0183dee05516ec2465066ac365936c2de9c714f425368e61479f8d36c2a63",
}


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda each: each.key)
def test_every_declaration_is_whole(instrument: Instrument) -> None:
    """No declaration has a fault, its worked examples included."""
    assert faults(instrument) == ()


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda each: each.key)
def test_wording_is_pinned_to_its_version(instrument: Instrument) -> None:
    """A text cannot change while the version stays."""
    assert item_hash(instrument) == WORDING[instrument.key]


def test_hash_sees_every_word_and_no_rule() -> None:
    """Instruction, item, answer and window change the hash; bands and sources do not."""
    phq_9 = get_instrument("phq-9")
    first = phq_9.items[0]
    reworded = (
        replace(phq_9, instruction=phq_9.instruction + " "),
        replace(phq_9, recall_label="today"),
        replace(phq_9, items=(replace(first, text="Low interest"), *phq_9.items[1:])),
        replace(phq_9, items=(replace(first, answers=(Answer(0, "Never"), *first.answers[1:])), *phq_9.items[1:])),
    )
    assert len({item_hash(phq_9), *map(item_hash, reworded)}) == 1 + len(reworded)
    assert item_hash(replace(phq_9, bands=(), source="elsewhere")) == item_hash(phq_9)


def test_every_public_file_is_an_instrument() -> None:
    """A file in the folder is all that an instrument needs to be found."""
    files = {path.stem for path in Path(package.__path__[0]).glob("[a-z]*.py")}
    assert {each.id.replace("-", "_") for each in INSTRUMENTS} == files


def test_instruments_are_sorted_by_id() -> None:
    """The list has one fixed order."""
    assert [each.id for each in INSTRUMENTS] == sorted(each.id for each in INSTRUMENTS)


def test_newest_version_answers_to_the_bare_id() -> None:
    """Older versions stay reachable by number; 10 is newer than 9."""
    phq_9 = get_instrument("phq-9")
    versions = [replace(phq_9, version=number) for number in (10, 1, 9)]
    found = index(versions)
    assert found["phq-9"] is versions[0]
    assert found["phq-9@1"] is versions[1]
    assert found["phq-9@9"] is versions[2]


def test_same_version_twice_is_refused() -> None:
    """Two declarations of one key cannot both be right."""
    with pytest.raises(ValueError, match="phq-9@1 is declared twice"):
        index([get_instrument("phq-9"), get_instrument("phq-9")])


@pytest.mark.parametrize("reference", ["phq-7", "phq-9@2", "phq-9@", "PHQ-9", "", "@1", "phq-9@01"])
def test_unknown_references_are_refused(reference: str) -> None:
    """A reference is matched exactly or not at all."""
    with pytest.raises(UnknownInstrumentError) as caught:
        get_instrument(reference)
    assert isinstance(caught.value, LookupError)
    assert caught.value.reference == reference


BAND: Final = SeverityBand("all", "All", 0, 27)
SCREEN: Final = Screen("a", "A", "somebody", total_at_least=5, is_default=True)
BROKEN: Final[dict[str, dict[str, Any]]] = {
    "id is not lower-case words joined by hyphens": {"id": "PHQ 9"},
    "version is below 1": {"version": 0},
    "licence is empty": {"licence": " "},
    "items are not numbered 1 to n in order": {"items": get_instrument("phq-9").items[1:]},
    "item 1 is scored but may be left out": {
        "items": (replace(get_instrument("phq-9").items[0], required=False), *get_instrument("phq-9").items[1:])
    },
    "an item that may be left out stands before one that may not": {
        "items": (
            *get_instrument("phq-9").items[:8],
            replace(get_instrument("phq-9").items[8], required=False, scored=False),
            replace(get_instrument("phq-9").items[9], required=True),
        )
    },
    "item 1 needs at least two different answers": {
        "items": (
            replace(get_instrument("phq-9").items[0], answers=(Answer(1, "A"), Answer(1, "B"))),
            *get_instrument("phq-9").items[1:],
        )
    },
    "screen code a is used twice": {"screens": (SCREEN, SCREEN)},
    "bands do not span the range of the total": {"bands": (replace(BAND, maximum=26),)},
    "bands leave a gap or overlap": {"bands": (replace(BAND, maximum=9), replace(BAND, code="b", minimum=9))},
    "subscale s holds an item that is not scored, or one twice": {"subscales": (Subscale("s", "S", (1, 10), 0),)},
    "subscale s could be told from no answer at all": {"subscales": (Subscale("s", "S", (1, 2), 2),)},
    "screen a is not of exactly one kind": {"screens": (replace(SCREEN, total_at_most=9),)},
    "screen a cuts outside the range of the total": {"screens": (replace(SCREEN, total_at_least=28),)},
    "screen a has a criterion that cannot be counted": {
        "screens": (replace(SCREEN, total_at_least=None, criteria=(Criterion({1: 4}, 1),)),)
    },
    "of the cut-points not exactly one is the default": {"screens": (replace(SCREEN, is_default=False),)},
    "the functional item is not an unscored item": {"functional_item": 9},
    "critical item self_harm cannot be raised": {
        "critical_items": (replace(get_instrument("phq-9").critical_items[0], at_least=4),)
    },
    "the missing rule would score an empty form, or has no source": {
        "missing": replace(get_instrument("phq-9").missing, at_most=9)
    },
    "threshold remission_5 can never be met, or always is": {
        "thresholds": tuple(
            replace(each, value=30) if each.code == "remission_5" else each
            for each in get_instrument("phq-9").thresholds
        )
    },
    "rule remission has not exactly one default threshold": {
        "thresholds": tuple(
            replace(each, is_default=each.rule != "remission" and each.is_default)
            for each in get_instrument("phq-9").thresholds
        )
    },
    "role reliability has not exactly one default sample": {
        "psychometrics": tuple(replace(each, is_default=True) for each in get_instrument("phq-9").psychometrics[3:])
    },
    "the worked examples are too few, or do not show every validity": {
        "examples": get_instrument("phq-9").examples[:4]
    },
    "example 1: scores 10, valid, moderate": {
        "examples": (replace(get_instrument("phq-9").examples[0], total=11), *get_instrument("phq-9").examples[1:])
    },
    "example 1: cut_point_11 is not there": {
        "examples": (
            replace(get_instrument("phq-9").examples[0], screens={"cut_point_11": None}),
            *get_instrument("phq-9").examples[1:],
        )
    },
    "example 1: item 1 has no such answer": {
        "examples": (
            replace(get_instrument("phq-9").examples[0], responses=(4,) + (0,) * 8),
            *get_instrument("phq-9").examples[1:],
        )
    },
}


@pytest.mark.parametrize(("fault", "change"), BROKEN.items(), ids=BROKEN.keys())
def test_each_kind_of_fault_is_told(fault: str, change: dict[str, Any]) -> None:
    """A declaration broken in one place is told to be broken there."""
    assert fault in faults(replace(get_instrument("phq-9"), **change))


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda each: each.key)
def test_a_rate_is_a_share_and_points_are_points(instrument: Instrument) -> None:
    """No threshold of a share is declared in per cent, none in points as a share."""
    for threshold in instrument.thresholds:
        assert (threshold.value < 1) is (threshold.kind is ThresholdKind.CHANGE_RATE), threshold.code


def test_computed_thresholds_follow_from_their_samples() -> None:
    """Numbers that the sources say are computed here are what the arithmetic gives."""
    phq_9 = {each.code: each.value for each in get_instrument("phq-9").thresholds}
    assert round(1.96 * 6.1 * math.sqrt(2 * (1 - 0.84)), 2) == phq_9["reliable_change_jacobson_truax"]
    (who_5,) = get_instrument("who-5").psychometrics
    assert who_5.sd == round(23.60 / (1.96 * math.sqrt(2 * (1 - 0.81))), 1)
    norms = get_instrument("gad-7").psychometrics[0]
    women = 0.536
    mean = women * 3.2 + (1 - women) * 2.7
    spread = women * (3.5**2 + (3.2 - mean) ** 2) + (1 - women) * (3.2**2 + (2.7 - mean) ** 2)
    assert (norms.mean, norms.sd) == (round(mean, 2), round(math.sqrt(spread), 2))


def test_page_of_instruments_is_up_to_date() -> None:
    """docs/instruments.md is what the declarations say."""
    check = subprocess.run(
        [sys.executable, "-m", "docs.generate_instruments", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


def test_stale_page_is_told(tmp_path: Path) -> None:
    """With --check a page that differs by one character ends with 1 and is left as it is."""
    stale = tmp_path / "instruments.md"
    stale.write_text((ROOT / "docs/instruments.md").read_text(encoding="utf-8") + "\n", encoding="utf-8")
    program = (
        "import sys; from pathlib import Path; from docs import generate_instruments as page; "
        "page.PAGE = Path(sys.argv[1]); sys.exit(page.main(['--check']))"
    )
    before = stale.read_bytes()
    check = subprocess.run([sys.executable, "-c", program, str(stale)], cwd=ROOT, capture_output=True, check=False)
    assert (check.returncode, stale.read_bytes()) == (1, before)
