from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import CLASSES, COLORS, SECOND, drive, frame, image, random_adapter, random_network

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.config import Config, changed
from semla_ros.errors import AdapterError, ConfigError, ImageError, SegmentationError
from semla_ros.images.frame import Frame
from semla_ros.library.adapter_folder import WEIGHTS, save_adapter
from semla_ros.library.bundle import ADAPTERS
from semla_ros.modeling.lora import Adapter
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.embedding import AsynchronousEmbedder
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.pipeline.result import SegmentationResult

PATIENCE_S = 60.0


def swaps(results: list[SegmentationResult]) -> list[tuple[float, str]]:
    """When and to which nearest adapter the mixture changed."""
    times = [(p.frame.stamp_ns / SECOND - 100, p.domain.mixture.names[0]) for p in results if p.domain.swapped]
    return [(round(time, 3), name) for time, name in times]


def run(pipeline: SemlaPipeline, *legs: tuple[str, float], start: float = 100.0) -> list[SegmentationResult]:
    return [pipeline.process(one) for one in drive(*legs, start=start)]


def configure(pipeline: SemlaPipeline, **settings: Any) -> None:
    pipeline.configure(changed(pipeline.config, {key.replace("__", "."): value for key, value in settings.items()}))


def poison(pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, value: float = math.nan, size: int = 8) -> None:
    monkeypatch.setattr(pipeline.navigator, "embed", lambda rgb: np.full(size, value))


def empty_the_library(bundle: Path) -> None:
    shutil.rmtree(bundle / ADAPTERS)
    (bundle / ADAPTERS).mkdir()


def weights_of(pipeline: SemlaPipeline) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in pipeline.segmenter.network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def overwrite_adapter(bundle: Path, name: str, factor: float, layers: str = "") -> None:
    """Replaces an adapter by one whose factors are all ``factor``, on the layers whose name contains ``layers``."""
    from semla_ros.library.adapter_folder import AdapterFolder

    old = AdapterFolder(bundle / ADAPTERS / name)
    factors = {
        key: (torch.full_like(a, factor), torch.full_like(b, factor))
        for key, (a, b) in old.load().factors.items()
        if layers in key
    }
    statistics = old.statistics
    shutil.rmtree(bundle / ADAPTERS / name)
    save_adapter(Adapter(name, factors, 1.0), statistics, bundle / ADAPTERS, torch.float32)


def count_calls(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[object]:
    """Records the first argument of every call of a method from now on."""
    calls: list[object] = []
    method = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args: (calls.append(args[0] if args else None), method(*args))[1])
    return calls


def failing(message: str) -> Any:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(message)

    return fail


def is_base(pipeline: SemlaPipeline) -> bool:
    base = random_network().state_dict()
    return all(torch.equal(value, base[key]) for key, value in pipeline.segmenter.network.state_dict().items())


# Results


def test_a_frame_gives_a_class_and_a_confidence_per_pixel(pipeline: SemlaPipeline) -> None:
    seen = frame("red", 1.0)
    result = pipeline.process(seen)
    assert result.frame is seen
    assert (result.labels.dtype, result.confidence.dtype) == (np.uint8, np.float32)
    assert result.labels.shape == result.confidence.shape == (24, 40)
    assert set(np.unique(result.labels)) <= {0, 1, 2}
    assert 0 <= result.confidence.min() <= result.confidence.max() <= 1


def test_only_the_stages_that_ran_are_timed(pipeline: SemlaPipeline) -> None:
    first, second = run(pipeline, ("red", 0.2))
    assert first.latency_s.keys() == {"embed", "retrieve", "fuse", "text", "segment"}
    assert second.latency_s.keys() == {"segment"}
    assert all(seconds > 0 for seconds in first.latency_s.values())


def test_pixels_below_the_confidence_threshold_are_unlabelled(pipeline: SemlaPipeline) -> None:
    free = pipeline.process(frame("red", 1.0, seed=0))
    threshold = float(np.median(free.confidence))
    configure(pipeline, segmenter__min_confidence=threshold)
    strict = pipeline.process(frame("red", 1.1, seed=0))
    unsure = strict.confidence < threshold
    assert 0.3 < unsure.mean() < 0.7
    assert (strict.labels[unsure] == 255).all()
    assert (strict.labels[~unsure] == free.labels[~unsure]).all()


def test_above_255_classes_labels_take_two_bytes(pipeline: SemlaPipeline) -> None:
    configure(pipeline, segmenter__classes=[f"thing {i}" for i in range(255)])
    assert pipeline.process(frame("red", 1.0)).labels.dtype == np.uint8
    configure(pipeline, segmenter__classes=[f"thing {i}" for i in range(256)], segmenter__min_confidence=1.0)
    labels = pipeline.process(frame("red", 1.1)).labels
    assert labels.dtype == np.uint16
    assert (labels == 65535).all()


def test_the_image_may_change_its_size(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 0.2))
    small = frame("red", 101.0).rgb[:7, :9]
    assert pipeline.process(Frame(small, 101 * SECOND)).labels.shape == (7, 9)


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_image_is_refused_and_the_next_frame_is_segmented(
    pipeline: SemlaPipeline, rgb: NDArray[Any]
) -> None:
    before = pipeline.process(frame("red", 1.0)).domain
    with pytest.raises(ImageError, match=r"not an image: got \w+ \(.*expected uint8 \(H, W, 3\)"):
        pipeline.process(Frame(rgb, 2 * SECOND))
    assert pipeline.process(frame("red", 1.1)).domain == replace(before, swapped=False)


# Adapting


def test_before_the_first_frame_distance_and_support_are_unknown(pipeline: SemlaPipeline) -> None:
    assert pipeline.domain.mixture == Mixture()
    assert math.isnan(pipeline.domain.distance)
    assert math.isnan(pipeline.domain.support)
    assert 0 < pipeline.domain.lower_threshold < pipeline.domain.upper_threshold
    assert is_base(pipeline)


