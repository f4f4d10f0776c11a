from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CLASSES, random_adapter, random_network

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.errors import AdapterError
from semla_ros.evaluation.cityscapes import CityscapesFolder
from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.evaluation.leave_one_out import METHODS, Inference, LeaveOneOut, Score
from semla_ros.evaluation.metrics import ConfusionMatrix, harmonic_mean
from semla_ros.evaluation.rendered import RenderedDataset
from semla_ros.evaluation.table import as_table
from semla_ros.library.adapter_folder import WEIGHTS, read_statistics, save_adapter
from semla_ros.library.bundle import ADAPTERS
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.streetworld import CLASSES as WORLD
from semla_ros.streetworld.dataset import write_dataset
from semla_ros.streetworld.domains import DOMAINS


class Domain(list[LabelledImage]):
    """A data set in memory."""

    def __init__(self, name: str, count: int = 2) -> None:
        draw = np.random.default_rng(len(name))
        images = (draw.integers(0, 256, (24, 40, 3), np.uint8) for _ in range(count))
        super().__init__(
            LabelledImage(rgb, draw.integers(0, len(CLASSES), (24, 40)).astype(np.uint8)) for rgb in images
        )
        self.name = name


def opened(bundle: Path, **settings: object) -> SemlaPipeline:
    given = {key.replace("__", "."): value for key, value in settings.items()}
    return build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu", **given}))


@pytest.fixture
def pipeline(pristine_bundle: Path) -> SemlaPipeline:
    return opened(pristine_bundle)


