"""``semla view`` beside the running node, over real DDS."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("aiohttp")
pytest.importorskip("foxglove")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from listening import is_loopback, listening_addresses
from live.process import STAND_IN, Process
from live.robot import MASK, Robot, image, values
from live.stand_in import ADAPTATION_FAILS, DAY, FINE, NIGHT, UNREADABLE
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from view.browser import Browser, installed
from view.foxglove_client import Foxglove, with_foxglove
from view.serving import sample

from semla_ros.topics.domain import key_values
from semla_ros.view import live
from semla_ros.view.live import LiveSource
from semla_ros.view.source import ViewError

pytestmark = pytest.mark.live
SECOND = 10**9
needs_chromium = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    with Robot() as robot:
        robot.start(STAND_IN)
        robot.until_active()
        yield robot


@pytest.fixture(scope="module")
def view(robot: Robot) -> Process:
    return started(robot)


def started(robot: Robot, *options: str) -> Process:
    """A view on a free port."""
    view = Process(robot.domain, "-m", "semla_ros.cli", "view", "--port", "0", *options)
    robot.processes.append(view)
    robot.until(lambda: "Foxglove:" in view.log, "the view to be served")
    return view


def page_of(view: Process) -> str:
    found = re.search(r"Page: +(\S+)", view.log)
    assert found
    return found.group(1)


@needs_chromium
def test_the_page_shows_the_node_and_its_buttons_reach_it(robot: Robot, view: Process) -> None:
    with Browser(page_of(view)) as browser, robot.offers() as camera:
        browser.until("document.getElementById('title')?.textContent == '/semla'", "the node to be found")
        robot.until(lambda: camera.get_subscription_count() == 2, "the node and the view to subscribe")

        def sent(command: int = 0) -> bool:
            sent.stamp += SECOND  # type: ignore[attr-defined]
            camera.publish(image(sent.stamp, command=command))  # type: ignore[attr-defined]
            return bool(browser.run("empty.hidden"))

        def shown_after(command: int, script: str, what: str) -> None:
            """Sends images until the page shows what follows from them: one may be lost."""
            robot.until(lambda: (sent(command), browser.run(script))[1], what)

        sent.stamp = SECOND  # type: ignore[attr-defined]
        robot.until(sent, "an image in the browser")
        pixel = "[...segmented.getContext('2d').getImageData(0, 20, 1, 1).data].slice(0, 3)"
        browser.run("(e => { e.value = 0; e.dispatchEvent(new Event('input')); })(opacity)")
        browser.until(f"{pixel}.every(value => Math.abs(value - 90) < 4)", "the camera's own colours")

        browser.click("#freeze")
        robot.until(lambda: values(robot.states[-1].status[0])["frozen"] == "true", "the node to be frozen")
        browser.until("answer.textContent == 'the mixture is held'", "the answer")
        browser.until("freeze.textContent == 'Unfreeze'", "the state to come back")
        browser.until("notices.innerText.includes('frozen')", "the notice")
        browser.click("#freeze")
        robot.until(lambda: values(robot.states[-1].status[0])["frozen"] == "false", "the node to follow again")
        browser.click("[data-do=reload_library]")
        browser.until("answer.textContent.includes('2 adapters in use')", "the answer of the reload")

        shown_after(NIGHT, "mixture.innerText.includes('night\\n75 %')", "the new mixture")
        shown_after(ADAPTATION_FAILS, f"notices.innerText.includes({UNREADABLE!r})", "the error of the adaptation")
        shown_after(FINE, "figures.innerText.includes('/s')", "the figures of the diagnostics")
        assert browser.complaints == []


def test_parameters_of_the_node_are_read_and_set_with_foxglove(robot: Robot, view: Process) -> None:
    async def work(client: Foxglove) -> tuple[object, str]:
        wanted = [{"name": "fusion.k", "value": 3}]
        await client.socket.send_json({"op": "setParameters", "parameters": wanted, "id": "a"})
        (changed,) = (await client.until("parameterValues", id="a"))["parameters"]
        wrong = [{"name": "fusion.k", "value": -3}]
        await client.socket.send_json({"op": "setParameters", "parameters": wrong, "id": "b"})
        while "fusion.k" not in (reason := str((await client.until("status"))["message"])):
            pass
        return changed["value"], reason

    value, reason = with_foxglove(page_of(view), work)
    assert value == robot.get("fusion.k") == 3
    assert "range" in reason
    assert robot.set(fusion__k=0).successful


def test_foxglove_learns_of_parameters_that_others_change(robot: Robot, view: Process) -> None:
    async def work(client: Foxglove) -> object:
        await client.socket.send_json({"op": "subscribeParameterUpdates", "parameterNames": ["tracker.debounce_s"]})
        update = asyncio.create_task(client.until("parameterValues"))
        for value in itertools.count(2):  # the first changes may come before the subscription
            assert (await asyncio.to_thread(robot.set, tracker__debounce_s=float(value))).successful
            await asyncio.wait([update], timeout=1.0)
            if update.done():
                return update.result()["parameters"][0]

    changed = with_foxglove(page_of(view), work)
    assert changed["name"] == "tracker.debounce_s"
    assert changed["value"] >= 2


def test_a_view_listens_on_loopback_alone(view: Process) -> None:
    addresses = listening_addresses(view.popen.pid)
    assert addresses
    assert all(map(is_loopback, addresses))


def test_the_images_are_received_only_while_somebody_looks(robot: Robot, view: Process) -> None:
    def subscribed() -> bool:
        return any(each.node_name == "semla_view" for each in robot.node.get_subscriptions_info_by_topic("/image"))

    robot.until(lambda: not subscribed(), "the view to leave the camera alone")


def test_a_second_view_on_the_same_port_says_so(robot: Robot, view: Process) -> None:
    port = page_of(view).rstrip("/").rpartition(":")[2]
    second = Process(robot.domain, "-m", "semla_ros.cli", "view", "--port", port)
    try:
        second.popen.wait(120)
    finally:
        second.kill()
    assert second.code == 1
    assert f"127.0.0.1:{port}" in second.log
    assert "choose another --port" in second.log
    assert "Traceback" not in second.log


@needs_chromium
def test_a_view_that_hangs_holds_up_neither_the_node_nor_the_camera(robot: Robot, view: Process) -> None:
    with (
        Browser(page_of(view)) as browser,
        robot.hears(Image, MASK) as (masks,),
        robot.offers() as camera,
    ):
        browser.until("document.getElementById('title')?.textContent == '/semla'", "the node to be found")
        robot.until(lambda: camera.get_subscription_count() == 2, "the node and the view to subscribe")
        view.popen.send_signal(signal.SIGSTOP)
        try:
            for i in range(30):
                count = len(masks)
                camera.publish(image((100 + i) * SECOND))
                robot.until(lambda count=count: len(masks) > count, "the mask of an image while the view hangs")
        finally:
            view.popen.send_signal(signal.SIGCONT)


@needs_chromium
def test_a_node_that_starts_later_and_dies_and_comes_back_is_followed() -> None:
    with Robot() as robot, Browser(page_of(started(robot))) as browser:
        browser.until("document.getElementById('notices')?.innerText.includes('No semla node')", "the notice")
        assert "semla_node --ros-args" in browser.text("#notices")
        node = robot.start(STAND_IN, parameters={"silence_s": 1.0})
        browser.until("title.textContent == '/semla'", "the node to be found")
        browser.until("notices.innerText.includes('No image arrives on /image')", "the notice about a silent camera")
        node.popen.send_signal(signal.SIGKILL)
        node.popen.wait()
        robot.processes.remove(node)
        browser.until("notices.innerText.includes('has not reported')", "the notice about the lost node")
        browser.click("#freeze")
        browser.until("answer.classList.contains('refused')", "the refusal of an action without a node")
        robot.start(STAND_IN)
        browser.until("!notices.innerText.includes('has not reported')", "the node to be found again")

        def held() -> bool:
            """Asks again if an answer was lost: the node may not have discovered the view's client yet."""
            browser.run("answer.textContent = ''")
            browser.click("#freeze")
            return bool(browser.until("answer.textContent", "an answer") == "the mixture is held")

        robot.until(held, "the answer of the new node")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Robot, LiveSource]]:
    """A source in this very process."""
    with Robot() as robot:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(robot.domain))
        source = LiveSource()
        yield robot, source
        source.close()


