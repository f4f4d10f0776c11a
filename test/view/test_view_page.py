"""The page in a headless Chromium, around a source that the test decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("foxglove")

from live.process import until
from view.browser import Browser, installed
from view.serving import FakeSource, sample, scene, serving

from semla_ros.view.source import Notice

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")
PIXEL = "[...document.getElementById('{}').getContext('2d').getImageData({}, {}, 1, 1).data].slice(0, 3)"
SHOWN = "document.getElementById('empty').hidden"


class Recording(FakeSource):
    """A source with a player."""

    player: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.player = {
            "playing": True, "speed": 1.0, "position": 0.0, "length": 60.0, "index": 0, "count": 61, "complete": True
        }  # fmt: skip

    def status(self) -> dict[str, Any]:
        return super().status() | {"player": self.player, "actions": []}

    def act(self, action: str, value: Any = None) -> str:
        self.done.append((action, value))
        return "done"


@pytest.fixture(scope="module")
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture(scope="module")
def browser(source: FakeSource) -> Iterator[Browser]:
    with serving(source) as (page, _), Browser(page) as browser:
        browser.until(SHOWN, "the first image")
        browser.until("title.textContent == '/semla' && key.innerText.includes('day')", "status and timeline")
        yield browser
        assert browser.complaints == []


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def restored(source: FakeSource) -> Iterator[None]:
    yield
    source.told, source.done = [], []


def test_it_shows_name_figures_mixture_and_classes(browser: Browser) -> None:
    assert browser.text("#title") == "/semla"
    figures = browser.text("#figures")
    assert all(word in figures for word in ("9.8 /s", "85 ms", "4 (10 %)"))
    assert browser.text("#mixture").split("\n") == ["day", "100 %"]
    assert browser.text("#classes").split("\n") == ["road", "67 %", "sky", "33 %", "car", "–"]
    assert "3 of 8" in browser.text("#domain")


def test_the_overlay_follows_the_slider_of_its_opacity(browser: Browser) -> None:
    seen = []
    for value in (0, 100):
        browser.run(f"(e => {{ e.value = {value}; e.dispatchEvent(new Event('input')); }})(opacity)")
        seen.append(browser.run(PIXEL.format("segmented", 5, 40)))
    assert all(abs(value - 90) <= 3 for value in seen[0])
    assert seen[1] == [128, 64, 128]  # the colour of road


def test_side_by_side_shows_the_camera_image_too(browser: Browser) -> None:
    assert browser.run("camera.hidden") is True
    browser.click("[data-mode=beside]")
    assert browser.run("camera.hidden") is False
    assert all(abs(value - 90) <= 3 for value in browser.run(PIXEL.format("camera", 5, 40)))
    browser.click("[data-mode=overlay]")


def test_confidence_is_shown_in_colours_with_a_key(browser: Browser) -> None:
    browser.click("[data-mode=confidence]")
    red, green, blue = browser.run(PIXEL.format("segmented", 5, 40))
    assert red > green > blue  # 0.6 lies in the warm part of the ramp
    assert browser.run("ramp.hidden") is False
    browser.click("[data-mode=overlay]")


def test_a_click_on_a_class_shows_it_alone(browser: Browser) -> None:
    browser.run("(e => { e.value = 100; e.dispatchEvent(new Event('input')); })(opacity)")
    browser.click("#classes [data-id='1']")
    assert browser.run(PIXEL.format("segmented", 5, 2)) == [70, 130, 180]  # sky keeps its colour
    assert all(abs(value - 90) <= 3 for value in browser.run(PIXEL.format("segmented", 5, 40)))
    browser.click("#classes [data-id='1']")
    assert browser.run(PIXEL.format("segmented", 5, 40)) == [128, 64, 128]


def test_the_pointer_shows_class_and_confidence(browser: Browser) -> None:
    box = browser.run("(b => [b.x + b.width / 2, b.y + b.height - 9])(segmented.getBoundingClientRect())")
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    assert browser.until("!tip.hidden && tip.textContent", "the tip") == "road · 0.60"


def test_new_images_arrive(browser: Browser, source: FakeSource) -> None:
    changed = scene(2)
    changed.labels[:] = 2
    source.shown = changed
    browser.until("classes.innerText.includes('car\\n100 %')", "the new image")
    source.shown = scene()
    browser.until("classes.innerText.includes('car\\n–')", "the old image")


@pytest.mark.parametrize("level", ["error", "warning", "info"])
def test_notices_are_shown_with_their_remedy_and_go_away(browser: Browser, source: FakeSource, level: str) -> None:
    source.told = [Notice(level, "The <b>node</b> is gone.", "Start it again.")]
    browser.until("notices.children.length == 1", "the notice")
    assert browser.text("#notices").split("\n") == ["The <b>node</b> is gone.", "Start it again."]
    assert browser.run("notices.children[0].className") == f"notice {level}"
    source.told = []
    browser.until("notices.children.length == 0", "the notice to go away")


def test_a_click_on_freeze_is_sent_and_answered(browser: Browser, source: FakeSource) -> None:
    browser.click("#freeze")
    browser.until("answer.textContent == 'the mixture is held'", "the answer")
    assert source.done == [("freeze", True)]


def test_a_frozen_mixture_is_marked_and_can_be_released(browser: Browser, source: FakeSource) -> None:
    source.history.add(sample(3, frozen=True))
    browser.until("freeze.textContent == 'Unfreeze'", "the button to change")
    browser.click("#freeze")
    until(lambda: source.done == [("freeze", False)], "the action")
    source.history.add(sample(4))
    browser.until("freeze.textContent == 'Freeze'", "the button to change back")


def test_a_refusal_is_shown_with_its_reason(browser: Browser, source: FakeSource) -> None:
    browser.click("[data-do=reload_library]")
    browser.until("answer.textContent.includes('adapter is truncated')", "the reason")
    assert browser.run("answer.classList.contains('refused')") is True


def test_the_timeline_draws_distance_and_marks_swaps(browser: Browser, source: FakeSource) -> None:
    drawn = "plot.getContext('2d').getImageData(0, 0, plot.width, plot.height).data.filter((v, i) => i % 4 == 3 && v)"
    before = browser.run(f"{drawn}.length")
    for i in range(10, 40):
        source.history.add(sample(i, distance=1 + i % 7, swaps=1 + i // 20, name="day" if i < 20 else "night_rain"))
    browser.until("key.innerText.includes('night rain')", "the key of the new adapter")
    browser.until(f"{drawn}.length > {before}", "the curve")


def test_it_fits_a_narrow_window(source: FakeSource) -> None:
    with serving(source) as (page, _), Browser(page, width=360, height=740, dark=True) as narrow:
        narrow.until(SHOWN, "the first image")
        assert narrow.run("document.documentElement.scrollWidth") <= 360
        assert narrow.run("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 24)"  # dark


def test_a_page_with_a_token_hides_it_and_works(source: FakeSource) -> None:
    with serving(source, token="a_token-of.some~length") as (page, _):
        with Browser(page) as browser:
            browser.until(SHOWN, "the first image")
            assert "token" not in browser.run("location.href")
            browser.send("Page.reload")
            browser.until(f"document.getElementById('empty') && {SHOWN}", "the image after a reload")
        with Browser(page.partition("?")[0]) as browser:
            browser.until("document.body && document.body.innerText.includes('token')", "the refusal")


class TwoCameras(FakeSource):
    """A node with two cameras."""

    camera = "front"

    def status(self) -> dict[str, Any]:
        return super().status() | {"cameras": ("front", "rear"), "camera": self.camera}

    def act(self, action: str, value: Any = None) -> str:
        self.done.append((action, value))
        self.camera = value
        return f"camera {value}"


def test_a_camera_of_several_is_chosen_on_the_page(source: FakeSource, browser: Browser) -> None:
    assert browser.run("cameras.hidden")  # a node with one camera
    cameras = TwoCameras()
    with serving(cameras) as (page, _), Browser(page) as chooser:
        chooser.until("!cameras.hidden && cameras.value == 'front'", "the choice of cameras")
        assert chooser.run("[...cameras.options].map(each => each.value).join()") == "front,rear"
        chooser.run("cameras.value = 'rear', cameras.dispatchEvent(new Event('change'))")
        chooser.until("answer.textContent == 'camera rear'", "the answer")
        assert cameras.done == [("camera", "rear")]
        chooser.until("cameras.value == 'rear'", "the new choice")
        chooser.until("!empty.hidden", "the image of the other camera to go")
        cameras.shown = scene(2)
        chooser.until(SHOWN, "the image of the new camera")
        assert chooser.complaints == []


def test_before_the_first_image_the_page_says_that_it_waits(source: FakeSource) -> None:
    empty = FakeSource()
    empty.shown = None
    with serving(empty) as (page, _), Browser(page) as browser:
        browser.until("document.getElementById('title').textContent == '/semla'", "the status")
        assert "Waiting for an image" in browser.text("#images")


def test_a_view_that_has_ended_is_noticed_and_found_again(stack: ExitStack) -> None:
    source = FakeSource()
    with serving(source) as (page, _):
        port = int(page.rstrip("/").rpartition(":")[2])
        browser = stack.enter_context(Browser(page))
        browser.until(SHOWN, "the first image")
    browser.until("notices.innerText.includes('lost')", "the notice about the lost connection")
    with serving(source, port=port):
        browser.until("notices.children.length == 0", "the connection to come back")


def test_a_recording_is_played_paused_and_searched_with_slider_and_keys() -> None:
    source = Recording()
    with serving(source) as (page, _), Browser(page) as browser:
        browser.until("!document.getElementById('player').hidden", "the player")
        assert browser.run("actions.hidden") is True
        assert browser.text("#clock") == "0:00 / 1:00"
        browser.click("#play")
        until(lambda: source.done == [("pause", None)], "the pause")
        source.player = source.player | {"playing": False, "position": 15.0}
        browser.until("position.value == 15 && play.textContent == '▶'", "the new position")
        browser.run("(e => { e.value = 30; e.dispatchEvent(new Event('input')); })(position)")
        until(lambda: source.done[1:] == [("seek", 30)], "the jump")
        browser.run("document.activeElement.blur()")
        for key in ("ArrowRight", "ArrowLeft"):
            browser.send("Input.dispatchKeyEvent", type="keyDown", key=key)
        until(lambda: source.done[2:] == [("step", 1), ("step", -1)], "the steps")
        browser.run("(e => { e.value = '4'; e.dispatchEvent(new Event('change')); })(speed)")
        until(lambda: source.done[-1] == ("speed", 4), "the speed")
