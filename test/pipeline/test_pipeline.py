from __future__ import annotations

import math
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import CLASSES, SECOND, drive, frame, random_network

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.config import Config, changed
from semla_ros.errors import AdapterError, ConfigError, ImageError
from semla_ros.images.frame import Frame
from semla_ros.library.adapter_folder import WEIGHTS
from semla_ros.library.bundle import ADAPTERS
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.embedding import AsynchronousEmbedder
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.pipeline.result import SegmentationResult


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


def is_base(pipeline: SemlaPipeline) -> bool:
    base = random_network().state_dict()
    return all(torch.equal(value, base[key]) for key, value in pipeline.segmenter.network.state_dict().items())


# What comes out


def test_a_frame_gives_a_class_and_a_confidence_for_every_pixel(pipeline: SemlaPipeline) -> None:
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


def test_pixels_less_sure_than_the_threshold_are_unlabelled(pipeline: SemlaPipeline) -> None:
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
def test_what_is_no_image_is_refused_and_the_next_frame_is_served(pipeline: SemlaPipeline, rgb: NDArray[Any]) -> None:
    before = pipeline.process(frame("red", 1.0)).domain
    with pytest.raises(ImageError, match=r"not a image: got \w+ \(.*expected uint8 \(H, W, 3\)"):
        pipeline.process(Frame(rgb, 2 * SECOND))
    assert pipeline.process(frame("red", 1.1)).domain == replace(before, swapped=False)


# Adapting


def test_before_the_first_frame_nothing_is_known(pipeline: SemlaPipeline) -> None:
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


def test_a_steady_stretch_brings_no_swap(pipeline: SemlaPipeline) -> None:
    results = run(pipeline, ("red", 15))
    assert swaps(results) == [(0.0, "red")]
    assert not results[-1].domain.out_of_distribution


def test_every_change_of_domain_brings_one_swap_soon_after_the_dwell_time(pipeline: SemlaPipeline) -> None:
    found = swaps(run(pipeline, ("red", 5), ("blue", 5), ("green", 5), ("red", 5)))
    assert [name for _, name in found] == ["red", "blue", "green", "red"]
    for (time, _), change in zip(found[1:], (5.0, 10.0, 15.0), strict=True):
        assert change + 1.0 <= time <= change + 2.0


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
def test_the_domain_is_looked_at_once_a_period_of_the_stamps(
    pipeline: SemlaPipeline, period: float, embedded: int
) -> None:
    configure(pipeline, navigator__period_s=period)
    assert sum("embed" in p.latency_s for p in run(pipeline, ("red", 3))) == embedded


def test_dropped_frames_do_not_matter(pipeline: SemlaPipeline) -> None:
    frames = drive(("red", 5), ("blue", 5))
    every = swaps([pipeline.process(one) for one in frames])
    pipeline.reset()
    assert swaps([pipeline.process(one) for one in frames[::5]]) == every


def test_text_is_encoded_anew_after_a_swap(pipeline: SemlaPipeline) -> None:
    before = pipeline.segmenter._text.clone()
    run(pipeline, ("red", 0.1))
    fresh = pipeline.segmenter.network.clip.encode_text(pipeline.segmenter._tokens)
    assert torch.allclose(pipeline.segmenter._text, fresh, atol=1e-6)
    assert (pipeline.segmenter._text - before).abs().max() > 1e-3


def test_a_swap_that_would_change_too_little_is_skipped(pipeline: SemlaPipeline) -> None:
    configure(pipeline, tracker__upper_threshold=1e-6, tracker__lower_threshold=1e-9, tracker__min_weight_change=0.5)
    last = run(pipeline, ("red", 10))[-1].domain
    assert last.swaps == 1
    assert last.skipped >= 2
    assert last.distance < 0.3


def test_a_skipped_swap_does_not_hold_back_the_next_one(pipeline: SemlaPipeline) -> None:
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


def test_the_newest_frame_decides_what_swapped_means(pipeline: SemlaPipeline) -> None:
    assert [p.domain.swapped for p in run(pipeline, ("red", 0.3))] == [True, False, False]


def test_a_domain_far_from_every_adapter_is_out_of_the_library(bundle: Path, pipeline: SemlaPipeline) -> None:
    shutil.rmtree(bundle / ADAPTERS / "blue")
    pipeline.reload_library()
    assert not run(pipeline, ("red", 1))[-1].domain.out_of_distribution
    assert run(pipeline, ("blue", 3), start=101.0)[-1].domain.out_of_distribution


def test_excluded_adapters_are_never_retrieved(pristine_bundle: Path, pipeline: SemlaPipeline) -> None:
    settings = {"model.bundle": str(pristine_bundle), "library.exclude": ["red"], "fusion.k": 9}
    other = build_pipeline(changed(pipeline.config, settings))
    assert set(other.process(frame("red", 1.0)).domain.mixture.names) == {"blue", "green"}


def test_an_empty_library_leaves_the_base(bundle: Path, pipeline: SemlaPipeline) -> None:
    shutil.rmtree(bundle / ADAPTERS)
    (bundle / ADAPTERS).mkdir()
    pipeline = build_pipeline(pipeline.config)
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


