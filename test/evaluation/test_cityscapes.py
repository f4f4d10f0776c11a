from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from semla_ros.errors import RecordingError
from semla_ros.evaluation.cityscapes import CityscapesFolder, domains, train_id_table
from semla_ros.evaluation.paired_folders import open_dataset
from semla_ros.images.classes import CITYSCAPES_COLORS

CLASSES = tuple(CITYSCAPES_COLORS)
TRAIN_IDS = np.array([[0, 10, 13], [18, 255, 1]], np.uint8)
LABEL_IDS = np.array([[7, 23, 26], [33, 5, 8]], np.uint8)  # 5 is "dynamic", which is not evaluated


def write(
    root: Path, stem: str, labels: NDArray[np.uint8], kind: str = "gtFine_labelTrainIds", end: str = "leftImg8bit"
) -> None:
    image, label = root / f"leftImg8bit/val/ulm/{stem}_{end}.png", root / f"gtFine/val/ulm/{stem}_{kind}.png"
    for file in (image, label):
        file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.full((*labels.shape[:2], 3), (30, 20, 10), np.uint8))
    cv2.imwrite(str(label), labels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "fog", "ulm_0", TRAIN_IDS)
    return tmp_path / "fog"


def test_an_image_is_read_as_rgb_with_its_ground_truth(root: Path) -> None:
    dataset = CityscapesFolder(root, "val", CLASSES)
    (item,) = dataset
    assert (dataset.name, len(dataset)) == ("fog", 1)
    assert (item.rgb == (10, 20, 30)).all()
    assert (item.labels == TRAIN_IDS).all()
    assert [len(list(dataset)) for _ in range(2)] == [1, 1]


def test_label_ids_are_converted_to_train_ids(tmp_path: Path) -> None:
    write(tmp_path, "ulm_0", LABEL_IDS, "gtFine_labelIds")
    (item,) = CityscapesFolder(tmp_path, "val", CLASSES)
    assert (item.labels == TRAIN_IDS).all()


def test_train_ids_are_preferred_to_label_ids(root: Path) -> None:
    write(root, "ulm_0", LABEL_IDS, "gtFine_labelIds")
    (item,) = CityscapesFolder(root, "val", CLASSES)
    assert (item.labels == TRAIN_IDS).all()


def test_all_nineteen_classes_have_a_label_id() -> None:
    table = train_id_table()
    assert sorted(table[table != 255]) == list(range(19))
    assert [table[i] for i in (7, 11, 24, 33)] == [0, 2, 11, 18]


def test_file_names_of_acdc_are_accepted(tmp_path: Path) -> None:
    write(tmp_path, "GOPR_1", TRAIN_IDS, "gt_labelTrainIds", "rgb_anon")
    assert len(CityscapesFolder(tmp_path, "val", CLASSES)) == 1


def test_classes_are_matched_by_name_and_others_are_not_evaluated(root: Path) -> None:
    (item,) = CityscapesFolder(root, "val", ("sky", "unicorn", "car, automobile"))
    assert (item.labels == [[255, 0, 2], [255, 255, 255]]).all()


def test_classes_that_cityscapes_does_not_have_are_refused(root: Path) -> None:
    with pytest.raises(RecordingError, match=r"no class is one of Cityscapes.*unicorn"):
        CityscapesFolder(root, "val", ("unicorn",))


def test_a_limit_takes_the_first_images(root: Path) -> None:
    write(root, "ulm_1", TRAIN_IDS)
    assert len(CityscapesFolder(root, "val", CLASSES, limit=1)) == 1


def test_a_folder_is_one_domain_or_has_one_domain_per_subfolder(root: Path) -> None:
    write(root.parent / "night", "ulm_0", TRAIN_IDS)
    (root.parent / "notes").mkdir()
    assert [path.name for path in domains(root.parent)] == ["fog", "night"]
    assert domains(root) == [root]


def test_a_folder_without_data_sets_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "no"):
        with pytest.raises(RecordingError, match=r"no data sets.*leftImg8bit"):
            domains(folder)


def test_a_split_without_images_is_refused_and_the_expected_names_are_given(root: Path) -> None:
    with pytest.raises(RecordingError, match=r"no images.*leftImg8bit/test.*_leftImg8bit\.png or .*_rgb_anon"):
        CityscapesFolder(root, "test", CLASSES)


def test_an_image_without_a_label_map_is_refused_before_anything_runs(root: Path) -> None:
    (root / "gtFine/val/ulm/ulm_0_gtFine_labelTrainIds.png").unlink()
    with pytest.raises(RecordingError, match=r"without a label map.*ulm_0_leftImg8bit"):
        CityscapesFolder(root, "val", CLASSES)


def test_a_training_skips_and_names_images_without_a_label_map(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(root, "ulm_1", TRAIN_IDS)
    (root / "gtFine/val/ulm/ulm_0_gtFine_labelTrainIds.png").unlink()
    dataset = open_dataset(root / "leftImg8bit/val", root / "gtFine/val", CLASSES)
    assert [len(list(dataset)) for _ in range(2)] == [1, 1]
    assert [file.name for file in dataset.skipped] == ["ulm_0_leftImg8bit.png"]
    assert "skipped ulm_0_leftImg8bit.png: it has no label map" in caplog.text
    (root / "gtFine/val/ulm/ulm_1_gtFine_labelTrainIds.png").unlink()
    with pytest.raises(RecordingError, match=r"image without a label map.*ulm_0_leftImg8bit.*expected"):
        open_dataset(root / "leftImg8bit/val", root / "gtFine/val", CLASSES)


def test_a_training_skips_images_without_an_evaluated_pixel_and_an_evaluation_does_not(root: Path) -> None:
    write(root, "ulm_1", np.full((2, 3), 255, np.uint8))
    dataset = open_dataset(root / "leftImg8bit/val", root / "gtFine/val", CLASSES)
    assert [len(list(dataset)) for _ in range(2)] == [1, 1]
    assert [file.name for file in dataset.skipped] == ["ulm_1_leftImg8bit.png"]
    assert len(list(CityscapesFolder(root, "val", CLASSES))) == 2


def test_ids_that_cityscapes_does_not_define_are_refused_and_listed(tmp_path: Path) -> None:
    write(tmp_path, "ulm_0", np.array([[0, 19, 200]], np.uint8))
    with pytest.raises(RecordingError, match=r"does not define.*\[19, 200\], expected 0 to 18"):
        list(CityscapesFolder(tmp_path, "val", CLASSES))


def test_a_coloured_label_map_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "ulm_0", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(RecordingError, match="not a label map"):
        list(CityscapesFolder(tmp_path, "val", CLASSES))


def test_a_label_map_of_another_size_is_refused(root: Path) -> None:
    cv2.imwrite(str(root / "gtFine/val/ulm/ulm_0_gtFine_labelTrainIds.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(RecordingError, match=r"another size.*\(4, 4\), expected \(2, 3\)"):
        list(CityscapesFolder(root, "val", CLASSES))


@pytest.mark.parametrize(
    "place", ["leftImg8bit/val/ulm/ulm_0_leftImg8bit.png", "gtFine/val/ulm/ulm_0_gtFine_labelTrainIds.png"]
)
def test_a_damaged_file_is_skipped_and_named_once(root: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    (root / place).write_bytes(b"cut")
    write(root, "ulm_1", TRAIN_IDS)
    dataset = CityscapesFolder(root, "val", CLASSES)
    assert [len(list(dataset)) for _ in range(2)] == [1, 1]
    assert [file.name for file in dataset.skipped] == ["ulm_0_leftImg8bit.png"]
    assert [place in record.message for record in caplog.records] == [True]
