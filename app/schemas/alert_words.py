"""What an alert is called, the rule that raises it, and who says so. The numbers are those the core judges by."""

from typing import Final

from app.scoring.alerting import AlertFactKind, AlertKind
from app.scoring.default_rules import default_threshold
from app.scoring.judgement import RELIABLE_CHANGE
from app.scoring.model import Instrument
from app.scoring.registry import get_instrument
from app.scoring.worse_after_dose import WORSE_WITHIN_DAYS

_JUDGEMENT: Final = "Judgement"
_SOURCES_OF_ITEMS: Final = {
    ("phq-9", 9): "Judgement: risk rises with every step of the answer (Simon 2013; Louzon 2016)",
}
_SOURCE_OF_MISSED: Final = "Judgement: people are lost in silence; 82 % had no form after three months (Yermus 2024)"
_STEPS: Final[dict[AlertFactKind, str]] = {
    "raised": "Raised: {label}",
    "withdrawn": "Withdrawn: the record no longer gives this cause",
    "acknowledged": "Acknowledged",
    "resolved": "Resolved: {action}",
}
_ACTIONS: Final = {
    "contacted_patient": "the patient was contacted",
    "safety_plan": "a safety plan was made or renewed",
    "referred": "the patient was referred",
    "treatment_changed": "treatment was changed",
    "no_action_needed": "no action was needed",
    "other": "something else was done",
}


def label_of(kind: AlertKind, instrument_id: str | None, item: int | None) -> str:
    """What it is about, on one line."""
    instrument = _instrument(instrument_id)
    match kind:
        case AlertKind.CRITICAL_ITEM:
            return f"{_name(instrument)} item {item} answered above {_lowest(instrument, item) - 1}"
        case AlertKind.CRITICAL_ITEM_RISE:
            return f"{_name(instrument)} item {item} answered higher than the time before"
        case AlertKind.RELIABLE_WORSENING:
            return f"{_name(instrument)} reliably worse than at baseline"
        case AlertKind.WORSE_AFTER_DOSE:
            return f"{_name(instrument)} worse within {WORSE_WITHIN_DAYS} days after a dose"
        case AlertKind.MISSED_CHECK_INS:
            return "Check-ins missed in a row"


def rule_of(kind: AlertKind, instrument_id: str | None, item: int | None) -> tuple[str, str]:
    """The rule in words, and its source."""
    instrument = _instrument(instrument_id)
    change, source = _reliable_change(instrument)
    match kind:
        case AlertKind.CRITICAL_ITEM:
            answered = f"Item {item} answered {_lowest(instrument, item)} or more"
            return f"{answered}, on an incomplete form too, and whatever the total.", _source(instrument_id, item)
        case AlertKind.CRITICAL_ITEM_RISE:
            return f"Item {item} answered higher than when it was last answered.", _source(instrument_id, item)
        case AlertKind.RELIABLE_WORSENING:
            return f"The total became reliably worse than the baseline: {change}.", source
        case AlertKind.WORSE_AFTER_DOSE:
            worse = f"the total is reliably worse than before the dose ({change}), or a critical item is new or higher"
            within = f"A form within {WORSE_WITHIN_DAYS} days after a dose on which {worse}."
            return f"{within} A place in time, not a cause.", source
        case AlertKind.MISSED_CHECK_INS:
            return "Expected check-ins in a row that did not come; how many is the clinic's rule.", _SOURCE_OF_MISSED


def step_label(kind: AlertFactKind, label: str, action: str | None) -> str:
    """What happened, of an alert with this label."""
    return _STEPS[kind].format(label=label, action=_ACTIONS.get(action or "", ""))


def _instrument(instrument_id: str | None) -> Instrument | None:
    return None if instrument_id is None else get_instrument(instrument_id)


def _name(instrument: Instrument | None) -> str:
    """What stands in the brackets of a title, and after them: `PCL-5, the past week`."""
    return "" if instrument is None else instrument.title.partition("(")[2].replace(")", "")


def _lowest(instrument: Instrument | None, item: int | None) -> int:
    """The lowest answer that raises this item."""
    critical = () if instrument is None else instrument.critical_items
    return next((one.at_least for one in critical if one.item == item), 1)


def _source(instrument_id: str | None, item: int | None) -> str:
    return _SOURCES_OF_ITEMS.get((instrument_id or "", item or 0), _JUDGEMENT)


def _reliable_change(instrument: Instrument | None) -> tuple[str, str]:
    """The instrument's reliable-change rule turned round, and its source."""
    rule = None if instrument is None else default_threshold(instrument, RELIABLE_CHANGE)
    if rule is None:
        return "no rule is known", _JUDGEMENT
    return f"{rule.code}, a change of {rule.inequality.value} {rule.value:g} points for the worse", rule.source
