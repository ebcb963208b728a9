"""Files of answered forms: what is read, what is refused, and that a refusal never repeats what stood there."""

import io
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import AppError, InvalidError, MalformedError
from app.form_file import FormRow, read_forms
from app.form_map import ColumnMap, TimeError, expand, parse_map, time_rule
from app.form_records import MAX_ROW, RefusedRow, RowFault
from app.scoring import get_instrument
from app.scoring.model import Validity

DATA = Path(__file__).parent / "data"
PHQ_9 = get_instrument("phq-9")
AT = "2026-03-02T09:00:00+01:00"
HEADER = "person," + ",".join(f"phq{number}" for number in range(1, 10))
PLAIN = ("patient=person", "responses=phq1..phq9")


def read(
    content: bytes | str, entries: Iterable[str] = PLAIN, taken_at: str | None = AT, zone: str | None = None
) -> list[FormRow | RefusedRow]:
    columns = parse_map(entries)
    raw = content.encode() if isinstance(content, str) else content
    return list(read_forms(io.BytesIO(raw), columns, time_rule(columns, taken_at, zone), PHQ_9))


def read_data(name: str, entries: Iterable[str], taken_at: str | None = None) -> list[FormRow | RefusedRow]:
    return read((DATA / name).read_bytes(), entries, taken_at)


def row(*answers: object, person: str = "made-up-1", delimiter: str = ",") -> str:
    return delimiter.join([person, *map(str, answers)])


def lines(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows, ""])


def form(found: FormRow | RefusedRow) -> FormRow:
    assert isinstance(found, FormRow), found
    return found


def codes(found: FormRow | RefusedRow) -> list[tuple[str | None, str]]:
    assert isinstance(found, RefusedRow), found
    return [(fault.column, fault.code) for fault in found.faults]


GOOD = row(2, 1, 3, 2, 0, 1, 1, 0, 0)


# --- What is read -----------------------------------------------------------------------------------------------------


def test_a_file_with_times_difficulty_and_totals_is_read_whole() -> None:
    """Each row becomes one form with its moment, its answers, its score, and a warning where the sender added badly."""
    entries = ("patient=person", "responses=phq1..phq9,difficulty", "taken_at=filled_in", "total=total")
    forms = [form(found) for found in read_data("madeup_phq9.csv", entries)]
    assert [one.line for one in forms] == [2, 3, 4, 6, 7]
    assert [one.score.total for one in forms] == [10, 27, 7.875, None, 6]
    assert [one.score.validity for one in forms] == ["valid", "valid", "prorated", "incomplete", "valid"]
    assert [[warning.code for warning in one.warnings] for one in forms] == [[], ["total_differs"], [], [], []]
    assert forms[0].taken_at.isoformat() == AT
    assert forms[0].responses == (2, 1, 3, 2, 0, 1, 1, 0, 0, 1)
    assert forms[3].responses == (None,) * 10


