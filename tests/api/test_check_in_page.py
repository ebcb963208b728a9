"""The page a check-in link opens, as far as it can be judged without a browser.

Read here, everywhere: the document, what the script looks up, that its brackets and strings close, its habits, colours.
Seen and used in tests/process/test_check_in_page.py, where a browser is found.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.api.test_reference import POLICY, _luminance, get, read

pytestmark = pytest.mark.anyio

PAGE: Final = "/check-in"
FILES: Final = {"/check-in/check_in.js": "text/javascript", "/check-in/check_in.css": "text/css"}
_TOKEN: Final = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'
      | (?<=[(,=:])\s*/(?![*/])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]* | [`(){}\[\]"'] | \$\{ | \\.""",
    re.DOTALL | re.VERBOSE,
)


def unclosed(script: str) -> list[str]:
    """What was opened and not closed, or closed and not opened; templates nest."""
    inside: list[str] = []
    for token in (match[0].strip() for match in _TOKEN.finditer(script)):
        in_template = bool(inside) and inside[-1] == "`"
        if token == "`":
            inside.pop() if in_template else inside.append(token)
        elif token == "${" or (token in "({[" and not in_template):
            inside.append(token)
        elif in_template or token not in (")", "}", "]", '"', "'"):
            continue
        elif inside and inside[-1][-1] + token in {"()", "{}", "[]"}:
            inside.pop()
        else:
            return [*inside, token]
    return inside


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("f(`a ${g({b: '}'})} )`, /[(]\\//.test(x)); // {", []),
        ("f(a", ["("]),
        ("f(a]]", ["(", "]"]),
        ('f("a)', ["(", '"']),
        ("f(`a)", ["(", "`"]),
    ],
)
def test_reader_of_scripts_sees_what_is_open(script: str, expected: list[str]) -> None:
    """The oracle of the test below does object."""
    assert unclosed(script) == expected


async def test_script_is_one() -> None:
    """Everything that opens closes; where there is a Node it has parsed the script whole."""
    assert unclosed((await get("/check-in/check_in.js")).text) == []


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here")
def test_script_is_sound_to_an_engine(repository: Path) -> None:
    """A real parser takes it."""
    subprocess.run(["node", "--check", repository / "app/web/check_in.js"], check=True)


@pytest.mark.parametrize("path", [PAGE, *FILES])
async def test_page_and_files_open_without_a_token_under_a_strict_policy(path: str) -> None:
    """The same for everybody; kept by no cache, told to no other site, found by no search engine."""
    answer = await get(path, {"Authorization": "Bearer nonsense"})
    assert answer.status_code == 200
    assert answer.content == (await get(path)).content
    assert answer.headers["content-type"].split(";")[0] == FILES.get(path, "text/html")
    assert answer.headers["content-security-policy"] == POLICY
    for name, value in {
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex, nofollow",
    }.items():
        assert answer.headers[name] == value
    assert "set-cookie" not in answer.headers
    assert (await get(path, method="HEAD")).status_code == 200
    refused = await get(path, method="POST")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/check-in/other.js", "/check-in/..%2Fpage.html", "/check-in/check_in.html"])
async def test_nothing_else_is_served(path: str) -> None:
    """The declared files and no other."""
    assert (await get(path)).status_code == 404


async def test_page_is_whole() -> None:
    """No inline script or style, relative links to files of our own, one plain word on what it is not."""
    page = read(await get(PAGE))
    assert page.blocked == []
    assert page.links
    assert not [link for link in page.links if link.startswith("/") or ":" in link]
    for link in page.links:
        assert (await get(f"/{link}")).status_code == 200, link
    assert page.text.count("This is not a crisis service.") == 1
    assert "needs JavaScript" in page.text


async def test_script_finds_what_it_asks_for() -> None:
    """Every element the script looks up by a fixed id is in the page."""
    page, script = read(await get(PAGE)), (await get("/check-in/check_in.js")).text
    wanted = set(re.findall(r'byId\("([a-z-]+)"\)', script))
    assert wanted >= {"form", "items", "safety-text", "send", "anyway"}
    assert wanted <= page.ids


@pytest.mark.parametrize(
    "forbidden",
    [
        *("localStorage", "sessionStorage", "indexedDB", "document.cookie", "caches", "serviceWorker"),
        *("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "console."),
        *("http://", "https://"),
    ],
)
async def test_script_keeps_nothing_and_builds_no_markup(forbidden: str) -> None:
    """Answers and token live in memory alone, texts become text nodes, and nothing outside is asked."""
    assert forbidden not in (await get("/check-in/check_in.js")).text


def colour_blocks(styles: str) -> Iterator[dict[str, str]]:
    for block in re.findall(r":root \{(.*?)\}", styles, re.DOTALL):
        yield dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))


async def test_colours_are_readable() -> None:
    """Text has a contrast of 4.5 or more on every ground it stands on, light and dark (WCAG 2.2, 1.4.3)."""
    styles = (await get("/check-in/check_in.css")).text
    assert "url(" not in styles
    assert "@import" not in styles
    blocks = list(colour_blocks(styles))
    assert len(blocks) == 2
    for colours in blocks:
        grounds = {name: colours[name] for name in ("ground", "raised", "chosen", "notice", "safety")}
        for name, places in {"text": grounds, "muted": {"ground", "raised"}, "accent": {"ground", "raised"}}.items():
            for place in places:
                light, dark = sorted((_luminance(colours[name]), _luminance(grounds[place])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} on {place}"
