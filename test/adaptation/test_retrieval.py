from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.covariance import LowRankCovariance
from semla_ros.adaptation.metrics import METRICS
from semla_ros.adaptation.retrieval import Mixture, checked, closeness_weights, retrieve, support
from semla_ros.errors import EmbeddingError

NAMES = ("a", "b", "c", "d", "e", "f")
CENTROIDS = np.random.default_rng(5).normal(size=(6, 16)) * 3
EMBEDDING = np.random.default_rng(6).normal(size=16) * 3

distance = st.floats(1e-3, 1e3)
weighting = st.dictionaries(st.sampled_from(NAMES), st.floats(0.01, 1.0), max_size=6)


def mixture(parts: dict[str, float]) -> Mixture:
    total = sum(parts.values())
    return Mixture(tuple(parts), tuple(w / total for w in parts.values()), (1.0,) * len(parts))


def test_weights_are_the_softmax_of_inverse_distances_over_the_nearest() -> None:
    found = retrieve(EMBEDDING, NAMES, CENTROIDS, k=3, temperature=0.05)
    distances = [math.dist(EMBEDDING, c) for c in CENTROIDS]
    nearest = sorted(range(6), key=distances.__getitem__)[:3]
    powers = [math.exp(1 / (0.05 * distances[i])) for i in nearest]
    assert found.names == tuple(NAMES[i] for i in nearest)
    assert found.weights == pytest.approx([p / sum(powers) for p in powers])
    assert found.distances == pytest.approx([distances[i] for i in nearest])
    assert found.support == pytest.approx(sum(w / d for w, d in zip(found.weights, found.distances, strict=True)))


def test_distances_are_not_normalised() -> None:
    near, far = retrieve(2 * EMBEDDING, NAMES, 2 * CENTROIDS, 6, 0.05), retrieve(EMBEDDING, NAMES, CENTROIDS, 6, 0.05)
    assert near.distances == pytest.approx([2 * d for d in far.distances])
    assert near.weights[0] < far.weights[0]


@pytest.mark.parametrize("name", ["euclidean", "cosine", "mahalanobis"])
def test_the_metric_of_the_index_ranks_and_weights_the_adapters(name: str) -> None:
    draw = np.random.default_rng(8)
    covariances = [LowRankCovariance.of(np.diag(draw.uniform(0.1, 5, 16))) for _ in NAMES]
    index = CentroidIndex(CENTROIDS, METRICS[name], LowRankCovariance.stacked(covariances, 16))
    found = retrieve(EMBEDDING, NAMES, index, k=2, temperature=0.05)
    distances = index.distances(EMBEDDING)
    assert found.names == tuple(NAMES[i] for i in np.argsort(distances)[:2])
    assert found.distances == pytest.approx(sorted(distances)[:2])
    assert found.weights == pytest.approx(closeness_weights(np.sort(distances)[:2], 0.05))


def test_k_above_the_library_s_size_retrieves_all_adapters() -> None:
    assert len(retrieve(EMBEDDING, NAMES, CENTROIDS, k=99, temperature=0.05).names) == 6


def test_an_empty_library_gives_the_mixture_of_the_base_model() -> None:
    assert retrieve(EMBEDDING, (), np.empty((0, 16)), k=5, temperature=0.05) == Mixture()


def test_an_adapter_at_distance_zero_takes_all_the_weight() -> None:
    found = retrieve(CENTROIDS[2], NAMES, CENTROIDS, k=3, temperature=0.05)
    assert found.names[0] == "c"
    assert found.weights == (1.0, 0.0, 0.0)
    assert found.support == math.inf


def test_two_adapters_at_distance_zero_share_the_weight() -> None:
    assert closeness_weights(np.array([0.0, 0.0, 1.0]), 0.05).tolist() == [0.5, 0.5, 0.0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tiny", [0.02, 1e-6, 1e-300, 5e-324, 0.0])
def test_tiny_distances_do_not_overflow(tiny: float) -> None:
    weights = closeness_weights(np.array([tiny, 1.0]), 0.01)
    assert weights.tolist() == pytest.approx([1.0, 0.0])
    assert support(weights, np.array([tiny, 1.0])) == pytest.approx(np.divide(1.0, tiny) if tiny > 1e-308 else np.inf)


@pytest.mark.filterwarnings("error")
def test_a_weight_of_zero_on_a_centroid_adds_nothing_to_the_support() -> None:
    assert support(np.array([1.0, 0.0]), np.array([2.0, 0.0])) == 0.5
    assert support(np.array([]), np.array([])) == 0.0


@given(st.lists(distance, min_size=1, max_size=8), st.floats(1e-3, 1e3))
def test_weights_sum_to_one_and_fall_with_distance(distances: list[float], temperature: float) -> None:
    weights = closeness_weights(np.array(distances), temperature)
    assert weights.sum() == pytest.approx(1.0)
    assert (np.diff(weights[np.argsort(distances, kind="stable")]) <= 1e-12).all()


@given(st.permutations(range(6)))
def test_the_order_of_the_library_does_not_matter(order: list[int]) -> None:
    shuffled = retrieve(EMBEDDING, [NAMES[i] for i in order], CENTROIDS[order], k=4, temperature=0.05)
    assert shuffled == retrieve(EMBEDDING, NAMES, CENTROIDS, k=4, temperature=0.05)


@given(weighting, weighting)
def test_change_is_symmetric_and_lies_between_zero_and_two(one: dict[str, float], other: dict[str, float]) -> None:
    a, b = mixture(one), mixture(other)
    assert a.change(b) == pytest.approx(b.change(a))
    assert -1e-9 <= a.change(b) <= 2 + 1e-9
    assert a.change(a) == 0.0


def test_change_is_the_l1_distance_of_the_weights() -> None:
    assert mixture({"a": 0.5, "b": 0.5}).change(mixture({"a": 0.8, "c": 0.2})) == pytest.approx(0.3 + 0.5 + 0.2)
    assert mixture({"a": 1.0}).change(mixture({"b": 1.0})) == 2.0
    assert mixture({"a": 1.0}).change(Mixture()) == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_embedding_that_is_not_finite_is_refused_with_a_count(bad: float) -> None:
    embedding = EMBEDDING.copy()
    embedding[[2, 7]] = bad
    with pytest.raises(EmbeddingError, match="2 of 16 values"):
        retrieve(embedding, NAMES, CENTROIDS, 3, 0.05)


@pytest.mark.parametrize("shape", [(15,), (1, 16), (0,)])
def test_an_embedding_of_another_shape_is_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(EmbeddingError, match=r"wrong shape: got \(.*expected \(16,\)"):
        checked(np.zeros(shape), 16)


def test_the_other_weights_of_a_mixture_keep_their_ratios_when_adapters_are_left_out() -> None:
    mixture = Mixture(("a", "b", "c"), (0.5, 0.3, 0.2), (1.0, 2.0, 4.0), 0.7)
    rest = mixture.without(["b"])
    assert rest.names == ("a", "c")
    assert rest.weights == pytest.approx((5 / 7, 2 / 7))
    assert rest.distances == (1.0, 4.0)
    assert rest.support == pytest.approx(5 / 7 / 1.0 + 2 / 7 / 4.0)
    assert mixture.without(["a", "b", "c"]) == Mixture()