def test_weeks_are_counted_from_one() -> None:
    """Week 3 lies 14 days after the given time, with its offset; there is no week 0."""
    found = read_data("madeup_weekly_phq9.csv", ("patient=person", "responses=q01..q09", "week=week"), AT)
    days = [form(one).taken_at - datetime.fromisoformat(AT) for one in found[:3]]
    assert days == [timedelta(0), timedelta(days=7), timedelta(days=14)]
    assert codes(found[3]) == [("week", "not_a_week")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_dialect_of_a_file_does_not_matter(delimiter: str, mark: bytes, end: str) -> None:
    """Comma, semicolon or tab, with or without byte order mark, either line end, with or without the last one."""
    text = lines(row(2, 1, 3, 2, 0, 1, 1, 0, 0, delimiter=delimiter), header=HEADER.replace(",", delimiter))
    found = read(mark + text.strip().replace("\n", end).encode())
    assert form(found[0]).responses == (2, 1, 3, 2, 0, 1, 1, 0, 0)


def test_the_delimiter_is_the_one_that_finds_the_columns() -> None:
    """A header with more commas than semicolons is still read by semicolons when the mapped columns then exist."""
    header = HEADER.replace(",", ";") + ";note,on,the,many,things,that,a,sender,adds,to,a,header,line"
    assert form(read(lines(GOOD.replace(",", ";") + ";", header=header))[0]).score.total == 10


def test_an_empty_cell_is_not_answered_and_space_around_a_number_is_nothing() -> None:
    """Blank is null, never 0; spaces and quotes around a number do not change it."""
    found = form(read(lines('made-up-1, 2 ," ",,"3",0,0,0,0,0'))[0])
    assert found.responses == (2, None, None, 3, 0, 0, 0, 0, 0)
    assert found.score.validity is Validity.PRORATED


def test_a_wholly_blank_form_is_kept_and_blank_lines_are_passed_over() -> None:
    """A person who answered nothing is a fact, an empty line is not."""
    found = read(lines("", "made-up-1,,,,,,,,,", ",,,,,,,,,", "   ", GOOD))
    assert [form(one).line for one in found] == [3, 6]
    assert form(found[0]).score.validity is Validity.INCOMPLETE


@given(st.lists(st.lists(st.none() | st.integers(0, 3), min_size=9, max_size=9), min_size=1, max_size=5))
def test_csv_and_ndjson_say_the_same(forms: list[list[int | None]]) -> None:
    """The same answers written either way are the same forms."""
    as_csv = lines(*(row(*("" if answer is None else answer for answer in answers)) for answers in forms))
    as_lists = "\n".join(json.dumps({"person": "made-up-1", "answers": answers}) for answers in forms)
    as_fields = "\n".join(
        json.dumps({"person": "made-up-1", **{f"phq{n}": answer for n, answer in enumerate(answers, 1)}})
        for answers in forms
    )
    wanted = [tuple(answers) for answers in forms]
    assert [form(one).responses for one in read(as_csv)] == wanted
    assert [form(one).responses for one in read(as_lists, ("patient=person", "responses=answers"))] == wanted
    assert [form(one).responses for one in read(as_fields)] == wanted


def test_a_number_may_name_a_patient() -> None:
    """References that are whole numbers in NDJSON are the same as their text in CSV."""
    found = read('{"person": 4711, "answers": [0,0,0,0,0,0,0,0,0]}', ("patient=person", "responses=answers"))
    assert form(found[0]).external_ref == "4711"


# --- What is refused, row by row --------------------------------------------------------------------------------------


def test_faulty_rows_are_told_by_line_column_and_code_and_cost_themselves_alone() -> None:
    """Every fault of a row at once; the rows before and after it are read, even after an open quotation mark."""
    found = read_data(
        "madeup_faulty_phq9.csv", ("patient=person", "responses=phq1..phq9", "taken_at=filled_in"), taken_at=None
    )
    assert form(found[0]).line == 2
    assert codes(found[1]) == [
        ("phq1", "not_an_integer"),
        ("phq4", "not_an_integer"),
        ("phq6", "not_an_integer"),
        ("phq8", "not_a_choice"),
    ]
    assert codes(found[2]) == [("person", "missing_patient")]
    assert codes(found[3]) == [("filled_in", "not_a_time")]
    assert codes(found[4]) == [(None, "ragged_row")]
    assert codes(found[5]) == [(None, "not_csv")]
    assert form(found[6]).score.total == 25
    assert [one.line for one in found] == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("cell", ["2.0", "true", "x", "NA", "+2", "02", "٢", "1e0", "--1", "=1"])
def test_what_is_no_plain_whole_number_is_no_answer(cell: str) -> None:
    """Nothing is guessed: a decimal, a word, a formula or a digit of another script is refused."""
    assert codes(read(lines(row(0, 0, cell, 0, 0, 0, 0, 0, 0)))[0]) == [("phq3", "not_an_integer")]


@pytest.mark.parametrize("cell", ["4", "99", "-1"])
def test_what_the_item_does_not_offer_is_refused(cell: str) -> None:
    """A whole number outside the choices is not clipped to them."""
    assert codes(read(lines(row(0, 0, cell, 0, 0, 0, 0, 0, 0)))[0]) == [("phq3", "not_a_choice")]


@pytest.mark.parametrize("answer", ['"2"', "2.0", "true", "[2]", "{}"])
def test_ndjson_answers_are_integers_or_null(answer: str) -> None:
    """As over HTTP: a quoted number, a decimal or a truth value is no answer."""
    text = f'{{"person": "made-up-1", "answers": [{answer},0,0,0,0,0,0,0,0]}}'
    assert codes(read(text, ("patient=person", "responses=answers"))[0]) == [("answers", "not_an_integer")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"person": "made-up-1"', (None, "not_json")),
        ('["made-up-1"]', (None, "not_an_object")),
        ('{"person": "made-up-1", "person": "made-up-2", "answers": []}', (None, "duplicate_key")),
        ('{"person": "made-up-1", "answers": NaN}', (None, "not_a_number")),
        ('{"person": "made-up-1"}', ("answers", "missing_field")),
        ('{"person": "made-up-1", "answers": 7}', ("answers", "list_type")),
        ('{"person": "made-up-1", "answers": [1]}', ("answers", "wrong_length")),
        ('{"person": true, "answers": [0,0,0,0,0,0,0,0,0]}', ("person", "string_type")),
        ('{"person": "made\\u0000up", "answers": [0,0,0,0,0,0,0,0,0]}', (None, "unstorable_text")),
    ],
)
def test_faulty_lines_of_ndjson_cost_themselves_alone(line: str, expected: tuple[str | None, str]) -> None:
    """Each kind of fault has its code, and the line after it is read."""
    good = '{"person": "made-up-1", "answers": [0,0,0,0,0,0,0,0,0]}'
    found = read(f"{good}\n{line}\n{good}\n", ("patient=person", "responses=answers"))
    assert codes(found[1]) == [expected]
    assert [form(one).line for one in (found[0], found[2])] == [1, 3]


