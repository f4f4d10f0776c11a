"""The servers around a source that the test decides: who may connect, what arrives, what is done."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("foxglove")

from aiohttp import ClientSession, ClientWebSocketResponse, WSServerHandshakeError
from live.process import until
from view.foxglove_client import FOXGLOVE, LIMIT_S, Foxglove, ask, with_foxglove
from view.serving import FakeSource, sample, scene, serving

from semla_ros.view.access import Access, is_loopback
from semla_ros.view.foxglove_server import FoxgloveServer
from semla_ros.view.player import Player
from semla_ros.view.source import Notice, ViewError

TOKEN = "a_token-of.some~length"


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def page(source: FakeSource) -> Iterator[str]:
    with serving(source) as (page, _):
        yield page


@pytest.fixture
def guarded(source: FakeSource) -> Iterator[str]:
    """The address, without its token, of a view that asks for one."""
    with serving(source, token=TOKEN) as (page, _):
        assert page.endswith(f"/?token={TOKEN}")
        yield page.partition("?")[0]


def fetch(url: str, **headers: str) -> tuple[int, str]:
    async def work(session: ClientSession) -> tuple[int, str]:
        async with session.get(url, headers=headers) as answer:
            return answer.status, await answer.text()

    return ask(work)


def handshake(url: str, protocols: tuple[str, ...] = (), **headers: str) -> int:
    """The status with which a WebSocket is answered; 101 means that it is open."""

    async def work(session: ClientSession) -> int:
        try:
            async with session.ws_connect(url, protocols=protocols, headers=headers):
                return 101
        except WSServerHandshakeError as error:
            return error.status

    return ask(work)


async def received(socket: ClientWebSocketResponse, key: str) -> Any:
    """The next JSON message with a key; other messages are skipped."""
    while True:
        message = await socket.receive()
        assert isinstance(message.data, str | bytes), message
        if isinstance(message.data, str) and key in (content := json.loads(message.data)):
            return content[key]


async def image_of(socket: ClientWebSocketResponse) -> bytes:
    """The next image; other messages are skipped."""
    while not isinstance(data := (await socket.receive()).data, bytes):
        assert isinstance(data, str), data
    return data


def stamp(data: bytes) -> int:
    (length,) = struct.unpack_from("<I", data)
    return int(json.loads(data[4 : 4 + length])["stamp_ns"])


def test_the_page_and_its_files_are_served(page: str) -> None:
    status, text = fetch(page)
    assert status == 200
    assert "semla view" in text
    for name in ("style.css", "view.js", "connection.js", "stage.js", "timeline.js", "panels.js", "player.js"):
        assert fetch(f"{page}page/{name}")[0] == 200


@pytest.mark.parametrize("path", ["", "page/view.js", "nothing"])
def test_every_answer_forbids_foreign_content_and_old_copies(page: str, path: str) -> None:
    async def work(session: ClientSession) -> Any:
        async with session.get(page + path) as answer:
            return answer.headers

    headers = ask(work)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"


def test_foxgloves_own_server_listens_on_a_loopback_address_that_cannot_be_guessed(source: FakeSource) -> None:
    from urllib.parse import urlsplit

    servers = [FoxgloveServer(source) for _ in range(3)]
    try:
        hosts = {str(urlsplit(server.address).hostname) for server in servers}
        assert len(hosts) == 3
        assert all(map(is_loopback, hosts))
    finally:
        for server in servers:
            server.close()


def test_nothing_outside_the_page_is_served(page: str) -> None:
    assert fetch(f"{page}page/..%2fserver.py")[0] in (403, 404)
    assert fetch(f"{page}page/")[0] in (403, 404)


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    for name in ("", "page/style.css", "page/view.js", "page/connection.js", "page/stage.js", "page/panels.js"):
        text = fetch(f"{page}{name}")[1]
        assert "https://" not in text
        assert "http://" not in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "0.0.0.0", ""])
def test_on_loopback_a_foreign_host_name_is_refused(page: str, host: str) -> None:
    assert fetch(page, Host=host)[0] in (400, 403)
    assert handshake(f"{page}live", Host=host) in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:99", "[::1]:99", "127.0.0.1"])
def test_the_names_of_this_machine_are_served(page: str, host: str) -> None:
    assert fetch(page, Host=host)[0] == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null"])
def test_pages_of_another_origin_cannot_open_a_websocket(page: str, origin: str) -> None:
    assert handshake(f"{page}live", Origin=origin) == 403
    assert handshake(page, (FOXGLOVE,), Origin=origin) == 403


def test_the_own_page_and_foxglove_can_open_their_websockets(page: str) -> None:
    assert handshake(f"{page}live", Origin=page.rstrip("/")) == 101
    assert handshake(page, (FOXGLOVE,), Origin="https://app.foxglove.dev") == 101
    assert handshake(page, (FOXGLOVE,)) == 101


@pytest.mark.parametrize("path", ["", "live", "page/view.js", "?token=wrong", "live?token=", "?token=a"])
def test_with_a_token_every_path_refuses_those_without_it(guarded: str, path: str) -> None:
    status, text = fetch(guarded + path)
    assert status == 401
    assert "?token=" in text
    assert handshake(guarded + path, (FOXGLOVE,)) == 401


def test_the_token_is_accepted_in_the_address_as_a_header_and_as_a_cookie(guarded: str) -> None:
    async def work(session: ClientSession) -> list[int]:
        async with session.get(f"{guarded}page/view.js", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            statuses = [answer.status]
        async with session.get(guarded, params={"token": TOKEN}) as answer:
            statuses.append(answer.status)
            (cookie,) = answer.cookies.values()
            assert cookie["httponly"]
            assert cookie["samesite"] == "Strict"
            name, value = cookie.key, cookie.coded_value
        async with session.get(f"{guarded}page/view.js", headers={"Cookie": f"{name}={value}"}) as answer:
            return [*statuses, answer.status]

    assert ask(work) == [200, 200, 200]


def test_a_foxglove_app_of_any_origin_may_connect_with_the_token(guarded: str) -> None:
    address = f"{guarded}?token={TOKEN}"
    assert handshake(address, (FOXGLOVE,), Origin="file://") == 101
    assert handshake(address.replace("token=a", "token=b"), (FOXGLOVE,), Origin="file://") == 401


def raw_status(url: str, path: str, *headers: bytes) -> int:
    """The status of a request with headers that a client's library would refuse to send."""
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    with socket.create_connection((host, int(port)), timeout=LIMIT_S) as connection:
        connection.sendall(b"\r\n".join([b"GET %s HTTP/1.1" % path.encode(), *headers, b"Connection: close", b"", b""]))
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize(
    "header",
    [b"Authorization: Bearer \xff", b"Cookie: semla_view_80=\xff", b"Host: 127.0.0.1:99999", b"Host: [::1"],
)
def test_malformed_headers_are_refused_for_want_of_the_token(guarded: str, header: bytes) -> None:
    host = () if header.startswith(b"Host") else (b"Host: 127.0.0.1:80",)
    assert raw_status(guarded, "/", *host, header) in (400, 401)


