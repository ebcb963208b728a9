"""The pages for people: whole in themselves, strict about what they load, and telling what each problem means."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx2
import pytest

from app import problems
from app.main import create_app
from app.routers import reference
from app.settings import Settings
from docs import generate_problems

pytestmark = pytest.mark.anyio

# Never started: none of these pages needs the database.
APP: Final = create_app(Settings(data_dir=Path("unused")), "postgresql://nobody@localhost:1/none")
PAGES: Final = ["/", "/docs", "/problems", *(kind.type for kind in problems.KINDS)]
FILES: Final = ["/docs/reference.js", "/docs/reference.css", "/docs/icon.svg"]
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HTML: Final = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class PageReader(HTMLParser):
    """Collects what a page links to, and what a strict policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.blocked: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside.append(tag)
        for name, value in attrs:
            if name in {"href", "src"} and value is not None:
                self.links.append(value)
            if name == "style" or name.startswith("on"):
                self.blocked.append(f"{tag} {name}")
            if name == "id" and value is not None:
                self.ids.add(value)

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside and self._inside[-1] in {"script", "style"} and data.strip():
            self.blocked.append(f"inline {self._inside[-1]}")

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass


def read(answer: httpx2.Response) -> PageReader:
    reader = PageReader()
    reader.feed(answer.text)
    return reader


async def get(path: str, headers: dict[str, str] | None = None, method: str = "GET") -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(APP), base_url="http://test") as http:
        return await http.request(method, path, headers=headers)


@pytest.mark.parametrize("path", [*PAGES, *FILES])
async def test_page_opens_without_a_token_under_a_strict_policy(path: str) -> None:
    """Each page and file says what it is, and forbids everything it does not need."""
    answer = await get(path, HTML)
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == kinds.get(Path(path).suffix, "text/html")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", PAGES)
async def test_page_loads_nothing_from_outside(path: str) -> None:
    """No inline script or style, no event attribute, and every link leads to an address of our own that answers."""
    page = read(await get(path, HTML))
    assert page.blocked == []
    for link in page.links:
        address = urljoin(f"http://test{path}", link)
        assert address.startswith("http://test/"), link
        if link not in {"readyz", "metrics"}:  # they ask the database, which is not there
            assert (await get(address)).status_code == 200, link
    assert "Tidemark" in page.text


@pytest.mark.parametrize("path", ["/docs", "/problems", "/problems/invalid", "/"])
async def test_links_are_relative(path: str) -> None:
    """A proxy may put the service under a prefix: no link starts at the root of the host."""
    assert not [link for link in read(await get(path, HTML)).links if link.startswith("/")]


async def test_reference_says_once_what_tidemark_is_not() -> None:
    """Not a diagnosis, not a crisis service: plainly, in the page itself, without any script."""
    page = read(await get("/docs"))
    assert page.text.count("Not a diagnosis, and not a crisis service.") == 1


async def test_script_finds_what_it_asks_for() -> None:
    """Every element the script looks up by a fixed id is in the page."""
    page, script = read(await get("/docs")), (await get("/docs/reference.js")).text
    wanted = set(re.findall(r'getElementById\("([a-z-]+)"\)', script))
    assert wanted >= {"token", "operations", "groups"}
    assert wanted <= page.ids


@pytest.mark.parametrize(
    "forbidden",
    [
        *("localStorage", "sessionStorage", "indexedDB", "cookie", "history."),
        *("innerHTML", "insertAdjacentHTML", "document.write", "eval("),
        *("http://", "https://"),
    ],
)
async def test_script_neither_stores_nor_builds_markup(forbidden: str) -> None:
    """The token lives in memory alone, texts become text nodes, and nothing outside is asked."""
    assert forbidden not in (await get("/docs/reference.js")).text


async def test_style_sheet_loads_nothing() -> None:
    """No font, image or sheet is fetched by the styles; dark and light are both there."""
    styles = (await get("/docs/reference.css")).text
    assert "url(" not in styles
    assert "@import" not in styles
    assert "prefers-color-scheme: dark" in styles


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