def test_an_absent_field_is_not_an_unanswered_question() -> None:
    """A field that disappears half way through a file refuses the row instead of storing a blank form."""
    full = {"person": "made-up-1", **{f"phq{number}": 1 for number in range(1, 10)}}
    short = {name: value for name, value in full.items() if name != "phq9"}
    found = read(f"{json.dumps(full)}\n{json.dumps(short)}")
    assert codes(found[1]) == [("phq9", "missing_field")]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"made-up-\xff,0,0,0,0,0,0,0,0,0", "not_utf8"),
        (b"made-up-\xed\xa0\x80,0,0,0,0,0,0,0,0,0", "not_utf8"),
        (b"made-up-\0,0,0,0,0,0,0,0,0,0", "unstorable_text"),
        (b'made-up-1,"0"1,0,0,0,0,0,0,0,0', "not_csv"),
        (b"made-up-1,0\r0,0,0,0,0,0,0,0,0", "not_csv"),
        (b"made-up-1," + b"9" * (MAX_ROW + 5), "too_long"),
        (b'made-up-1,"' + b"\n".join([b"9" * 1000] * 200), "too_long"),
    ],
)
def test_bytes_that_cannot_be_read_cost_their_row_alone(bad: bytes, code: str) -> None:
    """Bad bytes, stray quotation marks and huge cells are refused with a code; the next good row is read."""
    found = read(lines(GOOD).encode() + bad + b"\n" + GOOD.replace("made-up-1", "made-up-9").encode())
    assert codes(found[1]) == [(None, code)]
    assert form(found[0]).line == 2
    last = form(found[-1])
    assert (last.external_ref, last.line) == ("made-up-9", 4 + bad.count(b"\n"))


def test_an_open_quotation_mark_on_the_last_line_is_refused() -> None:
    """The end of the file does not close it."""
    assert codes(read(lines(GOOD, 'made-up-2,0,0,0,0,0,0,0,0,"0').strip())[1]) == [(None, "not_csv")]


