from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from semla_ros.adaptation.tracker import Decision, DomainTracker
from semla_ros.config import TrackerConfig
from semla_ros.errors import EmbeddingError
from semla_ros.images.frame import SECOND_NS

HOME, AWAY = np.zeros(3), np.array([10.0, 0.0, 0.0])
PROMPT = TrackerConfig(ema_time_s=0.0, debounce_s=1.0, min_interval_s=0.0)  # the average is the newest embedding


def tracker(
    config: TrackerConfig = PROMPT, upper_threshold: float = 2.0, lower_threshold: float = 1.0
) -> DomainTracker:
    return DomainTracker(config, upper_threshold, lower_threshold, metric=lambda one, other: math.dist(one, other))


def at(distance: float) -> NDArray[np.float64]:
    return np.array([distance, 0.0, 0.0])


def swaps(tracked: DomainTracker, distances: list[float], period_s: float = 0.25, start_s: float = 50.0) -> list[float]:
    """Adds embeddings at a fixed rate, swaps when a swap is due, and returns the times of the swaps in seconds."""
    times = []
    for index, distance in enumerate(distances):
        if tracked.update(at(distance), round((start_s + index * period_s) * SECOND_NS)) is Decision.SWAP:
            tracked.swapped()
            times.append(index * period_s)
    return times


def ema(tracked: DomainTracker) -> NDArray[np.float64]:
    assert tracked.ema is not None
    return tracked.ema


def test_the_first_embedding_is_the_average_and_brings_the_first_swap() -> None:
    first = tracker()
    assert first.update(AWAY, 0) is Decision.SWAP
    assert (ema(first) == AWAY).all()
    assert math.isnan(first.distance)
    first.swapped()
    assert first.distance == 0.0


def test_the_average_moves_by_one_minus_e_in_one_time_constant() -> None:
    slow = tracker(replace(PROMPT, ema_time_s=2.0))
    slow.update(HOME, 0)
    slow.update(AWAY, 2 * SECOND_NS)
    assert ema(slow)[0] == pytest.approx(10 * (1 - math.exp(-1)))


@given(st.lists(st.floats(0.001, 5.0), min_size=1, max_size=8))
def test_the_average_does_not_depend_on_the_frame_rate(steps: list[float]) -> None:
    stamps = [round(sum(steps[:i]) * SECOND_NS) for i in range(len(steps) + 1)]
    many, one = (tracker(replace(PROMPT, ema_time_s=1.5)) for _ in range(2))
    many.update(HOME, 0)
    one.update(HOME, 0)
    for stamp in stamps[1:]:
        many.update(AWAY, stamp)
    one.update(AWAY, stamps[-1])
    assert ema(many) == pytest.approx(ema(one))


def test_textures_are_averaged_with_the_same_time_constant_and_do_not_bring_a_swap() -> None:
    tracked = tracker(TrackerConfig(ema_time_s=1.0))
    for second, texture in ((50, 0.0), (51, 1.0)):
        tracked.update(at(float(second - 50)), second * SECOND_NS, np.full(2, 100 * texture))
        tracked.swapped()
    assert tracked.texture == pytest.approx(100 * ema(tracked)[0])
    assert tracked.update(at(1.0), 52 * SECOND_NS, np.full(2, 1e6)) is Decision.HOLD
    tracked.update(at(1.0), 53 * SECOND_NS)
    assert tracked.texture is None
    tracked.reset()
    assert tracked.texture is None


def test_two_embeddings_of_one_stamp_move_nothing() -> None:
    slow = tracker(replace(PROMPT, ema_time_s=1.0))
    slow.update(HOME, 7)
    slow.update(AWAY, 7)
    assert (ema(slow) == HOME).all()


def test_a_short_excursion_brings_no_swap() -> None:
    assert swaps(tracker(), [0, 0, 5, 5, 5, 0, 0, 5, 5, 5, 0, 0]) == [0]


def test_a_long_excursion_brings_exactly_one_swap_when_the_dwell_time_has_passed() -> None:
    assert swaps(tracker(), [0] * 4 + [5] * 20) == [0, 2.0]


def test_between_the_thresholds_the_clock_runs_on() -> None:
    assert swaps(tracker(), [0, 5, 1.5, 1.5, 1.5, 1.5, 1.5]) == [0, 1.25]


def test_between_the_thresholds_the_clock_does_not_start() -> None:
    assert swaps(tracker(), [0] * 6 + [1.9] * 20) == [0]


def test_below_the_lower_threshold_the_clock_stops() -> None:
    assert swaps(tracker(), [0, 5, 5, 0.5, 5, 5, 5, 5, 5]) == [0, 2.0]


def test_swaps_keep_the_minimum_interval() -> None:
    busy = tracker(replace(PROMPT, debounce_s=0.5, min_interval_s=3.0))
    times = swaps(busy, [0, *([5] * 6 + [10] * 6) * 6])
    assert len(times) > 3
    assert all(b - a >= 3.0 for a, b in pairwise(times))


def test_a_skipped_swap_measures_anew_and_does_not_hold_back_the_next_one() -> None:
    eager = tracker(replace(PROMPT, debounce_s=0.0, min_interval_s=4.0))
    swaps(eager, [0] * 20)
    assert eager.update(at(3), 60 * SECOND_NS) is Decision.SWAP
    eager.kept()
    assert eager.distance == 0.0
    assert eager.update(at(4), 61 * SECOND_NS) is Decision.HOLD
    assert eager.update(at(6), 61 * SECOND_NS) is Decision.SWAP


def test_distances_are_measured_from_the_last_swap() -> None:
    moved = tracker()
    swaps(moved, [0] + [5] * 6)
    assert moved.distance == 0.0
    moved.update(at(8.0), 60 * SECOND_NS)
    assert moved.distance == pytest.approx(3.0)


