"""An application that has forgotten the clinic: every condition on `clinic_id` is true in what reaches Postgres."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg
import pytest

_VALUE: Final = r"(?:\$\d+(?:::\w+)?|(?:\w+\.)?clinic_id)"
# `(a = $1 OR true)` and not `true`: a parameter that stands nowhere has no type.
CONDITION: Final = re.compile(rf"(?:\w+\.)?clinic_id\s*=\s*{_VALUE}(?!\s*OR true)", re.IGNORECASE)
_READS: Final = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)", re.IGNORECASE)


def without_clinic(statement: str) -> str:
    return CONDITION.sub(lambda found: f"({found[0]} OR true)", statement)


@contextmanager
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """All statements that were prepared meanwhile, as they were sent. Both pools prepare by this one function."""
    sent: list[str] = []
    genuine = asyncpg.Connection._get_statement

    async def prepare(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
        statement = without_clinic(query)
        sent.append(statement)
        return await genuine(self, statement, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Connection, "_get_statement", prepare)
        yield sent


def reads_of(statement: str, tables: frozenset[str]) -> frozenset[str]:
    """The tables of clinics it reads."""
    return frozenset(_READS.findall(statement)) & tables
