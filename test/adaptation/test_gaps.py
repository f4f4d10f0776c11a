from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semla_ros.adaptation.gaps import MAX_BINS, Gaps

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def point(x: float, y: float = 0.0) -> np.ndarray:
    return np.array([x, y], np.float64)


def add(gaps: Gaps, embedding: np.ndarray, seconds: float, radius: float = 1.0) -> tuple[bool, list[int]]:
    stamp = START + round(seconds * SECOND)
    gaps.see(stamp)
    return gaps.add(embedding, stamp, radius)


def test_similar_images_are_one_gap_and_different_ones_are_several() -> None:
    gaps = Gaps(max_gaps=8, max_examples=10)
    for i in range(20):
        add(gaps, point(10.0 * (i % 2) + 0.01 * i), i)
    assert [gap.count for gap in gaps.gaps] == [10, 10]
    np.testing.assert_allclose(gaps.gaps[0].centroid, point(0.09))
    np.testing.assert_allclose(gaps.gaps[1].centroid, point(10.1))
    assert (gaps.gaps[1].first_ns, gaps.gaps[1].last_ns) == (START + SECOND, START + 19 * SECOND)
    assert (gaps.count, gaps.seen) == (20, 20)


def test_images_that_an_adapter_fits_are_only_counted() -> None:
    gaps = Gaps(max_gaps=8, max_examples=10)
    for second in range(5):
        gaps.see(START + second * SECOND)
    assert (gaps.count, gaps.seen, gaps.gaps) == (0, 5, [])
    assert sum(gaps.bins.values()) == 5


def test_the_two_nearest_gaps_become_one_when_there_are_too_many() -> None:
    gaps = Gaps(max_gaps=3, max_examples=10)
    for second, x in enumerate((0.0, 100.0, 50.0, 103.0)):
        add(gaps, point(x), second)
    assert [(float(gap.centroid[0]), gap.count) for gap in gaps.gaps] == [(0.0, 1), (101.5, 2), (50.0, 1)]
    assert gaps.gaps[1].examples == [START + SECOND, START + 3 * SECOND]
    assert sum(gaps.gaps[1].bins.values()) == 2


def test_examples_are_few_and_spread_evenly_over_time() -> None:
    gaps = Gaps(max_gaps=3, max_examples=10)
    kept: set[int] = set()
    for second in range(1000):
        keeps, dropped = add(gaps, point(0.0), second)
        kept |= {START + second * SECOND} if keeps else set()
        kept -= set(dropped)
        assert len(kept) <= 10
    examples = gaps.gaps[0].examples
    assert kept == set(examples)
    assert len(examples) >= 5
    assert len(set(np.diff(examples))) == 1


def test_an_image_is_an_example_once() -> None:
    gaps = Gaps(max_gaps=3, max_examples=10)
    assert add(gaps, point(0.0), 1)[0]
    assert not add(gaps, point(0.0), 1)[0]
    assert gaps.gaps[0].examples == [START + SECOND]


def test_thinning_takes_from_the_gap_with_the_most_examples_and_ends() -> None:
    gaps = Gaps(max_gaps=3, max_examples=10)
    for second in range(6):
        add(gaps, point(0.0), second)
    add(gaps, point(50.0), 6)
    assert gaps.thin() == [START + second * SECOND for second in (1, 3, 5)]
    while gaps.thin():
        pass
    assert [len(gap.examples) for gap in gaps.gaps] == [1, 1]


def test_an_example_that_could_not_be_written_is_forgotten() -> None:
    gaps = Gaps(max_gaps=3, max_examples=10)
    add(gaps, point(0.0), 1)
    gaps.forget(START + SECOND)
    assert gaps.gaps[0].examples == []


def test_the_timeline_gets_wider_bins_and_keeps_its_counts() -> None:
    gaps = Gaps(max_gaps=3, max_examples=10)
    for second in range(0, 5 * MAX_BINS, 5):
        if second % 2:
            add(gaps, point(0.0), second)
        else:
            gaps.see(START + second * SECOND)
    assert gaps.bin_s == 8
    assert len(gaps.bins) <= MAX_BINS
    assert sum(gaps.bins.values()) == MAX_BINS
    assert sum(gaps.gaps[0].bins.values()) == gaps.count == MAX_BINS // 2
    assert all(gaps.bins[number] >= count for number, count in gaps.gaps[0].bins.items())


@given(st.lists(st.tuples(st.integers(-(10**18), 10**18), st.floats(-100, 100)), max_size=60), st.integers(1, 4))
def test_the_record_is_bounded_and_complete_whatever_arrives(images: list[tuple[int, float]], most: int) -> None:
    gaps = Gaps(max_gaps=most, max_examples=3)
    kept: set[int] = set()
    for stamp, x in images:
        gaps.see(stamp)
        keeps, dropped = gaps.add(point(x), stamp, radius=5.0)
        kept = (kept | ({stamp} if keeps else set())) - set(dropped)
    assert len(gaps.gaps) <= most
    assert gaps.count == gaps.seen == len(images)
    assert {stamp for gap in gaps.gaps for stamp in gap.examples} == kept
    assert all(len(gap.examples) <= 3 for gap in gaps.gaps)
    assert sum(gaps.bins.values()) == len(images)


def test_a_stored_record_continues_as_if_it_had_not_been_stored() -> None:
    whole, stored = Gaps(2, 4), Gaps(2, 4)
    for second in range(40):
        add(whole, point(second % 5 * 3.0), second)
        add(stored, point(second % 5 * 3.0), second)
        stored = Gaps.from_json(json.loads(json.dumps(stored.as_json())))
    assert [gap.count for gap in stored.gaps] == [gap.count for gap in whole.gaps]
    assert [gap.bins for gap in stored.gaps] == [gap.bins for gap in whole.gaps]
    assert [gap.examples for gap in stored.gaps] == [gap.examples for gap in whole.gaps]


@pytest.mark.parametrize("state", [{}, [], {"gaps": 3}, {"max_gaps": 1, "max_examples": 1, "gaps": [{"count": 1}]}])
def test_what_is_no_record_is_refused(state: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Gaps.from_json(state)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("examples", ["../../etc/passwd"]), ("examples", [True]), ("examples", [1.5]), ("count", "3"), ("count", 0),
        ("stride", 0), ("first_ns", None), ("centroid", 1.0), ("centroid", [[1.0]]), ("centroid", [float("nan")]),
    ],
)  # fmt: skip
def test_a_gap_of_impossible_values_is_refused(key: str, value: object) -> None:
    gaps = Gaps(3, 10)
    add(gaps, point(0.0), 1)
    state = gaps.as_json()
    Gaps.from_json(state)
    state["gaps"][0][key] = value
    with pytest.raises((TypeError, ValueError)):
        Gaps.from_json(state)


def test_gaps_of_different_dimensions_are_refused() -> None:
    gaps = Gaps(3, 10)
    add(gaps, point(0.0), 1)
    add(gaps, point(9.0), 2)
    state = gaps.as_json()
    state["gaps"][0]["centroid"] = [1.0]
    with pytest.raises(ValueError, match="dimension"):
        Gaps.from_json(state)


@pytest.mark.parametrize(("key", "value"), [("seen", "1"), ("bin_s", 0), ("max_gaps", 1.5)])
def test_a_record_of_impossible_values_is_refused(key: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Gaps.from_json({**Gaps(3, 10).as_json(), key: value})
