"""Pages for people: the API reference, and what each problem means. No token, no patient data, no outside asset."""

import hashlib
import html
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.errors import NotFoundError
from app.problems import KINDS, MEDIA_TYPE, Kind, example

router = APIRouter(include_in_schema=False)

WEB: Final = Path(__file__).parent.parent / "web"
HTML: Final = "text/html; charset=utf-8"
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SHELL: Final = Template((WEB / "page.html").read_text(encoding="utf-8"))
_READ: Final = ["GET", "HEAD"]


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file, kept in memory."""

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, media_type: str) -> "Asset":
        content = (WEB / name).read_bytes()
        return cls(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


_REFERENCE: Final = Asset.of("reference.html", HTML)
_ASSETS: Final = {
    "reference.js": Asset.of("reference.js", "text/javascript; charset=utf-8"),
    "reference.css": Asset.of("reference.css", "text/css; charset=utf-8"),
    "icon.svg": Asset.of("icon.svg", "image/svg+xml"),
}
_BY_SLUG: Final = {kind.slug: kind for kind in KINDS}


@router.api_route("/", methods=_READ)
async def get_index(request: Request) -> Response:
    about = "".join(f"<p>{_prose(line)}</p>" for line in request.app.description.splitlines())
    return _page("Tidemark", f"{about}{_LINKS}", root="./")


@router.api_route("/docs", methods=_READ)
async def get_reference(request: Request) -> Response:
    return _unless_known(request, _REFERENCE)


@router.api_route("/docs/{name}", methods=_READ)
async def get_reference_asset(request: Request, name: str) -> Response:
    if name not in _ASSETS:
        raise NotFoundError("There is no such file.")
    return _unless_known(request, _ASSETS[name])


@router.api_route("/problems", methods=_READ)
async def list_problems(request: Request) -> Response:
    if _wants_json(request):
        return _json({"data": [_entry(kind) for kind in KINDS], "next_cursor": None})
    rows = "".join(
        f'<tr><td>{kind.status}</td><td><a href="problems/{kind.slug}">{_prose(kind.title)}</a></td>'
        f"<td><code>{kind.type}</code></td></tr>"
        for kind in KINDS
    )
    return _page("Problems", _PROBLEMS.substitute(media_type=MEDIA_TYPE, rows=rows), root="./")


@router.api_route("/problems/{slug}", methods=_READ)
async def get_problem(request: Request, slug: str) -> Response:
    kind = _BY_SLUG.get(slug)
    if kind is None:
        raise NotFoundError("There is no such problem.")
    if _wants_json(request):
        return _json(_entry(kind))
    content = _PROBLEM.substitute(
        status=kind.status, type=kind.type, cause=_prose(kind.cause), advice=_prose(kind.advice)
    )
    return _page(kind.title, content, root="../")


def _entry(kind: Kind) -> dict[str, Any]:
    return {
        "type": kind.type,
        "status": kind.status,
        "title": kind.title,
        "cause": kind.cause,
        "advice": kind.advice,
        "example": example(kind),
    }


def _page(title: str, content: str, *, root: str) -> Response:
    """`root` leads from the page to the service's own root, which a proxy may have put under a prefix."""
    head = title if title == "Tidemark" else f"{title} - Tidemark"
    text = _SHELL.substitute(head=html.escape(head), title=html.escape(title), content=content, root=root)
    return Response(text, headers=_headers("Accept"), media_type=HTML)


def _json(value: dict[str, Any]) -> Response:
    return JSONResponse(value, headers=_headers("Accept"))


def _unless_known(request: Request, asset: Asset) -> Response:
    """304 where the browser has it already; it asks each time, so that an upgrade is seen at once."""
    headers = _headers("Accept-Encoding") | {"ETag": asset.etag}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if asset.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


def _headers(vary: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-cache",
        "Vary": vary,
    }


def _wants_json(request: Request) -> bool:
    """Programs that name JSON get it; browsers, and whoever takes anything, get the page."""
    named = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    return "text/html" not in named and any(name.startswith("application/") and name.endswith("json") for name in named)


def _prose(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


_LINKS: Final = """
<dl>
  <dt><a href="docs">API reference</a></dt><dd>every operation, with examples to try</dd>
  <dt><a href="openapi.json">openapi.json</a></dt><dd>the same for programs, OpenAPI 3.1</dd>
  <dt><a href="problems">Problems</a></dt><dd>what each error means and what to do about it</dd>
  <dt><a href="livez">livez</a>, <a href="readyz">readyz</a></dt><dd>is it alive, and can it serve?</dd>
  <dt><a href="metrics">metrics</a></dt><dd>counts for monitoring</dd>
</dl>
"""
_PROBLEMS: Final = Template("""
<p>Every error is <code>$media_type</code> (RFC 9457). Its <code>type</code> is one of these and stays the same for
good: branch on it, not on the words. No error repeats what was sent.</p>
<table><thead><tr><th>Status</th><th>Problem</th><th>Type</th></tr></thead><tbody>$rows</tbody></table>
""")
_PROBLEM: Final = Template("""
<p class="fact">Status $status, type <code>$type</code></p>
<h2>What it means</h2><p>$cause</p>
<h2>What to do</h2><p>$advice</p>
<p><a href="../problems">All problems</a></p>
""")
