"""One browser that is connected to the page's WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import nullcontext, suppress
from typing import Any

from aiohttp import WSMsgType, web

from semla_ros.errors import SemlaError
from semla_ros.view.scene import AnyScene
from semla_ros.view.source import RELOAD, Source

LOG = logging.getLogger(__name__)
LOOK_S = 0.02  # time between two looks for a new image
STATUS_S = 0.2  # shortest time between two messages of status
MAX_ACTIONS = 4  # that wait for their answers; more are ignored
BATCH = 2000  # samples of the timeline in one message


class Viewer:
    """Sends the newest image only, and only after the browser has drawn the one before.

    A slow browser or network therefore gets fewer images, all of them new, and nothing waits for it.

    Args:
        socket: The open WebSocket.
        source: What is shown.
    """

    def __init__(self, socket: web.WebSocketResponse, source: Source) -> None:
        self._socket, self._source = socket, source
        self._is_ready = False
        self._sent: AnyScene | None = None
        self._status = ""
        self._known = -1  # number of the timeline's samples that the browser has
        self._status_s = 0.0
        self._actions: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def serve(self) -> None:
        """Serves until the browser leaves."""
        sending = asyncio.create_task(self._send())
        try:
            async for message in self._socket:
                if message.type == WSMsgType.TEXT:
                    self._take(message.data)
        finally:
            sending.cancel()
            for action in self._actions:
                action.cancel()

    def _take(self, text: str) -> None:
        """Takes ``{"ready": true}`` or ``{"do": action, "value": ..., "id": ...}``. Anything else is ignored."""
        try:
            asked = json.loads(text)
        except ValueError:
            return
        if not isinstance(asked, dict):
            return
        if asked.get("ready"):
            self._is_ready = True
        if isinstance(asked.get("do"), str) and len(self._actions) < MAX_ACTIONS:
            action = asyncio.create_task(self._act(asked["do"], asked.get("value"), asked.get("id")))
            self._actions.add(action)
            action.add_done_callback(self._actions.discard)

    async def _act(self, action: str, value: Any, number: Any) -> None:
        """Does an action after those that were asked for before it; reading a library takes long and holds up none."""
        try:
            async with nullcontext() if action == RELOAD else self._turn:
                answer, is_done = await asyncio.to_thread(self._source.act, action, value), True
        except SemlaError as error:
            answer, is_done = str(error), False
        except Exception as error:  # the page must have an answer
            LOG.exception("an action of the view failed: %s", action)
            answer, is_done = f"{type(error).__name__}: {error}", False
        with suppress(ConnectionError):  # the browser has left
            await self._socket.send_json({"answer": {"do": action, "id": number, "done": is_done, "text": answer}})

    async def _send(self) -> None:
        """Sends until the browser leaves. After any failure the connection is closed, and the page makes a new one."""
        try:
            while not self._socket.closed:
                scene = self._source.newest()
                if self._is_ready and scene is not None and scene is not self._sent:
                    self._is_ready, self._sent = False, scene
                    await self._socket.send_bytes(await asyncio.to_thread(getattr, scene, "packed"))
                await self._send_status()
                await asyncio.sleep(LOOK_S)
        except ConnectionError:
            pass
        except Exception:
            LOG.exception("the view of a browser failed")
            await self._socket.close()

    async def _send_status(self) -> None:
        """Sends the status if it has changed, and the samples that the browser does not have."""
        now = asyncio.get_running_loop().time()
        if now - self._status_s < STATUS_S:
            return
        self._status_s = now
        notices = [each.as_json() for each in self._source.notices()]
        status = json.dumps({"status": {**self._source.status(), "notices": notices}})
        if status != self._status:
            self._status = status
            await self._socket.send_str(status)
        restart, samples, self._known = self._source.history.since(self._known)
        for start in range(0, max(len(samples), restart), BATCH):  # a restart is sent without samples, too
            part = [each.as_json() for each in samples[start : start + BATCH]]
            await self._socket.send_json({"samples": part, "restart": restart and start == 0})
