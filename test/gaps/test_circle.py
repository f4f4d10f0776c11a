"""The whole circle: a drive meets a domain without an adapter, and the same drive is better once there is one."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.images.files import write_image
from semla_ros.library.bundle import find_bundle
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.streetworld.drive import Drive, DriveFrame, Leg

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("semla_ros.training.adapter") is None, reason="adapters cannot be trained here"),
]

DOMAIN, SEED = "snow_day", 11
TRAINING = ("--steps", "40", "--batch", "8", "--validation-share", "0")  # less than by default, to take less time
LEGS = (Leg("clear_day", 3, 1), Leg(DOMAIN, 16))
LEAST_GAIN = 2.0  # points of mIoU in the domain


@pytest.fixture(scope="module")
def drive() -> list[DriveFrame]:
    return list(Drive(LEGS, SEED, rate_hz=4.0).frames())


def miou(pipeline: SemlaPipeline, drive: list[DriveFrame]) -> float:
    """mIoU over the steady frames of the domain, of a pipeline that sees the whole drive."""
    confusion = ConfusionMatrix(len(pipeline.classes))
    for item in drive:
        result = pipeline.process(item.frame)
        if pipeline.gaps:
            pipeline.gaps.flush()  # so that a slow machine leaves out no image
        if item.domain == DOMAIN and item.steady:
            confusion.add(item.labels, result.labels)
    return confusion.miou


def test_a_gap_is_found_labelled_trained_and_closed_in_the_running_pipeline(
    drive: list[DriveFrame], tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(find_bundle("streetworld"), tmp_path / "bundle"))
    shutil.rmtree(bundle / "adapters" / DOMAIN)
    settings = {"model.bundle": str(bundle), "model.device": "cpu", "gaps.folder": str(tmp_path / "gaps")}
    pipeline = build_pipeline(changed(Config(), settings))
    before = miou(pipeline, drive)

    todo = tmp_path / "todo"
    assert main(["library", "gaps", str(tmp_path / "gaps"), "-o", str(todo), "--bundle", str(bundle)]) == 0
    images = {int(file.stem) for file in (todo / "gap_1/images").iterdir()}
    truth = {item.frame.stamp_ns: item for item in drive}
    assert len(images) >= 15
    assert {truth[stamp].domain for stamp in images} == {DOMAIN}
    for stamp in images:
        write_image(todo / f"gap_1/labels/{stamp}.png", truth[stamp].labels)

    places = str(todo / "gap_1/images"), str(todo / "gap_1/labels"), "-o", str(tmp_path / "new/snow_street")
    assert main(["train", "adapter", *places, "--bundle", str(bundle), "--device", "cpu", *TRAINING]) == 0
    assert main(["library", "add", str(tmp_path / "new/snow_street"), "--bundle", str(bundle)]) == 0
    pipeline.use_library(pipeline.read_library())
    after = miou(pipeline, drive)
    assert "snow_street" in pipeline.domain.mixture.names
    assert after >= before + LEAST_GAIN, f"mIoU {before:.1f} before and {after:.1f} after"
    pipeline.close()