@pytest.mark.parametrize(
    ("person", "code"), [("x" * 201, "string_too_long"), ('"a\nb"', "unstorable_text"), ("a\x1bb", "unstorable_text")]
)
def test_a_reference_that_cannot_be_stored_is_refused(person: str, code: str) -> None:
    """As over HTTP: at most 200 characters, none of them a control character."""
    assert codes(read(lines(row(0, 0, 0, 0, 0, 0, 0, 0, 0, person=person)))[0]) == [("person", code)]


SECRET = "zq7"


@given(
    st.text(st.characters(codec="utf-8", exclude_characters='",\r\n\0'), max_size=8).map(lambda text: SECRET + text),
    st.sampled_from(["person", "phq4", "when"]),
)
def test_a_refusal_never_repeats_the_row(text: str, column: str) -> None:
    """Reports travel by mail: no answer, no reference, no time is in them."""
    cells = {"person": "made-up-1\x01", "when": "yesterday", **{f"phq{number}": "7" for number in range(1, 10)}}
    cells[column] = text
    found = read(lines(",".join(cells.values()), header=",".join(cells)), (*PLAIN, "taken_at=when"), None)
    assert isinstance(found[0], RefusedRow)
    assert found[0].faults
    assert all(SECRET not in str(fault) and "made-up" not in str(fault) for fault in found[0].faults)


# --- Totals of the sender ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "total", "code"),
    [
        ((2, 1, 3, 2, 0, 1, 1, 0, 0), "10", None),
        ((2, 1, 3, 2, 0, 1, 1, 0, 0), "10.0", None),
        ((2, 1, 3, 2, 0, 1, 1, 0, 0), "", None),
        ((2, 1, 3, 2, 0, 1, 1, 0, 0), "11", "total_differs"),
        ((2, 1, 3, 2, 0, 1, 1, 0, 0), "10.3", "total_differs"),
        ((2, 1, 3, 2, 0, 1, 1, 0, 0), "ten", "total_not_a_number"),
        ((2, "", 3, 2, 0, 1, 1, 0, 0), "10.125", None),  # 9 * 9 / 8
        ((2, "", 3, 2, 0, 1, 1, 0, 0), "10.1", None),
        ((2, "", 3, 2, 0, 1, 1, 0, 0), "10", None),
        ((2, "", 3, 2, 0, 1, 1, 0, 0), "9", "total_differs"),  # the missing answer counted as 0
        ((2, "", "", "", 0, 1, 1, 0, 0), "4", "total_of_incomplete"),
    ],
)
def test_the_senders_total_is_compared_and_never_kept(
    answers: tuple[object, ...], total: str, code: str | None
) -> None:
    """It agrees to as many decimals as the sender wrote, or there is a warning; the form is read in any case."""
    text = lines(row(*answers, total), header=f"{HEADER},total")
    found = form(read(text, (*PLAIN, "total=total"))[0])
    assert [warning.code for warning in found.warnings] == ([] if code is None else [code])


# --- Times ------------------------------------------------------------------------------------------------------------


def when(text: str, zone: str | None = None) -> str:
    return time_rule(ColumnMap("p", ("a", "b"), taken_at="when"), None, zone).read(text).isoformat()


def test_a_time_with_an_offset_needs_no_zone_and_ignores_one() -> None:
    """What the sender wrote is kept, offset included."""
    assert when("2026-03-02T09:00:00-07:00") == "2026-03-02T09:00:00-07:00"
    assert when(" 2026-03-02 09:00:00.5z ", "Europe/Berlin") == "2026-03-02T09:00:00.500000+00:00"


def test_a_time_without_an_offset_is_that_of_the_given_zone() -> None:
    """Summer and winter have the zone's own offsets."""
    assert when("2026-01-15T09:00", "Europe/Berlin") == "2026-01-15T09:00:00+01:00"
    assert when("2026-07-15 09:00:30", "Europe/Berlin") == "2026-07-15T09:00:30+02:00"


def test_the_repeated_hour_of_autumn_means_its_first_pass() -> None:
    """02:30 comes twice on 25 October 2026 in Berlin; the one still in summer time is taken."""
    assert when("2026-10-25T02:30:00", "Europe/Berlin") == "2026-10-25T02:30:00+02:00"


