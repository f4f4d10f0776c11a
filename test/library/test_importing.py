from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from official import official_state, write_official_adapter
from safetensors.torch import save_file
from tiny import ARCH, drive, image, random_adapter, random_network
from torch import nn

from semla_ros.config import Config, changed
from semla_ros.errors import AdapterError, ArchiveError, BundleError
from semla_ros.library.adapter_folder import AdapterFolder
from semla_ros.library.importing import import_models, read_state
from semla_ros.modeling.base import linear_layers
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.catseg.published import our_name
from semla_ros.modeling.lora import Adapter
from semla_ros.modeling.navigators.clip import ClipNavigatorArch
from semla_ros.pipeline.build import build_pipeline

NAVIGATOR = ClipNavigatorArch(embed_dim=8, image_size=16, patch_size=8, width=16, layers=1, heads=2)
VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}


@pytest.fixture(autouse=True)
def _tiny_is_official(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semla_ros.modeling.catseg.published.VIT_B16", ARCH)


@pytest.fixture(scope="module")
def navigator() -> nn.Module:
    """As open_clip publishes it."""
    from open_clip.model import CLIP

    torch.manual_seed(5)
    text = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    visual: nn.Module = CLIP(8, dict(VISION), text, quick_gelu=True).visual
    return visual


def everywhere(name: str, network: CatSeg, seed: int) -> Adapter:
    """On idle layers too, as the official code attaches them, with B = 0 there."""
    adapter = random_adapter(name, network, seed=seed)
    idle = {
        key: (torch.randn(2, layer.in_features), torch.zeros(layer.out_features, 2))
        for key, layer in linear_layers(network).items()
        if key not in adapter.factors
    }
    assert idle
    return Adapter(name, {**adapter.factors, **idle}, 2.0)


@pytest.fixture
def download(tmp_path: Path, navigator: nn.Module) -> Path:
    """What a user has downloaded."""
    folder = tmp_path / "download"
    folder.mkdir()
    network = random_network()
    torch.save({"model": official_state(network), "iteration": 3}, folder / "model_final.pth")
    state = {f"visual.{key}": value for key, value in navigator.state_dict().items()} | {"logit_scale": torch.ones(1)}
    save_file(state, folder / "clip.safetensors")
    config = {"model_cfg": {"embed_dim": 8, "quick_gelu": True, "vision_cfg": VISION}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    for seed, name in enumerate(("fog", "night")):
        write_official_adapter(folder / "loradb", everywhere(name, network, seed), np.full(8, 3.0 * seed))
    return folder


def imported(download: Path) -> Path:
    out = download.parent / "bundle"
    import_models(download / "model_final.pth", download / "loradb", str(download / "clip.safetensors"), out)
    return out


def test_official_files_run_in_the_pipeline_with_the_same_weights(download: Path, navigator: nn.Module) -> None:
    pipeline = build_pipeline(changed(Config(), {"model.bundle": str(imported(download)), "model.device": "cpu"}))
    base = random_network().state_dict()
    assert all(torch.equal(value, base[key]) for key, value in pipeline.segmenter.network.state_dict().items())
    assert pipeline.navigator.arch == NAVIGATOR
    assert pipeline.library.names == ("fog", "night")
    assert not pipeline.library.rejected
    result = [pipeline.process(frame) for frame in drive(("red", 0.3))][-1]
    assert result.domain.swaps == 1
    assert not result.domain.error
    assert len(pipeline.classes) == 19


def test_an_official_library_without_covariances_never_calls_anything_unknown(download: Path) -> None:
    pipeline = build_pipeline(changed(Config(), {"model.bundle": str(imported(download)), "model.device": "cpu"}))
    embedding = pipeline.navigator.embed(image("blue"))
    assert pipeline.library.is_in_distribution(1000 * embedding)


def test_an_existing_bundle_is_not_touched(download: Path) -> None:
    out = imported(download)
    with pytest.raises(BundleError, match="exists already"):
        imported(download)
    assert (out / "bundle.yaml").is_file()


@pytest.mark.parametrize("file", ["model_final.pth", "clip.safetensors"])
def test_a_half_written_checkpoint_leaves_nothing_behind(download: Path, file: str) -> None:
    whole = (download / file).read_bytes()
    (download / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match=f"unreadable checkpoint.*{file}"):
        imported(download)
    assert [path.name for path in download.parent.iterdir()] == ["download"]


def test_a_bad_adapter_leaves_nothing_behind(download: Path) -> None:
    (download / "loradb/night/adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(AdapterError, match="night"):
        imported(download)
    assert [path.name for path in download.parent.iterdir()] == ["download"]


def test_adapters_of_different_ranks_are_taken(download: Path) -> None:
    network = random_network()
    write_official_adapter(download / "loradb", random_adapter("rain", network, rank=5), np.zeros(8))
    assert {AdapterFolder(path).rank for path in (imported(download) / "adapters").iterdir()} == {2, 5}


def test_adapters_of_different_bases_are_refused_naming_both(download: Path) -> None:
    wide = random_network(replace(ARCH, vision_width=32))
    write_official_adapter(download / "loradb", random_adapter("rain", wide), np.zeros(8))
    with pytest.raises(AdapterError, match=r"disagree on .*loradb/fog and .*loradb/rain.*16x16 layer and a 32x32 one"):
        imported(download)
    assert [path.name for path in download.parent.iterdir()] == ["download"]


def test_an_empty_zip_is_no_library(download: Path) -> None:
    ZipFile(download / "empty.zip", "w").close()
    out = download.parent / "bundle"
    with pytest.raises(AdapterError, match=r"no adapters .*empty\.zip"):
        import_models(download / "model_final.pth", download / "empty.zip", str(download / "clip.safetensors"), out)
    assert [path.name for path in download.parent.iterdir()] == ["download"]


def test_a_library_may_come_as_a_zip(download: Path) -> None:
    shutil.make_archive(str(download / "loradb"), "zip", download, "loradb")
    shutil.rmtree(download / "loradb")
    import_models(
        download / "model_final.pth", download / "loradb.zip", str(download / "clip.safetensors"), download / "bundle"
    )
    assert sorted(path.name for path in (download / "bundle/adapters").iterdir()) == ["fog", "night"]


def test_a_zip_that_reaches_out_leaves_nothing_behind(download: Path) -> None:
    with ZipFile(download / "loradb.zip", "w") as archive:
        archive.writestr("../evil", "")
    with pytest.raises(ArchiveError):
        import_models(
            download / "model_final.pth", download / "loradb.zip", str(download / "clip.safetensors"), download / "out"
        )
    assert {path.name for path in download.iterdir()} == {
        "model_final.pth", "clip.safetensors", "open_clip_config.json", "loradb", "loradb.zip"
    }  # fmt: skip


def test_it_is_said_which_keys_are_knowingly_not_used(download: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        imported(download)
    assert "all used but clip_pixel_std, pixel_mean, sem_seg_head.predictor.clip_model.logit_scale" in caplog.text


def test_an_adapter_of_another_navigator_is_refused(download: Path) -> None:
    np.savez(download / "loradb/fog/fog_statistics.npz", train_average_embedding=np.zeros((1, 5)))
    with pytest.raises(AdapterError, match="dimension 5, expected 8"):
        imported(download)


def test_a_missing_library_is_refused(download: Path) -> None:
    with pytest.raises(AdapterError, match="no adapters"):
        import_models(
            download / "model_final.pth", download / "no", str(download / "clip.safetensors"), download / "out"
        )


def test_a_file_that_is_no_clip_is_refused(download: Path) -> None:
    save_file({"weight": torch.zeros(3)}, download / "clip.safetensors")
    with pytest.raises(BundleError, match="no CLIP vision transformer"):
        imported(download)


@pytest.mark.parametrize("content", [b"", b"hi\n", b"<html>not found</html>", bytes(range(256))])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(BundleError, match="unreadable checkpoint"):
        read_state(tmp_path / "model.pth")
    with pytest.raises(BundleError, match="no such file"):
        read_state(tmp_path / "other.pth")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Evil()}, tmp_path / "new.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"model": Evil()}))
    for name in ("new.pth", "old.pth"):
        with pytest.raises(BundleError, match="unreadable checkpoint"):
            read_state(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(BundleError, match="no state dict"):
        read_state(tmp_path / "list.pth")


def test_official_module_names_become_ours(download: Path) -> None:
    folder = AdapterFolder(download / "loradb/fog", our_name)
    assert folder.shapes.keys() == linear_layers(random_network()).keys()
    assert folder.scale == 2
