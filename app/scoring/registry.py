"""Finds the instruments: every module of `app.scoring.instruments` that does not start with an underscore."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from app.scoring import instruments
from app.scoring.model import Instrument


class UnknownInstrumentError(LookupError):
    """No instrument, or no such version of it, under this reference."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"no instrument {reference!r}")
        self.reference = reference


def get_instrument(reference: str) -> Instrument:
    """The instrument named `phq-9` (its newest version) or `phq-9@1` (exactly that one).

    Units and range: `reference` is an id, or an id, `@` and a version from 1.

    Missing data: does not arise.

    Raises:
        UnknownInstrumentError: nothing of that name or version is declared.

    Source: the declarations in `app/scoring/instruments`.

    >>> get_instrument("phq-9").key
    'phq-9@1'
    >>> get_instrument("phq-9@1") is get_instrument("phq-9")
    True
    """
    try:
        return _by_reference()[reference]
    except KeyError:
        raise UnknownInstrumentError(reference) from None


def all_instruments() -> tuple[Instrument, ...]:
    """The newest version of every instrument, sorted by id.

    Units and range: none.

    Missing data: does not arise.

    Source: the declarations in `app/scoring/instruments`.

    >>> [instrument.id for instrument in all_instruments()][:2]
    ['gad-7', 'pc-ptsd-5']
    """
    newest = {instrument.id: get_instrument(instrument.id) for instrument in _by_reference().values()}
    return tuple(newest[id_] for id_ in sorted(newest))


@cache
def _by_reference() -> dict[str, Instrument]:
    return index(_declared())


def index(declared: Iterable[Instrument]) -> dict[str, Instrument]:
    """Every instrument under its key and, newest version only, under its bare id.

    Units and range: none.

    Missing data: does not arise.

    Raises:
        ValueError: the same id and version is declared twice.

    Source: none; this is bookkeeping.

    >>> sorted(index([get_instrument("phq-2")]))
    ['phq-2', 'phq-2@1']
    """
    found: dict[str, Instrument] = {}
    for instrument in sorted(declared, key=lambda each: (each.id, each.version)):
        if instrument.key in found:
            raise ValueError(f"{instrument.key} is declared twice")
        found[instrument.key] = found[instrument.id] = instrument
    return found


def _declared() -> Iterable[Instrument]:
    for module in iter_modules(instruments.__path__, prefix=f"{instruments.__name__}."):
        if not module.name.rpartition(".")[2].startswith("_"):
            declaration: Instrument = import_module(module.name).INSTRUMENT
            yield declaration
