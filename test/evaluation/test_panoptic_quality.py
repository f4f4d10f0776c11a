"""Panoptic quality against an independent computation of its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from semla_ros.evaluation.panoptic_quality import PanopticQuality

THINGS = (False, True, False, True)
VOID = 255
Segments = tuple[NDArray[np.int64], NDArray[np.int64]]


def masks(segments: Segments) -> dict[tuple[int, int], NDArray[np.bool_]]:
    """(class, instance) to its pixels; stuff has one segment per class."""
    classes, instances = segments
    out = {}
    for index, thing in enumerate(THINGS):
        for number in np.unique(instances[classes == index]) if thing else [None]:
            out[index, number] = (classes == index) & (number is None or instances == number)
    return {key: mask for key, mask in out.items() if mask.any()}


def expected(pairs: list[tuple[Segments, Segments]]) -> list[float]:
    """PQ per class by its definition (Kirillov et al., section 4), one segment after the other."""
    matched, unmatched = np.zeros(len(THINGS)), np.zeros(len(THINGS))
    total = np.zeros(len(THINGS))
    for truth, found in pairs:
        void = (truth[0] == VOID) | (np.isin(truth[0], [1, 3]) & (truth[1] == 0))
        true = {key: mask & ~void for key, mask in masks(truth).items() if (mask & ~void).any()}
        guesses = masks(found)
        hit = set()
        for (index, _), mask in true.items():
            ious = {
                key: (mask & guess).sum() / (mask | (guess & ~void)).sum()
                for key, guess in guesses.items() if key[0] == index
            }  # fmt: skip
            best = max(ious, key=ious.__getitem__, default=None)
            if best is not None and ious[best] > 0.5:
                hit.add(best)
                total[index] += ious[best]
                matched[index] += 1
            else:
                unmatched[index] += 1
        for key, guess in guesses.items():
            unmatched[key[0]] += key not in hit and (guess & void).sum() <= 0.5 * guess.sum()
    counts = matched + 0.5 * unmatched
    return [t / n if n else math.nan for t, n in zip(total, counts, strict=True)]


def random_pair(seed: int) -> tuple[Segments, Segments]:
    """Segments of blocks, and the same with some blocks changed, removed or moved to another class."""
    rng = np.random.default_rng(seed)
    truth = np.array([rng.choice([0, 1, 2, 3, VOID], (6, 8)), rng.integers(0, 4, (6, 8))])
    found = truth.copy()
    changed = rng.random((6, 8)) < 0.3
    found[0][changed] = rng.choice([-1, 0, 1, 2, 3], (6, 8))[changed]
    found[1] += 5
    grown = [np.kron(each, np.ones((4, 4), np.int64)) for each in (*truth, *found)]
    return (grown[0], grown[1]), (np.roll(grown[2], rng.integers(0, 3), 1), np.roll(grown[3], rng.integers(0, 3), 1))


def test_it_equals_the_definition() -> None:
    quality, pairs = PanopticQuality(THINGS), [random_pair(seed) for seed in range(20)]
    for truth, found in pairs:
        quality.add(truth, found)
    assert quality.per_class.tolist() == pytest.approx(expected(pairs))
    assert 0.05 < np.nanmin(quality.per_class) < np.nanmax(quality.per_class) < 0.95
    assert quality.mean == pytest.approx(100 * np.mean(expected(pairs)))


def row(classes: list[int], instances: list[int]) -> Segments:
    return np.array([classes]), np.array([instances])


def test_the_numbers_of_instances_do_not_matter() -> None:
    quality = PanopticQuality(THINGS)
    quality.add(row([1, 1, 3, 0], [1, 2, 1, 0]), row([1, 1, 3, 0], [9, 4, 4, 7]))
    assert quality.per_class.tolist() == pytest.approx([1, 1, math.nan, 1], nan_ok=True)
    assert quality.mean == 100


def test_a_true_segment_where_nothing_was_found_counts_as_missed() -> None:
    quality = PanopticQuality(THINGS)
    quality.add(row([1, 1, 0, 0], [1, 2, 0, 0]), row([1, -1, 0, 0], [1, 0, 0, 0]))
    assert quality.per_class[1] == pytest.approx(1 / 1.5)


def test_pixels_where_nothing_was_found_lower_the_iou() -> None:
    quality = PanopticQuality(THINGS)
    quality.add(row([0, 0, 0, 0], [0, 0, 0, 0]), row([0, 0, 0, -1], [0, 0, 0, 0]))
    assert quality.per_class[0] == pytest.approx(0.75)


def test_unlabelled_pixels_and_crowds_do_not_count() -> None:
    quality = PanopticQuality(THINGS)
    quality.add(row([1, 1, 0, VOID], [1, 0, 0, 0]), row([1, 1, 0, 2], [1, 2, 0, 0]))
    assert quality.per_class.tolist() == pytest.approx([1, 1, math.nan, math.nan], nan_ok=True)


def test_without_any_segment_there_is_no_quality() -> None:
    assert math.isnan(PanopticQuality(THINGS).mean)