def test_the_first_frame_brings_the_first_mixture(pipeline: SemlaPipeline) -> None:
    state = pipeline.process(frame("green", 1.0)).domain
    assert state.swapped
    assert (state.swaps, state.skipped, state.distance, state.error) == (1, 0, 0.0, "")
    assert state.mixture.names[0] == "green"
    assert len(state.mixture.names) == 2
    assert sum(state.mixture.weights) == pytest.approx(1.0)
    assert state.support == pytest.approx(state.mixture.support)
    assert not is_base(pipeline)


def test_a_steady_domain_brings_no_swap(pipeline: SemlaPipeline) -> None:
    results = run(pipeline, ("red", 15))
    assert swaps(results) == [(0.0, "red")]
    assert np.mean([result.domain.out_of_distribution for result in results]) < 0.5


def test_every_change_of_domain_brings_one_swap_soon_after_the_debounce_time(pipeline: SemlaPipeline) -> None:
    found = swaps(run(pipeline, ("red", 5), ("blue", 5), ("green", 5), ("red", 5)))
    assert [name for _, name in found] == ["red", "blue", "green", "red"]
    for (seconds, _), change in zip(found[1:], (5.0, 10.0, 15.0), strict=True):
        assert change + 1.0 <= seconds <= change + 2.0


def test_a_short_excursion_brings_no_swap(pipeline: SemlaPipeline) -> None:
    assert swaps(run(pipeline, ("red", 5), ("blue", 0.6), ("red", 6))) == [(0.0, "red")]


def test_the_same_frames_give_the_same_results(pipeline: SemlaPipeline, pristine_bundle: Path) -> None:
    legs = ("red", 4.0), ("blue", 4.0), ("green", 3.0)
    once = run(pipeline, *legs)
    pipeline.reset()
    again = run(pipeline, *legs)
    elsewhere = run(build_pipeline(changed(pipeline.config, {"model.bundle": str(pristine_bundle)})), *legs)
    for one, other in zip(once * 2, again + elsewhere, strict=True):
        assert one.domain == other.domain or math.isnan(one.domain.distance)
        assert (one.labels == other.labels).all()
        assert (one.confidence == other.confidence).all()


@pytest.mark.parametrize(("period", "embedded"), [(0.5, 6), (0.3, 10), (0.0, 30), (60.0, 1)])
def test_one_frame_per_navigator_period_is_embedded_by_stamps(
    pipeline: SemlaPipeline, period: float, embedded: int
) -> None:
    configure(pipeline, navigator__period_s=period)
    assert sum("embed" in p.latency_s for p in run(pipeline, ("red", 3))) == embedded


def test_dropped_frames_do_not_matter(pipeline: SemlaPipeline) -> None:
    frames = drive(("red", 5), ("blue", 5))
    every = swaps([pipeline.process(one) for one in frames])
    pipeline.reset()
    assert swaps([pipeline.process(one) for one in frames[::5]]) == every


def test_the_classes_are_encoded_again_after_a_swap(pipeline: SemlaPipeline) -> None:
    before = pipeline.segmenter.text.clone()
    run(pipeline, ("red", 0.1))
    fresh = pipeline.segmenter.network.clip.encode_text(pipeline.segmenter.tokens)
    assert torch.allclose(pipeline.segmenter.text, fresh, atol=1e-6)
    assert (pipeline.segmenter.text - before).abs().max() > 1e-3


def test_a_swap_that_would_change_too_little_is_skipped(pipeline: SemlaPipeline) -> None:
    configure(pipeline, tracker__upper_threshold=1e-6, tracker__lower_threshold=1e-9, tracker__min_weight_change=0.5)
    last = run(pipeline, ("red", 10))[-1].domain
    assert last.swaps == 1
    assert last.skipped >= 2
    assert last.distance < 0.3


def test_a_skipped_swap_does_not_delay_the_next_one(pipeline: SemlaPipeline) -> None:
    configure(
        pipeline,
        tracker__upper_threshold=1e-6,
        tracker__lower_threshold=1e-9,
        tracker__min_weight_change=0.5,
        tracker__min_interval_s=4.0,
    )
    results = run(pipeline, ("red", 5), ("blue", 4))
    assert results[49].domain.skipped == 1
    assert 5.0 < swaps(results)[1][0] < 7.0


def test_swapped_is_true_for_the_frame_of_the_swap_alone(pipeline: SemlaPipeline) -> None:
    assert [p.domain.swapped for p in run(pipeline, ("red", 0.3))] == [True, False, False]


def test_a_domain_far_from_every_adapter_is_out_of_distribution(bundle: Path, pipeline: SemlaPipeline) -> None:
    shutil.rmtree(bundle / ADAPTERS / "blue")
    pipeline.reload_library()
    assert not run(pipeline, ("red", 1))[-1].domain.out_of_distribution
    assert run(pipeline, ("blue", 3), start=101.0)[-1].domain.out_of_distribution


def test_an_image_of_a_known_domain_with_another_texture_is_out_of_distribution(pipeline: SemlaPipeline) -> None:
    assert not run(pipeline, ("red", 1))[-1].domain.out_of_distribution
    smooth = np.full_like(image("red"), COLORS["red"])
    states = [pipeline.process(Frame(smooth, round((101 + n / 10) * SECOND), "camera")).domain for n in range(40)]
    assert states[-1].out_of_distribution
    assert states[-1].mixture.names[0] == "red"


def test_excluded_adapters_are_never_retrieved(pristine_bundle: Path, pipeline: SemlaPipeline) -> None:
    settings = {"model.bundle": str(pristine_bundle), "library.exclude": ["red"], "fusion.k": 9}
    other = build_pipeline(changed(pipeline.config, settings))
    assert set(other.process(frame("red", 1.0)).domain.mixture.names) == {"blue", "green"}


def test_a_bundle_with_an_empty_library_segments_with_the_base_weights(bundle: Path) -> None:
    empty_the_library(bundle)
    pipeline = build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu"}))
    last = run(pipeline, ("red", 3), ("blue", 3))[-1].domain
    assert last.mixture == Mixture()
    assert (last.support, last.out_of_distribution, last.error) == (0.0, True, "")
    assert is_base(pipeline)


# Stamps


