"""Which threshold or cut-point of an instrument is meant when none is named, and one rule read alone."""

from app.scoring.judgement import verdict_of
from app.scoring.model import Instrument, Screen, Threshold

__all__ = ["default_cut_point", "default_threshold", "verdict_of"]


def default_threshold(instrument: Instrument, rule: str) -> Threshold | None:
    """The threshold of this name that is used when nothing else is asked: the only one, else the one marked default.

    Units and range: a threshold as declared.
    Missing data: None when the instrument declares no such rule, or several with none marked.
    Source: the threshold names its own.

    >>> from app.scoring.registry import get_instrument
    >>> default_threshold(get_instrument("pcl-5-week"), "reliable_change").code
    'reliable_change_15'
    """
    named = [threshold for threshold in instrument.thresholds if threshold.rule == rule]
    chosen = named if len(named) == 1 else [threshold for threshold in named if threshold.is_default]
    return chosen[0] if chosen else None


def default_cut_point(instrument: Instrument) -> Screen | None:
    """The screen on the total that says who is a case when nothing else is asked.

    Units and range: a screen as declared. Missing data: None when the instrument has none.
    Source: the screen names its own.

    >>> from app.scoring.registry import get_instrument
    >>> default_cut_point(get_instrument("phq-9")).code
    'cut_point_10'
    """
    on_total = (s for s in instrument.screens if s.total_at_least is not None or s.total_at_most is not None)
    return next((screen for screen in on_total if screen.is_default), None)
