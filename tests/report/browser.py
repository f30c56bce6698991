"""A real browser without a screen: Chromium, spoken to over its debugging pipe, so that no other program is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ANSWER_S = 60  # on a machine that others use as well
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
          "--disable-background-networking", "--remote-debugging-pipe")  # fmt: skip

# The browser reads its descriptor 3 and writes its 4, which may be somebody's until then.
_START = """
import fcntl, os, sys
ours = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for fd, theirs in zip(ours, (3, 4)):
    os.dup2(fd, theirs)
os.execv(sys.argv[3], sys.argv[3:])
"""


def program() -> str | None:
    """The browser of this computer; None if it has none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """One page in one browser. ``complaints`` are errors and warnings of the page, refused loads included."""

    def __init__(self, profile: Path) -> None:
        found = program()
        assert found is not None
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        self.complaints: list[str] = []
        self._buffer, self._last, self._events = b"", 0, set[str]()
        words = [
            sys.executable,
            "-c",
            _START,
            str(to_child),
            str(from_child),
            found,
            *_FLAGS,
            f"--user-data-dir={profile}",
        ]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(words, pass_fds=(to_child, from_child), stdout=quiet, stderr=quiet)
        os.close(to_child)
        os.close(from_child)
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)  # it ends when nobody speaks to it any more
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def open(self, file: Path, width: int, dark: bool) -> None:
        """Loads a file as a screen of this width shows it."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self._events.clear()
        self.ask("Page.navigate", url=file.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._read()

    def value(self, expression: str) -> Any:
        """What a line of JavaScript gives: of ours, since the page has none."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method of the debugging protocol."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + ANSWER_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(end - time.monotonic(), 0))
            piece = os.read(self._in, 1 << 16) if ready else b""
            if not piece:
                raise TimeoutError("the browser does not answer")
            self._buffer += piece
        raw, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(raw)
        self._take(message)
        return message

    def _take(self, message: dict[str, Any]) -> None:
        """Keeps what the browser tells unasked."""
        method, params = message.get("method", ""), message.get("params", {})
        self._events.add(method)
        if method == "Log.entryAdded":
            self.complaints.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"):
            self.complaints.append(f"{method}: {json.dumps(params)[:500]}")
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("file:"):
            self.complaints.append(f"request: {params['request']['url'][:200]}")