@pytest.mark.parametrize(
    ("text", "zone", "code"),
    [
        ("2026-03-29T02:30:00", "Europe/Berlin", "nonexistent_time"),
        ("2026-03-29T02:30:00", None, "no_offset"),
        ("2026-03-29", "Europe/Berlin", "not_a_time"),
        ("29.03.2026 12:00", "Europe/Berlin", "not_a_time"),
        ("2026-02-30T12:00:00Z", None, "not_a_time"),
        ("2026-03-29T12:00:00+25:00", None, "not_a_time"),
        ("9999-12-31T23:59:59", "America/New_York", "not_a_time"),
        ("1772438400", "Europe/Berlin", "not_a_time"),
        ("", "Europe/Berlin", "not_a_time"),
    ],
)
def test_a_text_that_names_no_one_moment_is_refused(text: str, zone: str | None, code: str) -> None:
    """A skipped hour, a missing offset, a date alone, a day that does not exist: none is guessed."""
    with pytest.raises(TimeError) as refused:
        when(text, zone)
    assert refused.value.code == code


def test_weeks_of_a_zone_keep_the_hour_of_the_wall_clock() -> None:
    """Nine in the morning stays nine when the clocks change; with a fixed offset it is 168 hours each."""
    columns = ColumnMap("p", ("a", "b"), week="week")
    local = time_rule(columns, "2026-03-23T09:00", "Europe/Berlin")
    fixed = time_rule(columns, "2026-03-23T09:00+01:00", "Europe/Berlin")
    assert [local.in_week(week).isoformat() for week in (1, 2)] == [
        "2026-03-23T09:00:00+01:00",
        "2026-03-30T09:00:00+02:00",
    ]
    assert fixed.in_week(2).isoformat() == "2026-03-30T09:00:00+01:00"


@pytest.mark.parametrize(
    ("columns", "taken_at", "zone"),
    [
        (ColumnMap("p", ("a",)), None, None),
        (ColumnMap("p", ("a",), taken_at="t"), AT, None),
        (ColumnMap("p", ("a",), taken_at="t", week="w"), None, None),
        (ColumnMap("p", ("a",)), "2026-03-02T09:00:00", None),
        (ColumnMap("p", ("a",)), "2026-03-29T02:30:00", "Europe/Berlin"),
        (ColumnMap("p", ("a",)), AT, "Europe/Atlantis"),
        (ColumnMap("p", ("a",)), AT, "../../etc/passwd"),
    ],
)
def test_options_that_fix_no_time_are_refused_before_reading(
    columns: ColumnMap, taken_at: str | None, zone: str | None
) -> None:
    """There is exactly one rule for the time of each form, or there is no import."""
    with pytest.raises(InvalidError):
        time_rule(columns, taken_at, zone)


# --- The file and its mapping as a whole ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("phq1..phq9,difficulty", (*(f"phq{number}" for number in range(1, 10)), "difficulty")),
        ("q01..q03", ("q01", "q02", "q03")),
        ("q9..q11", ("q9", "q10", "q11")),
        ("q09..q10", ("q09", "q10")),
        ("1..2", ("1", "2")),
        ("pcl5_1..pcl5_3", ("pcl5_1", "pcl5_2", "pcl5_3")),
        ("q3..q3", ("q3",)),
        (" a , b ", ("a", "b")),
    ],
)
def test_a_range_of_columns_counts_their_last_number(text: str, names: tuple[str, ...]) -> None:
    """Leading zeros stay; digits inside the name do not count."""
    assert expand(text) == names


@pytest.mark.parametrize(
    "entries",
    [
        ("patient=p",),
        ("responses=a..b", "patient=p"),
        ("responses=a9..a1", "patient=p"),
        ("responses=a1..b9", "patient=p"),
        ("responses=a1..a9999", "patient=p"),
        ("responses=a,,b", "patient=p"),
        ("responses=a,a", "patient=p"),
        ("responses=a,p", "patient=p"),
        ("responses=a", "patient=p", "patient=q"),
        ("responses=a", "patient=p", "name=n"),
        ("responses=a", "patient="),
        ("responses=a", "patient"),
        ("responses=a1..a9",),
    ],
)
def test_a_mapping_that_says_too_little_or_too_much_is_refused(entries: tuple[str, ...]) -> None:
    """One column for each field, no field twice, no column twice, no field unknown; a patient and answers always."""
    with pytest.raises(InvalidError):
        parse_map(entries)


