"""Cells of CSV. What a spreadsheet would take for a formula is made inert: text alone, never a number."""

from collections.abc import Iterable
from typing import Final

from app.release_files.model import Value

# OWASP: its page on CSV injection, and ASVS 1.2.10. And the quote itself, so that taking one leading quote away gives
# the text back.
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "'")
_NEEDS_QUOTES: Final = frozenset(',"\r\n')


def inert(text: str) -> str:
    """Spreadsheets show what follows a leading quote and compute nothing."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def csv_cell(value: Value) -> str:
    """A value as it stands between two commas: empty for null, never an empty text (rows.py refuses those)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(inert(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def csv_line(values: Iterable[Value]) -> str:
    """One line with its end, for tables too small for a writer."""
    return ",".join(map(csv_cell, values)) + "\r\n"


def _quoted(text: str) -> str:
    if _NEEDS_QUOTES.isdisjoint(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
