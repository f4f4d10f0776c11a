from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semla_ros.evaluation.metrics import ConfusionMatrix, harmonic_mean

GROUND_TRUTH = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
PREDICTED = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)


def scored(ground_truth: np.ndarray, predicted: np.ndarray, classes: int = 4) -> ConfusionMatrix:
    confusion = ConfusionMatrix(classes)
    confusion.add(ground_truth, predicted)
    return confusion


def test_iou_by_hand() -> None:
    iou = scored(GROUND_TRUTH, PREDICTED).iou
    assert iou[:3] == pytest.approx([1 / 3, 2 / 3, 0.0])
    assert math.isnan(iou[3])


def test_miou_is_the_mean_over_the_classes_of_the_ground_truth_in_percent() -> None:
    assert scored(GROUND_TRUTH, PREDICTED).miou == pytest.approx(100 * (1 / 3 + 2 / 3 + 0) / 3)


def test_a_class_that_is_only_predicted_is_not_part_of_the_mean() -> None:
    confusion = scored(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 3]))
    assert confusion.iou[[0, 3]].tolist() == [0.75, 0.0]
    assert confusion.miou == 75.0


def test_unlabelled_ground_truth_is_not_counted() -> None:
    alone = scored(GROUND_TRUTH, PREDICTED)
    assert scored(np.append(GROUND_TRUTH, 255), np.append(PREDICTED, 1)).miou == alone.miou
    assert scored(np.append(GROUND_TRUTH.astype(int), -1), np.append(PREDICTED, 1)).miou == alone.miou


@pytest.mark.parametrize("unlabelled", [np.uint8(255), np.uint16(65535)])
def test_an_unlabelled_prediction_lowers_only_the_iou_of_the_true_class(unlabelled: np.integer) -> None:
    confusion = scored(np.array([0, 0, 1]), np.array([0, unlabelled, 1]))
    assert confusion.iou[:2].tolist() == [0.5, 1.0]


def test_counts_of_images_are_added() -> None:
    twice = scored(GROUND_TRUTH, PREDICTED)
    twice.add(GROUND_TRUTH[:, ::-1], PREDICTED[:, ::-1])
    assert (twice.counts == 2 * scored(GROUND_TRUTH, PREDICTED).counts).all()


def test_without_images_the_scores_are_nan() -> None:
    assert math.isnan(ConfusionMatrix(3).miou)
    assert np.isnan(ConfusionMatrix(3).iou).all()


def test_a_perfect_prediction_scores_a_hundred() -> None:
    assert scored(GROUND_TRUTH, GROUND_TRUTH).miou == 100.0


def test_harmonic_mean_by_hand() -> None:
    assert harmonic_mean([2.0, 6.0]) == pytest.approx(3.0)
    assert harmonic_mean([50.0, 0.0]) == 0.0


@given(st.lists(st.floats(0.1, 100), min_size=1))
def test_the_harmonic_mean_is_at_most_the_arithmetic_one(values: list[float]) -> None:
    assert min(values) - 1e-9 <= harmonic_mean(values) <= sum(values) / len(values) + 1e-9
