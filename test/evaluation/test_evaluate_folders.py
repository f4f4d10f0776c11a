"""``semla evaluate`` on folders with damaged files, without evaluated pixels, or with another layout."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semla_ros.cli import main
from semla_ros.streetworld.dataset import write_dataset

SIZE = (48, 64)
CLASSES = "segmenter.classes=[road, sky, car]"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the domains dusk and fog_day, two images each."""
    for domain in ("dusk", "fog_day"):
        write_dataset(tmp_path / "data" / domain, domain, 2, 0, SIZE, layout="cityscapes")
    return tmp_path / "data"


def image_of(data: Path, domain: str, index: int) -> Path:
    return data / domain / f"leftImg8bit/val/{domain}/{domain}_{index:06d}_leftImg8bit.png"


def label_of(data: Path, domain: str, index: int) -> Path:
    return data / domain / f"gtFine/val/{domain}/{domain}_{index:06d}_gtFine_labelTrainIds.png"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def strict_json(text: str) -> Any:
    """Parses JSON without the values NaN and Infinity, which only Python accepts."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def evaluate(data: Path, bundle: Path) -> dict[str, Any]:
    """Runs the command and returns what it wrote with --json."""
    file = data.parent / "scores.json"
    argv = ["evaluate", "--protocol", "semla", "--data", str(data), "--json", str(file), "--bundle", str(bundle)]
    argv += ["--set", CLASSES, "--set", "model.device=cpu", "--mode", "plain", "--methods", "zero_shot,uniform"]
    assert main([*argv, "--short-side", "32"]) == 0
    scores: dict[str, Any] = strict_json(file.read_text())
    return scores


@pytest.mark.parametrize("file_of", [image_of, label_of])
def test_a_damaged_image_is_named_skipped_and_counted(
    data: Path,
    pristine_bundle: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    file_of: Any,
) -> None:
    intact = shutil.copytree(data, data.parent / "intact")
    for file in (image_of(intact, "dusk", 1), label_of(intact, "dusk", 1)):
        file.unlink()
    cut(file_of(data, "dusk", 1))
    scores = evaluate(data, pristine_bundle)
    assert scores["images"] == {"dusk": 1, "fog_day": 2}
    assert scores["skipped"] == {"dusk": [str(image_of(data, "dusk", 1))]}
    warnings = [record.message for record in caplog.records if "cannot be read" in record.message]
    assert len(warnings) == 1  # once, not once per method
    assert "dusk_000001" in warnings[0]
    assert "dusk: 1 of 2 images were skipped, because a file is damaged: dusk_000001" in capsys.readouterr().out
    expected = evaluate(intact, pristine_bundle)
    assert scores["uniform"] == expected["uniform"]


def test_a_domain_whose_images_are_all_damaged_has_no_score(
    data: Path, pristine_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in (0, 1):
        cut(image_of(data, "dusk", index))
    scores = evaluate(data, pristine_bundle)
    assert list(scores["uniform"]["per_domain"]) == ["fog_day"]
    assert "dusk: 2 of 2 images were skipped" in capsys.readouterr().out


def test_a_domain_without_evaluated_pixels_has_no_score_and_the_reason_is_given(
    data: Path, pristine_bundle: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for index in (0, 1):
        cv2.imwrite(str(label_of(data, "dusk", index)), np.full(SIZE, 255, np.uint8))
    scores = evaluate(data, pristine_bundle)
    table = capsys.readouterr().out
    assert "| dusk | – | – |" in table
    assert table.count("(1 of 2)") == 2
    for method in ("zero_shot", "uniform"):
        assert list(scores[method]["per_domain"]) == ["fog_day"]
        assert scores[method]["h_mean"] == pytest.approx(scores[method]["per_domain"]["fog_day"])
    reasons = [record.message for record in caplog.records if "no pixel" in record.message]
    assert len(reasons) == 1
    assert reasons[0].startswith("dusk has no score: no pixel of its ground truth has one of the evaluated classes")
    assert "road, sky, car" in reasons[0]


def test_scores_without_any_domain_are_null_in_json(data: Path, pristine_bundle: Path) -> None:
    for domain in ("dusk", "fog_day"):
        for index in (0, 1):
            cv2.imwrite(str(label_of(data, domain, index)), np.full(SIZE, 255, np.uint8))
    assert evaluate(data, pristine_bundle)["uniform"] == {"per_domain": {}, "h_mean": None, "per_class": {}}


def test_folders_without_the_layout_are_named(
    data: Path, pristine_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "night/images").mkdir(parents=True)
    (data / ".cache").mkdir()
    (data / "notes.txt").touch()
    evaluate(data, pristine_bundle)
    assert [record.message for record in caplog.records if "skipped folder" in record.message] == [
        f"skipped folder {data / 'night'}: it has no subfolder leftImg8bit"
    ]


def test_no_progress_bar_is_written_to_a_log(
    data: Path, pristine_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(data, pristine_bundle)
    assert "image/s" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--split", "--short-side", "--long-side"])
def test_options_of_the_papers_protocol_are_refused_beside_another(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--protocol", "panoptic", "--data", str(tmp_path), option, "3"]) == 1
    assert re.search(rf"option of another protocol \({option}\).*expected --protocol semla", capsys.readouterr().err)
