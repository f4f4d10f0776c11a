"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
LIMIT_S = 120.0
CENTRE = "e => { const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }"


def installed() -> str | None:
    """The path of a Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a headless browser; a context manager.

    Args:
        url: Address to open.
        width: Width of the window, CSS pixels.
        height: Height of the window, CSS pixels.
        dark: Whether the system asks for dark pages.
        scale: Device pixels per CSS pixel.
    """

    def __init__(self, url: str, width: int = 1280, height: int = 900, dark: bool = False, scale: float = 1.0) -> None:
        self._url, self._size, self._dark, self._scale = url, (width, height), dark, scale
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self.complaints: list[str] = []  # errors of the page's scripts

    def __enter__(self) -> Browser:
        self._folder = tempfile.mkdtemp(prefix="semla_browser_")
        width, height = self._size
        self._process = subprocess.Popen(
            [
                str(installed()), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--remote-debugging-port=0", f"--user-data-dir={self._folder}", f"--window-size={width},{height}",
                "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-extensions", "--disable-sync", "--no-proxy-server", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            self._loop.run_until_complete(self._connect())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_session"):
            self._loop.run_until_complete(self._session.close())
        self._loop.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)  # the browser's helpers, too
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, script: str) -> Any:
        """Runs JavaScript in the page and returns its value; a promise is waited for."""
        answer = self._evaluated(script)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, script: str, what: str) -> Any:
        """Waits until an expression of the page is true; returns its value. The page may still be loading."""
        end = time.monotonic() + LIMIT_S
        while "exceptionDetails" in (answer := self._evaluated(script)) or not answer["result"].get("value"):
            if time.monotonic() > end:
                shown = self.run("document.body ? document.body.innerText : ''")
                raise AssertionError(f"waited in vain for {what} ({script}); the page shows: {shown}")
            time.sleep(0.05)
        return answer["result"]["value"]

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Clicks into the middle of an element with the mouse."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.run(f"(({CENTRE}))(document.querySelector({json.dumps(selector)}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command of the DevTools protocol and returns its result."""
        message = self._answer(method, parameters)
        assert "error" not in message, message
        return dict(message["result"])

    def _answer(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return self._loop.run_until_complete(asyncio.wait_for(self._sent(method, parameters), LIMIT_S))

    def _evaluated(self, script: str) -> dict[str, Any]:
        """The value of a script, or what went wrong: a page that is just being replaced cannot run it."""
        message = self._answer("Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True})
        return dict(message.get("result") or {"exceptionDetails": message["error"]})

    async def _connect(self) -> None:
        port_file, end = Path(self._folder, "DevToolsActivePort"), time.monotonic() + LIMIT_S
        while not port_file.exists() or len(port_file.read_text().splitlines()) < 2:
            assert time.monotonic() < end, "the browser did not start"
            assert self._process.poll() is None, "the browser ended at its start"
            await asyncio.sleep(0.05)
        port = port_file.read_text().splitlines()[0]
        self._session = ClientSession()
        pages: list[dict[str, Any]] = []
        while not pages:  # the port is open before the first page is
            assert time.monotonic() < end, "the browser did not open a page"
            async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [each for each in await answer.json() if each["type"] == "page"]
        self._socket = await self._session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
        width, height = self._size
        feature = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        await self._sent("Emulation.setEmulatedMedia", {"features": [feature]})
        metrics = {"width": width, "height": height, "deviceScaleFactor": self._scale, "mobile": False}
        await self._sent("Emulation.setDeviceMetricsOverride", metrics)
        await self._sent("Runtime.enable", {})
        await self._sent("Log.enable", {})
        await self._sent("Page.enable", {})
        await self._sent("Page.navigate", {"url": self._url})

    async def _sent(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.complaints.append(str(message["params"]["entry"]))
            if message.get("id") == number:
                return dict(message)
