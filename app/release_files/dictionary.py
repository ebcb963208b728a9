"""What explains the tables: a dictionary for people and one for programs, the instruments, and REDCap's own form."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from app.release_files.cells import csv_line
from app.release_files.model import Column, Kind, TableShape
from app.release_files.package import NOTICE
from app.release_files.wide import WIDE, item_name, slug
from app.scoring.declaration import item_hash
from app.scoring.model import Instrument, Item

REDCAP: Final = "redcap_data_dictionary.csv"
_HEADS: Final = ("table", "column", "kind", "unit", "categories", "description", "source", "key")


def documents(shapes: Sequence[TableShape], instruments: Sequence[Instrument]) -> dict[str, bytes]:
    """The files that explain the tables of a release, by name."""
    texts = {
        "dictionary.csv": dictionary_csv(shapes),
        "dictionary.md": dictionary_markdown(shapes),
        "instruments.json": instruments_json(instruments),
    }
    for shape in shapes:
        if shape.name == WIDE:
            texts[REDCAP] = redcap_dictionary_csv(shape, instruments)
    return {name: text.encode() for name, text in texts.items()}


def dictionary_csv(shapes: Iterable[TableShape]) -> str:
    """A row for each column of each table."""
    return "".join(map(csv_line, [_HEADS, *(_entry(shape, column) for shape in shapes for column in shape.columns)]))


def dictionary_markdown(shapes: Iterable[TableShape]) -> str:
    """A section for each table, under the words that go with every release."""
    return f"# Data dictionary\n\n{NOTICE}\n" + "".join(map(_section, shapes))


def instruments_json(instruments: Iterable[Instrument]) -> str:
    """All that is true of the instruments of a release: wording, rules, bands, thresholds, sources, licences."""
    return json.dumps([_declared(instrument) for instrument in instruments], indent=2, ensure_ascii=False) + "\n"


# --- REDCap -----------------------------------------------------------------------------------------------------------

REDCAP_HEADS: Final = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)


_REDCAP_FORM: Final = "check_in"  # one form, that repeats: each row of the wide table is one instance of it
_VALIDATIONS: Final[Mapping[Kind, str]] = {"integer": "integer", "number": "number", "date": "date_ymd"}


def redcap_dictionary_csv(wide: TableShape, instruments: Iterable[Instrument]) -> str:
    """The data dictionary that REDCap imports: a field for each column of the wide table, and no other."""
    known = {name: told for instrument in instruments for name, told in _redcap_instrument(instrument)}
    fields = ({**_redcap_field(column), **known.get(column.name, {})} for column in wide.columns)
    return "".join(map(csv_line, [REDCAP_HEADS, *(map(field.get, REDCAP_HEADS) for field in fields)]))


def _redcap_field(column: Column) -> Mapping[str, str]:
    choices = " | ".join(f"{word}, {word.replace('_', ' ')}" for word in column.categories)
    return {
        "Variable / Field Name": column.name,
        "Form Name": _REDCAP_FORM,
        "Field Type": "radio" if choices else "text",
        "Field Label": column.description,
        "Choices, Calculations, OR Slider Labels": choices,
        "Field Note": column.unit or "",
        "Text Validation Type OR Show Slider Number": _VALIDATIONS.get(column.kind, ""),
    }


def _redcap_instrument(instrument: Instrument) -> Iterator[tuple[str, Mapping[str, str]]]:
    """What is known of its columns beyond the wide table's own words."""
    yield f"{slug(instrument)}_forms", {"Section Header": instrument.title}
    limits = {"Text Validation Min": str(instrument.minimum), "Text Validation Max": str(instrument.maximum)}
    yield f"{slug(instrument)}_total", {"Field Note": instrument.copyright, **limits}
    for item in instrument.items:
        header = {"Section Header": instrument.instruction} if item.number == 1 else {}
        yield item_name(instrument, item), {**header, **_redcap_item(item)}


def _redcap_item(item: Item) -> Mapping[str, str]:
    return {
        "Field Type": "radio",
        "Choices, Calculations, OR Slider Labels": " | ".join(f"{each.value}, {each.label}" for each in item.answers),
        "Text Validation Type OR Show Slider Number": "",
    }


# --- Parts ------------------------------------------------------------------------------------------------------------


def _entry(shape: TableShape, column: Column) -> tuple[str | None, ...]:
    key = "yes" if column.name in shape.primary_key else None
    words = "; ".join(column.categories) or None
    return (shape.name, column.name, column.kind, column.unit, words, column.description, column.source, key)


def _section(shape: TableShape) -> str:
    heads = _HEADS[1:-1]
    rows = [heads, ["---"] * len(heads), *(_entry(shape, column)[1:-1] for column in shape.columns)]
    return f"\n## {shape.name}\n\n{shape.description}\n\n" + "".join(map(_markdown_row, rows))


def _markdown_row(cells: Sequence[str | None]) -> str:
    return f"| {' | '.join((cell or '').replace('|', '&#124;') for cell in cells)} |\n"


def _declared(instrument: Instrument) -> dict[str, Any]:
    """Worked examples are for our tests."""
    told = {name: value for name, value in asdict(instrument).items() if name != "examples"}
    own = {"key": instrument.key, "minimum": instrument.minimum, "maximum": instrument.maximum}
    return {**own, "item_hash": item_hash(instrument), **told}