def test_missing_columns_are_named_beside_those_there_are() -> None:
    """One line tells the whole mistake, before any row is read."""
    with pytest.raises(InvalidError, match=r"no columns phq8, phq9\. Its columns are: person, phq1, .*phq7\.$"):
        read(lines("made-up-1,0,0,0,0,0,0,0", header=HEADER.removesuffix(",phq8,phq9")))
    with pytest.raises(InvalidError, match=r"no column answers\. Its columns are: person, answer\.$"):
        read('{"person": "made-up-1", "answer": []}', ("patient=person", "responses=answers"))


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", MalformedError, "empty"),
        (b"\n \n", MalformedError, "empty"),
        (b"\xef\xbb\xbf", MalformedError, "empty"),
        (HEADER.encode("utf-16"), MalformedError, "UTF-16"),
        (HEADER.encode("utf-16-le"), MalformedError, "UTF-8"),
        (b"\xff" + HEADER.encode(), MalformedError, "UTF-8"),
        (b"x" * (MAX_ROW + 1), MalformedError, "128 KiB"),
        (b'"' + HEADER.encode(), MalformedError, "header"),
        (b'[{"person": 1}]', MalformedError, "NDJSON"),
        (f"{HEADER},phq1".encode(), InvalidError, "phq1 twice"),
        (f"{HEADER},note,note".encode(), InvalidError, "note twice"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(content: bytes, error: type[AppError], words: str) -> None:
    """No traceback, and nothing read."""
    with pytest.raises(error, match=words):
        read(content)


def test_a_wrong_number_of_answers_is_told_once() -> None:
    """Eight columns can be no PHQ-9, and a CSV cell is no list, whatever the rows say."""
    for entries in (("patient=person", "responses=phq1..phq8"), ("patient=person", "responses=phq1")):
        with pytest.raises(InvalidError, match="9 to 10 responses"):
            read(lines(GOOD), entries)


@given(st.data())
def test_no_bytes_bring_the_reader_down(data: st.DataObject) -> None:
    """Whatever is cut out of, put into or made of a file: forms, refusals or one clear error, never a traceback."""
    good = (DATA / "madeup_faulty_phq9.csv").read_bytes()
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(good)), st.integers(0, len(good)))))
    bad = data.draw(st.binary(max_size=12) | st.sampled_from([b'"', b"\n", b"\r", b";", b"\0", b'{"a":1}\n']))
    found: list[FormRow | RefusedRow] = []
    with suppress(InvalidError, MalformedError):
        found = read(good[:start] + bad + good[end:], (*PLAIN, "taken_at=filled_in"), None)
    assert all(isinstance(one, FormRow) or one.faults for one in found)


class Repeated:
    """A header line, then the same row again and again, without holding any."""

    def __init__(self, rows: int) -> None:
        self._rows = itertools.chain([HEADER.encode() + b"\n"], itertools.repeat(GOOD.encode() + b"\n", rows))

    def readline(self, _: int, /) -> bytes:
        return next(self._rows, b"")


def test_memory_does_not_grow_with_the_file() -> None:
    """One row is held, whatever the length of the file."""
    columns = parse_map(PLAIN)
    tracemalloc.start()
    forms = sum(1 for _ in read_forms(Repeated(3_000), columns, time_rule(columns, AT, None), PHQ_9))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert forms == 3_000
    assert peak < 500_000  # bytes; the forms themselves would be several times that


def test_a_fault_names_its_place() -> None:
    """What the report prints: line, column, code, message."""
    found = read(lines(row(0, 0, 0, 0, 0, 0, 0, 0, 9)))[0]
    assert isinstance(found, RefusedRow)
    assert found.faults == (RowFault(2, "phq9", "not_a_choice", "item 9 has no such answer"),)
