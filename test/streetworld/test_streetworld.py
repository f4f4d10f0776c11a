"""Rendered samples: sizes, types, repeatability, and the appearance of each domain."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from semla_ros.errors import ConfigError
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.capture import apply_atmosphere
from semla_ros.streetworld.dataset import Sample, sample, write_dataset
from semla_ros.streetworld.domains import DOMAINS
from semla_ros.streetworld.layout import street_layout
from semla_ros.streetworld.lighting import horizon_color, radiance
from semla_ros.streetworld.render import FAR_M, Layers, render
from semla_ros.streetworld.scene import Scene
from semla_ros.streetworld.weather import Weather, apply_fog

SIZE = (120, 192)


def digest(item: Sample) -> str:
    return hashlib.sha256(item.rgb.tobytes() + item.labels.tobytes() + item.caption.encode()).hexdigest()


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Sample]]:
    return {name: [sample(name, i, 0, SIZE) for i in range(8)] for name in DOMAINS}


@pytest.fixture(scope="module")
def layers() -> Layers:
    plan = street_layout("street", 4)
    return render(Scene(plan, 4, Pose(50.0, plan.lane)), Camera.of_size(SIZE))


def luminance(samples: list[Sample]) -> float:
    return float(np.mean([item.rgb.mean() for item in samples]))


def contrast(samples: list[Sample]) -> float:
    return float(np.mean([cv2.Laplacian(item.rgb[..., 1], cv2.CV_32F)[10:50].std() for item in samples]))


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_same_seed_domain_and_index_give_the_same_bytes_in_any_order(domain: str) -> None:
    first = [digest(sample(domain, i, 3, SIZE)) for i in (0, 1)]
    again = [digest(sample(domain, i, 3, SIZE)) for i in (1, 0)]
    assert first == again[::-1]


def test_other_seeds_and_indices_give_other_images() -> None:
    assert len({digest(sample("clear_day", i, seed, SIZE)) for i in range(5) for seed in range(4)}) == 20


def test_a_sample_has_the_requested_size_and_documented_dtypes() -> None:
    item = sample("snow_night", 0, 0, (90, 171))
    assert (item.rgb.shape, item.rgb.dtype) == ((90, 171, 3), np.uint8)
    assert (item.labels.shape, item.labels.dtype) == ((90, 171), np.uint8)
    assert (item.depth.shape, item.depth.dtype) == ((90, 171), np.float32)


def test_all_classes_appear_in_thirty_samples() -> None:
    seen = set(np.concatenate([np.unique(sample("clear_day", i, 5, SIZE).labels) for i in range(30)]).tolist())
    assert seen == set(range(len(CLASSES)))


def test_depth_is_positive_and_grows_towards_the_horizon(layers: Layers) -> None:
    assert layers.depth.min() > 0
    assert np.all(layers.depth[layers.sky] == FAR_M)
    column = layers.depth[:, SIZE[1] // 2][layers.ground[:, SIZE[1] // 2]]
    assert np.all(np.diff(column) < 0)


def test_ground_depth_is_camera_height_divided_by_the_tangent() -> None:
    plan, camera = street_layout("street", 1), Camera.of_size(SIZE)
    view = render(Scene(plan, 1, Pose(0.0, plan.lane, h=1.4)), camera)
    row, column = np.argwhere(view.ground & (view.contact_shade == 1.0))[-1]
    below = (row - (SIZE[0] - 1) / 2) / camera.focal
    assert view.depth[row, column] == pytest.approx(1.4 / below, rel=1e-4)


def test_labels_do_not_depend_on_the_weather(layers: Layers) -> None:
    label = layers.label.copy()
    radiance(layers, DOMAINS["snow_day"].weather)
    assert np.array_equal(layers.label, label)


def test_fog_obeys_koschmieders_law(layers: Layers) -> None:
    weather = DOMAINS["fog_day"].weather
    scene, airlight = radiance(layers, weather), horizon_color(weather)
    hazy = apply_atmosphere(scene, layers, weather)
    for row, column in ((100, 90), (70, 30), (20, 150)):
        t = np.exp(-weather.fog * layers.depth[row, column])
        assert hazy[row, column] == pytest.approx(scene[row, column] * t + airlight * (1 - t), abs=1e-5)


def test_transmission_at_distance_one_over_beta_is_one_over_e() -> None:
    white, depth = np.ones((1, 1, 3), np.float32), np.full((1, 1), 25.0, np.float32)
    assert apply_fog(white, depth, 1 / 25, np.zeros(3, np.float32)) == pytest.approx(np.exp(-1.0), rel=1e-5)


def test_a_blend_of_weather_is_linear_and_reaches_both_ends() -> None:
    a, b = DOMAINS["clear_day"].weather, DOMAINS["fog_night"].weather
    assert Weather.blend(a, b, 0.0) == a
    assert Weather.blend(a, b, 1.0) == b
    assert Weather.blend(a, b, 0.25).fog == pytest.approx(0.75 * a.fog + 0.25 * b.fog)


def test_nights_are_darker_than_their_days(samples: dict[str, list[Sample]]) -> None:
    for kind in ("clear", "rain", "fog", "snow"):
        assert luminance(samples[f"{kind}_night"]) < 0.8 * luminance(samples[f"{kind}_day"])


def test_fog_lowers_contrast_and_snow_and_overexposure_raise_brightness(samples: dict[str, list[Sample]]) -> None:
    day = samples["clear_day"]
    assert contrast(samples["fog_day"]) < 0.6 * contrast(day)
    assert contrast(samples["dirty_lens"]) < 0.6 * contrast(day)
    assert luminance(samples["snow_day"]) > 1.2 * luminance(day)
    assert luminance(samples["overexposed"]) > 1.6 * luminance(day)


def test_dusk_is_warmer_than_day(samples: dict[str, list[Sample]]) -> None:
    def warmth(some: list[Sample]) -> float:
        return float(np.mean([s.rgb[..., 0].mean() - s.rgb[..., 2].mean() for s in some]))

    assert warmth(samples["dusk"]) > warmth(samples["clear_day"]) + 10


def test_snow_whitens_the_road(samples: dict[str, list[Sample]]) -> None:
    def road(some: list[Sample]) -> float:
        return float(np.mean([s.rgb[s.labels == 0].mean() for s in some]))

    assert road(samples["snow_day"]) > 1.6 * road(samples["clear_day"])


def test_each_place_has_its_own_classes(samples: dict[str, list[Sample]]) -> None:
    indoors = np.concatenate([s.labels.ravel() for s in samples["corridor"]])
    woods = np.concatenate([s.labels.ravel() for s in samples["forest"]])
    names = CLASSES.index
    assert not np.isin(indoors, [names("sky"), names("car"), names("sidewalk")]).any()
    assert np.mean(indoors == names("wall")) > 0.2
    assert np.mean(woods == names("vegetation")) > 0.3


def test_captions_vary_and_name_the_domain(samples: dict[str, list[Sample]]) -> None:
    for name, some in samples.items():
        captions = [s.caption for s in some]
        assert len(set(captions)) >= 6
        assert all(any(words in caption for words in DOMAINS[name].phrases) for caption in captions)


def test_a_caption_with_no_cars_means_that_no_car_is_visible(samples: dict[str, list[Sample]]) -> None:
    claims = [s for s in samples["forest"] + samples["clear_day"] if "no cars" in s.caption]
    assert all(np.sum(s.labels == CLASSES.index("car")) < 1000 for s in claims)


def test_an_unknown_domain_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(ConfigError, match=r"'hail'.*clear_day"):
        sample("hail", 0, 0)


def test_a_continued_dataset_equals_one_written_in_a_single_run(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", "rain_day", 2, 1, SIZE)
    write_dataset(tmp_path / "a", "rain_day", 4, 1, SIZE)
    write_dataset(tmp_path / "b", "rain_day", 4, 1, SIZE)
    files = [p.relative_to(tmp_path / "b") for p in sorted((tmp_path / "b").rglob("*.*"))]
    assert len(files) == 9
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    item = sample("rain_day", 3, 1, SIZE)
    assert np.array_equal(cv2.imread(str(tmp_path / "b/images/000003.png"))[..., ::-1], item.rgb)
    assert np.array_equal(cv2.imread(str(tmp_path / "b/labels/000003.png"), cv2.IMREAD_UNCHANGED), item.labels)
    assert (tmp_path / "b/captions.txt").read_text().splitlines()[3] == item.caption


def test_a_dataset_of_another_seed_is_not_continued(tmp_path: Path) -> None:
    write_dataset(tmp_path, "dusk", 1, 1, SIZE)
    with pytest.raises(ConfigError, match="another domain, seed, size or layout"):
        write_dataset(tmp_path, "dusk", 2, 2, SIZE)
    assert len((tmp_path / "captions.txt").read_text().splitlines()) == 1


def test_label_maps_of_somebody_else_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "labels/000000.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(ConfigError, match="another domain, seed, size or layout"):
        write_dataset(tmp_path, "dusk", 1, 1, SIZE)
    assert cv2.imread(str(tmp_path / "labels/000000.png")).shape == (9, 9, 3)
