from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from paths import DATA
from tiny import image
from videos import half_video

from semla_ros.batch.reading import Portion, read
from semla_ros.batch.rows import End, Reading, Skipped, unpacked
from semla_ros.batch.sources import find_sources
from semla_ros.images.files import write_image

NONE = np.array([], np.int64)


def portion(path: Path, numbers: list[int], others: bool = False, cluster: int = -1) -> Portion:
    (source,) = find_sources([path], Path("/nowhere"))
    return Portion(source, 7, np.array(numbers, np.int64), others, cluster)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        write_image(tmp_path / f"{number}.png", image("red", number))
    return tmp_path


def test_all_images_of_a_source_are_read_with_their_names_and_its_end_is_reported(folder: Path) -> None:
    *readings, end = portion(folder, [], others=True).rows()
    assert [(row.source, row.number, row.name, row.cluster) for row in readings] == [
        (7, number, str(number), -1) for number in range(5)
    ]
    np.testing.assert_array_equal(readings[3].frame.rgb, image("red", 3))
    assert end == End(7, 5)


def test_images_that_are_known_are_not_read_again(folder: Path) -> None:
    for number in (0, 3):
        (folder / f"{number}.png").write_bytes(b"would be skipped if it was decoded")
    rows = list(portion(folder, [0, 3], others=True).rows())
    assert [type(row) for row in rows] == [Reading, Reading, Reading, End]
    assert [row.number for row in rows[:-1]] == [1, 2, 4]


def test_the_images_of_a_cluster_are_read_without_the_others(folder: Path) -> None:
    rows = list(portion(folder, [1, 4], cluster=2).rows())
    assert [(row.number, row.cluster) for row in rows] == [(1, 2), (4, 2)]


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_a_damaged_image_is_named_and_counted_and_the_others_are_read(folder: Path, bad: int) -> None:
    (folder / f"{bad}.png").write_bytes(b"damaged")
    rows = list(portion(folder, [], others=True).rows())
    (skipped,) = [row for row in rows if isinstance(row, Skipped)]
    assert (skipped.source, skipped.number) == (7, bad)
    assert f"{bad}.png" in skipped.error
    assert sum(isinstance(row, Reading) for row in rows) == 4
    assert rows[-1] == End(7, 5)


def test_a_video_that_ends_early_is_not_reported_as_read_whole(tmp_path: Path) -> None:
    rows = list(portion(half_video(tmp_path), [], others=True).rows())
    assert sum(isinstance(row, Reading) for row in rows) > 10
    assert "missing" in rows[-1].error
    assert not any(isinstance(row, End) for row in rows)


def test_a_recording_that_cannot_be_opened_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "broken.mcap").write_bytes(b"no bag")
    (row,) = portion(tmp_path / "broken.mcap", [], others=True).rows()
    assert isinstance(row, Skipped)
    assert "broken.mcap" in row.error


def test_a_task_reads_the_portions_that_its_batch_names(folder: Path) -> None:
    video = Path(shutil.copy(DATA / "udacity_highway.mp4", folder.parent / f"{folder.name}.mp4"))
    portions = [portion(folder, [0, 1]), portion(video, [5]), portion(folder, [4])]
    rows = [row for batch in read({"id": np.array([1, 2])}, portions) for row in unpacked(batch)]
    assert [(row.number, row.frame.rgb.shape[:2] == (24, 40)) for row in rows] == [(5, False), (4, True)]