@pytest.mark.parametrize("path", ["/live", "/"])
def test_a_malformed_origin_is_refused(page: str, path: str) -> None:
    upgrade = b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
    assert raw_status(page, path, b"Host: 127.0.0.1:80", *upgrade, b"Origin: http://[::1") == 403


def test_a_malformed_port_does_not_hinder_those_who_have_the_token(guarded: str) -> None:
    assert raw_status(guarded, f"/?token={TOKEN}", b"Host: 127.0.0.1:99999") == 200


def test_a_token_is_made_for_every_address_but_loopback() -> None:
    assert Access("127.0.0.1").token == ""
    made = {Access("0.0.0.0").token, Access("192.168.1.5").token, Access("robot.local").token}
    assert len(made) == 3
    assert all(len(token) >= 32 for token in made)


@pytest.mark.parametrize("token", ["", "secret", " " * 20, "sixteen letters and blanks", "a&token=b&and#more+"])
def test_a_token_that_is_short_or_would_be_escaped_in_an_address_is_refused(token: str) -> None:
    with pytest.raises(ViewError, match="at least 16 letters, digits"):
        Access("0.0.0.0", token)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("localhost.evil.example", False), ("", False), ("10.0.0.1", False)],
)  # fmt: skip
def test_loopback_addresses_are_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_port_in_use_is_reported_with_the_remedy(page: str, source: FakeSource) -> None:
    from semla_ros.view.run import serve

    port = int(page.rstrip("/").rpartition(":")[2])
    with pytest.raises(ViewError, match=rf"127.0.0.1:{port}.*--port"):
        serve(source, Access("127.0.0.1"), port, lambda: False, lambda *_: None)


