"""Chromium, driven by its DevTools protocol over a websocket: no further package is needed.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 60.0


class Tab:
    """One page of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._number = connection, 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(timeout=PATIENCE_S))
            if "method" in answer:
                self.events.append(answer)
            elif answer["id"] == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def wait(self, condition: str) -> Any:
        """The value of the expression once it is true."""
        until_s = time.monotonic() + PATIENCE_S
        while not (value := self.run(condition)):
            assert time.monotonic() < until_s, f"never became true: {condition}"
            time.sleep(0.1)
        return value

    def width_on(self, width: int) -> Any:
        """The width that the page takes on a phone so wide; the tab stays one."""
        phone = {"width": width, "height": 2 * width, "deviceScaleFactor": 1, "mobile": True}
        self.send("Emulation.setDeviceMetricsOverride", **phone)
        return self.run("document.documentElement.scrollWidth")

    def press(self, key: str) -> None:
        """A key on the keyboard, by its name in the DOM."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self) -> bytes:
        """What the page looks like, PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])

    @property
    def requested(self) -> set[str]:
        """Every address that the page asked for."""
        asked = (e["params"] for e in self.events if e["method"] == "Network.requestWillBeSent")
        return {each["request"]["url"] for each in asked}

    @property
    def complaints(self) -> list[str]:
        """Errors that the browser logged, what its content policy refused included."""
        logged = (e["params"]["entry"] for e in self.events if e["method"] == "Log.entryAdded")
        thrown = [e for e in self.events if e["method"] == "Runtime.exceptionThrown"]
        return [each["text"] for each in logged if each["level"] == "error"] + list(
            map(str, thrown)
        )


@contextmanager
def browser(microphone: Path | None = None) -> Iterator[Tab]:
    """A headless Chromium with one tab, whose microphone hears a WAV file. Skips without one."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--autoplay-policy=no-user-gesture-required",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
        ]
        if microphone:
            options.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
        process = subprocess.Popen(
            [program, *options, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = _port(Path(profile), process)
            with connect(_address(port), max_size=2**26) as connection:
                yield Tab(connection)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    """Which port the browser chose; it writes it down once it listens."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        with suppress(OSError, IndexError, ValueError):
            return int((profile / "DevToolsActivePort").read_text(encoding="ascii").split()[0])
        time.sleep(0.1)
    pytest.skip("Chromium does not start here")


def _address(port: int) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE_S) as answer:
        pages = json.loads(answer.read())
    return next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
