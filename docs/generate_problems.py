"""Writes docs/problems.md from the catalogue of errors. `python -m docs.generate_problems [--check]`."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from app.problems import KINDS, Kind, example
from docs.generated import write_or_check

PAGE: Final = Path(__file__).with_name("problems.md")

HEAD: Final = """# Problems

Generated from the catalogue in `app/problems.py` by `python -m docs.generate_problems`; do not edit.

Every error is `application/problem+json` (RFC 9457), unknown paths and our own faults included. Its `type` is one of
those below and stays the same for good: branch on it, not on the words. A running service explains each at the address
its `type` names. `errors` lists the single faults, each with a JSON pointer into the body (or `query/`, `path/`,
`header/` and a name), a code and a message. No error repeats a value, a name or a text that was sent.
Every answer has an `X-Request-Id`; quote it when you report something.

| status | problem | type |
| --- | --- | --- |"""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with --check tell whether it is up to date."""
    return write_or_check(PAGE, page(), arguments)


def page() -> str:
    contents = [f"| {kind.status} | [{kind.title}](#{kind.slug}) | `{kind.type}` |" for kind in KINDS]
    return "\n".join([HEAD, *contents, *(line for kind in KINDS for line in _chapter(kind))]) + "\n"


def _chapter(kind: Kind) -> Iterator[str]:
    yield from ("", f"## {kind.slug}", "", f"**{kind.title}**, status {kind.status}", "")
    yield from (f"{kind.cause}", "", f"What to do: {kind.advice}", "")
    yield from ("```json", json.dumps(example(kind), indent=2), "```")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
