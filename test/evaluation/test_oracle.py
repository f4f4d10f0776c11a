"""True masks or true classes in place of the segmenter's own: the bounds of FISA's two halves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from other_kinds.blob_bundle import opened, register, two_blobs, write_bundle
from tiny import CLASSES
from tiny_fisa import random_fisa, two_halves, write_fisa_bundle
from torch import Tensor

from semla_ros.cli import main
from semla_ros.errors import ConfigError
from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.evaluation.leave_one_out import Inference, LeaveOneOut
from semla_ros.evaluation.oracle import segment_with, true_scores, true_segments
from semla_ros.modeling.base import MaskClassifier
from semla_ros.modeling.fisa.segmenter import FisaSegmenter

THINGS = (False, True, True)  # road, sky, car of the tiny bundle


def truth() -> LabelledImage:
    """A road with two cars, a crowd of cars and an unlabelled corner, 64 x 96 pixels."""
    labels, instances = np.zeros((64, 96), np.uint8), np.zeros((64, 96), np.uint16)
    labels[8:40, 8:40], instances[8:40, 8:40] = 2, 1
    labels[8:40, 56:88], instances[8:40, 56:88] = 2, 5
    labels[48:60, 8:30] = 2
    labels[60:, 90:] = 255
    return LabelledImage(two_halves(), labels, instances)


class Domain(list[LabelledImage]):
    """A data set of one image."""

    name, things = "red", THINGS


@pytest.fixture(scope="module")
def segmenter() -> FisaSegmenter:
    return FisaSegmenter(random_fisa(), CLASSES)


def test_true_segments_are_instances_and_stuff_without_crowds() -> None:
    item = truth()
    masks, classes = true_segments(item, THINGS)
    assert classes.tolist() == [0, 2, 2]
    assert np.array_equal(masks[0].numpy() > 0, item.labels == 0)
    assert [int(each.sum()) for each in masks[1:]] == [32 * 32, 32 * 32]


def test_true_classes_go_to_the_proposals_that_cover_the_segments_best() -> None:
    true = torch.zeros(2, 4, 8)
    true[0, :, :4], true[1, :, 4:] = 1, 1
    masks = torch.full((4, 4, 8), -5.0)
    masks[0, :, 5:], masks[1, :, 3:], masks[2, :, :4], masks[3, 0, 0] = 5, 5, 5, 5
    found = true_scores(masks, true, torch.tensor([2, 0]), 3).argmax(1)
    assert found.tolist() == [3, 0, 2, 3]  # 4 of 5 columns are better than 3 of 4; the others are void


def test_a_proposal_that_covers_nothing_of_a_segment_is_void() -> None:
    true, masks = torch.ones(1, 4, 4), torch.full((2, 4, 4), -5.0)
    assert true_scores(masks, true, torch.tensor([1]), 2).argmax(1).tolist() == [2, 2]


def test_with_true_masks_the_segments_are_true_where_their_class_is_right(segmenter: FisaSegmenter) -> None:
    item = truth()

    def perfect(rgb: object, proposals: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert proposals is not None
        scores = torch.full((len(proposals), 4), -50.0)
        scores[torch.arange(3), torch.tensor([0, 2, 2])] = 50
        return scores, proposals / 1000  # masks that the segmenter has spoilt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "classified", perfect)
        found = segment_with("masks", segmenter, item, item.rgb, THINGS)
    known = ~((item.labels == 255) | ((item.labels == 2) & (item.instances == 0)))
    assert np.array_equal(found.panoptic[known], item.labels[known])
    assert sorted(np.unique(found.instances[item.instances > 0])) == [1, 2]


def test_the_network_classifies_true_masks(segmenter: FisaSegmenter) -> None:
    item, given = truth(), []
    compute = segmenter.classified

    def seen(rgb: object, proposals: Tensor | None = None) -> tuple[Tensor, Tensor]:
        given.append(proposals)
        return compute(item.rgb, proposals)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "classified", seen)
        segment_with("masks", segmenter, item, item.rgb, THINGS)
        segment_with("classes", segmenter, item, item.rgb, THINGS)
    assert (given[0].shape, given[1]) == ((3, 64, 96), None)


@pytest.mark.parametrize("oracle", ["masks", "classes"])
def test_an_evaluation_with_an_oracle_has_both_scores(oracle: str, tmp_path: Path) -> None:
    pipeline = opened(write_fisa_bundle(tmp_path / "fisa"))
    assert isinstance(pipeline.segmenter, MaskClassifier)
    plain, given = (
        LeaveOneOut(pipeline, Inference(oracle=each), ["zero_shot"]).run([Domain([truth()])])["zero_shot"]
        for each in (None, oracle)  # type: ignore[arg-type]
    )
    assert given.pq.keys() == given.per_domain.keys() == {"red"}
    if oracle == "classes":
        assert given.per_domain["red"] > plain.per_domain["red"]


def test_a_segmenter_that_classifies_no_masks_has_no_oracle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch)
    pipeline, (rgb, instances) = opened(write_bundle(tmp_path / "blobs")), two_blobs()
    domain = Domain([LabelledImage(rgb, (instances > 0).astype(np.uint8), instances)])
    with pytest.raises(ConfigError, match=r"no oracle \(--oracle\).*kind blob.*expected ground truth with instances"):
        LeaveOneOut(pipeline, Inference(oracle="masks"), ["zero_shot"]).run([domain])
    argv = ["evaluate", "--bundle", str(tmp_path / "blobs"), "--oracle", "masks", "--images", "1"]
    assert main([*argv, "--methods", "zero_shot"]) == 1
    assert "no oracle (--oracle)" in capsys.readouterr().err
