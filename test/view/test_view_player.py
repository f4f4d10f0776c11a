from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from live.process import until
from view.serving import SECOND, sample, scene

from semla_ros.errors import RecordingError
from semla_ros.view.player import LEAD, Player
from semla_ros.view.source import ViewError


class Footage:
    """Ten images, one per second, and a domain state for each."""

    def __init__(self, count: int = 10, error: Exception | None = None) -> None:
        self.count, self.error, self.made = count, error, 0
        self.gate = threading.Event()
        self.gate.set()

    def items(self, on_error: Any) -> Iterator[Any]:
        for i in range(self.count):
            self.gate.wait(60)
            self.made = i + 1
            yield sample(100 + i, distance=float(i))
            yield scene(100 + i)
        if self.error:
            on_error(RecordingError("message 3 is damaged"))
            raise self.error


def watched(*arguments: Any, **options: Any) -> Player:
    player = Player(*arguments, **options)
    player.watch(True)
    return player


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def player(clock: Clock) -> Iterator[Player]:
    player = watched("drive", Footage(), clock=clock)
    until(lambda: player.status()["player"]["complete"], "the recording to be read")
    yield player
    player.close()


def seconds(player: Player) -> float:
    return player.newest().stamp_ns / SECOND - 100


def pass_time(player: Player, clock: Clock, duration: float) -> None:
    """Lets time pass while somebody looks."""
    for _ in range(round(duration / 0.25)):
        clock.now += 0.25
        player.newest()


def test_it_plays_at_the_original_speed(player: Player, clock: Clock) -> None:
    assert seconds(player) == 0
    pass_time(player, clock, 3)
    assert seconds(player) == 3


def test_pause_step_seek_and_speed(player: Player, clock: Clock) -> None:
    player.act("pause")
    pass_time(player, clock, 3)
    assert seconds(player) == 0
    player.act("step", 1)
    assert seconds(player) == 1
    player.act("seek", 6.4)
    assert seconds(player) == 6
    player.act("speed", 2)
    player.act("play")
    pass_time(player, clock, 1)
    assert seconds(player) == 8


def test_it_stops_at_the_end_and_play_begins_again(player: Player, clock: Clock) -> None:
    pass_time(player, clock, 20)
    assert seconds(player) == 9
    assert player.status()["player"]["playing"] is False
    player.act("play")
    assert seconds(player) == 0


def test_the_clock_stands_while_nobody_looks(player: Player, clock: Clock) -> None:
    player.newest()
    clock.now += 60
    assert seconds(player) == 0


@pytest.mark.parametrize(("position", "expected"), [(-5, 0), (1e9, 9)])
def test_jumps_beyond_the_ends_stop_there(player: Player, position: float, expected: float) -> None:
    player.act("pause")
    player.act("seek", position)
    assert seconds(player) == expected


def test_the_domain_state_is_that_of_the_shown_image(player: Player) -> None:
    player.act("pause")
    player.act("seek", 4)
    player.newest()
    assert player.status()["domain"]["distance"] == 4.0


