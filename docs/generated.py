"""What every generator of a page does with it in the end."""

import sys
from collections.abc import Sequence
from pathlib import Path


def write_or_check(page: Path, fresh: str, arguments: Sequence[str]) -> int:
    """Write the page, or with --check tell whether it is up to date: 0 when it is, 1 when it is stale."""
    if "--check" not in arguments:
        page.write_text(fresh, encoding="utf-8")
        return 0
    if page.exists() and page.read_text(encoding="utf-8") == fresh:
        return 0
    print(f"{page.name} is stale: run python -m docs.generate_{page.stem}", file=sys.stderr)
    return 1
