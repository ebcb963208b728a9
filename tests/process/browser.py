"""A real browser, driven over a pipe by its DevTools protocol: no driver program and no package is needed."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
ANSWER_SECONDS: Final = 30.0
# The browser talks on descriptors 3 and 4, which only a program in its place can put there.
_LAUNCH: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3), os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",  # tests may run as root, and open nothing but our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_KEYS: Final = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}


class Page:
    """One tab."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive, self._unread, self._number = send, receive, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        self.on_event: Callable[[dict[str, Any]], None] = lambda _: None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = self.post(method, **parameters)
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            message = self._next(deadline - time.monotonic())
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result

    def post(self, method: str, **parameters: Any) -> int:
        """Sends without waiting: the only thing to do from within `on_event`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {} if self._session is None else {"sessionId": self._session}
        os.write(self._send, json.dumps(message).encode() + b"\0")
        return self._number

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._receive], [], [], max(seconds, 0))
            assert ready, "the browser does not answer"
            read = os.read(self._receive, 1 << 20)
            assert read, "the browser is gone"
            self._unread += read
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
            self.on_event(message)
        return message

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = ANSWER_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < deadline, (condition, self.text())
            time.sleep(0.05)

    def text(self) -> str:
        """What can be read on the page now."""
        return str(self.run("document.body.innerText"))

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            entered = {"text": "\r" if key == "Enter" else key} if key in {"Enter", " "} else {}
            what = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": _KEYS[key]}
            self.call("Input.dispatchKeyEvent", type="keyDown", **what, **entered)
            self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def offline(self, *, offline: bool) -> None:
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.call("Network.emulateNetworkConditions", offline=offline, **limits)

    def picture(self) -> bytes:
        whole = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(whole["data"])

    def complaints(self) -> list[str]:
        """Defects of our script, and what the content policy refused."""
        thrown = [str(event["params"]) for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        entries = [event["params"]["entry"] for event in self.events if event["method"] == "Log.entryAdded"]
        return thrown + [entry["text"] for entry in entries if entry["source"] in {"javascript", "security"}]


@contextmanager
def opened_page() -> Iterator[Page]:
    """A tab of a new browser with an empty profile."""
    assert PROGRAM is not None
    to_browser, from_browser = os.pipe(), os.pipe()
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser[0], from_browser[1])]
    profile = tempfile.mkdtemp(prefix="tidemark-browser-")
    options = (*_OPTIONS, f"--user-data-dir={profile}")
    command = [sys.executable, "-c", _LAUNCH, *map(str, theirs), PROGRAM, *options, "about:blank"]
    with (Path(profile) / "said.log").open("wb") as said:
        process = subprocess.Popen(command, pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    for end in (*theirs, to_browser[0], from_browser[1]):
        os.close(end)
    page = None
    try:
        page = Page(to_browser[1], from_browser[0])
        yield page
    finally:
        with suppress(OSError, AssertionError):
            if page is not None:
                page._session = None
                page.call("Browser.close")
        os.close(to_browser[1])
        os.close(from_browser[0])
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(profile, ignore_errors=True)