def test_a_browser_receives_image_status_and_timeline(page: str) -> None:
    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            status = await received(socket, "status")
            assert status["title"] == "/semla"
            assert status["notices"] == []
            await socket.send_json({"ready": True})
            assert stamp(await image_of(socket)) == 10**9

    ask(work)


def test_a_browser_learns_that_the_timeline_begins_anew_before_there_is_a_new_state(
    page: str, source: FakeSource
) -> None:
    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            assert len(await received(socket, "samples")) == 1
            source.history.clear()
            assert await received(socket, "restart") is True

    ask(work)


def test_a_browser_that_draws_slowly_gets_the_newest_image_and_holds_up_nobody(page: str, source: FakeSource) -> None:
    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as slow, session.ws_connect(f"{page}live") as fast:
            await slow.send_json({"ready": True})
            await image_of(slow)  # which it goes on drawing
            for i in range(2, 6):
                source.shown = scene(i)
                await fast.send_json({"ready": True})
                while stamp(await image_of(fast)) != i * 10**9:
                    await fast.send_json({"ready": True})
            await slow.send_json({"ready": True})
            assert stamp(await image_of(slow)) == 5 * 10**9

    ask(work)


def test_actions_are_done_and_refusals_carry_their_reason(page: str, source: FakeSource) -> None:
    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            for action, is_done, text in (
                ("freeze", True, "held"), ("reload_library", False, "truncated"), ("explode", False, "no such action")
            ):  # fmt: skip
                await socket.send_json({"do": action, "value": True, "id": 7})
                answer = await received(socket, "answer")
                assert (answer["do"], answer["id"], answer["done"]) == (action, 7, is_done)
                assert text in answer["text"]

    ask(work)
    assert source.done == [("freeze", True), ("reload_library", True)]


