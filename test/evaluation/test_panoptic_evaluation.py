"""PQ and mIoU where ground truth and segmenter have instances; mIoU alone where one of them has none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from other_kinds.blob_bundle import opened, register, two_blobs, write_bundle
from other_kinds.color_segmenter import ColorArch

from semla_ros.cli import main
from semla_ros.evaluation.dataset import LabelledImage, PanopticDataset
from semla_ros.evaluation.leave_one_out import LeaveOneOut, Score
from semla_ros.evaluation.rendered import RenderedDataset
from semla_ros.evaluation.table import as_table
from semla_ros.images.files import write_image
from semla_ros.images.panoptic import to_rgb
from semla_ros.modeling.base import PanopticSegmenter


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "blobs")


def labelled(merged: bool = False) -> LabelledImage:
    """Two bright objects; the ground truth says so, or has them as one."""
    rgb, instances = two_blobs()
    return LabelledImage(rgb, (instances > 0).astype(np.uint8), np.minimum(instances, 1) if merged else instances)


class Domain(list[LabelledImage]):
    """A data set in memory."""

    name = "day"

    def __init__(self, *images: LabelledImage) -> None:
        super().__init__(images)


class PanopticDomain(Domain):
    """A data set in memory with instances."""

    things = (False, True)


def test_objects_that_are_told_apart_have_full_quality_and_merged_ones_have_not(bundle: Path) -> None:
    pipeline = opened(bundle)
    assert isinstance(pipeline.segmenter, PanopticSegmenter)
    evaluation = LeaveOneOut(pipeline, methods=["zero_shot"])
    assert evaluation.run([PanopticDomain(labelled())])["zero_shot"].pq == {"day": 100.0}
    score = evaluation.run([PanopticDomain(labelled(merged=True))])["zero_shot"]
    assert score.pq == {"day": 50.0}  # background 1, bright 0: half of the object is no match
    assert score.per_domain == {"day": 100.0}


def test_one_pass_of_the_network_gives_both_scores(bundle: Path) -> None:
    pipeline = opened(bundle)
    LeaveOneOut(pipeline, methods=["zero_shot"]).run([PanopticDomain(labelled(), labelled())])
    assert pipeline.segmenter.passes == 2  # type: ignore[attr-defined]


def test_torchmetrics_is_imported_only_for_a_panoptic_quality() -> None:
    code = "import sys, semla_ros.evaluation.leave_one_out; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ground_truth_without_instances_has_no_panoptic_quality(bundle: Path) -> None:
    score = LeaveOneOut(opened(bundle), methods=["zero_shot"]).run([Domain(labelled())])["zero_shot"]
    assert (score.pq, score.per_domain) == ({}, {"day": 100.0})


def test_a_segmenter_without_instances_has_no_panoptic_quality(tmp_path: Path) -> None:
    pipeline = opened(write_bundle(tmp_path / "plain", ColorArch(2)))
    score = LeaveOneOut(pipeline, methods=["zero_shot"]).run([PanopticDomain(labelled())])["zero_shot"]
    assert (score.pq, score.per_domain) == ({}, {"day": 100.0})


def test_rendered_images_have_instances() -> None:
    dataset = RenderedDataset("dusk", 1)
    assert isinstance(dataset, PanopticDataset)
    (item,) = dataset
    assert item.instances is not None
    assert set(np.unique(item.labels[item.instances > 0])) <= set(np.flatnonzero(dataset.things))


def test_panoptic_qualities_are_a_second_table() -> None:
    scores = {"semla": Score({"a": 20.0}, 20.0, {}, {"a": 7.25}), "oracle": Score({"a": 40.0}, 40.0, {})}
    first, second = (table.splitlines() for table in as_table(scores, ["a", "b"]).split("\n\n"))
    assert (first[0], second[0]) == ("| mIoU, % | semla | oracle |", "| PQ, % | semla | oracle |")
    assert second[2:] == ["| a | 7.2 | – |", "| b | – | – |", "| **h-mean** | **7.2** (1 of 2) | – |"]


def write_coco(root: Path, image: LabelledImage) -> None:
    for name in ("images", "panoptic"):
        (root / name).mkdir(parents=True)
    assert image.instances is not None
    write_image(root / "images/a.png", image.rgb)
    write_image(root / "panoptic/a.png", to_rgb(1 + image.labels.astype(np.int32) + image.instances))
    segments = [{"id": each, "category_id": min(each, 2)} for each in (1, 3, 4)]
    categories = [{"id": 1, "name": "dark", "isthing": 0}, {"id": 2, "name": "bright", "isthing": 1}]
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": categories,
    }
    (root / "panoptic.json").write_text(json.dumps(content))


def test_a_panoptic_data_set_is_evaluated_on_the_command_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("day", "night"):
        write_coco(tmp_path / "data" / name, labelled())
    argv = ["evaluate", "--protocol", "panoptic", "--data", str(tmp_path / "data"), "--bundle", str(bundle)]
    assert main([*argv, "--methods", "zero_shot,semla", "--json", str(tmp_path / "out.json")]) == 0
    assert "| PQ, % | zero_shot | semla |" in capsys.readouterr().out
    scores = json.loads((tmp_path / "out.json").read_text())
    assert scores["semla"]["pq"] == {"day": 100.0, "night": 100.0}
    assert (scores["protocol"], scores["settings"]["mode"]) == ("panoptic", "plain")
    assert scores["images"] == {"day": 1, "night": 1}


def test_a_folder_without_panoptic_data_sets_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--protocol", "panoptic", "--data", str(tmp_path), "--bundle", str(bundle)]) == 1
    assert "panoptic.json" in capsys.readouterr().err
    assert main(["evaluate", "--protocol", "panoptic", "--bundle", str(bundle)]) == 1
    assert "no data sets (--data)" in capsys.readouterr().err
