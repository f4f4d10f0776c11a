"""The metric that bundle.yaml names is used by every stage of the pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import drive, image

from semla_ros.adaptation.metrics import METRICS
from semla_ros.adaptation.retrieval import closeness_weights, support
from semla_ros.adaptation.statistics_file import load_statistics, save_statistics
from semla_ros.adaptation.thresholds import LOWER_SHARE, UPPER_MEAN_DISTANCES
from semla_ros.config import Config, changed
from semla_ros.library.bundle import DESCRIPTION
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline


def pipeline_with(metric: str, bundle: Path) -> SemlaPipeline:
    """A pipeline over a bundle that names a metric, with statistics of enough images for each metric."""
    tree = yaml.safe_load((bundle / DESCRIPTION).read_text())
    tree["defaults"]["metric"] = metric
    (bundle / DESCRIPTION).write_text(yaml.safe_dump(tree))
    for file in bundle.glob("adapters/*/*_statistics.npz"):
        save_statistics(replace(load_statistics(file), count=500), file)
    settings = {"ema_time_s": 0.5, "debounce_s": 1.0, "min_interval_s": 2.0}
    tracker = {f"tracker.{name}": value for name, value in settings.items()}
    config = {"model.bundle": str(bundle), "model.device": "cpu", "navigator.period_s": 0.5, "fusion.k": 2}
    return build_pipeline(changed(Config(), config | tracker))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_retrieval_tracking_thresholds_and_support_use_the_metric_of_the_bundle(name: str, bundle: Path) -> None:
    pipeline, metric = pipeline_with(name, bundle), METRICS[name]
    library = pipeline.library
    median = np.median([statistics.mean_distance(metric) for statistics in library.statistics])
    upper, lower = pipeline.domain.upper_threshold, pipeline.domain.lower_threshold
    assert upper == pytest.approx(UPPER_MEAN_DISTANCES * median)
    assert lower == pytest.approx(LOWER_SHARE * upper)

    first, second = (pipeline.process(frame).domain for frame in drive(("red", 0.2)))
    embedding = pipeline.navigator.embed(drive(("red", 0.1))[0].rgb)
    distances = {each: library.index_of([each]).distances(embedding).item() for each in library.names}
    nearest = sorted(distances, key=distances.__getitem__)[:2]
    expected = np.array([distances[each] for each in nearest])
    weights = closeness_weights(expected, pipeline.temperature)
    assert first.mixture.names == tuple(nearest)
    assert first.mixture.names[0] == "red"
    assert first.mixture.distances == pytest.approx(expected)
    assert first.mixture.weights == pytest.approx(weights)
    assert first.support == pytest.approx(support(weights, expected))
    assert second.mixture == first.mixture

    for frame in drive(("red", 1), ("blue", 1), start=101)[:12]:
        state = pipeline.process(frame).domain
    tracker = pipeline._follower.tracker
    assert tracker.ema is not None
    assert tracker.anchor is not None
    assert state.distance == pytest.approx(library.index.distance(tracker.ema, tracker.anchor))
    assert state.distance > 0


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_change_of_the_domain_is_followed_in_every_metric(name: str, bundle: Path) -> None:
    pipeline = pipeline_with(name, bundle)
    states = [pipeline.process(frame).domain for frame in drive(("red", 4), ("blue", 8))]
    assert (states[30].mixture.names[0], states[-1].mixture.names[0]) == ("red", "blue")
    assert states[-1].swaps <= 4


@pytest.mark.parametrize("name", sorted(METRICS))
def test_evaluation_retrieves_in_the_metric_of_the_bundle(name: str, bundle: Path) -> None:
    pipeline = pipeline_with(name, bundle)
    embedding = pipeline.navigator.embed(image("red"))
    found = pipeline.retrieve(embedding, exclude=("red",))
    assert set(found.names) == {"blue", "green"}
    assert found.distances == pytest.approx(pipeline.library.index_of(found.names).distances(embedding))
