"""The web server: the page, its WebSocket, and the way to the Foxglove server, all on one port."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, WSMsgType, web

from semla_ros.view.access import Access
from semla_ros.view.foxglove_server import FoxgloveServer
from semla_ros.view.source import Source, ViewError
from semla_ros.view.viewer import Viewer

PAGE = Path(__file__).with_name("page")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
HEARTBEAT_S = 20.0
MAX_REQUEST = 64 * 1024  # bytes of a message from a browser
MAX_FOXGLOVE = 4 * 2**20  # bytes of a message from Foxglove
ANY = "0.0.0.0", "::"  # all addresses of the machine
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves a source until it is closed.

    Args:
        source: What is shown.
        foxglove: The Foxglove server, which is reached through this one: it checks nobody itself.
        access: Who may connect.
        port: Port to listen on; 0 takes a free one.
    """

    def __init__(self, source: Source, foxglove: FoxgloveServer, access: Access, port: int) -> None:
        self._source, self._foxglove, self._access, self._wanted = source, foxglove, access, port
        self._viewers = 0
        self._session: ClientSession | None = None
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._root)
        app.router.add_get("/live", self._live)
        app.router.add_static("/page", PAGE)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.port = 0

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            ViewError: The port or the address cannot be used.
        """
        await self._runner.setup()
        self._session = ClientSession()
        site = web.TCPSite(self._runner, self._access.host, self._wanted)
        try:
            await site.start()
        except OSError as error:
            hint = "Give --host an address of this machine, and --port a port that you may use."
            if error.errno == errno.EADDRINUSE:
                hint = "Another program listens there, perhaps another 'semla view': end it, or choose another --port."
            code = error.errno or 0
            reason = os.strerror(code) if code > 0 else error.strerror  # the codes of unknown names are negative
            where = f"{self._access.host}:{self._wanted}"
            raise ViewError("cannot listen", where=where, got=reason, hint=hint) from error
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Ends all connections."""
        if self._session:
            await self._session.close()
        await self._runner.cleanup()

    def addresses(self) -> tuple[str, str]:
        """Addresses of the page and for Foxglove, with the token."""
        host = socket.gethostname() if self._access.host in ANY else self._access.host
        host = f"[{host}]" if ":" in host else host
        tail = f"/?token={self._access.token}" if self._access.token else "/"
        return f"http://{host}:{self.port}{tail}", f"ws://{host}:{self.port}{tail}"

    @property
    def is_watched(self) -> bool:
        """Whether a browser or Foxglove is connected."""
        return self._viewers > 0 or self._foxglove.is_watched

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Checks every request before anything else."""
        self._access.check(request)
        return await handler(request)

    async def _root(self, request: web.Request) -> web.StreamResponse:
        """The page; for a Foxglove client, which opens a WebSocket here, the Foxglove server."""
        if request.headers.get("Upgrade", "").lower() == "websocket":
            self._access.check_origin(request, foxglove=True)
            return await self._to_foxglove(request)
        response = web.Response(text=(PAGE / "index.html").read_text(), content_type="text/html")
        self._access.remember(request, response)
        return response

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """The page's WebSocket."""
        self._access.check_origin(request)
        connection = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_REQUEST)
        await connection.prepare(request)
        self._viewers += 1
        try:
            await Viewer(connection, self._source).serve()
        finally:
            self._viewers -= 1
        return connection

    async def _to_foxglove(self, request: web.Request) -> web.StreamResponse:
        """Passes the messages of a Foxglove client to the Foxglove server and back."""
        offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if each]
        assert self._session is not None
        try:
            inner = await self._session.ws_connect(self._foxglove.address, protocols=offered, max_msg_size=0)
        except ClientError as error:
            raise web.HTTPBadRequest(text=f"Foxglove's WebSocket protocol is expected here: {error}") from error
        async with inner:
            chosen = (inner.protocol,) if inner.protocol else ()
            outer = web.WebSocketResponse(protocols=chosen, max_msg_size=MAX_FOXGLOVE, heartbeat=HEARTBEAT_S)
            await outer.prepare(request)
            ways = {asyncio.create_task(_pass(inner, outer)), asyncio.create_task(_pass(outer, inner))}
            _, open_way = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in open_way:
                way.cancel()
            await outer.close()
        return outer


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _pass(giver: Any, taker: Any) -> None:
    """Passes messages of one WebSocket to another until one side leaves. A slow taker makes the giver wait."""
    async for message in giver:
        try:
            if message.type == WSMsgType.TEXT:
                await taker.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await taker.send_bytes(message.data)
        except ConnectionError:
            return