def fused_by(pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Returns a list to which every mixture that is fused from now on is added, as name to weight."""
    seen: list[dict[str, float]] = []
    fuse = pipeline.fuse
    monkeypatch.setattr(
        pipeline,
        "fuse",
        lambda mixture: (seen.append(dict(zip(mixture.names, mixture.weights, strict=True))), fuse(mixture)),
    )
    return seen


def test_the_own_adapter_of_the_target_is_left_out_except_for_the_oracle(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = fused_by(pipeline, monkeypatch)
    for method, expected in (("uniform", {"blue", "green"}), ("semla", {"blue", "green"}), ("oracle", {"red"})):
        seen.clear()
        LeaveOneOut(pipeline, methods=[method]).run([Domain("red")])
        assert {name for mixture in seen for name in mixture} == expected, method
    seen.clear()
    LeaveOneOut(pipeline, methods=["zero_shot"]).run([Domain("red")])
    assert seen == [{}]


def test_a_bundle_without_adapters_is_evaluated_by_its_base_model_alone(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(bundle / ADAPTERS)
    (bundle / ADAPTERS).mkdir()
    with pytest.raises(AdapterError, match=r"nothing to leave out.*got 0 adapters.*zero_shot needs none"):
        LeaveOneOut(opened(bundle))
    caplog.clear()
    score = LeaveOneOut(opened(bundle), methods=["zero_shot"]).run([Domain("red")])["zero_shot"]
    assert score.per_domain.keys() == {"red"}
    assert "no adapter of this name" not in caplog.text


def test_a_bundle_without_adapters_is_evaluated_on_every_rendered_domain(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(bundle / ADAPTERS)
    (bundle / ADAPTERS).mkdir()
    argv = ["evaluate", "--bundle", str(bundle), "--images", "1", "--methods"]
    assert main([*argv, "zero_shot"]) == 0
    shown = capsys.readouterr().out
    assert all(f"| {domain} |" in shown for domain in DOMAINS)
    assert main([*argv, "semla"]) == 1
    assert "nothing to leave out" in capsys.readouterr().err


def test_adapters_that_are_no_rendered_domain_are_named_and_not_evaluated(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statistics = read_statistics(bundle / ADAPTERS / "red")
    save_adapter(random_adapter("dusk", random_network()), statistics, bundle / ADAPTERS)
    assert main(["evaluate", "--bundle", str(bundle), "--images", "1", "--methods", "uniform"]) == 0
    shown = capsys.readouterr()
    assert "| dusk |" in shown.out
    assert "| clear_day |" not in shown.out
    assert "semla: no domains of StreetWorld, so not evaluated: blue, green, red" in shown.err


def test_every_image_gets_its_own_mixture(pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = fused_by(pipeline, monkeypatch)
    LeaveOneOut(pipeline, methods=["semla"]).run([Domain("elsewhere", count=4)])
    assert len(seen) == 4
    assert all(sum(mixture.values()) == pytest.approx(1) for mixture in seen)


def test_scores_come_from_one_confusion_matrix_per_domain(pipeline: SemlaPipeline) -> None:
    domains = [Domain("red"), Domain("green", 3)]
    score = LeaveOneOut(pipeline, methods=["oracle"]).run(domains)["oracle"]
    for domain in domains:
        pipeline.fuse(Mixture((domain.name,), (1.0,), (0.0,)))
        confusion = ConfusionMatrix(3)
        for item in domain:
            confusion.add(item.labels, pipeline.segmenter.segment(item.rgb)[0])
        assert score.per_domain[domain.name] == pytest.approx(confusion.miou)
        assert list(score.per_class[domain.name].values()) == pytest.approx(100 * confusion.iou)
    assert score.h_mean == pytest.approx(harmonic_mean(score.per_domain.values()))


def test_a_mean_over_fewer_domains_is_marked() -> None:
    scores = {"semla": Score({"a": 20.0, "b": 30.0}, 24.0, {}), "oracle": Score({"a": 40.0}, 40.0, {})}
    assert as_table(scores).splitlines()[-1] == "| **h-mean** | **24.0** | **40.0** (1 of 2) |"


def test_a_domain_without_an_own_adapter_is_logged(pipeline: SemlaPipeline, caplog: pytest.LogCaptureFixture) -> None:
    LeaveOneOut(pipeline, methods=["uniform"]).run([Domain("red"), Domain("elsewhere")])
    assert [record.args for record in caplog.records] == [("elsewhere",)]


def test_a_domain_without_an_adapter_has_no_oracle(pipeline: SemlaPipeline) -> None:
    scores = LeaveOneOut(pipeline).run([Domain("elsewhere"), Domain("red")])
    assert list(scores["oracle"].per_domain) == ["red"]
    assert list(scores["semla"].per_domain) == ["elsewhere", "red"]
    assert "| elsewhere |" in as_table(scores)
    assert as_table(scores).splitlines()[2].endswith("| – |")


def test_a_table_without_domains_has_no_mean() -> None:
    assert as_table({"oracle": Score({}, float("nan"), {})}).endswith("| **h-mean** | – |")


def test_a_library_with_one_adapter_is_refused(pristine_bundle: Path) -> None:
    with pytest.raises(AdapterError, match="got 1 adapter, expected two or more"):
        LeaveOneOut(opened(pristine_bundle, library__exclude=["red", "green"]))


def test_a_damaged_adapter_ends_the_evaluation_with_its_name(bundle: Path) -> None:
    pipeline = opened(bundle)
    (bundle / ADAPTERS / "red" / WEIGHTS).write_bytes(b"cut")
    with pytest.raises(AdapterError, match="red"):
        LeaveOneOut(pipeline, methods=["oracle"]).run([Domain("red")])


def test_in_official_mode_text_is_encoded_again_for_every_domain(pristine_bundle: Path) -> None:
    pipeline = opened(pristine_bundle, model__official_compat=True)
    texts: list[torch.Tensor] = []
    refresh = pipeline.segmenter.refresh_text

    def kept() -> None:
        refresh()
        texts.append(pipeline.segmenter._text)

    pipeline.segmenter.refresh_text = kept  # type: ignore[method-assign]
    LeaveOneOut(pipeline, methods=["semla"]).run([Domain("red", 3), Domain("green", 2)])
    assert len({id(text) for text in texts}) < len(texts)  # stale within a domain
    assert not torch.equal(texts[1], texts[-1])


@pytest.mark.parametrize(
    ("height", "width", "seen"), [(1024, 2048, (640, 1280)), (240, 384, (640, 1024)), (100, 1000, (256, 2560))]
)
def test_images_are_resized_to_the_short_side_within_the_limit_of_the_long_side(
    height: int, width: int, seen: tuple[int, int]
) -> None:
    rgb = np.zeros((height, width, 3), np.uint8)
    assert Inference("sliding", 640, 2560).resized(rgb).shape == (*seen, 3)
    assert Inference().resized(rgb) is rgb


def test_rendered_images_are_the_same_from_files_and_from_memory(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    rendered = RenderedDataset("fog_day", images=2, seed=5)
    write_dataset(tmp_path / "fog_day", "fog_day", 2, 5, layout="cityscapes")
    names = [each.name for each in pipeline.classes]
    stored = list(CityscapesFolder(tmp_path / "fog_day", "val", names))
    for item, file in zip(rendered, stored, strict=True):
        assert (item.rgb == file.rgb).all()
    whole = CityscapesFolder(tmp_path / "fog_day", "val", WORLD)
    for item, file in zip(rendered, whole, strict=True):
        assert (item.labels == file.labels).all()


def test_the_protocol_of_the_paper_on_the_command_line(
    tmp_path: Path, pristine_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for domain in ("fog_day", "dusk"):
        assert (
            main(
                ["world", "dataset", domain, "-o", str(tmp_path / "data" / domain), "-n", "2", "--layout", "cityscapes"]
            )
            == 0
        )
    argv = [
        "evaluate",
        "--protocol",
        "semla",
        "--data",
        str(tmp_path / "data"),
        "--json",
        str(tmp_path / "scores.json"),
    ]
    argv += [
        "--bundle",
        str(pristine_bundle),
        "--set",
        "segmenter.classes=[road, sky, car]",
        "--set",
        "model.device=cpu",
    ]
    assert main(argv) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["protocol"] == "semla"
    assert scores["images"] == {"dusk": 2, "fog_day": 2}
    assert scores["settings"]["mode"] == "sliding"
    assert set(METHODS) <= set(scores)
    for method in ("zero_shot", "uniform", "semla"):
        assert list(scores[method]["per_domain"]) == ["dusk", "fog_day"]
        assert scores[method]["h_mean"] == pytest.approx(harmonic_mean(scores[method]["per_domain"].values()))
        assert set(scores[method]["per_class"]["dusk"]) <= {"road", "sky", "car"}
    assert scores["oracle"]["per_domain"] == {}
    assert "| fog_day |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [(["--protocol", "semla"], "no data sets (--data)"), (["--methods", "magic"], "no such method"),
     (["--protocol", "semla", "--data", "/nowhere"], "no data sets (/nowhere)"),
     (["--data", "/nowhere"], "Add --protocol semla")],
)  # fmt: skip
def test_wrong_arguments_are_refused_with_a_reason(
    argv: list[str], message: str, pristine_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--bundle", str(pristine_bundle), *argv]) == 1
    assert message in capsys.readouterr().err
