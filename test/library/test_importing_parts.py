from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file
from tiny_fisa import GENERATOR, two_halves

from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.errors import BundleError
from semla_ros.library.bundle import Bundle, find_bundle
from semla_ros.library.captions import CAPTIONS
from semla_ros.library.importing_parts import import_parts
from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.pipeline.build import build_pipeline

VISION = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 3, "head_width": 8}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mask generator as transformers stores it, and a CLIP as open_clip does."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor

    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    config = Mask2FormerConfig(**GENERATOR, id2label={0: "dog", 1: "cat"})
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder / "generator")
    size = {"shortest_edge": 64, "longest_edge": 128}
    Mask2FormerImageProcessor(size=size).save_pretrained(folder / "generator")
    save_file(CLIP(16, VISION, TEXT, quick_gelu=True).state_dict(), folder / "clip.safetensors")
    model = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    return folder


@pytest.fixture
def parts(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "parts"))


def imported(parts: Path, clip: str = "clip.safetensors") -> Bundle:
    return import_parts(parts / "generator", parts / clip, parts.parent / "bundle", "fisa", 64)


def test_a_bundle_of_parts_has_their_weights_and_an_untrained_seve_that_is_off(parts: Path) -> None:
    from transformers import Mask2FormerForUniversalSegmentation

    bundle = imported(parts)
    arch, network = bundle.segmenter, bundle.load_network()
    assert isinstance(arch, FisaArch)
    assert (arch.seve_layers, arch.void, arch.image_size, arch.position_grid) == ((), "", 64, 4)
    assert (arch.generator_short, arch.generator_long) == (64, 128)
    assert arch.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    generator = Mask2FormerForUniversalSegmentation.from_pretrained(parts / "generator").eval()
    weights, expected = network.generator.model.state_dict(), generator.model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in expected.items())
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = generator(pixels).masks_queries_logits
        assert torch.allclose(network.generator.model(pixels).masks_queries_logits[-1], expected, atol=1e-3)
    masks = torch.randn(1, 3, 8, 8)
    assert torch.equal(network.distribution(masks), masks)
    assert "dog" not in (bundle.path / "bundle.yaml").read_text()


def test_the_factor_of_cosines_can_be_chosen(parts: Path) -> None:
    places = parts / "generator", parts / "clip.safetensors", parts / "out"
    arch = import_parts(*places, "fisa", 64, logit_scale=20).segmenter
    assert isinstance(arch, FisaArch)
    assert arch.logit_scale == 20


def test_both_encoders_of_clip_compute_with_the_activation_of_its_configuration(parts: Path) -> None:
    described = parts / "open_clip_config.json"
    described.write_text(described.read_text().replace('"quick_gelu": true', '"quick_gelu": false'))
    clip = imported(parts).load_network().clip
    layers = *clip.visual.transformer.resblocks, *clip.transformer.resblocks
    assert {type(layer.mlp.gelu) for layer in layers} == {torch.nn.GELU}


def test_the_same_parts_give_the_same_bundle(parts: Path) -> None:
    first = imported(parts)
    again = import_parts(parts / "generator", parts / "clip.safetensors", parts.parent / "again", "fisa", 64)
    assert (first.path / "segmenter.safetensors").read_bytes() == (again.path / "segmenter.safetensors").read_bytes()


def test_it_runs_at_once_with_plain_clips_embedding_of_a_mask_over_the_whole_image(parts: Path) -> None:
    pipeline = build_pipeline(changed(Config(), {"model.bundle": str(imported(parts).path), "model.device": "cpu"}))
    segmenter = pipeline.segmenter
    scores, _ = segmenter.classified(two_halves(), torch.ones(1, 8, 8))
    visual = segmenter.network.clip.visual
    with torch.inference_mode():
        x = visual.tokens(segmenter.pixels(two_halves()))
        for block in visual.transformer.resblocks:
            x = block(x)
        feature = torch.nn.functional.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)
    expected = feature @ segmenter.text.T / 0.07
    assert torch.allclose(scores, expected, atol=1e-3)
    assert pipeline.library.names == ()
    assert pipeline.segment(two_halves())[0].max() < 19


def test_the_clip_of_another_bundle_serves_as_well(parts: Path, pristine_bundle: Path) -> None:
    bundle, source = imported(parts, str(pristine_bundle)), Bundle.open(pristine_bundle)
    theirs = source.load_network().clip.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in bundle.load_network().clip.state_dict().items())
    assert (bundle.class_table(), bundle.navigator) == (source.class_table(), source.navigator)


