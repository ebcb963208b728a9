"""Streams of forms for load tests: repeatable, scoreable, and small in memory."""

import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from app.scoring import get_instrument, score
from app.scoring.model import Validity
from app.synthetic import forms_stream

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)


def test_a_stream_is_repeatable_ordered_and_scoreable() -> None:
    """Load tests need rows the service takes, in the same order each time, as many as asked for."""
    rows = list(forms_stream(5, 3_000, start=NOW, patients=50))
    assert rows == list(forms_stream(5, 3_000, start=NOW, patients=50))
    assert rows != list(forms_stream(6, 3_000, start=NOW, patients=50))
    assert len(rows) == 3_000
    assert {row.patient_index for row in rows} == set(range(50))
    assert all(earlier.taken_at < later.taken_at for earlier, later in pairwise(rows))
    assert rows[0].taken_at == NOW
    assert rows[-1].taken_at < NOW + timedelta(days=365)
    validity = Counter(score(get_instrument(row.instrument), row.responses).validity for row in rows)
    assert 0 < validity[Validity.PRORATED] < 0.1 * len(rows)
    self_harm = [row.responses[8] for row in rows if row.instrument == "phq-9"]
    assert 0 < sum(bool(answer) for answer in self_harm) < 0.5 * len(self_harm)


def test_a_stream_takes_no_memory_that_grows() -> None:
    """Ten thousand rows must cost no more than the tables they are made from."""
    rows = forms_stream(1, 10**12, start=NOW)
    next(rows)
    tracemalloc.start()
    try:
        for _ in islice(rows, 10_000):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000  # bytes


def test_a_stream_spans_thousands_of_years_without_overflow() -> None:
    """The place of a row in time is worked out exactly, however long the stream."""
    span = timedelta(days=365 * 7_000)
    rows = list(forms_stream(1, 1_000, start=datetime(2000, 1, 1, tzinfo=UTC), span=span))
    assert rows[500].taken_at == datetime(2000, 1, 1, tzinfo=UTC) + span / 2


@pytest.mark.parametrize(("count", "patients", "start"), [(-1, 1, NOW), (1, 0, NOW), (1, 1, NOW.replace(tzinfo=None))])
def test_impossible_streams_are_refused(count: int, patients: int, start: datetime) -> None:
    """Before the first row, not in the middle of a load test."""
    with pytest.raises(ValueError, match=r"stream|offset"):
        forms_stream(1, count, start=start, patients=patients)
