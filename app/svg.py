"""The few marks of SVG that a picture here is made of. Pure; all text and every attribute is escaped in this place."""

import html
from collections.abc import Iterable

Attribute = str | float | None


def number(value: float) -> str:
    """A tenth of a unit is finer than any screen."""
    return f"{value:.1f}".removesuffix(".0")


def spelled(**attributes: Attribute) -> str:
    """Names as Python writes them: `stroke_width`, `class_`. None leaves an attribute out."""
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value if isinstance(value, str) else number(value))}"'
        for name, value in attributes.items()
        if value is not None
    )


def element(name: str, content: str | None, /, **attributes: Attribute) -> str:
    """`content` is SVG already."""
    opening = f"<{name}{spelled(**attributes)}"
    return f"{opening}/>" if content is None else f"{opening}>{content}</{name}>"


def tag(name: str, content: str | None = None, /, **attributes: Attribute) -> str:
    """`content` is text, escaped here."""
    return element(name, None if content is None else html.escape(content), **attributes)


def group(parts: Iterable[str], /, **attributes: Attribute) -> str:
    return element("g", "".join(parts), **attributes)


def text(content: str, x: float, y: float, /, **attributes: Attribute) -> str:
    return tag("text", content, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, /, **attributes: Attribute) -> str:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)
