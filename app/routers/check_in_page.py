"""The page a check-in link opens: the same for everybody, with no patient data and no outside asset.

The token stands behind the `#` of the address, which no browser sends: neither this route nor any log sees it.
"""

from typing import Final

from fastapi import APIRouter, Response

from app.errors import NotFoundError
from app.routers.reference import CONTENT_SECURITY_POLICY, HTML, Asset

router = APIRouter(include_in_schema=False)

_READ: Final = ["GET", "HEAD"]
_PAGE: Final = Asset.of("check_in.html", HTML)
_ASSETS: Final = {
    "check_in.js": Asset.of("check_in.js", "text/javascript; charset=utf-8"),
    "check_in.css": Asset.of("check_in.css", "text/css; charset=utf-8"),
}
_HEADERS: Final = {  # those that every answer has, no-referrer and no-store, are the middleware's
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}


@router.api_route("/check-in", methods=_READ)
async def get_check_in_page() -> Response:
    return _answer(_PAGE)


@router.api_route("/check-in/{name}", methods=_READ)
async def get_check_in_asset(name: str) -> Response:
    if name not in _ASSETS:
        raise NotFoundError("There is no such file.")
    return _answer(_ASSETS[name])


def _answer(asset: Asset) -> Response:
    return Response(asset.content, headers=_HEADERS, media_type=asset.media_type)
