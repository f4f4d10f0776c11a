from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from official import published_encoder, write_official_adapter, write_official_files
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


@pytest.fixture(autouse=True)
def _tiny_is_official(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semla_ros.modeling.catseg.published.VIT_B16", ARCH)


@pytest.fixture(scope="module")
def navigator() -> nn.Module:
    return published_encoder()


def everywhere(name: str, network: CatSeg, seed: int) -> Adapter:
    """An adapter that also has factors on idle layers, as the official code attaches them, with B = 0 there."""
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
    """The files that a user has downloaded."""
    network = random_network()
    adapters = [everywhere(name, network, seed) for seed, name in enumerate(("fog", "night"))]
    write_official_files(tmp_path / "download", network, navigator, adapters)
    return tmp_path / "download"


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


def test_an_official_library_without_covariances_never_reports_out_of_distribution(download: Path) -> None:
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


def test_adapters_of_different_ranks_are_accepted(download: Path) -> None:
    network = random_network()
    write_official_adapter(download / "loradb", random_adapter("rain", network, rank=5), np.zeros(8))
    assert {AdapterFolder(path).rank for path in (imported(download) / "adapters").iterdir()} == {2, 5}


def test_adapters_of_different_base_models_are_refused_with_both_names(download: Path) -> None:
    wide = random_network(replace(ARCH, vision_width=32))
    write_official_adapter(download / "loradb", random_adapter("rain", wide), np.zeros(8))
    with pytest.raises(AdapterError, match=r"disagree on .*loradb/fog and .*loradb/rain.*layers of 16x16 and 32x32"):
        imported(download)
    assert [path.name for path in download.parent.iterdir()] == ["download"]


def test_an_empty_zip_is_no_library(download: Path) -> None:
    ZipFile(download / "empty.zip", "w").close()
    out = download.parent / "bundle"
    with pytest.raises(AdapterError, match=r"no adapters .*empty\.zip"):
        import_models(download / "model_final.pth", download / "empty.zip", str(download / "clip.safetensors"), out)
    assert [path.name for path in download.parent.iterdir()] == ["download"]


@pytest.mark.parametrize("name", ["bundle", "library"])
def test_a_library_may_come_as_a_zip(download: Path, name: str) -> None:
    shutil.make_archive(str(download / "loradb"), "zip", download, "loradb")
    shutil.rmtree(download / "loradb")
    out = download / name
    import_models(download / "model_final.pth", download / "loradb.zip", str(download / "clip.safetensors"), out)
    assert sorted(path.name for path in (out / "adapters").iterdir()) == ["fog", "night"]
    assert not (out / "loradb").exists()


def test_a_zip_that_leads_out_of_its_folder_leaves_nothing_behind(download: Path) -> None:
    with ZipFile(download / "loradb.zip", "w") as archive:
        archive.writestr("../evil", "")
    with pytest.raises(ArchiveError):
        import_models(
            download / "model_final.pth", download / "loradb.zip", str(download / "clip.safetensors"), download / "out"
        )
    assert {path.name for path in download.iterdir()} == {
        "model_final.pth", "clip.safetensors", "open_clip_config.json", "loradb", "loradb.zip"
    }  # fmt: skip


def test_the_log_names_the_tensors_that_are_not_needed(download: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        imported(download)
    assert "not needed: clip_pixel_std, pixel_mean, sem_seg_head.predictor.clip_model.logit_scale" in caplog.text


def test_an_adapter_of_another_navigator_is_refused(download: Path) -> None:
    np.savez(download / "loradb/fog/fog_statistics.npz", train_average_embedding=np.zeros((1, 5)))
    with pytest.raises(AdapterError, match="dimension 5, expected 8"):
        imported(download)


def test_only_the_files_of_an_adapter_are_copied(download: Path) -> None:
    fog = download / "loradb/fog"
    (fog / "loop").symlink_to(fog, target_is_directory=True)
    (fog / "notes.txt").write_text("private")
    (download / "loradb/.git").mkdir()
    (download / "loradb/__MACOSX").mkdir()
    adapters = imported(download) / "adapters"
    files = {"adapter_config.json", "adapter_model.safetensors", "fog_statistics.npz", "SHA256SUMS"}
    assert {path.name for path in adapters.iterdir()} == {"fog", "night"}
    assert {path.name for path in (adapters / "fog").iterdir()} == files


def test_a_zip_with_entries_without_a_name_is_imported(download: Path) -> None:
    with ZipFile(download / "loradb.zip", "w") as archive:
        archive.writestr("./", "")
        for file in (path for path in (download / "loradb").rglob("*") if path.is_file()):
            archive.write(file, f"./{file.relative_to(download)}")
    out = download / "bundle"
    import_models(download / "model_final.pth", download / "loradb.zip", str(download / "clip.safetensors"), out)
    assert {path.name for path in (out / "adapters").iterdir()} == {"fog", "night"}


@pytest.mark.parametrize("kinds", [("unet", "clip"), ("catseg", "dino")])
def test_an_unknown_kind_is_refused_before_any_file_is_read(download: Path, kinds: tuple[str, str]) -> None:
    with pytest.raises(BundleError, match="unknown kind"):
        import_models(download / "no.pth", download / "no", "no.safetensors", download / "bundle", *kinds)


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


def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(BundleError, match="no state dict"):
        read_state(tmp_path / "list.pth")
    torch.save({0: torch.zeros(3)}, tmp_path / "numbers.pth")
    with pytest.raises(BundleError, match="no state dict"):
        read_state(tmp_path / "numbers.pth")


def test_official_module_names_become_ours(download: Path) -> None:
    folder = AdapterFolder(download / "loradb/fog", our_name)
    assert folder.shapes.keys() == linear_layers(random_network()).keys()
    assert folder.scale == 2
