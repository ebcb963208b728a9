"""What every picture shares: its width, its inks, its title and its words for screen readers. Pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from app import svg

Style = dict[str, svg.Attribute]

WIDTH: Final = 420  # units of the picture; its smallest text is then still read on a telephone
CHARACTER: Final = 6.6  # mean width at size 12, generous
INK: Final = "#16212e"
GREY: Final = "#59636e"
EDGE: Final = "#9aa2ab"
HALO: Final[Style] = {"stroke": "#fff", "stroke_width": 3, "stroke_linejoin": "round", "paint_order": "stroke"}


def document(kind: str, key: str, title: str, said: str, parts: Iterable[str], height: float) -> str:
    """The whole picture. `said` is what a screen reader says of it; ids are told apart by `kind` and `key`."""
    names = [f"{kind}-{part}-{key}" for part in ("title", "desc")]
    content = [
        svg.tag("title", title, id=names[0]),
        svg.tag("desc", said, id=names[1]),
        svg.tag("rect", width=WIDTH, height=math.ceil(height), fill="#fff"),
        *parts,
    ]
    opening = svg.spelled(
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {math.ceil(height)}",
        role="img",
        aria_labelledby=" ".join(names),
        font_family="system-ui, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
        font_size=12,
        fill=INK,
        style="width:100%;height:auto;max-width:660px",
    )
    return f"<svg{opening}>\n" + "\n".join(content) + "\n</svg>\n"


def heading(title: Sequence[str], under: str) -> Iterator[str]:
    for row, line in enumerate(title):
        yield svg.text(line, 6, 18 + 18 * row, font_size=15, font_weight="bold")
    yield svg.text(under, 6, 17 + 18 * len(title), fill=GREY)