def test_a_bundle_needs_no_name_of_its_clip(parts: Path, pristine_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle with a model's name beside it \(ViT-B-32\)"):
        import_parts(parts / "generator", pristine_bundle, parts.parent / "bundle", "fisa", 64, "ViT-B-32")


def test_the_clip_of_a_fisa_bundle_keeps_its_factor_of_cosines(parts: Path) -> None:
    imported(parts)
    again = import_parts(parts / "generator", parts.parent / "bundle", parts / "again", "fisa", 64).segmenter
    assert isinstance(again, FisaArch)
    assert again.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)


def test_the_command_says_that_it_is_not_trained(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["models", "import", "--kind", "fisa", "--mask-generator", str(parts / "generator")]
    assert main([*argv, "--clip", str(parts / "clip.safetensors"), "-o", str(parts / "out"), "--image-size", "64"]) == 0
    shown = capsys.readouterr().out
    assert "ready for --bundle" in shown
    assert "not trained" in shown
    assert Bundle.open(parts / "out").segmenter.kind == "fisa"


def test_one_of_the_parts_alone_is_refused(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["models", "import", "-o", str(parts / "out"), "--kind", "fisa"]
    assert main([*argv, "--mask-generator", str(parts / "generator")]) == 1
    assert "missing option (models import): expected --clip" in capsys.readouterr().err
    assert main([*argv, "--clip", str(parts / "clip.safetensors")]) == 1
    assert "expected --mask-generator" in capsys.readouterr().err
    assert main(argv) == 1
    assert "expected --mask-generator and --clip" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["segmenter", "library", "navigator", "navigator-model"])
def test_options_of_published_checkpoints_are_refused_beside_parts(
    parts: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    argv = ["models", "import", "-o", str(parts / "out"), "--kind", "fisa", f"--{option}", "elsewhere"]
    argv += ["--mask-generator", str(parts / "generator"), "--clip", str(parts / "clip.safetensors")]
    assert main(argv) == 1
    assert f"option of another kind of import (models import): got ['--{option}']" in capsys.readouterr().err
    assert not (parts / "out").exists()


@pytest.mark.parametrize("option", [("--image-size", "64"), ("--logit-scale", "9"), ("--clip-model", "ViT-B-32")])
def test_options_of_parts_are_refused_beside_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    paths = ["--segmenter", str(tmp_path / "s.pth"), "--library", str(tmp_path), "-o", str(tmp_path / "out")]
    assert main(["models", "import", *paths, *option]) == 1
    assert f"option of another kind of import (models import): got ['{option[0]}']" in capsys.readouterr().err


def test_a_clip_with_another_tokenizer_is_refused(parts: Path) -> None:
    file = parts / "open_clip_config.json"
    model = json.loads(file.read_text())["model_cfg"]
    file.write_text(json.dumps({"model_cfg": model | {"text_cfg": TEXT | {"vocab_size": 250_100}}}))
    with pytest.raises(BundleError, match=r"unsupported text encoder.*vocab_size 250100"):
        imported(parts)
    assert not (parts.parent / "bundle").exists()


@pytest.mark.parametrize("size", [1, 100_000])
def test_an_image_size_that_makes_no_network_is_refused(
    parts: Path, capfd: pytest.CaptureFixture[str], size: int
) -> None:
    argv = ["models", "import", "-o", str(parts / "out"), "--kind", "fisa", "--image-size", str(size)]
    argv += ["--mask-generator", str(parts / "generator"), "--clip", str(parts / "clip.safetensors")]
    assert main(argv) == 1
    (shown,) = capfd.readouterr().err.splitlines()
    assert "image size that makes no network (--image-size)" in shown


def test_the_clip_may_be_that_of_a_bundle_given_by_its_name(parts: Path) -> None:
    imported = import_parts(parts / "generator", Path("streetworld"), parts / "out", "fisa", 320)
    assert imported.defaults == Bundle.open(find_bundle("streetworld")).defaults  # they belong to the navigator
    assert imported.classes == Bundle.open(find_bundle("streetworld")).classes
    captions = (find_bundle("streetworld") / CAPTIONS).read_bytes()  # they belong to the navigator, too
    assert (imported.path / CAPTIONS).read_bytes() == captions
    assert main(["models", "verify", str(imported.path)]) == 0


def test_the_clip_may_be_that_of_a_bundle_with_a_dot_in_its_name(parts: Path) -> None:
    (parts / "street-v1.0").symlink_to(find_bundle("streetworld").absolute())
    imported = import_parts(parts / "generator", parts / "street-v1.0", parts / "out", "fisa", 320)
    assert imported.classes == Bundle.open(find_bundle("streetworld")).classes


def test_transformers_writes_nothing_to_the_terminal(parts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    imported(parts)
    assert capfd.readouterr().err == ""


def test_a_kind_without_parts_is_refused(parts: Path) -> None:
    with pytest.raises(BundleError, match=r"not made of parts.*catseg.*expected --kind fisa"):
        import_parts(parts / "generator", parts / "clip.safetensors", parts / "out", "catseg")


def test_a_checkpoint_of_fisa_is_refused_because_there_is_none(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["models", "import", "--kind", "fisa", "--segmenter", str(parts / "clip.safetensors")]
    adapters = parts / "adapters"
    (adapters / "a").mkdir(parents=True)
    assert main([*argv, "--library", str(adapters), "-o", str(parts / "out")]) == 1
    assert not (parts / "out").exists()


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def more_queries(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"num_queries": 6', '"num_queries": 7'))


def deeper(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"decoder_layers": 2', '"decoder_layers": 4'))


def another_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "detr"}))


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_mapping(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def other_backbone(folder: Path) -> None:
    edit(folder, backbone_config={"model_type": "timm_backbone", "backbone": "resnet18"})


def named_backbone(folder: Path) -> None:
    edit(folder, backbone="microsoft/resnet-50")


def many_labels(folder: Path) -> None:
    edit(folder, num_labels=1_000_000_000)


def pickled_weights(folder: Path) -> None:
    """The weights in a pickled part, which an index beside it names."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "part.bin")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(state, "part.bin")})
    )


def edit(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_code_beside_a_generator_is_never_run(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(parts / "generator", model_type="theirs", auto_map={"AutoConfig": "theirs.Theirs"})
    ran = parts / "ran"
    code = f"open({str(ran)!r}, 'w')\nfrom transformers import PretrainedConfig\nclass Theirs(PretrainedConfig): pass\n"
    (parts / "generator/theirs.py").write_text(code)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # the answer to a question whether to run it
    with pytest.raises(BundleError, match=r"another kind of mask generator.*got theirs"):
        imported(parts)
    assert not ran.exists()


def test_without_transformers_the_command_says_what_to_install(
    parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "transformers.utils", None)
    argv = ["models", "import", "-o", str(parts / "out"), "--kind", "fisa", "--image-size", "64"]
    argv += ["--mask-generator", str(parts / "generator"), "--clip", str(parts / "clip.safetensors")]
    assert main(argv) == 1
    shown = capsys.readouterr().err
    assert "transformers" in shown
    assert "install" in shown


def test_adapters_beside_a_generator_are_left_out(parts: Path) -> None:
    before = imported(parts)
    description = {"peft_type": "LORA", "base_model_name_or_path": str(parts / "nowhere"), "r": 4}
    (parts / "generator/adapter_config.json").write_text(json.dumps(description))
    again = import_parts(parts / "generator", parts / "clip.safetensors", parts / "again", "fisa", 64)
    assert (again.path / "segmenter.safetensors").read_bytes() == (before.path / "segmenter.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_weights, "mask generator that cannot be loaded"),
        (cut_weights, "mask generator that cannot be loaded"),
        (more_queries, r"weights of another mask generator.*in place of \("),
        (deeper, "weights of another mask generator.*missing"),
        (another_kind, "another kind of mask generator.*got detr, expected mask2former"),
        (no_config, "no mask generator.*expected a folder with config.json"),
        (broken_config, "mask generator that cannot be loaded"),
        (no_mapping, r"mask generator that cannot be loaded.*config\.json.*got list"),
        (other_backbone, "unknown backbone.*got timm_backbone, expected swin or resnet"),
        (named_backbone, "unknown backbone.*got microsoft/resnet-50, expected swin or resnet"),
        (many_labels, "value that takes much memory.*num_labels.*at most 10000"),
        (pickled_weights, "mask generator that cannot be loaded"),
    ],
)
def test_a_damaged_or_other_generator_is_refused_and_leaves_no_bundle(
    parts: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(parts / "generator")
    with pytest.raises(BundleError, match=message):
        imported(parts)
    assert not (parts.parent / "bundle").exists()
    assert [path.name for path in parts.parent.iterdir()] == ["parts"]


def test_an_existing_bundle_is_not_touched(parts: Path) -> None:
    imported(parts)
    with pytest.raises(BundleError, match="exists already"):
        imported(parts)


def test_a_bundle_without_a_clip_is_refused(
    parts: Path, pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bundle, "load_network", lambda self: torch.nn.Linear(1, 1))
    with pytest.raises(BundleError, match=r"segmenter without a CLIP.*got catseg"):
        imported(parts, str(pristine_bundle))
