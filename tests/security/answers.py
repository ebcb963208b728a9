"""What two answers must have in common to be the same answer."""

import re
from typing import Final

import httpx2

# The moment of the asking, not of what is asked for: it makes the tag of an answer, and stands in it.
_MOMENT: Final = re.compile(rb'"(as_of|known_at|from|to|longest_open_hours|last_used_at)":("[^"]+"|null|[0-9.e-]+)')


def told(answer: httpx2.Response) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """All of it but for the request's own id and the moment."""
    has_moment = _MOMENT.search(answer.content) is not None
    own = {"x-request-id"} | ({"etag", "content-length"} if has_moment else set())
    headers = tuple((name, value) for name, value in answer.headers.items() if name not in own)
    return answer.status_code, headers, _MOMENT.sub(b"", answer.content)
