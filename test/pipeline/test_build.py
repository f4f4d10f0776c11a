from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny import CLASSES, frame

from semla_ros.config import Config, changed
from semla_ros.errors import AdapterError, BundleError, ConfigError
from semla_ros.library.bundle import ADAPTERS
from semla_ros.modeling.catseg.official_compat import OfficialSegmenter
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.navigators.clip import ClipNavigator
from semla_ros.pipeline.build import build_live_pipeline, build_pipeline, choose_device


def config(bundle: Path, **settings: object) -> Config:
    return changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu", **settings})


def test_a_bundle_becomes_a_pipeline(pristine_bundle: Path) -> None:
    pipeline = build_pipeline(config(pristine_bundle))
    assert tuple(c.name for c in pipeline.classes) == CLASSES
    assert pipeline.library.names == ("blue", "green", "red")
    assert (pipeline.k, pipeline.temperature) == (2, 0.05)
    assert pipeline.process(frame("red", 1.0)).labels.shape == (24, 40)


def test_settings_go_before_the_bundles_defaults(pristine_bundle: Path) -> None:
    settings = {"fusion.k": 1, "fusion.temperature": 0.5, "segmenter.classes": ["tree"], "library.exclude": ["red"]}
    pipeline = build_pipeline(config(pristine_bundle, **settings))
    assert (pipeline.k, pipeline.temperature) == (1, 0.5)
    assert [c.name for c in pipeline.classes] == ["tree"]
    assert pipeline.library.names == ("blue", "green")


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_covers_the_segmenter_and_what_is_fused_into_it(pristine_bundle: Path, name: str) -> None:
    pipeline = build_pipeline(config(pristine_bundle, **{"model.precision": name}))
    result = pipeline.process(frame("red", 1.0))
    assert pipeline.segmenter.dtype == getattr(torch, name)
    assert {layer.weight.dtype for layer in pipeline.adapted.fuser.layers.values()} == {getattr(torch, name)}
    assert result.domain.swaps == 1
    assert result.domain.error == ""


def test_the_models_of_a_live_pipeline_have_computed_before_the_first_frame(
    pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    for kind, method in ((ClipNavigator, "embed"), (CatSegSegmenter, "segment")):
        compute = getattr(kind, method)
        monkeypatch.setattr(kind, method, lambda *given, of=compute: used.append(of.__name__) or of(*given))
    pipeline = build_live_pipeline(config(pristine_bundle))
    assert used == ["embed", "segment"]
    assert (pipeline.domain.mixture.names, pipeline.domain.swaps) == ((), 0)
    state = pipeline.process(frame("red", 1.0)).domain  # its embedding is its own, not that of the empty image
    assert (state.mixture.names[0], state.swaps) == ("red", 1)


def test_a_model_that_cannot_compute_an_empty_image_is_used_nevertheless(
    pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(ClipNavigator, "embed", lambda *_: 1 / 0)
        pipeline = build_live_pipeline(config(pristine_bundle))
    assert "could not compute an empty image: division by zero" in caplog.text
    assert pipeline.process(frame("red", 1.0)).domain.mixture.names[0] == "red"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_segmenter_follows_every_swap(pristine_bundle: Path) -> None:
    compiled, eager = (build_pipeline(config(pristine_bundle, **{"model.compile": on})) for on in (True, False))
    for colour, seconds in (("red", 1.0), ("blue", 20.0), ("blue", 40.0)):
        ours, theirs = (each.process(frame(colour, seconds)) for each in (compiled, eager))
        assert ours.domain.mixture == theirs.domain.mixture
        assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-5)
    assert ours.domain.swaps == 2


def test_float16_on_a_cpu_is_said_to_be_slow(pristine_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_pipeline(config(pristine_bundle, **{"model.precision": "bfloat16"}))
    assert "slow" not in caplog.text
    build_pipeline(config(pristine_bundle, **{"model.precision": "float16"}))
    assert "slow on a CPU" in caplog.text


def test_official_compatibility_is_a_setting(pristine_bundle: Path) -> None:
    assert isinstance(
        build_pipeline(config(pristine_bundle, **{"model.official_compat": True})).segmenter, OfficialSegmenter
    )
    assert not isinstance(build_pipeline(config(pristine_bundle)).segmenter, OfficialSegmenter)


def test_a_missing_bundle_is_refused_saying_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no model bundle \(.*nowhere\).*bundle\.yaml"):
        build_pipeline(config(tmp_path / "nowhere"))


def test_a_bundle_without_a_library_is_refused(bundle: Path) -> None:
    shutil.rmtree(bundle / ADAPTERS)
    with pytest.raises(AdapterError, match="no adapter library"):
        build_pipeline(config(bundle))


def test_thresholds_that_cross_are_refused(pristine_bundle: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"thresholds cross \(tracker.lower_threshold\): got 2.0, expected at most .*1.0"
    ):
        build_pipeline(config(pristine_bundle, **{"tracker.upper_threshold": 1.0, "tracker.lower_threshold": 2.0}))


def test_threads_are_set(pristine_bundle: Path) -> None:
    before = torch.get_num_threads()
    try:
        build_pipeline(config(pristine_bundle, **{"model.threads": 1}))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_cuda_without_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"no CUDA device \(model.device\): got cuda, expected auto or cpu"):
        choose_device("cuda")


def test_auto_falls_back_to_the_cpu_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    assert "running on the CPU" in caplog.text


def test_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_and_cpu_agree(pristine_bundle: Path) -> None:
    on_cpu, on_cuda = (build_pipeline(config(pristine_bundle, **{"model.device": d})) for d in ("cpu", "cuda"))
    one, other = on_cpu.process(frame("red", 1.0)), on_cuda.process(frame("red", 1.0))
    assert other.confidence == pytest.approx(one.confidence, abs=1e-3)
    assert one.domain.mixture.names == other.domain.mixture.names
