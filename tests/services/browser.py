"""Chromium without a window, as Debian packages it, driven by its DevTools protocol."""

import itertools
import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from ._errors import ServiceError, ServiceUnavailableError
from ._net import LOOPBACK, free_port
from ._process import Process
from ._service import Service

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_DEADLINE = 60  # seconds; for any one answer


class Browser(Service):
    """A Chromium with one page after the other.

    It has a profile of its own, and looks up no name but those of this machine.
    """

    name = "chromium"

    def __init__(self) -> None:
        super().__init__(free_port())

    @contextmanager
    def open(
        self, path: Path, *, width: int, dark: bool = False, media: str = "screen"
    ) -> Iterator["Page"]:
        """A file, on a screen of so many pixels; what it says and fetches is kept from the start."""
        asked = self._request("new?about:blank", "PUT")
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            url = json.load(answer)["webSocketDebuggerUrl"]
        with connect(url, max_size=None, open_timeout=_DEADLINE) as socket:
            yield Page(socket, path, width, media, dark=dark)

    def _request(self, what: str, method: str = "GET") -> urllib.request.Request:
        url = f"http://{LOOPBACK}:{self.ports[0]}/json/{what}"
        return urllib.request.Request(url, method=method)

    def _prepare(self) -> None:
        if _program() is None:
            raise ServiceUnavailableError("Chromium is not installed (apt-get install chromium)")

    def _launch(self) -> Process:
        return Process(
            [
                str(_program()),
                "--headless=new",
                # Pages are our own files; as root there is no sandbox, nor in most containers.
                *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
                *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
                *("--disable-component-update", "--disable-sync", "--host-rules=MAP * ~NOTFOUND"),
                f"--remote-debugging-port={self.ports[0]}",
                f"--user-data-dir={self.directory / 'profile'}",
                "about:blank",
            ],
            cwd=self.directory,
            log=self.log,
        )

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._request("version"), timeout=5):  # noqa: S310
                return True
        except OSError:
            return False


class Page:
    """A page that has been loaded: what it drew, said and fetched."""

    def __init__(
        self, socket: ClientConnection, path: Path, width: int, media: str, *, dark: bool
    ) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._loaded = False
        #: What a developer would see in the console: errors, warnings and refusals.
        self.console: list[str] = []
        #: The URL of each request.
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.send("Page.navigate", url=path.absolute().as_uri())
        while not self._loaded:
            self._receive()

    def evaluate(self, script: str) -> Any:
        """What a script gives within the page, as JSON. Its own policy does not hold for it."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ServiceError(f"script: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = self._receive()
            if message.get("id") == number:
                if "error" in message:
                    raise ServiceError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        try:
            message: dict[str, Any] = json.loads(self._socket.recv(_DEADLINE))
        except (TimeoutError, WebSocketException) as error:
            raise ServiceError(f"Chromium does not answer: {error!r}") from error
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                self.console.append(f"{params['entry']['level']}: {params['entry']['text']}")
            case "Runtime.consoleAPICalled":
                self.console.append(f"{params['type']}: {params['args']}")
            case "Runtime.exceptionThrown":
                self.console.append(f"error: {params['exceptionDetails']}")
        return message


def _program() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)
