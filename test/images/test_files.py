from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from semla_ros.errors import ImageError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.conversion import decode_file
from semla_ros.images.encodings import MAX_SIDE
from semla_ros.images.files import encoded, read_rgb, read_unchanged, write_image, writing

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_an_image_reads_back_as_it_was_written(tmp_path: Path) -> None:
    write_image(tmp_path / "rgb.png", RGB)
    write_image(tmp_path / "labels.png", RGB[..., 0])
    assert (read_rgb(tmp_path / "rgb.png") == RGB).all()
    assert (read_unchanged(tmp_path / "labels.png") == RGB[..., 0]).all()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["labels.png", "rgb.png"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_image_is_refused_by_name(tmp_path: Path, share: float) -> None:
    file = tmp_path / "rgb.png"
    write_image(file, RGB)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    for read in (read_rgb, read_unchanged):
        with pytest.raises(ImageError, match=r"cannot be read \(.*rgb\.png\)"):
            read(file)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_truncated_photograph_is_refused_by_name(tmp_path: Path, share: float) -> None:
    file = tmp_path / "photo.jpg"
    whole = encoded(RGB, ".jpg")
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError, match=r"cannot be read \(.*photo\.jpg\)"):
        read_rgb(file)


def test_images_with_more_than_8_bits_are_scaled_as_those_of_a_camera(tmp_path: Path) -> None:
    thermal = np.linspace(0, 2**14 - 1, 600, dtype=np.uint16).reshape(20, 30)
    cv2.imwrite(str(tmp_path / "thermal.png"), thermal)
    data = (tmp_path / "thermal.png").read_bytes()
    rgb = read_rgb(tmp_path / "thermal.png", BitDepth())
    assert (rgb == decode_file(data, bit_depth=BitDepth())).all()
    assert rgb.max() == 255
    assert read_rgb(tmp_path / "thermal.png").max() == 64  # without knowing the camera, all 16 bits
    assert (read_unchanged(tmp_path / "thermal.png") == thermal).all()


def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((1, MAX_SIDE + 1), np.uint8))
    for read in (read_rgb, read_unchanged):
        with pytest.raises(ImageError, match=r"large\.png\).*too large"):
            read(tmp_path / "large.png")


def test_a_missing_image_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot be read \(.*no\.png\)"):
        read_rgb(tmp_path / "no.png")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "rgb.png"
    write_image(file, RGB)
    (tmp_path / "rgb.png.partial").mkdir()
    with pytest.raises(ImageError, match=r"cannot be written \(.*rgb\.png\)"):
        write_image(file, RGB[::-1])
    assert (read_rgb(file) == RGB).all()


def test_a_full_disk_is_named_as_the_cause(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"No space left on device.*Free space"), writing(tmp_path / "captions.txt"):
        Path("/dev/full").write_text("a caption")