async def test_colours_are_readable() -> None:
    """Every colour of text has a contrast of 4.5 or more on every ground, light and dark (WCAG 2.2, 1.4.3)."""
    blocks = re.findall(r":root \{(.*?)\}", (await get("/docs/reference.css")).text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
        grounds = {name: colours.pop(name) for name in ("ground", "raised", "notice")}
        for name in colours.keys() - {"line", "notice-line", "focus"}:
            for place, ground in grounds.items():
                light, dark = sorted((_luminance(colours[name]), _luminance(ground)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on {place}"


@pytest.mark.parametrize("path", ["/docs", *FILES])
async def test_known_file_is_not_sent_again(path: str) -> None:
    """304 for the browser that has it; the whole file for one that has another."""
    first = await get(path)
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        again = await get(path, {"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await get(path, {"If-None-Match": '"other"'})).content == first.content


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/reference.js", "/problems", "/problems/invalid"])
async def test_pages_answer_head_and_refuse_the_rest(path: str) -> None:
    """HEAD for link checkers; other methods learn what there is."""
    assert (await get(path, method="HEAD")).status_code == 200
    refused = await get(path, method="POST")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/docs/other.js", "/docs/..%2Fmain.py", "/docs/../main.py", "/problems/none"])
async def test_unknown_pages_are_problems(path: str) -> None:
    """Nothing but the declared files is served."""
    answer = await get(path)
    assert answer.status_code == 404
    assert answer.json()["type"] == problems.NOT_FOUND.type


@pytest.mark.parametrize("kind", problems.KINDS, ids=lambda kind: kind.slug)
async def test_problem_type_leads_to_its_meaning(kind: problems.Kind) -> None:
    """For people a page with cause and advice, for programs the same as JSON."""
    page = read(await get(kind.type, HTML)).text
    for text in (kind.title, kind.cause, kind.advice):
        assert text.replace("`", "") in page
    entry = (await get(kind.type, {"Accept": "application/json"})).json()
    told = {"type": kind.type, "status": kind.status, "title": kind.title, "cause": kind.cause, "advice": kind.advice}
    assert {name: entry[name] for name in told} == told
    assert (entry["example"]["type"], entry["example"]["status"]) == (kind.type, kind.status)


async def test_catalogue_lists_every_problem() -> None:
    """In the order of their statuses, each with its page."""
    listed = (await get("/problems", {"Accept": "application/problem+json"})).json()
    assert [entry["type"] for entry in listed["data"]] == [kind.type for kind in problems.KINDS]
    assert listed["next_cursor"] is None
    links = read(await get("/problems", HTML)).links
    assert {kind.type.removeprefix("/") for kind in problems.KINDS} <= set(links)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "text/html"),
        ("*/*", "text/html"),
        ("application/xml", "text/html"),
        ("text/html, application/json;q=0.5", "text/html"),
        ("application/json", "application/json"),
        ("Application/Problem+JSON, */*;q=0.1", "application/json"),
    ],
)
async def test_json_is_for_those_who_name_it(accept: str | None, expected: str) -> None:
    """Caches are told that the answer varies."""
    answer = await get("/problems/invalid", {"Accept": accept} if accept else None)
    assert answer.headers["content-type"].split(";")[0] == expected
    assert answer.headers["vary"] == "Accept"


def test_kinds_are_told_apart_and_explained() -> None:
    """Slugs are unique and fit an address; every kind says what it means and what to do, in sentences."""
    slugs = [kind.slug for kind in problems.KINDS]
    assert len(set(slugs)) == len(slugs)
    for kind in problems.KINDS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.slug)
        assert 400 <= kind.status <= 599
        assert kind.cause.endswith(".")
        assert kind.advice.endswith(".")


def test_prose_is_escaped() -> None:
    """Texts of the catalogue cannot become markup."""
    assert reference._prose("`a<b>` & c") == "<code>a&lt;b&gt;</code> &amp; c"


def test_problems_page_is_up_to_date(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/problems.md is what the catalogue generates, and the check is the one `make check` runs."""
    assert generate_problems.main(["--check"]) == 0, capsys.readouterr().err
    command: list[Any] = [sys.executable, "-m", "docs.generate_problems", "--check"]
    assert subprocess.run(command, cwd=repository, check=False).returncode == 0


def test_stale_problems_page_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that says something else fails the check, and writing it anew mends it."""
    monkeypatch.setattr(generate_problems, "PAGE", tmp_path / "problems.md")
    assert generate_problems.main(["--check"]) == 1
    (tmp_path / "problems.md").write_text("old")
    assert generate_problems.main(["--check"]) == 1
    assert generate_problems.main([]) == 0
    assert generate_problems.main(["--check"]) == 0
