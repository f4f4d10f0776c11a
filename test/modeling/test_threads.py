"""The chooser of threads, on machines whose waiting times are given by a function: no clock, no load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from semla_ros.modeling import threads
from semla_ros.modeling.threads import CALM, CROWDED, LONGEST_WAIT_S, ThreadChooser, halvings, waited_s

FRAME_S = 0.1


class Machine:
    """A machine on which a frame of `FRAME_S` spends the share ``waiting(threads)`` of its time waiting for a core."""

    def __init__(self, most: int, waiting: Callable[[int], float]) -> None:
        self.waiting, self.threads = waiting, most
        self.chooser = ThreadChooser(halvings(most), self.set_threads)

    def set_threads(self, count: int) -> None:
        self.threads = count

    def run(self, frames: int) -> list[int]:
        """Runs frames; returns the number of threads of each."""
        used = []
        for _ in range(frames):
            used.append(self.threads)
            self.chooser.add(FRAME_S, self.waiting(self.threads) * FRAME_S)
        return used


def idle(threads: int) -> float:
    return CALM / 2


def loaded(threads: int) -> float:
    return 0.4


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 3, 6]), (8, [1, 2, 4, 8])])
def test_the_numbers_to_choose_from_are_halvings(most: int, counts: list[int]) -> None:
    assert halvings(most) == counts


@pytest.mark.parametrize("most", [2, 4, 16])
def test_on_an_idle_machine_all_frames_use_all_threads(most: int) -> None:
    assert set(Machine(most, idle).run(2000)) == {most}


def test_on_a_loaded_machine_only_the_first_three_frames_use_all_threads() -> None:
    assert Machine(2, loaded).run(2000) == [2] * 3 + [1] * 1997


def test_one_frame_that_takes_long_and_mostly_waits_is_enough() -> None:
    machine = Machine(2, loaded)
    machine.chooser.add(3.0, 1.5)
    assert machine.threads == 1


def test_load_that_comes_and_goes_is_followed_within_thirty_frames() -> None:
    machine = Machine(2, idle)
    machine.run(100)
    machine.waiting = loaded
    machine.run(10)
    assert set(machine.run(20)) == {1}
    machine.waiting = idle
    machine.run(30)
    assert set(machine.run(20)) == {2}


def test_with_many_cores_the_largest_number_without_waiting_is_found() -> None:
    machine = Machine(16, lambda threads: 0.0 if threads <= 4 else 0.5)
    machine.run(600)
    assert machine.run(1000).count(4) > 950


def test_a_larger_number_that_waits_again_and_again_is_tried_ever_less_often() -> None:
    machine = Machine(2, lambda threads: 0.0 if threads == 1 else 0.5)
    trials = machine.run(1000).count(2)
    assert trials <= 3 * 8
    machine.run(round(2 * LONGEST_WAIT_S / FRAME_S))
    assert machine.run(round(2 * LONGEST_WAIT_S / FRAME_S)).count(2) in range(1, 10)


def test_waiting_between_the_two_limits_changes_nothing() -> None:
    machine = Machine(2, lambda threads: (CALM + CROWDED) / 2)
    assert set(machine.run(500)) == {2}
    machine.waiting = loaded
    machine.run(20)
    machine.waiting = lambda threads: (CALM + CROWDED) / 2
    assert set(machine.run(500)) == {1}


def test_one_short_frame_that_waits_changes_nothing() -> None:
    machine = Machine(2, idle)
    machine.run(20)
    machine.chooser.add(FRAME_S, 0.4 * FRAME_S)
    machine.run(20)
    assert machine.threads == 2


def test_one_core_stays_one_core() -> None:
    assert set(Machine(1, loaded).run(200)) == {1}


def test_time_and_waiting_inside_the_block_are_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    added, clock, waited = [], iter([10.0, 12.0]), iter([1.0, 1.5])
    monkeypatch.setattr(threads.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(threads, "waited_s", lambda: next(waited))
    chooser = ThreadChooser([1, 2], lambda count: None)
    monkeypatch.setattr(chooser, "add", lambda *values: added.append(values))
    with chooser.measured():
        pass
    assert added == [(2.0, 0.5)]


def test_waiting_for_a_core_is_read_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = tmp_path / "schedstat"
    stat.write_text("7000000000 2500000000 42\n")
    monkeypatch.setattr(threads, "SCHEDSTAT", stat)
    assert waited_s() == 2.5


@pytest.mark.parametrize("text", [None, "", "nonsense here"])
def test_on_a_system_that_does_not_count_waiting_all_threads_are_used(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "schedstat"
    if text is not None:
        stat.write_text(text)
    monkeypatch.setattr(threads, "SCHEDSTAT", stat)
    assert waited_s() == 0.0
