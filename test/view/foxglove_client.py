"""A client that speaks Foxglove's WebSocket protocol."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse

FOXGLOVE = "foxglove.sdk.v1"
LIMIT_S = 60


def ask(work: Callable[[ClientSession], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with ClientSession() as session:
            return await asyncio.wait_for(work(session), LIMIT_S)

    return asyncio.run(run())


class Foxglove:
    """A client that speaks Foxglove's protocol.

    Messages of a channel are binary: opcode 1, uint32 of the subscription, uint64 of the time, then the message.
    Service calls are binary, too: opcode 2 from the client and 3 from the server.
    """

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.channels: list[dict[str, Any]] = []

    async def until(self, operation: str, **wanted: Any) -> dict[str, Any]:
        while True:
            message = await self.socket.receive()
            assert isinstance(message.data, str | bytes), message
            if isinstance(message.data, str):
                content = json.loads(message.data)
                if content["op"] == operation and all(content.get(key) == value for key, value in wanted.items()):
                    return dict(content)

    async def binary(self, opcode: int) -> bytes:
        while True:
            message = await self.socket.receive()
            assert isinstance(message.data, str | bytes), message
            if isinstance(message.data, bytes) and message.data[0] == opcode:
                return message.data

    async def subscribe(self, topic: str, number: int = 1) -> None:
        """Subscribes to a topic; the number of the subscription is part of its messages."""
        while not any(each["topic"] == topic for each in self.channels):
            self.channels += (await self.until("advertise"))["channels"]
        channel = next(each["id"] for each in self.channels if each["topic"] == topic)
        wanted = [{"id": number, "channelId": channel}]
        await self.socket.send_json({"op": "subscribe", "subscriptions": wanted})

    async def call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        services = (await self.until("advertiseServices"))["services"]
        number = next(each["id"] for each in services if each["name"] == name)
        encoding = b"json"
        head = struct.pack("<BIII", 2, number, 1, len(encoding))
        await self.socket.send_bytes(head + encoding + json.dumps(request).encode())
        answer = await self.binary(3)
        (length,) = struct.unpack_from("<I", answer, 9)
        return dict(json.loads(answer[13 + length :]))


def with_foxglove(url: str, work: Callable[[Foxglove], Coroutine[Any, Any, Any]]) -> Any:
    async def run(session: ClientSession) -> Any:
        async with session.ws_connect(url, protocols=(FOXGLOVE,), max_msg_size=0) as socket:
            return await work(Foxglove(socket))

    return ask(run)
