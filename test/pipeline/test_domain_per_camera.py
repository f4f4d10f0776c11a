"""Several cameras that share the weights, each with a domain of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import drive, frame, random_navigator

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.config import Config, changed
from semla_ros.errors import AdapterError
from semla_ros.images.frame import Frame
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.modeling.lora import Adapter
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.embedding import AsynchronousEmbedder
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.pipeline.result import SegmentationResult

FRONT = [("red", 6.0), ("blue", 6.0)]
REAR = [("green", 12.0)]


def run(pipeline: SemlaPipeline, **cameras: list[Frame]) -> dict[str, list[SegmentationResult]]:
    """Processes the frames of the cameras in turn."""
    results: dict[str, list[SegmentationResult]] = {name: [] for name in cameras}
    for turn in zip(*cameras.values(), strict=True):
        for name, each in zip(cameras, turn, strict=True):
            results[name].append(pipeline.process(each, camera=name))
    return results


def mixtures(results: list[SegmentationResult]) -> Iterator[Mixture]:
    return (each.domain.mixture for each in results)


def test_each_camera_is_segmented_as_by_a_pipeline_of_its_own(pipeline: SemlaPipeline, pristine_bundle: Path) -> None:
    together = run(pipeline, front=drive(*FRONT), rear=drive(*REAR))
    for name, legs in (("front", FRONT), ("rear", REAR)):
        alone = build_pipeline(changed(pipeline.config, {"model.bundle": str(pristine_bundle)}))
        expected = [alone.process(each) for each in drive(*legs)]
        for found, wanted in zip(together[name], expected, strict=True):
            assert replace(found.domain, swapped=False) == replace(wanted.domain, swapped=False)
            assert found.domain.swapped == wanted.domain.swapped
            assert (found.labels == wanted.labels).mean() > 0.99
            np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-5)


def test_a_change_before_one_camera_swaps_its_mixture_alone(pipeline: SemlaPipeline) -> None:
    results = run(pipeline, front=drive(*FRONT), rear=drive(*REAR))
    assert {each.names[0] for each in mixtures(results["front"])} == {"red", "blue"}
    assert {each.names[0] for each in mixtures(results["rear"])} == {"green"}
    assert [sum(each.domain.swapped for each in results[name]) for name in ("front", "rear")] == [2, 1]


def test_the_state_of_each_domain_is_kept_between_its_turns(pipeline: SemlaPipeline) -> None:
    run(pipeline, front=[frame("red", 100.0)], rear=[frame("blue", 100.0)])
    assert pipeline.domain_of("front").mixture.names[0] == "red"
    assert pipeline.domain_of("rear").mixture.names[0] == "blue"
    assert pipeline.domain == pipeline.domain_of("rear")
    assert pipeline.adapted.mixture == pipeline.domain.mixture


def test_a_freeze_holds_the_mixture_of_every_camera_also_of_one_that_comes_later(pipeline: SemlaPipeline) -> None:
    run(pipeline, front=[frame("red", 100.0)], rear=[frame("green", 100.0)])
    pipeline.freeze(True)
    held = run(pipeline, front=drive(("blue", 8.0), start=101.0), rear=drive(("red", 8.0), start=101.0))
    assert {each.names[0] for each in mixtures(held["front"])} == {"red"}
    assert {each.names[0] for each in mixtures(held["rear"])} == {"green"}
    late = pipeline.process(frame("red", 110.0), camera="left").domain
    assert (late.frozen, late.mixture) == (True, Mixture())
    pipeline.freeze(False)
    assert not any(pipeline.domain_of(name).frozen for name in ("front", "rear", "left"))


def test_a_reset_and_another_library_concern_every_camera(pipeline: SemlaPipeline) -> None:
    run(pipeline, front=drive(*FRONT), rear=drive(*REAR))
    pipeline.reset()
    assert [pipeline.domain_of(name).swaps for name in ("front", "rear")] == [0, 0]
    pipeline.config = changed(pipeline.config, {"library.exclude": ["green"]})
    pipeline.reload_library()
    results = run(pipeline, front=[frame("red", 200.0)], rear=[frame("green", 200.0)])
    assert all("green" not in each.names for name in results for each in mixtures(results[name]))


def test_a_loop_of_one_recording_starts_only_its_own_domain_over(pipeline: SemlaPipeline) -> None:
    run(pipeline, front=[frame("red", 100.0)], rear=[frame("green", 100.0)])
    pipeline.process(frame("blue", 50.0), camera="front")
    assert pipeline.domain_of("front").mixture.names[0] == "blue"
    assert pipeline.domain_of("rear").swaps == 1


def test_adaptation_that_is_switched_off_restores_the_base_for_every_camera(pipeline: SemlaPipeline) -> None:
    run(pipeline, front=[frame("red", 100.0)], rear=[frame("green", 100.0)])
    pipeline.configure(changed(pipeline.config, {"fusion.adapt": False}))
    results = run(pipeline, front=[frame("red", 101.0)], rear=[frame("green", 101.0)])
    assert all(each == Mixture() for name in results for each in mixtures(results[name]))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_mixture_that_cannot_be_fused_at_its_turn_is_reported_and_the_base_segments_until_it_can(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    pipeline.configure(changed(pipeline.config, {"fusion.k": 1}))
    run(pipeline, front=[frame("red", 100.0)], rear=[frame("green", 100.0)])
    pipeline.freeze(frozen)
    load = AdapterLibrary.load

    def damaged(library: AdapterLibrary, name: str) -> Adapter:
        if name == "red":
            raise AdapterError("adapter is truncated", where=name)
        return load(library, name)

    monkeypatch.setattr(AdapterLibrary, "load", damaged)
    for seconds in (100.1, 101.0, 101.1):
        broken = pipeline.process(frame("red", seconds), camera="front").domain
        assert broken.error == "adapter is truncated (red)"
        assert broken.mixture == pipeline.adapted.mixture == Mixture()
    assert pipeline.process(frame("green", 101.2), camera="rear").domain.mixture.names == ("green",)
    monkeypatch.setattr(AdapterLibrary, "load", load)
    mended = pipeline.process(frame("red", 102.0), camera="front").domain
    assert (mended.mixture.names, mended.error) == (("red",), "")


def test_mixtures_outlive_the_adapters_that_another_library_does_not_have(pipeline: SemlaPipeline) -> None:
    pipeline.configure(changed(pipeline.config, {"fusion.k": 1}))
    run(pipeline, front=[frame("red", 100.0)], rear=[frame("green", 100.0)])
    pipeline.freeze(True)
    pipeline.config = changed(pipeline.config, {"library.exclude": ["red", "green"]})
    pipeline.reload_library()
    for seconds in (101.0, 102.0):
        results = run(pipeline, front=[frame("red", seconds)], rear=[frame("green", seconds)])
        assert [results[name][0].domain.mixture.names for name in results] == [("red",), ("green",)]
        assert [results[name][0].domain.error for name in results] == ["", ""]
    pipeline.freeze(False)
    results = run(pipeline, front=[frame("red", 103.0)], rear=[frame("green", 103.0)])
    assert [results[name][0].domain.mixture.names for name in results] == [("blue",), ("blue",)]


def test_after_a_bad_mixture_the_last_good_one_of_the_same_camera_returns(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.configure(
        changed(pipeline.config, {"fusion.k": 1, "tracker.debounce_s": 0.0, "tracker.min_interval_s": 0.0})
    )
    run(pipeline, front=drive(("red", 2.0)), rear=drive(("green", 2.0)))
    segment = pipeline.segmenter.segment_together

    def segmented(images: Any, *args: Any) -> Any:
        found = segment(images, *args)
        return [(np.full_like(ids, -1) if pipeline.adapted.mixture.names == ("blue",) else ids, p) for ids, p in found]

    monkeypatch.setattr(pipeline.segmenter, "segment_together", segmented)
    monkeypatch.setattr(pipeline.segmenter, "segment", lambda rgb, *args: segmented([rgb], *args)[0])
    results = run(pipeline, front=drive(("red", 6.0), start=102.0), rear=drive(("blue", 6.0), start=102.0))
    assert any("not finite" in each.domain.error for each in results["rear"])
    assert {each.names for each in mixtures(results["front"])} == {("red",)}
    assert {each.names for each in mixtures(results["rear"])} == {("green",)}


def test_the_first_frame_of_each_camera_waits_for_its_mixture(pristine_bundle: Path) -> None:
    pipeline = build_pipeline(
        changed(Config(), {"model.bundle": str(pristine_bundle), "model.device": "cpu"}),
        lambda navigator: AsynchronousEmbedder(navigator, max_share=1e-6),
    )
    results = run(pipeline, front=[frame("red", 100.0)], rear=[frame("green", 100.0)])
    assert [results[name][0].domain.mixture.names[0] for name in results] == ["red", "green"]


def test_the_embedders_of_two_domains_share_one_thread_and_one_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set[int]()
    navigator = random_navigator()
    embed = navigator.embed
    monkeypatch.setattr(navigator, "embed", lambda rgb: (threads.add(threading.get_ident()), embed(rgb))[1])
    one = AsynchronousEmbedder(navigator, max_share=1e-6)  # the pause after an embedding has no end here
    other = one.beside()
    assert one.submit(frame("red", 1.0))
    assert other.submit(frame("green", 1.0))
    first = one.take(wait=True)
    assert first is not None
    assert first.frame.stamp_ns == 10**9
    assert not other.submit(frame("green", 2.0))
    assert other.take(wait=True) is not None
    assert not one.submit(frame("red", 2.0))
    assert not other.submit(frame("green", 2.0))
    other.clear()
    assert other.submit(frame("green", 3.0))
    assert not one.submit(frame("red", 3.0))
    assert len(threads) == 1


def test_embedders_beside_each_other_pause_for_the_sum_of_their_embeddings() -> None:
    one = AsynchronousEmbedder(random_navigator(), max_share=0.5)
    others = [one, one.beside(), one.beside()]
    for each in others:
        each.submit(frame("red", 1.0))
    results = [result for each in others if (result := each.take(wait=True))]
    assert len(results) == 3
    assert one._pause.until_s >= results[0].finished_s + sum(each.seconds for each in results)