def test_another_node_is_shown_only_when_the_first_is_gone(
    source: tuple[Robot, LiveSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, shown = source
    publisher = robot.node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def reported(*names: str) -> str:
        for name in names:
            publisher.publish(DiagnosticArray(status=[DiagnosticStatus(name=f"{name}: segmentation", level=b"\0")]))
        time.sleep(0.02)
        return str(shown.status()["title"])

    robot.until(lambda: reported("/one/semla") == "/one/semla", "the first node to be found")
    monkeypatch.setattr(live, "GONE_S", 1e9)
    for _ in range(20):
        assert reported("/one/semla", "/two/semla") == "/one/semla"
    shown.history.add(sample(1))
    monkeypatch.setattr(live, "GONE_S", 0.5)
    robot.until(lambda: reported("/two/semla") == "/two/semla", "the second node to be shown")
    assert shown.history.newest is None  # the timeline of the first node is gone


def test_a_message_that_cannot_be_used_is_reported_and_the_view_goes_on(source: tuple[Robot, LiveSource]) -> None:
    robot, shown = source
    reports = robot.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    lasting = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    states = robot.node.create_publisher(DiagnosticArray, "/domain/state", lasting)
    report = DiagnosticArray(status=[DiagnosticStatus(name="/semla: segmentation", level=b"\0")])
    good = DiagnosticStatus(values=[KeyValue(key=key, value=value) for key, value in key_values(DAY).items()])

    def told() -> str:
        reports.publish(report)
        states.publish(DiagnosticArray(status=[DiagnosticStatus(name="no domain state")]))
        time.sleep(0.02)
        return " ".join(each.text for each in shown.notices())

    robot.until(lambda: "could not be shown: KeyError" in told(), "the notice about the message")

    def is_known() -> bool:
        states.publish(DiagnosticArray(status=[good]))
        time.sleep(0.02)
        return shown.status()["domain"] is not None

    robot.until(is_known, "the domain state after it")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_view_with_exit_code_0(how: signal.Signals) -> None:
    with Robot() as robot:
        view = started(robot)
        assert view.stop(how) == 0, view.log
        assert "Traceback" not in view.log


def test_a_token_is_printed_for_an_address_that_others_reach() -> None:
    with Robot() as robot:
        view = started(robot, "--host", "0.0.0.0")
        assert re.search(r"Page: +http://\S+/\?token=\S{32}", view.log)


def test_each_camera_of_a_node_can_be_shown_with_its_own_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    with Robot() as robot:
        robot.start(STAND_IN, parameters={"cameras": "['front', 'rear']", "domain_per_camera": "true"})
        robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
        monkeypatch.setenv("ROS_DOMAIN_ID", str(robot.domain))
        source = LiveSource(camera="rear")
        source.watch(True)
        with robot.offers(topic="front/image") as front, robot.offers(topic="rear/image") as rear:
            stamps = itertools.count(1)

            def shown(width: int, adapter: str) -> bool:
                stamp = next(stamps) * SECOND
                front.publish(image(stamp, width=64, command=NIGHT))
                rear.publish(image(stamp, width=32))
                time.sleep(0.05)
                scene, domain = source.newest(), source.status()["domain"]
                return bool(scene and scene.labels.shape[1] == width and domain and domain["adapters"][0][0] == adapter)

            robot.until(lambda: shown(32, "day"), "the rear camera and its domain")
            assert source.status()["cameras"] == ("front", "rear")
            assert source.act("camera", "front") == "camera front"
            robot.until(lambda: shown(64, "night"), "the front camera and its domain")
            assert source.status()["camera"] == "front"
            with pytest.raises(ViewError, match="no such camera: got left, expected front or rear"):
                source.act("camera", "left")
        source.close()