def test_actions_are_done_in_the_order_in_which_they_are_asked_for(
    page: str, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = threading.Event()

    def act(action: str, value: int) -> str:
        if value == 1:
            second.wait(0.5)  # time for the second action, if it did not wait for the first
        else:
            second.set()
        source.done.append((action, value))
        return "done"

    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            await socket.send_json({"do": "step", "value": 1, "id": 1})
            await socket.send_json({"do": "step", "value": -1, "id": 2})
            assert [(await received(socket, "answer"))["id"] for _ in range(2)] == [1, 2]

    monkeypatch.setattr(source, "act", act)
    ask(work)
    assert source.done == [("step", 1), ("step", -1)]


def test_no_action_waits_for_a_library_that_is_read(
    page: str, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = threading.Event()
    monkeypatch.setattr(source, "act", lambda action, _: str(action != "reload_library" or read.wait(60)))

    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            await socket.send_json({"do": "reload_library"})
            await socket.send_json({"do": "freeze", "value": True})
            assert (await received(socket, "answer"))["do"] == "freeze"
            read.set()
            assert (await received(socket, "answer"))["do"] == "reload_library"

    ask(work)


@pytest.mark.parametrize("text", ["", "no json", "[]", "5", '{"do": 5}', '{"do": null, "value": {}}'])
def test_messages_that_make_no_sense_are_ignored(page: str, source: FakeSource, text: str) -> None:
    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            await socket.send_str(text)
            await socket.send_json({"do": "reset"})
            assert (await received(socket, "answer"))["done"]

    ask(work)
    assert source.done == [("reset", None)]


def test_a_source_is_watched_only_while_a_browser_is_connected(page: str, source: FakeSource) -> None:
    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live"):
            while not source.watched[-1]:
                await asyncio.sleep(0.01)

    until(lambda: source.watched, "the first look")
    assert source.watched[-1] is False
    ask(work)
    until(lambda: source.watched[-1] is False, "the source to be left alone")


class Images:
    """A hundred images, one per second."""

    def items(self, on_error: Any) -> Iterator[Any]:
        yield from map(scene, range(100))


class CountingPlayer(Player):
    """Counts the looks of the servers, for which a quarter of a second has passed at each."""

    looks = 0

    def __init__(self) -> None:
        quarters = count()
        super().__init__("drive", Images(), clock=lambda: 0.25 * next(quarters))

    def watch(self, is_watched: bool) -> None:
        super().watch(is_watched)
        self.looks += 1

    @property
    def position(self) -> float:
        return float(self.status()["player"]["position"])


def test_a_recording_is_played_only_while_somebody_looks() -> None:
    player = CountingPlayer()

    async def work(client: Foxglove) -> None:
        await client.subscribe("/semla/overlay")
        await client.binary(1)
        while player.position == 0:
            await asyncio.sleep(0.01)

    with serving(player) as (page, _):
        until(lambda: player.looks > 10, "the servers to look for viewers")
        assert player.position == 0
        with_foxglove(page, work)
    player.close()


def test_every_panel_and_client_of_foxglove_gets_the_image_of_a_paused_recording(page: str, source: FakeSource) -> None:
    async def work(client: Foxglove) -> None:
        for number, topic in enumerate(("overlay", "mask"), 1):
            await client.subscribe(f"/semla/{topic}", number)
            while struct.unpack_from("<I", await client.binary(1), 1)[0] != number:
                pass

    for _ in range(2):
        until(lambda: source.watched[-2:] == [False, False], "the server to see that nobody is connected")
        with_foxglove(page, work)


@pytest.mark.parametrize("topic", ["overlay", "image", "mask", "confidence", "annotations"])
def test_foxglove_receives_every_new_image(page: str, source: FakeSource, topic: str) -> None:
    async def work(client: Foxglove) -> None:
        await client.subscribe(f"/semla/{topic}")
        task = asyncio.create_task(client.binary(1))
        for i in range(2, 10_000):
            source.shown = scene(i)
            await asyncio.sleep(0.05)
            if task.done():
                break
        message = task.result()
        assert struct.unpack_from("<Q", message, 5)[0] % 10**9 == 0
        if topic == "mask":
            assert source.shown.labels.tobytes() in message
        if topic == "annotations":
            assert b"sky 33 %" in message

    with_foxglove(page, work)


def test_foxglove_receives_the_domain_state_as_numbers(page: str, source: FakeSource) -> None:
    async def work(client: Foxglove) -> dict[str, Any]:
        await client.subscribe("/semla/domain")
        task = asyncio.create_task(client.binary(1))
        for i in range(2, 10_000):
            source.history.add(sample(i, distance=0.5 * i))
            await asyncio.sleep(0.05)
            if task.done():
                break
        return dict(json.loads(task.result()[13:]))

    values = with_foxglove(page, work)
    assert values["upper_threshold"] == 8.0
    assert values["weights"] == {"day": 1.0}
    assert values["distance"] > 0


def test_foxglove_receives_swaps_in_its_log(page: str, source: FakeSource) -> None:
    async def work(client: Foxglove) -> bytes:
        await client.subscribe("/semla/log")
        task = asyncio.create_task(client.binary(1))
        for i in range(2, 10_000):
            source.history.add(sample(i, swaps=i, name="night"))
            await asyncio.sleep(0.05)
            if task.done():
                break
        return task.result()

    assert b"night 1.00" in with_foxglove(page, work)


def test_foxglove_calls_services_and_sees_refusals(page: str, source: FakeSource) -> None:
    async def freeze(client: Foxglove) -> dict[str, Any]:
        return await client.call("/semla/freeze", {"data": True})

    async def reload(client: Foxglove) -> dict[str, Any]:
        return await client.call("/semla/reload_library", {})

    assert with_foxglove(page, freeze) == {"success": True, "message": "the mixture is held"}
    assert with_foxglove(page, reload)["success"] is False
    assert source.done == [("freeze", True), ("reload_library", None)]


def test_foxglove_reads_and_sets_parameters(page: str, source: FakeSource) -> None:
    async def work(client: Foxglove) -> tuple[Any, Any]:
        await client.socket.send_json({"op": "getParameters", "parameterNames": [], "id": "a"})
        read = (await client.until("parameterValues", id="a"))["parameters"]
        changed = [{"name": "fusion.k", "value": 3}, {"name": "segmenter.classes", "value": ["road", "tram"]}]
        await client.socket.send_json({"op": "setParameters", "parameters": changed, "id": "b"})
        return read, (await client.until("parameterValues", id="b"))["parameters"]

    read, changed = with_foxglove(page, work)
    assert {each["name"]: each["value"] for each in read}["fusion.k"] == 5
    assert {each["name"]: each["value"] for each in changed}["fusion.k"] == 3
    assert source.values["segmenter.classes"] == ["road", "tram"]


def test_foxglove_is_told_why_a_parameter_was_refused(page: str, source: FakeSource) -> None:
    async def work(client: Foxglove) -> str:
        wrong = [{"name": "fusion.k", "value": -1}]
        await client.socket.send_json({"op": "setParameters", "parameters": wrong, "id": "b"})
        return str((await client.until("status"))["message"])

    assert "out of range" in with_foxglove(page, work)
    assert source.values["fusion.k"] == 5


def test_foxglove_is_told_of_new_notices(page: str, source: FakeSource) -> None:
    async def work(client: Foxglove) -> str:
        await client.until("advertise")  # the server knows the client only after it has sent "serverInfo"
        source.told = [Notice("error", "The node is gone.", "Start it again.")]
        return str((await client.until("status"))["message"])

    assert with_foxglove(page, work) == "The node is gone. Start it again."


def test_a_program_that_does_not_speak_foxgloves_protocol_is_refused(page: str) -> None:
    assert handshake(page) == 400


def test_the_servers_end_although_browsers_are_connected(source: FakeSource) -> None:
    with serving(source) as (page, _):
        thread = threading.Thread(target=lambda: handshake_and_stay(page), daemon=True)
        thread.start()
        until(lambda: source.watched and source.watched[-1], "the browser to connect")
        begin = time.monotonic()
    assert time.monotonic() - begin < 30
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def handshake_and_stay(page: str) -> None:
    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            async for _ in socket:
                pass

    ask(work)


class Broken(FakeSource):
    """A source whose second image cannot be packed."""

    def newest(self) -> Any:
        if self.shown is None:
            raise RuntimeError("unexpected")
        return self.shown


def test_an_unexpected_failure_closes_the_connection_so_that_the_page_makes_a_new_one() -> None:
    source = Broken()

    async def work(session: ClientSession, page: str) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            await received(socket, "status")
            source.shown = None
            async for _ in socket:
                pass
            await asyncio.sleep(0.2)  # for Foxglove's server to meet the failure, too
        source.shown = scene()
        async with session.ws_connect(f"{page}live") as socket:
            await received(socket, "status")

    with serving(source) as (page, _):
        ask(lambda session: work(session, page))


def test_requests_without_end_do_not_pile_up(page: str, source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(source, "act", lambda action, value: (source.done.append(value), gate.wait(60), "done")[2])

    async def work(session: ClientSession) -> None:
        async with session.ws_connect(f"{page}live") as socket:
            for i in range(50):
                await socket.send_json({"do": "freeze", "value": i, "id": i})
            await socket.send_json({"ready": True})
            await image_of(socket)  # images still arrive
            gate.set()
            assert (await received(socket, "answer"))["done"]

    ask(work)
    assert len(source.done) <= 8