def test_a_stamp_that_jumps_back_starts_over(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 5), ("blue", 5))
    looped = [pipeline.process(one) for one in drive(("red", 3))]
    assert swaps(looped) == [(0.0, "red")]
    assert looped[-1].domain.swaps == 1


def test_stamps_of_zero_are_segmented(pipeline: SemlaPipeline) -> None:
    states = [pipeline.process(Frame(frame("red", i).rgb, 0)).domain for i in range(3)]
    assert [state.swapped for state in states] == [True, False, False]


@pytest.mark.parametrize("late_s", [0.001, 0.9])
def test_a_frame_slightly_out_of_order_is_segmented_and_not_tracked(pipeline: SemlaPipeline, late_s: float) -> None:
    before = run(pipeline, ("red", 5.05))[-1].domain
    late = pipeline.process(frame("blue", 105.0 - late_s))
    assert late.labels.shape == (24, 40)
    assert late.latency_s.keys() == {"segment"}
    assert late.domain == replace(before, swapped=False)


def test_neighbours_that_change_places_bring_no_swap(pipeline: SemlaPipeline) -> None:
    frames = drive(("red", 5), ("blue", 10))
    in_order = swaps([pipeline.process(one) for one in frames])
    for index in range(0, len(frames) - 1, 10):
        frames[index], frames[index + 1] = frames[index + 1], frames[index]
    pipeline.reset()
    assert len(swaps([pipeline.process(one) for one in frames])) == len(in_order)


def test_a_stamp_that_jumps_back_beyond_the_tolerance_starts_over(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 5))
    assert pipeline.process(frame("red", 104.1)).domain.swaps == 1
    state = pipeline.process(frame("blue", 103.0)).domain
    assert (state.swapped, state.mixture.names[0]) == (True, "blue")
    configure(pipeline, tracker__stamp_tolerance_s=60.0)
    assert not pipeline.process(frame("red", 50.0)).domain.swapped


# The settling check after a swap


def between(one: str, other: str, share: float, seconds: float) -> Frame:
    """An image on the way from one domain to another, at a share of the way."""
    stamp_ns = round(seconds * SECOND)
    mixed = (1 - share) * image(one, stamp_ns) + share * image(other, stamp_ns)
    return Frame(mixed.astype(np.uint8), stamp_ns)


def test_a_mixture_from_the_middle_of_a_change_is_replaced_when_the_embedding_rests(pipeline: SemlaPipeline) -> None:
    """From red to blue by way of a mixed image; the last part of the way is shorter than the upper threshold."""
    middle = pipeline.navigator.embed(between("green", "blue", 0.5, 1.0).rgb)
    end = pipeline.navigator.embed(image("blue"))
    configure(pipeline, tracker__upper_threshold=1.15 * float(np.linalg.norm(middle - end)))
    run(pipeline, ("red", 5))
    index = next(i for i in range(60) if pipeline.process(between("green", "blue", 0.5, 105 + i / 10)).domain.swapped)
    assert pipeline.domain.mixture.change(pipeline.retrieve(end)) > 0.5
    states = [result.domain for result in run(pipeline, ("blue", 8), start=105.1 + index / 10)]
    assert max(state.distance for state in states) < states[-1].upper_threshold
    assert sum(state.swapped for state in states) == 1
    assert states[-1].mixture.change(pipeline.retrieve(end)) < 0.05


# Settings


def test_without_adaptation_the_base_stays_bit_by_bit(pristine_bundle: Path, pipeline: SemlaPipeline) -> None:
    fixed = build_pipeline(changed(pipeline.config, {"model.bundle": str(pristine_bundle), "fusion.adapt": False}))
    last = run(fixed, ("red", 3), ("blue", 3))[-1]
    assert last.latency_s.keys() == {"segment"}
    assert (last.domain.swaps, last.domain.mixture) == (0, Mixture())
    assert is_base(fixed)


def test_adaptation_can_be_switched_off_and_on(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 2))
    configure(pipeline, fusion__adapt=False)
    assert is_base(pipeline)
    off = pipeline.process(frame("red", 102.1)).domain
    assert off.mixture == Mixture()
    assert math.isnan(off.distance)
    configure(pipeline, fusion__adapt=True)
    assert pipeline.process(frame("red", 102.2)).domain.swapped


def test_classes_can_change_before_and_between_frames(pipeline: SemlaPipeline) -> None:
    configure(pipeline, segmenter__classes=["tree", "lamp, lantern"])
    assert [(c.id, c.name) for c in pipeline.classes] == [(0, "tree"), (1, "lamp, lantern")]
    assert set(np.unique(run(pipeline, ("red", 0.1))[0].labels)) <= {0, 1}
    configure(pipeline, segmenter__classes=[])
    assert tuple(c.name for c in pipeline.classes) == CLASSES
    again = pipeline.process(frame("red", 100.1)).labels
    fresh = build_pipeline(pipeline.config)
    run(fresh, ("red", 0.1))
    assert (fresh.process(frame("red", 100.1)).labels == again).all()


def test_a_change_of_classes_brings_no_swap(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 2))
    configure(pipeline, segmenter__classes=["tree"])
    assert not any(pipeline.process(frame("red", 102 + i)).domain.swapped for i in range(3))


def test_another_k_is_in_force_at_the_next_embedding(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 2))
    configure(pipeline, fusion__k=3)
    state = pipeline.process(frame("red", 102.5)).domain
    assert state.swapped
    assert len(state.mixture.names) == 3


def test_a_k_beyond_the_library_takes_all(pipeline: SemlaPipeline) -> None:
    configure(pipeline, fusion__k=1000)
    assert len(pipeline.process(frame("red", 1.0)).domain.mixture.names) == 3


def test_thresholds_are_in_force_at_once(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 2))
    configure(pipeline, tracker__upper_threshold=1e6, tracker__lower_threshold=1e5)
    assert (pipeline.domain.upper_threshold, pipeline.domain.lower_threshold) == (1e6, 1e5)
    assert swaps([pipeline.process(frame("blue", 102 + i)) for i in range(6)]) == []


