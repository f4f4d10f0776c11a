"""The chooser of threads, on machines whose frame times are given by a function: no clock, no threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from semla_ros.modeling.threads import ThreadChooser, halvings


class Machine:
    """A machine on which a frame takes ``seconds(threads)``."""

    def __init__(self, most: int, seconds: Callable[[int], float]) -> None:
        self.seconds, self.threads, self.used = seconds, most, []
        self.chooser = ThreadChooser(halvings(most), self.set_threads)

    def set_threads(self, count: int) -> None:
        self.threads = count

    def run(self, frames: int) -> list[int]:
        """Runs frames; returns the number of threads of each."""
        used = []
        for _ in range(frames):
            used.append(self.threads)
            self.chooser.add(self.seconds(self.threads))
        return used


def idle(threads: int) -> float:
    return 0.02 + 0.06 / threads


def loaded(threads: int) -> float:
    return 0.15 if threads == 1 else 0.4


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 3, 6]), (8, [1, 2, 4, 8])])
def test_the_numbers_to_choose_from_are_halvings(most: int, counts: list[int]) -> None:
    assert halvings(most) == counts


@pytest.mark.parametrize("most", [2, 4, 16])
def test_on_an_idle_machine_nearly_all_frames_use_all_threads(most: int) -> None:
    used = Machine(most, idle).run(2000)
    assert used.count(most) > 0.97 * len(used)


def test_on_a_loaded_machine_nearly_all_frames_use_the_faster_number() -> None:
    used = Machine(2, loaded).run(2000)
    assert used.count(1) > 0.93 * len(used)


def test_load_that_comes_and_goes_is_followed_within_thirty_frames() -> None:
    machine = Machine(2, idle)
    machine.run(100)
    machine.seconds = loaded
    machine.run(30)
    assert set(machine.run(20)) == {1}
    machine.seconds = idle
    machine.run(30)
    assert set(machine.run(20)) == {2}


def test_with_many_cores_the_best_number_in_between_is_found() -> None:
    machine = Machine(16, lambda threads: {1: 0.5, 2: 0.3, 4: 0.2, 8: 0.4, 16: 0.8}[threads])
    machine.run(600)
    assert machine.run(1000).count(4) > 900


def test_a_trial_that_makes_frames_much_later_ends_after_two_of_them() -> None:
    machine = Machine(2, lambda threads: 0.1 if threads == 1 else 5.0)
    machine.run(200)
    assert machine.run(1000).count(2) <= 2 * 6


def test_load_that_passes_during_a_trial_does_not_count_for_the_other_number() -> None:
    machine = Machine(2, idle)
    machine.run(20)
    machine.seconds = lambda threads: 3 * idle(threads)
    while machine.threads == 2:
        machine.run(1)
    machine.seconds = idle
    machine.run(20)
    assert set(machine.run(50)) == {2}


def test_a_single_slow_frame_changes_nothing() -> None:
    machine = Machine(2, idle)
    machine.run(20)
    machine.chooser.add(3.0)
    assert set(machine.run(20)) == {2}


def test_one_core_is_never_measured() -> None:
    assert set(Machine(1, idle).run(200)) == {1}


def test_the_time_inside_the_block_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = []
    chooser = ThreadChooser([1, 2], lambda count: None)
    monkeypatch.setattr(chooser, "add", times.append)
    with chooser.measured():
        pass
    assert len(times) == 1
    assert times[0] >= 0