def test_a_frozen_mixture_is_held_through_changes_and_let_go_afterwards(pipeline: SemlaPipeline) -> None:
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


def test_after_a_reset_the_next_frame_brings_the_first_mixture_anew(pipeline: SemlaPipeline) -> None:
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


def test_a_library_gone_bad_is_refused_and_the_old_one_serves_on(bundle: Path, pipeline: SemlaPipeline) -> None:
    run(pipeline, ("red", 3))
    before, library = pipeline.domain, pipeline.library
    for name in ("red", "green", "blue"):
        (bundle / ADAPTERS / name / WEIGHTS).write_bytes(b"cut")
    with pytest.raises(AdapterError, match="unreadable adapter"):
        pipeline.reload_library()
    assert pipeline.domain is before
    assert pipeline.library is library


def test_a_library_whose_folder_was_emptied_is_refused_and_the_old_one_stays(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    run(pipeline, ("red", 3))
    before, library = pipeline.domain, pipeline.library
    for name in ("red", "green", "blue"):
        shutil.rmtree(bundle / ADAPTERS / name)
    with pytest.raises(AdapterError, match="empty adapter library"):
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


def test_an_unfit_adapter_is_told_until_the_first_embedding(bundle: Path, pipeline: SemlaPipeline) -> None:
    (bundle / ADAPTERS / "green" / WEIGHTS).write_bytes(b"cut")
    pipeline.reload_library()
    assert "unreadable adapter" in pipeline.domain.error
    assert "green" in pipeline.domain.error
    assert pipeline.process(frame("red", 1.0)).domain.error == ""
    assert len(pipeline.library.rejected) == 1


# What goes wrong


@pytest.mark.parametrize(
    ("value", "size", "said"), [(math.nan, 8, "8 of 8 values NaN"), (math.inf, 8, "infinite"), (1.0, 7, "wrong shape")]
)
def test_a_bad_embedding_is_told_and_the_last_good_mixture_segments(
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


def test_a_bad_embedding_while_the_stamps_jump_back_is_survived(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline, ("red", 2))
    with monkeypatch.context() as broken:
        poison(pipeline, broken)
        assert "not finite" in pipeline.process(frame("blue", 50.0)).domain.error
    state = pipeline.process(frame("blue", 50.1)).domain
    assert (state.swapped, state.mixture.names[0], state.error) == (True, "blue", "")


def test_an_adapter_gone_bad_before_its_swap_is_told_and_the_last_good_mixture_segments(
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


def test_an_adapter_replaced_by_one_of_another_rank_does_not_tear_the_weights(
    bundle: Path, pipeline: SemlaPipeline
) -> None:
    from tiny import random_adapter

    from semla_ros.library.adapter_folder import save_adapter

    configure(pipeline, fusion__k=1)
    run(pipeline, ("red", 3))
    statistics = pipeline.library.statistics[0]
    save_adapter(random_adapter("blue", pipeline.segmenter.network, rank=5), statistics, bundle / ADAPTERS)
    assert "changed on disk" in [pipeline.process(frame("blue", 103 + i)).domain for i in range(5)][-1].error
    pipeline.reload_library()
    assert pipeline.process(frame("blue", 109.0)).domain.mixture.names == ("blue",)


# The navigator beside the frames


@pytest.fixture
def beside(pristine_bundle: Path) -> SemlaPipeline:
    return build_pipeline(
        changed(Config(), {"model.bundle": str(pristine_bundle), "model.device": "cpu"}), AsynchronousEmbedder
    )


def test_beside_the_first_frame_waits_for_its_mixture(beside: SemlaPipeline) -> None:
    assert beside.process(frame("red", 1.0)).domain.swapped


def test_beside_a_frame_does_not_wait_and_a_later_one_brings_the_swap(
    beside: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(beside, tracker__debounce_s=0.0, tracker__min_interval_s=0.0, tracker__ema_time_s=0.0)
    beside.process(frame("red", 1.0))
    embed, go = beside.navigator.embed, threading.Event()
    monkeypatch.setattr(beside.navigator, "embed", lambda rgb: embed(rgb) if go.wait(60) else None)
    states = [beside.process(frame("blue", 2.0 + 0.1 * i)).domain for i in range(5)]
    assert not any(state.swapped for state in states)
    go.set()
    beside.embedder._work.result()
    state = beside.process(frame("blue", 2.5)).domain
    assert (state.swapped, state.mixture.names[0]) == (True, "blue")


def test_candidates_are_read_while_the_domain_drifts(pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(pipeline, tracker__debounce_s=1.5)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(pipeline.library, "prefetch", asked.append)
    steady = run(pipeline, ("red", 3))
    assert asked == []
    swapped = [p.domain.swapped for p in run(pipeline, ("blue", 4), start=103.0)]
    assert asked[0][0] == "blue"
    assert len(asked) < swapped.index(True)
    assert not steady[-1].domain.swapped