def test_a_low_upper_threshold_pulls_the_derived_lower_one_down(pipeline: SemlaPipeline) -> None:
    configure(pipeline, tracker__upper_threshold=1e-6)
    assert pipeline.domain.lower_threshold == pipeline.domain.upper_threshold == 1e-6


def test_contradicting_thresholds_are_refused_and_nothing_changes(pipeline: SemlaPipeline) -> None:
    config, state, classes = pipeline.config, pipeline.domain, pipeline.classes
    with pytest.raises(
        ConfigError, match=r"thresholds cross \(tracker.lower_threshold\): got 2.0, expected at most .*1.0"
    ):
        configure(
            pipeline,
            tracker__upper_threshold=1.0,
            tracker__lower_threshold=2.0,
            segmenter__classes=["tree"],
            fusion__adapt=False,
        )
    assert pipeline.config is config
    assert pipeline.classes == classes
    assert pipeline.domain is state


# Freeze, reset, reload


def test_a_frozen_mixture_is_held_through_changes_and_follows_the_domain_afterwards(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 1))
    pipeline.freeze(True)
    held = run(pipeline, ("red", 1), ("blue", 5), start=101.0)
    assert swaps(held) == []
    assert held[-1].domain.frozen
    assert held[-1].domain.distance > held[-1].domain.upper_threshold
    pipeline.freeze(False)
    state = pipeline.process(frame("blue", 107.0)).domain
    assert state.swapped
    assert state.mixture.names[0] == "blue"


def test_frozen_before_the_first_frame_the_base_stays(pipeline: SemlaPipeline) -> None:
    pipeline.freeze(True)
    last = run(pipeline, ("red", 2), ("blue", 2))[-1].domain
    assert (last.mixture, last.swaps) == (Mixture(), 0)
    assert last.support == 0.0
    assert is_base(pipeline)
    pipeline.freeze(False)
    assert pipeline.process(frame("blue", 104.5)).domain.mixture.names[0] == "blue"


def test_after_a_reset_the_next_frame_brings_the_first_mixture_again(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 3), ("blue", 3))
    pipeline.reset()
    assert (pipeline.domain.swaps, pipeline.domain.skipped) == (0, 0)
    assert math.isnan(pipeline.domain.distance)
    state = pipeline.process(frame("green", 105.95)).domain
    assert (state.swapped, state.swaps, state.distance) == (True, 1, 0.0)
    assert state.mixture.names[0] == "green"


def test_a_reset_leaves_a_freeze_in_force(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 1))
    pipeline.freeze(True)
    pipeline.reset()
    state = pipeline.process(frame("blue", 101.1)).domain
    assert (state.swapped, state.frozen, state.mixture.names[0]) == (False, True, "red")


def test_a_reloaded_library_serves_its_new_adapters(bundle: Path, pipeline: SemlaPipeline, tmp_path: Path) -> None:
    shutil.move(bundle / ADAPTERS / "blue", tmp_path / "blue")
    pipeline.reload_library()
    assert "blue" not in run(pipeline, ("blue", 1))[-1].domain.mixture.names
    shutil.move(tmp_path / "blue", bundle / ADAPTERS / "blue")
    pipeline.reload_library()
    assert pipeline.process(frame("blue", 101.1)).domain.mixture.names[0] == "blue"


def test_a_held_mixture_outlives_the_adapters_it_was_made_of(bundle: Path, pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 1))
    pipeline.freeze(True)
    shutil.rmtree(bundle / ADAPTERS / "red")
    pipeline.reload_library()
    state = pipeline.process(frame("red", 101.0)).domain
    assert state.mixture.names[0] == "red"
    assert state.support > 1
    assert state.error == ""


def test_a_library_of_damaged_adapters_is_refused_and_the_old_one_stays_in_use(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    run(pipeline, ("red", 3))
    before, library = pipeline.domain, pipeline.library
    for name in ("red", "green", "blue"):
        (bundle / ADAPTERS / name / WEIGHTS).write_bytes(b"cut")
    with pytest.raises(AdapterError, match="unreadable adapter"):
        pipeline.reload_library()
    assert pipeline.domain is before
    assert pipeline.library is library


def test_a_library_that_is_only_read_changes_nothing(bundle: Path, pipeline: SemlaPipeline) -> None:
    before, library = run(pipeline, ("red", 3))[-1].domain, pipeline.library
    shutil.rmtree(bundle / ADAPTERS / "blue")
    new = pipeline.read_library()
    assert new.names == ("green", "red")
    assert pipeline.domain is before
    assert pipeline.library is library
    pipeline.use_library(new)
    assert pipeline.library is new
    assert pipeline.domain.mixture == before.mixture


def test_the_adapters_of_the_next_mixture_are_read_ahead_with_the_library(pipeline: SemlaPipeline) -> None:
    assert pipeline.read_library().loaded == ()  # the domain is not known yet
    mixture = run(pipeline, ("red", 3))[-1].domain.mixture
    assert set(pipeline.read_library().loaded) == set(mixture.names)


def test_reading_a_library_pauses_after_each_adapter_and_can_be_given_up(pipeline: SemlaPipeline) -> None:
    library, pauses = pipeline.library, []
    pipeline.read_library(lambda: pauses.append(None))
    assert len(pauses) == 3

    with pytest.raises(RuntimeError, match="enough"):
        pipeline.read_library(failing("enough"))
    assert pipeline.library is library


@pytest.mark.parametrize("change", ["replaced", "gone", "less", "overwritten"])
def test_a_library_that_changes_while_it_is_read_is_refused(bundle: Path, pipeline: SemlaPipeline, change: str) -> None:
    library, folder = pipeline.library, bundle / ADAPTERS

    def once() -> None:
        if folder.with_name("old").exists():
            return
        shutil.copytree(folder, folder.with_name("old"))
        if change in ("replaced", "gone"):
            folder.rename(folder.with_name("away"))
        if change == "replaced":
            shutil.copytree(folder.with_name("old"), folder)
        if change in ("less", "overwritten"):
            shutil.rmtree(folder / "red")
        if change == "overwritten":
            shutil.copytree(folder.with_name("old") / "red", folder / "red")

    expected = "no adapter library" if change == "gone" else "the library changed while it was read"
    with pytest.raises(AdapterError, match=expected):
        pipeline.read_library(once)
    assert pipeline.library is library


def test_an_emptied_library_is_refused_and_the_old_one_stays_in_use(bundle: Path, pipeline: SemlaPipeline) -> None:
    before, library = run(pipeline, ("red", 3))[-1].domain, pipeline.library
    empty_the_library(bundle)
    with pytest.raises(AdapterError, match=r"no adapters \(.*adapters\): expected one folder"):
        pipeline.reload_library()
    assert pipeline.domain is before
    assert pipeline.library is library


def test_checking_settings_refuses_wrong_ones_and_changes_nothing(pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 1))
    config, domain, classes = pipeline.config, pipeline.domain, pipeline.classes
    pipeline.check(changed(config, {"segmenter.classes": ["tram"], "fusion.k": 1}))
    with pytest.raises(ConfigError, match="thresholds cross"):
        pipeline.check(changed(config, {"tracker.upper_threshold": 1.0, "tracker.lower_threshold": 2.0}))
    with pytest.raises(ConfigError, match="class named twice"):
        pipeline.check(changed(config, {"segmenter.classes": ["tram", "tram"]}))
    assert (pipeline.config, pipeline.domain, pipeline.classes) == (config, domain, classes)