def test_a_state_that_does_not_change_is_kept_once_so_that_the_timeline_holds_long_recordings() -> None:
    class Steady(Footage):
        def items(self, on_error: Any) -> Iterator[Any]:
            for i in range(30):
                yield sample(100 + i, distance=float(i // 10))
                yield scene(100 + i)

    player = watched("drive", Steady())
    until(lambda: player.status()["player"]["complete"], "the recording to be read")
    assert [each.stamp_ns // SECOND - 100 for each in player.history.since(-1)[1]] == [0, 10, 20]
    assert distance(player, 19) == 1.0
    player.close()


class Stated(Footage):
    """Images and domain states in a given order, named by their seconds."""

    def __init__(self, *items: str) -> None:
        super().__init__()
        self.order = items

    def items(self, on_error: Any) -> Iterator[Any]:
        for number, item in enumerate(self.order):
            seconds = 100 + int(item.removeprefix("state"))
            yield sample(seconds, distance=float(number)) if item.startswith("state") else scene(seconds)


def distance(player: Player, index: int) -> float | None:
    """The distance that the view shows with an image."""
    player.act("pause")
    player.act("seek", 0)
    player.act("step", index)
    player.newest()
    domain = player.status()["domain"]
    return domain["distance"] if domain else None


def test_every_image_can_be_shown_although_stamps_start_over_or_repeat() -> None:
    player = watched("drive", Stated("0", "5", "5", "0", "5"))
    until(lambda: player.status()["player"]["complete"], "the recording to be read")
    player.act("pause")
    shown = [player.newest()]
    for _ in range(4):
        player.act("step", 1)
        shown.append(player.newest())
    assert [each.stamp_ns // SECOND - 100 for each in shown] == [0, 5, 5, 0, 5]
    assert player.status()["player"]["length"] == 20
    player.close()


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("state0 0 state5 5 state0 0 state5 5", [0, 2, 4, 6]),  # stamps start over
        ("0 state0 5 state5 0 state0 5 state5", [1, 3, 5, 7]),  # each state comes after its image
        ("state0 0 2 4 state5 5 0 2 state2 4", [0, 0, 0, 4, 4, 8, 8]),  # not every image has a state
        ("state0 state2 0 2 state4 4", [0, 1, 4]),  # an image comes after the state of the next one
        ("state2 0 2", [None, 0]),  # no state is as old as the first image
    ],
)
def test_the_domain_state_is_that_of_the_shown_image_whatever_the_order(
    items: str, expected: list[float | None]
) -> None:
    player = watched("drive", Stated(*items.split()))
    until(lambda: player.status()["player"]["complete"], "the recording to be read")
    assert [distance(player, index) for index in range(len(expected))] == expected
    player.close()


@pytest.mark.parametrize(
    ("action", "value"), [("speed", 0), ("speed", "fast"), ("seek", None), ("seek", []), ("step", 1e999)]
)
def test_wrong_values_are_refused(player: Player, action: str, value: Any) -> None:
    with pytest.raises(ViewError):
        player.act(action, value)


def test_a_recording_of_results_cannot_be_frozen(player: Player) -> None:
    with pytest.raises(ViewError, match="cannot be changed"):
        player.act("freeze", True)
    assert player.status()["actions"] == []


def test_a_recording_that_breaks_off_can_be_played_as_far_as_it_was_read() -> None:
    player = watched("drive", Footage(3, RecordingError("unreadable bag", hint="'mcap recover' restores it")))
    until(lambda: len(player.notices()) >= 2, "the notices")
    errors = [each.text for each in player.notices()]
    assert "mcap recover" in errors[0]
    assert "1 messages could not be read. The last one: message 3 is damaged" in errors[1]
    player.act("seek", 2)
    assert seconds(player) == 2
    player.close()


def test_an_unexpected_failure_of_the_reading_is_shown_with_its_type() -> None:
    player = watched("drive", Footage(0, MemoryError("no memory left")))
    until(lambda: player.status()["player"]["complete"], "the end")
    assert "MemoryError: no memory left" in player.notices()[0].text
    player.close()


def test_nothing_is_read_before_somebody_may_look() -> None:
    footage = Footage()
    player = Player("drive", footage)
    player.close()
    assert footage.made == 0


def test_an_empty_recording_says_so() -> None:
    player = watched("drive", Footage(0))
    until(lambda: player.status()["player"]["complete"], "the end")
    assert [each.text for each in player.notices()] == ["The recording has no images."]
    assert player.newest() is None
    player.close()


def test_the_pipeline_stays_close_to_the_image_that_is_shown(clock: Clock) -> None:
    footage = Footage(100)
    player = watched("drive", footage, act=lambda action, value: "done", clock=clock)
    until(lambda: footage.made >= LEAD, "the first images")
    assert footage.made <= LEAD + 1
    pass_time(player, clock, 5)
    until(lambda: footage.made >= LEAD + 5, "further images as the clock goes on")
    assert player.act("freeze", True) == "done"
    player.close()


def test_the_player_waits_where_nothing_has_been_read_yet(clock: Clock) -> None:
    footage = Footage(2)
    footage.gate.clear()
    player = watched("drive", footage, clock=clock)
    assert player.newest() is None
    assert player.notices()[0].text == "The recording is being opened."
    footage.gate.set()
    until(lambda: player.status()["player"]["complete"], "the recording to be read")
    assert seconds(player) == 0
    player.close()