def test_a_due_swap_that_fails_stays_due() -> None:
    failing = tracker()
    failing.update(at(0), 0)
    failing.swapped()
    due = [failing.update(at(5), i * SECOND_NS) is Decision.SWAP for i in range(1, 5)]
    assert due == [False, True, True, True]


def test_a_stamp_that_jumps_back_beyond_the_tolerance_starts_over() -> None:
    looped = tracker(replace(PROMPT, ema_time_s=10.0, stamp_tolerance_s=1.0))
    looped.update(HOME, 100 * SECOND_NS)
    looped.swapped()
    assert looped.update(AWAY, 99 * SECOND_NS - 1) is Decision.SWAP
    assert (ema(looped) == AWAY).all()
    assert looped.anchor is None


def test_an_embedding_out_of_order_within_the_tolerance_changes_nothing() -> None:
    steady = tracker(replace(PROMPT, ema_time_s=10.0, stamp_tolerance_s=1.0))
    steady.update(HOME, 100 * SECOND_NS)
    steady.swapped()
    before = vars(steady).copy()
    for stamp_ns in (100 * SECOND_NS - 1, 99 * SECOND_NS):
        assert steady.update(AWAY, stamp_ns) is Decision.HOLD
    assert vars(steady) == before


def test_without_a_tolerance_any_stamp_that_jumps_back_starts_over() -> None:
    strict = tracker(replace(PROMPT, stamp_tolerance_s=0.0))
    strict.update(HOME, 100 * SECOND_NS)
    strict.swapped()
    assert strict.update(AWAY, 100 * SECOND_NS - 1) is Decision.SWAP


# The settling check after a swap


def test_a_mixture_from_the_middle_of_a_change_is_replaced_when_the_embedding_rests() -> None:
    """The swap at 2.0 s is made for 3.0; the embedding comes to rest at 4.6, between the thresholds."""
    change = [0.0] * 4 + [3, 3, 3, 3, 3, 4] + [4.6] * 30
    assert swaps(tracker(), change) == [0, 2.0, 3.5]


def test_a_mixture_whose_embedding_rests_at_the_anchor_stays() -> None:
    assert swaps(tracker(), [0.0] * 4 + [5.0] * 4 + [5.0, 5.3] * 20) == [0, 2.0]


def test_there_is_one_settling_check_per_swap() -> None:
    checked_once = tracker()
    assert swaps(checked_once, [0, *[1.5] * 8]) == [0, 1.25]
    assert swaps(checked_once, [2.5] * 40, start_s=60.0) == []


def test_while_the_average_keeps_moving_there_is_no_settling_check() -> None:
    assert swaps(tracker(), [0.0, *[1.9, 0.0] * 20]) == [0]


def test_after_a_settling_check_that_keeps_the_mixture_there_is_no_other() -> None:
    skipping = tracker()
    swaps(skipping, [0.0])
    times = []
    for index in range(1, 20):
        if skipping.update(at(1.5), round((50 + index / 4) * SECOND_NS)) is Decision.SWAP:
            skipping.kept()
            times.append(index / 4)
    assert times == [1.25]


def test_the_settling_check_respects_the_minimum_interval() -> None:
    assert swaps(tracker(replace(PROMPT, min_interval_s=4.0)), [0, *[1.5] * 30]) == [0, 4.0]


def test_a_change_after_a_settling_check_causes_a_swap_as_any_other() -> None:
    assert swaps(tracker(), [0, *[1.5] * 8, *[6] * 10]) == [0, 1.25, 3.25]


def test_distances_are_measured_by_the_metric_that_is_given() -> None:
    tracked = DomainTracker(PROMPT, 2.0, 1.0, metric=lambda one, other: 0.25 * float(np.abs(one - other).sum()))
    assert swaps(tracked, [0.0] * 6 + [5.0] * 20) == [0]
    assert tracked.distance == 1.25
    assert swaps(tracked, [10.0] * 6, start_s=60.0) == [1.0]


def test_a_long_gap_in_the_stamps_lets_the_average_catch_up() -> None:
    slow = tracker(replace(PROMPT, ema_time_s=1.0))
    slow.update(HOME, 0)
    slow.update(AWAY, 3600 * SECOND_NS)
    assert ema(slow) == pytest.approx(AWAY)


@pytest.mark.parametrize("bad", [at(math.nan), at(math.inf), np.zeros(4), np.zeros((3, 1))])
def test_a_bad_embedding_leaves_everything_as_it_was(bad: NDArray[np.float64]) -> None:
    steady = tracker(replace(PROMPT, ema_time_s=1.0))
    swaps(steady, [0, 5, 5])
    before = replace(steady), vars(steady).copy()
    with pytest.raises(EmbeddingError):
        steady.update(bad, 90 * SECOND_NS)
    with pytest.raises(EmbeddingError):
        steady.update(bad, 0)
    assert vars(steady) == before[1]


def test_an_endless_threshold_never_swaps_again() -> None:
    assert swaps(
        tracker(upper_threshold=math.inf, lower_threshold=math.inf), [0, 50, 900, 1e9, 1e9, 1e9, 1e9, 1e9]
    ) == [0]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=60))
def test_the_same_embeddings_give_the_same_swaps(distances: list[float]) -> None:
    config = TrackerConfig()
    once, again = (swaps(tracker(config), distances) for _ in range(2))
    assert once == again


def test_reset_forgets_everything() -> None:
    used = tracker()
    swaps(used, [0, 5, 5, 5])
    used.reset()
    fresh = tracker()
    assert swaps(used, [3, 9, 9, 9, 9, 9, 9], start_s=10.0) == swaps(fresh, [3, 9, 9, 9, 9, 9, 9], start_s=10.0)