def test_a_library_whose_thresholds_contradict_the_settings_is_refused(bundle: Path, pipeline: SemlaPipeline) -> None:
    configure(pipeline, tracker__lower_threshold=0.9 * pipeline.domain.upper_threshold)
    before, library = pipeline.domain, pipeline.library
    for name in ("red", "blue", "green"):
        file = bundle / ADAPTERS / name / f"{name}_statistics.npz"
        np.savez(file, train_average_embedding=np.ones((1, 8)), mean_distance=1e-4)
    with pytest.raises(ConfigError, match="thresholds cross"):
        pipeline.reload_library()
    assert pipeline.domain is before
    assert pipeline.library is library


def test_an_adapter_that_does_not_fit_is_reported_until_the_first_embedding(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    (bundle / ADAPTERS / "green" / WEIGHTS).write_bytes(b"cut")
    pipeline.reload_library()
    assert "unreadable adapter" in pipeline.domain.error
    assert "green" in pipeline.domain.error
    assert pipeline.process(frame("red", 1.0)).domain.error == ""
    assert len(pipeline.library.rejected) == 1


# Errors


@pytest.mark.parametrize(
    ("value", "size", "said"), [(math.nan, 8, "8 of 8 values NaN"), (math.inf, 8, "infinite"), (1.0, 7, "wrong shape")]
)
def test_a_bad_embedding_is_reported_and_the_last_good_mixture_stays(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, value: float, size: int, said: str
) -> None:
    good = run(pipeline, ("red", 2))[-1]
    with monkeypatch.context() as broken:
        poison(pipeline, broken, value, size)
        bad = pipeline.process(Frame(good.frame.rgb, 103 * SECOND))
    assert said in bad.domain.error
    assert replace(bad.domain, error="") == replace(good.domain, swapped=False)
    assert (bad.labels == good.labels).all()
    healed = pipeline.process(frame("red", 103.1)).domain
    assert healed.error == ""
    assert healed.swaps == 1


def test_a_bad_first_embedding_leaves_the_base_and_the_next_one_adapts(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        poison(pipeline, broken)
        state = pipeline.process(frame("red", 1.0)).domain
        assert "not finite" in state.error
        assert state.mixture == Mixture()
    assert pipeline.process(frame("red", 1.1)).domain.swapped


def test_a_bad_embedding_at_a_jump_of_the_stamps_is_reported_and_the_next_one_adapts(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline, ("red", 2))
    with monkeypatch.context() as broken:
        poison(pipeline, broken)
        assert "not finite" in pipeline.process(frame("blue", 50.0)).domain.error
    state = pipeline.process(frame("blue", 50.1)).domain
    assert (state.swapped, state.mixture.names[0], state.error) == (True, "blue", "")


def test_an_adapter_file_damaged_before_its_swap_is_reported_and_the_last_good_mixture_stays(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    configure(pipeline, fusion__k=1)
    run(pipeline, ("red", 3))
    weights = {key: value.clone() for key, value in pipeline.segmenter.network.state_dict().items()}
    file = bundle / ADAPTERS / "blue" / WEIGHTS
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    states = [pipeline.process(frame("blue", 103 + i / 10)).domain for i in range(40)]
    assert "unreadable adapter" in states[-1].error
    assert str(file) in states[-1].error
    assert {state.mixture.names for state in states} == {("red",)}
    assert states[-1].swaps == 1
    assert all(torch.equal(value, weights[key]) for key, value in pipeline.segmenter.network.state_dict().items())
    file.write_bytes(content)
    healed = pipeline.process(frame("blue", 107.5)).domain
    assert (healed.swapped, healed.mixture.names, healed.error) == (True, ("blue",), "")


def test_a_damaged_adapter_is_left_out_of_a_mixture_and_reported(bundle: Path, pipeline: SemlaPipeline) -> None:
    configure(pipeline, fusion__k=3, fusion__temperature=1.0)
    whole = pipeline.retrieve(pipeline.navigator.embed(image("red")))
    damaged = bundle / ADAPTERS / "blue" / WEIGHTS
    damaged.write_bytes(b"cut")
    state = run(pipeline, ("red", 2))[-1].domain
    assert state.mixture.names == whole.without(["blue"]).names
    assert sum(state.mixture.weights) == pytest.approx(1)
    assert "left out of the mixture: unreadable adapter" in state.error
    assert str(damaged) in state.error
    assert state.swaps == 1


def test_an_adapter_replaced_by_one_of_another_rank_is_refused_until_the_library_is_reloaded(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    configure(pipeline, fusion__k=1)
    run(pipeline, ("red", 3))
    statistics = pipeline.library.statistics[0]
    save_adapter(random_adapter("blue", pipeline.segmenter.network, rank=5), statistics, bundle / ADAPTERS)
    assert "changed on disk" in [pipeline.process(frame("blue", 103 + i)).domain for i in range(5)][-1].error
    pipeline.reload_library()
    assert pipeline.process(frame("blue", 109.0)).domain.mixture.names == ("blue",)


# Results that are not finite


def test_pixels_that_are_not_finite_are_unlabelled_and_the_base_weights_return(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    for name in ("red", "green", "blue"):
        overwrite_adapter(bundle, name, 1e15, "aggregator")  # finite weights that overflow in the network
    pipeline.reload_library()
    first, second, *_, last = run(pipeline, ("red", 3))
    assert (first.labels == 255).all()
    assert (first.confidence == 0).all()
    names = ", ".join(pipeline.retrieve(pipeline.navigator.embed(first.frame.rgb)).names)
    assert first.domain.error == f"segmentation is not finite ({names}): got NaN or infinity in 960 of 960 pixels"
    assert (first.domain.mixture, first.domain.swapped, first.domain.swaps) == (Mixture(), True, 1)
    assert is_base(pipeline)
    for result in (second, last):
        assert (result.labels != 255).all()
        assert result.domain.error == first.domain.error
        assert (result.domain.mixture, result.domain.swaps) == (Mixture(), 1)


def test_after_a_bad_mixture_the_last_good_one_returns_and_the_bad_one_is_not_tried_again(
    bundle: Path, pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite_adapter(bundle, "blue", 1e15, "aggregator")
    pipeline.reload_library()
    configure(pipeline, fusion__k=1)
    good = run(pipeline, ("red", 4))[-1]
    fused = count_calls(monkeypatch, pipeline.adapted, "fuse")
    results = run(pipeline, ("blue", 10), start=104.0)
    assert sum(bool((result.labels == 255).any()) for result in results) == 1
    assert [mixture.names for mixture in fused] == [("blue",), ("red",)]
    assert results[-1].domain.mixture == good.domain.mixture
    assert "not finite (blue)" in results[-1].domain.error
    assert (pipeline.process(Frame(good.frame.rgb, 114 * SECOND)).labels == good.labels).all()
    after = run(pipeline, ("green", 5), start=114.1)[-1].domain
    assert (after.mixture.names, after.error) == (("green",), "")


def test_a_reloaded_adapter_that_segments_badly_is_replaced_by_the_base_once(
    bundle: Path, pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(pipeline, fusion__k=1)
    run(pipeline, ("red", 1))
    overwrite_adapter(bundle, "red", 1e15, "aggregator")
    pipeline.reload_library()
    pipeline.process(frame("red", 101.0), track=False)  # the mixture of the previous library still segments well
    fused = count_calls(monkeypatch, pipeline.adapted, "fuse")
    results = run(pipeline, ("red", 2), start=101.1)
    assert [mixture.names for mixture in fused] == [("red",), ()]
    assert [bool((result.labels == 255).any()) for result in results] == [True] + 19 * [False]
    assert "not finite (red)" in results[-1].domain.error
    assert is_base(pipeline)


def test_the_last_good_mixture_returns_also_if_only_the_previous_library_has_its_adapters(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    configure(pipeline, fusion__k=1)
    good = run(pipeline, ("red", 1))[-1]
    shutil.rmtree(bundle / ADAPTERS / "red")
    for name in ("green", "blue"):
        overwrite_adapter(bundle, name, 1e15, "aggregator")
    pipeline.reload_library()
    pipeline.process(frame("red", 101.0), track=False)
    state = pipeline.process(frame("red", 101.1)).domain
    assert state.mixture == good.domain.mixture
    assert "not finite" in state.error
    assert (pipeline.process(Frame(good.frame.rgb, 102 * SECOND)).labels == good.labels).all()


def test_what_is_left_of_a_mixture_without_an_unreadable_adapter_is_fused_once_if_it_is_not_finite(
    bundle: Path, pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite_adapter(bundle, "green", 1e25)
    overwrite_adapter(bundle, "blue", 1e25)
    pipeline.reload_library()
    configure(pipeline, fusion__k=3, fusion__temperature=1.0)
    file = bundle / ADAPTERS / "red" / WEIGHTS
    content = file.read_bytes()
    file.write_bytes(b"cut")
    fused = count_calls(monkeypatch, pipeline.adapted, "fuse")
    results = run(pipeline, ("red", 5))
    assert [len(mixture.names) for mixture in fused] == [3, 2]
    assert "fused weights are not finite" in results[-1].domain.error
    assert is_base(pipeline)
    file.write_bytes(content)
    process_until(pipeline, "red", 105.0, lambda state: len(fused) == 3)  # it is tried again with the third adapter


def test_fused_weights_that_are_not_finite_are_refused_once_and_every_frame_is_segmented(
    bundle: Path, pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite_adapter(bundle, "blue", 1e25)
    pipeline.reload_library()
    configure(pipeline, fusion__k=1)
    run(pipeline, ("red", 4))
    before = weights_of(pipeline)
    fused = count_calls(monkeypatch, pipeline.adapted, "fuse")
    results = run(pipeline, ("blue", 10), start=104.0)
    assert len(fused) == 1
    assert all((result.labels != 255).all() for result in results)
    assert "fused weights are not finite: got blue" in results[-1].domain.error
    assert results[-1].domain.mixture.names == ("red",)
    assert equal(weights_of(pipeline), before)


def test_a_base_model_whose_results_are_not_finite_is_reported_with_every_frame(pipeline: SemlaPipeline) -> None:
    configure(pipeline, fusion__adapt=False)
    pipeline.segmenter.network.aggregator.head.bias.fill_(math.nan)
    for result in run(pipeline, ("red", 0.3)):
        assert (result.labels == 255).all()
        assert "segmentation is not finite (base model)" in result.domain.error


# Unexpected errors


@pytest.mark.parametrize("error", [ValueError("odd"), RuntimeError("shape"), KeyError("key"), MemoryError()])
def test_an_unexpected_error_of_the_navigator_loses_no_frame(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def embed(rgb: NDArray[np.uint8]) -> None:
        raise error

    good = run(pipeline, ("red", 2))[-1]
    with monkeypatch.context() as broken:
        broken.setattr(pipeline.navigator, "embed", embed)
        results = run(pipeline, ("red", 2), start=102.0)
    assert len(results) == 20
    assert results[-1].domain.error.endswith(f"{type(error).__name__}: {error}".removesuffix(": "))
    assert results[-1].domain.mixture == good.domain.mixture
    assert pipeline.process(frame("red", 105.0)).domain.error == ""


def test_a_navigator_that_keeps_failing_is_asked_once_per_period(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.navigator, "embed", failing("broken"))
    asked = count_calls(monkeypatch, pipeline.navigator, "embed")
    run(pipeline, ("red", 5))
    assert 10 <= len(asked) <= 11


def test_memory_that_runs_out_during_a_swap_leaves_the_last_mixture_whole(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline, ("red", 3))
    before, mixture, text = weights_of(pipeline), pipeline.domain.mixture, pipeline.segmenter.text.clone()
    for owner, method in ((pipeline.adapted.fuser, "_check_finite"), (pipeline.segmenter, "refresh_text")):
        with monkeypatch.context() as broken:
            broken.setattr(owner, method, failing("out of memory"))
            results = run(pipeline, ("blue", 4), start=103.0 + 4.0 * (method == "refresh_text"))
        assert results[-1].domain.error == "memory ran out, the active mixture stays: RuntimeError: out of memory"
        assert results[-1].domain.mixture == mixture
        assert equal(weights_of(pipeline), before)
        assert torch.equal(pipeline.segmenter.text, text)
    healed = run(pipeline, ("blue", 3), start=120.0)[-1].domain
    assert (healed.error, healed.mixture.names[0]) == ("", "blue")


def test_memory_that_runs_out_for_the_smallest_batches_too_loses_that_frame_alone(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(pipeline, ("red", 1))[-1]
    with monkeypatch.context() as broken:
        broken.setattr(pipeline.segmenter, "segment", failing("CUDA out of memory"))
        with pytest.raises(SegmentationError, match="could not be segmented: got RuntimeError: CUDA out of memory"):
            pipeline.process(frame("red", 101.0))
    assert (pipeline.process(Frame(before.frame.rgb, 102 * SECOND)).labels == before.labels).all()


def test_switching_adaptation_off_in_vain_changes_nothing(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline, ("red", 3))
    before, domain, config, classes = weights_of(pipeline), pipeline.domain, pipeline.config, pipeline.classes
    with monkeypatch.context() as broken:
        broken.setattr(pipeline.segmenter.network.clip, "encode_text", failing("out of memory"))
        with pytest.raises(RuntimeError, match="out of memory"):
            configure(pipeline, fusion__adapt=False, segmenter__classes=["tree"])
    assert equal(weights_of(pipeline), before)
    assert (pipeline.domain, pipeline.config, pipeline.classes) == (domain, config, classes)
    assert pipeline.segmenter.classes == CLASSES


# Retrieving and fusing without frames


def test_a_mixture_is_retrieved_and_fused_for_an_embedding(pipeline: SemlaPipeline) -> None:
    embedding = pipeline.navigator.embed(image("red"))
    mixture = pipeline.retrieve(embedding)
    assert mixture.names[0] == "red"
    assert pipeline.domain.mixture == Mixture()
    pipeline.fuse(mixture)
    assert pipeline.domain.mixture == mixture
    assert not is_base(pipeline)
    labels, _ = pipeline.segment(image("red"))
    assert (labels == pipeline.segmenter.segment(image("red"))[0]).all()
    pipeline.fuse(Mixture())
    assert is_base(pipeline)


def test_adapters_can_be_excluded_from_a_retrieval(pipeline: SemlaPipeline) -> None:
    embedding = pipeline.navigator.embed(image("red"))
    others = pipeline.retrieve(embedding, exclude=("red",))
    assert set(others.names) == {"blue", "green"}
    assert sum(others.weights) == pytest.approx(1.0)
    assert pipeline.retrieve(embedding, exclude=("red", "blue", "green")) == Mixture()


# The asynchronous navigator


class HeldNavigator:
    """Lets the navigator of a pipeline embed only while it is released.

    Attributes:
        begun: Event that is set when an embedding begins.
        released: Event that embeddings wait for.
        finished: Number of embeddings that have finished.
    """

    def __init__(self, pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        self.finished, self._embed = 0, pipeline.navigator.embed
        monkeypatch.setattr(pipeline.navigator, "embed", self.embed)

    def embed(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.begun.set()
        assert self.released.wait(PATIENCE_S), "the embedding was never released"
        embedding = self._embed(rgb)
        self.finished += 1
        return embedding


def process_until(pipeline: SemlaPipeline, domain: str, start: float, condition: Callable[[DomainState], bool]) -> None:
    """Processes frames of a domain until the state fulfils a condition."""
    deadline = time.monotonic() + PATIENCE_S
    for index in count():
        state = pipeline.process(frame(domain, start + 0.1 * index)).domain
        if condition(state):
            return
        assert time.monotonic() < deadline, f"the condition was not met; the last state is {state}"
        time.sleep(0.01)


@pytest.fixture
def asynchronous(bundle: Path) -> SemlaPipeline:
    return build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu"}), AsynchronousEmbedder)


def test_the_first_frame_waits_for_the_first_mixture(asynchronous: SemlaPipeline) -> None:
    assert asynchronous.process(frame("red", 1.0)).domain.swapped


def test_a_later_frame_does_not_wait_for_the_navigator(
    asynchronous: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(asynchronous, tracker__debounce_s=0.0, tracker__min_interval_s=0.0, tracker__ema_time_s=0.0)
    asynchronous.process(frame("red", 1.0))
    held = HeldNavigator(asynchronous, monkeypatch)
    states = [asynchronous.process(frame("blue", 2.0 + 0.1 * i)).domain for i in range(5)]
    assert not any(state.swapped for state in states)
    held.released.set()
    process_until(asynchronous, "blue", 2.5, lambda state: state.mixture.names[0] == "blue")


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("forget", ["reset", "reload_library", "another k"])
def test_no_frame_waits_for_a_mixture_again(
    asynchronous: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, forget: str, frozen: bool
) -> None:
    asynchronous.process(frame("red", 1.0))
    asynchronous.freeze(frozen)
    if forget == "another k":
        configure(asynchronous, fusion__k=1)
    else:
        getattr(asynchronous, forget)()
    held = HeldNavigator(asynchronous, monkeypatch)
    for index in range(10):
        asynchronous.process(frame("red", 2.0 + 0.3 * index))
    assert held.finished == 0
    held.released.set()


def test_a_frozen_frame_never_waits_and_the_first_one_after_it_may(
    asynchronous: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldNavigator(asynchronous, monkeypatch)
    asynchronous.freeze(True)
    asynchronous.process(frame("red", 1.0))
    assert held.finished == 0
    held.released.set()
    asynchronous.freeze(False)
    assert asynchronous.process(frame("red", 2.0)).domain.swapped


def test_with_a_damaged_first_adapter_only_one_frame_waits(
    bundle: Path, asynchronous: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("red", "blue", "green"):
        (bundle / ADAPTERS / name / WEIGHTS).write_bytes(b"cut")
    assert "unreadable adapter" in asynchronous.process(frame("red", 1.0)).domain.error
    held = HeldNavigator(asynchronous, monkeypatch)
    for index in range(10):
        asynchronous.process(frame("red", 2.0 + 0.3 * index))
    assert held.finished == 0
    held.released.set()


def test_after_a_reset_the_embedding_under_way_is_ignored_and_the_next_frame_is_embedded_at_once(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model.bundle": str(bundle), "model.device": "cpu", "navigator.period_s": 3600.0}
    pipeline = build_pipeline(changed(Config(), settings), lambda navigator: AsynchronousEmbedder(navigator, 1e-6))
    pipeline.process(frame("red", 1.0))
    pipeline.reset()
    held = HeldNavigator(pipeline, monkeypatch)
    pipeline.process(frame("red", 2.0))
    assert held.begun.wait(PATIENCE_S), "the embedding never began"
    pipeline.reset()
    held.released.set()
    deadline = time.monotonic() + PATIENCE_S
    while not held.finished:
        assert time.monotonic() < deadline, "the embedding under way never finished"
        time.sleep(0.01)
    process_until(pipeline, "blue", 3.0, lambda state: state.swapped)
    assert pipeline.domain.mixture.names[0] == "blue"
    assert held.finished == 2


def test_adapters_of_a_coming_swap_are_loaded_while_the_domain_drifts(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(pipeline, tracker__debounce_s=1.5)
    requested: list[tuple[str, ...]] = []
    monkeypatch.setattr(pipeline.library, "prefetch", requested.append)
    steady = run(pipeline, ("red", 3))
    assert requested == []
    swapped = [p.domain.swapped for p in run(pipeline, ("blue", 4), start=103.0)]
    assert requested[0][0] == "blue"
    assert len(requested) < swapped.index(True)
    assert not steady[-1].domain.swapped


def test_frames_of_a_camera_that_does_not_count_are_segmented_and_leave_the_domain_alone(
    pipeline: SemlaPipeline,
) -> None:
    for each in drive(("blue", 2.0)):
        pipeline.process(each)
    before = pipeline.domain
    for seconds in (102.1, 104.0, 103.0, 1.0):  # whatever their stamps
        result = pipeline.process(frame("red", seconds), track=False)
        assert result.labels.shape == result.frame.rgb.shape[:2]
    assert (pipeline.domain.mixture, pipeline.domain.distance) == (before.mixture, before.distance)
    assert pipeline.domain.swaps == before.swaps


def test_a_camera_that_does_not_count_may_be_the_first_to_send(pipeline: SemlaPipeline) -> None:
    assert pipeline.process(frame("red", 100.0), track=False).domain.mixture.names == ()
    assert pipeline.process(frame("blue", 100.1)).domain.mixture.names[0] == "blue"


@pytest.mark.parametrize("mode", ["plain", "sliding"])
def test_frames_of_several_cameras_are_segmented_in_one_pass_as_one_after_the_other(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    configure(pipeline, segmenter__mode=mode)
    frames = [Frame(image("red", seed, 24 + 4 * seed, 40), SECOND + seed, "camera") for seed in range(3)]
    pipeline.process(frames[0])
    expected = [pipeline.segment(each.rgb) for each in frames]
    passes = list[int]()
    forward = pipeline.segmenter.network.forward
    monkeypatch.setattr(
        pipeline.segmenter.network,
        "forward",
        lambda pixels, text: (passes.append(len(pixels)), forward(pixels, text))[1],
    )
    results = pipeline.process_together([(each, True) for each in frames])
    assert len(passes) == 1
    for frame_, result, (labels, confidence) in zip(frames, results, expected, strict=True):
        assert result.frame is frame_
        assert (result.labels == labels).mean() > 0.99
        np.testing.assert_allclose(result.confidence, confidence, atol=1e-5)


def test_in_one_pass_only_the_frames_that_count_move_the_domain(pipeline: SemlaPipeline) -> None:
    results = pipeline.process_together([(frame("blue", 100.0), False), (frame("red", 100.1), True)])
    assert [each.domain.mixture.names[0] for each in results] == ["red", "red"]


def test_of_one_pass_only_the_first_result_has_the_times_of_the_adaptation(pipeline: SemlaPipeline) -> None:
    first, *others = pipeline.process_together([(frame("red", 100.0), True)] * 3)
    assert first.latency_s.keys() == {"embed", "retrieve", "fuse", "text", "segment"}
    assert [each.latency_s for each in others] == 2 * [{"segment": first.latency_s["segment"]}]


def test_an_array_that_is_no_image_among_others_is_refused_before_anything_is_done(pipeline: SemlaPipeline) -> None:
    empty = Frame(np.zeros((0, 4, 3), np.uint8), SECOND, "camera")
    with pytest.raises(ImageError, match="not an image"):
        pipeline.process_together([(frame("red", 100.0), True), (empty, True)])
    assert pipeline.domain.swaps == 0
