"""The pure core: instruments, scores, change over time. Integers and times in, numbers out; standard library alone."""

from app.scoring.declaration import faults, item_hash
from app.scoring.registry import UnknownInstrumentError, all_instruments, get_instrument
from app.scoring.score import ResponseError, ResponseFault, score, severity_of

__all__ = [
    "ResponseError",
    "ResponseFault",
    "UnknownInstrumentError",
    "all_instruments",
    "faults",
    "get_instrument",
    "item_hash",
    "score",
    "severity_of",
]
