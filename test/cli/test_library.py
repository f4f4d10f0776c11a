from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import COLORS, image

from semla_ros.adaptation.statistics import Statistics
from semla_ros.cli import main
from semla_ros.images.files import write_image
from semla_ros.library.adapter_folder import WEIGHTS, read_statistics, statistics_file
from semla_ros.library.bundle import ADAPTERS
from semla_ros.library.captions import CAPTIONS, Caption, CaptionTable
from semla_ros.library.image_statistics import write_statistics


class Command:
    """Runs ``semla library`` on a bundle and keeps what it printed."""

    def __init__(self, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bundle, self._capsys = bundle, capsys

    def __call__(self, *argv: object) -> str:
        """Runs a command that succeeds; returns its output."""
        code, out, err = self.run(*argv)
        assert code == 0, err
        return out

    def refused(self, *argv: object) -> str:
        """Runs a command that fails; returns its message."""
        code, _, err = self.run(*argv)
        assert code == 1
        assert "Traceback" not in err
        return err

    def run(self, *argv: object) -> tuple[int, str, str]:
        """Runs a command; returns its exit code, output and messages."""
        self._capsys.readouterr()
        code = main(["library", *map(str, argv), "--bundle", str(self.bundle)])
        return code, *self._capsys.readouterr()


@pytest.fixture
def library(bundle: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(bundle, capsys)


@pytest.fixture
def new(bundle: Path, tmp_path: Path) -> Path:
    """An adapter outside the library, named amber."""
    path = Path(shutil.copytree(bundle / ADAPTERS / "red", tmp_path / "new/amber"))
    (path / "red_statistics.npz").unlink()
    write_statistics(Statistics.of(np.random.default_rng(5).normal(size=(20, 8))), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images for each adapter."""
    for name in COLORS:
        (tmp_path / "images" / name).mkdir(parents=True)
        for seed in range(3):
            write_image(tmp_path / "images" / name / f"{seed}.png", image(name, seed))
    return tmp_path / "images"


def put_nan(adapter: Path) -> None:
    tensors = load_file(adapter / WEIGHTS)
    save_file({key: torch.full_like(value, float("nan")) for key, value in tensors.items()}, adapter / WEIGHTS)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:50])


TASKS = (
    ("list",),
    ("check",),
    ("add", "x"),
    ("remove", "red"),
    ("build", "."),
    ("describe",),
    ("compare", "red", "blue"),
)


@pytest.mark.parametrize("argv", TASKS, ids=lambda argv: argv[0])
def test_a_missing_bundle_is_refused_with_the_names_of_those_that_exist(argv, capsys):
    assert main(["library", *argv, "--bundle", "atlantis"]) == 1
    assert "no model bundle (atlantis)" in capsys.readouterr().err


@pytest.mark.parametrize("argv", TASKS, ids=lambda argv: argv[0])
def test_a_missing_folder_of_adapters_is_refused(argv, library, tmp_path):
    assert "no adapter library" in library.refused(*argv, "--library", tmp_path / "nowhere")


# list


def test_the_list_has_a_row_of_figures_per_adapter(library, bundle, tmp_path):
    shown = library("list", "--json", tmp_path / "list.json")
    assert f"3 adapters in {bundle / ADAPTERS}" in " ".join(shown.split())
    for name in COLORS:
        row = next(line for line in shown.splitlines() if line.strip().startswith(name))
        assert {"lora", "2", "12", "(100%)"} < set(row.split())
    entries = {each["name"]: each for each in json.loads((tmp_path / "list.json").read_text())}
    assert entries.keys() == COLORS.keys()
    assert entries["red"]["images"] == 12
    assert entries["red"]["neighbour"] in {"blue", "green"}


def test_an_empty_library_is_listed_as_empty(library, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "0 adapters" in library("list", "--library", tmp_path / "empty")


def test_damaged_adapters_are_listed_with_the_reason(library, bundle):
    cut(bundle / ADAPTERS / "red" / WEIGHTS)
    cut(statistics_file(bundle / ADAPTERS / "blue"))
    shown = library("list")
    assert "red: unreadable adapter" in shown
    assert "blue: unreadable statistics" in shown


def test_a_folder_of_adapters_is_listed_without_a_bundle(bundle, capsys):
    assert main(["library", "list", "--library", str(bundle / ADAPTERS)]) == 0
    assert "%" not in capsys.readouterr().out


# check


def test_a_whole_library_passes_the_check(library):
    assert "3 adapters, nothing wrong" in library("check")


def test_findings_give_a_table_and_exit_code_1(library, bundle, tmp_path):
    put_nan(bundle / ADAPTERS / "red")
    cut(statistics_file(bundle / ADAPTERS / "blue"))
    code, out, err = library.run("check", "--json", tmp_path / "findings.json")
    assert code == 1
    assert "NaN or infinity" in out
    assert "unreadable statistics" in out
    assert "library has findings" in err
    assert "2 findings in 2 of 3 adapters" in err
    found = [(each["adapter"], each["subject"]) for each in json.loads((tmp_path / "findings.json").read_text())]
    assert found == [("blue", "statistics"), ("red", "weights")]


def test_the_check_of_an_empty_library_fails(library, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no adapters" in library.refused("check", "--library", tmp_path / "empty")


# add and remove


def test_an_added_adapter_is_in_the_list_and_a_removed_one_is_not(library, bundle, new):
    assert f"amber: added to {bundle / ADAPTERS}" in library("add", new)
    assert "amber" in library("list")
    shown = library("remove", "amber")
    assert "amber: moved to" in shown
    assert "reload_library" in shown
    assert "amber" not in library("list")
    bring_back = shown.split("semla library ")[1].splitlines()[0]
    assert bring_back.endswith(f" --bundle {bundle}")
    library(*bring_back.split())
    assert "amber" in library("list")


def test_a_relative_path_names_the_adapter_by_its_folder(library, new, monkeypatch):
    monkeypatch.chdir(new)
    assert "amber: added" in library("add", ".")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (put_nan, "NaN or infinity"),
        (lambda adapter: cut(adapter / WEIGHTS), "unreadable adapter"),
        (lambda adapter: cut(statistics_file(adapter)), "unreadable statistics"),
        (lambda adapter: statistics_file(adapter).unlink(), "unreadable statistics"),
        (shutil.rmtree, "no adapter"),
    ],
)
def test_a_damaged_adapter_is_not_added_nor_those_beside_it(library, bundle, new, damage, message):
    whole = Path(shutil.copytree(new, new.parent / "whole"))
    (whole / "amber_statistics.npz").rename(statistics_file(whole))
    damage(new)
    assert message in library.refused("add", whole, new)
    assert {path.name for path in (bundle / ADAPTERS).iterdir()} == set(COLORS)


def test_an_adapter_without_statistics_is_refused_with_the_command_that_computes_them(library, new):
    statistics_file(new).unlink()
    assert "semla library build" in library.refused("add", new)


def test_an_existing_name_is_refused_unless_it_is_overwritten(library, bundle, tmp_path):
    red = shutil.copytree(bundle / ADAPTERS / "red", tmp_path / "red")
    assert "--overwrite" in library.refused("add", red)
    assert "red: moved to" in library("add", red, "--overwrite")


def test_an_adapter_gets_another_name_in_the_library(library, bundle, tmp_path):
    library("remove", "red")
    (removed,) = (bundle / ADAPTERS / ".removed").glob("*/red")
    assert "crimson: added to" in library("add", removed, "--name", "crimson")
    assert "nothing wrong" in library("check")
    assert {path.name for path in (bundle / ADAPTERS / "crimson").glob("*.npz")} == {"crimson_statistics.npz"}


def test_one_name_for_several_adapters_is_refused(library, bundle, new):
    assert "one name for several adapters" in library.refused("add", new, bundle / ADAPTERS / "red", "--name", "x")


def test_an_adapter_with_the_centroid_of_another_one_is_not_added(library, bundle, new):
    copy = bundle / ADAPTERS / "red"
    shown = library.refused("add", new, copy, "--name", "") + library.refused("add", copy, "--name", "copy")
    assert "the library has an adapter of this name" in shown
    assert "copy is not added: its centroid is the same as that of red" in shown
    assert not (bundle / ADAPTERS / "amber").exists()


def test_a_closed_standard_output_is_no_error(library, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["library", "list", "--bundle", str(library.bundle)]) == 0


def test_a_narrow_terminal_shows_whole_numbers(library, monkeypatch):
    class Narrow(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = Narrow()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    assert main(["library", "list", "--bundle", str(library.bundle)]) == 0
    assert "…" not in shown.getvalue()


def test_an_unknown_adapter_is_not_removed_and_the_nearest_name_is_offered(library):
    assert "Did you mean green?" in library.refused("remove", "gren")


def test_removing_the_last_adapter_is_said_to_empty_the_library(library):
    assert "is empty now" in library("remove", *COLORS)


# build


def test_missing_statistics_are_computed_and_existing_ones_are_kept(library, bundle, images):
    adapters = bundle / ADAPTERS
    kept = statistics_file(adapters / "blue").read_bytes()
    statistics_file(adapters / "red").unlink()
    shown = library("build", images)
    assert "red: 3 images" in shown
    assert "kept the statistics of 2 adapters" in shown
    assert statistics_file(adapters / "blue").read_bytes() == kept
    assert read_statistics(adapters / "red").count == 3
    assert "nothing wrong" in library("check")


def test_statistics_of_another_navigator_are_replaced_when_asked(library, bundle, images):
    np.savez(statistics_file(bundle / ADAPTERS / "red"), train_average_embedding=np.zeros((1, 5)))
    assert "kept the statistics of 3 adapters" in library("build", images)
    library("build", images, "red", "--overwrite")
    assert "nothing wrong" in library("check")


def test_damaged_images_are_named_skipped_and_counted(library, bundle, images):
    cut(images / "red/1.png")
    code, out, err = library.run("build", images, "red", "--overwrite")
    assert code == 0
    assert "red: 2 images, 1 damaged" in out
    assert "skipped" in err
    assert "1.png" in err


def test_only_damaged_images_leave_the_old_statistics(library, bundle, images):
    before = statistics_file(bundle / ADAPTERS / "red").read_bytes()
    for path in (images / "red").iterdir():
        cut(path)
    assert "no readable images" in library.refused("build", images, "red", "--overwrite")
    assert statistics_file(bundle / ADAPTERS / "red").read_bytes() == before


def test_a_missing_folder_of_images_is_refused_before_anything_is_computed(library, bundle, images):
    for name in ("blue", "red"):
        statistics_file(bundle / ADAPTERS / name).unlink()
    shutil.rmtree(images / "red")
    assert "no images for adapter (red)" in library.refused("build", images)
    assert not statistics_file(bundle / ADAPTERS / "blue").exists()
    assert "blue: 3 images" in library("build", images, "blue")
    assert "no such folder (IMAGES_ROOT)" in library.refused("build", images / "nowhere")


def test_an_unknown_adapter_is_not_built(library, images):
    assert "Did you mean blue?" in library.refused("build", images, "bleu")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_reported_and_nothing_changes(library, bundle, images, new, monkeypatch, code):
    def fail(*args):
        raise OSError(code, os.strerror(code), str(args[0]))

    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(Path, "rename", fail)
    for argv in (("build", images, "--overwrite"), ("add", new), ("remove", "red")):
        assert os.strerror(code) in library.refused(*argv)
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before


# describe


def put_captions(bundle, dimension=8):
    """Captions for the centroids of the tiny bundle: each says the colour of its adapter."""
    names = sorted(COLORS)
    embeddings = np.array([read_statistics(bundle / ADAPTERS / name).centroid for name in names])[:, :dimension]
    CaptionTable([Caption(f"a {name} wall", "clear", "day", "") for name in names], embeddings).save(bundle / CAPTIONS)


def test_each_adapter_is_described_by_the_caption_nearest_to_its_centroid(library, bundle, tmp_path):
    put_captions(bundle)
    shown = library("describe", "--json", tmp_path / "captions.json")
    for name in COLORS:
        assert f"a photo of a {name} wall on a clear day" in next(
            line for line in shown.splitlines() if line.startswith(f" {name}")
        )
    found = json.loads((tmp_path / "captions.json").read_text())
    assert {name: each["caption"]["place"] for name, each in found.items()} == {
        name: f"a {name} wall" for name in COLORS
    }


def test_without_captions_the_option_that_makes_them_is_named(library):
    assert "--clip FILE" in library.refused("describe")


def test_damaged_captions_or_those_of_another_navigator_are_refused(library, bundle):
    put_captions(bundle, 5)
    assert "captions of another navigator" in library.refused("describe")
    cut(bundle / CAPTIONS)
    assert "unreadable captions" in library.refused("describe")


def test_damaged_statistics_are_refused_by_name(library, bundle):
    put_captions(bundle)
    cut(statistics_file(bundle / ADAPTERS / "red"))
    assert "red_statistics.npz" in library.refused("describe")


def test_an_empty_library_cannot_be_described(library, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no adapters" in library.refused("describe", "--library", tmp_path / "empty")


def test_a_published_clip_encodes_the_captions(library, tmp_path):
    write_clip(tmp_path, dimension=8)
    assert "a photo of" in library("describe", "--clip", tmp_path / "clip.safetensors")
    write_clip(tmp_path, dimension=6)
    assert "captions of another navigator" in library.refused("describe", "--clip", tmp_path / "clip.safetensors")
    (tmp_path / "open_clip_config.json").unlink()
    assert "--clip-model" in library.refused("describe", "--clip", tmp_path / "clip.safetensors")
    assert "no such file" in library.refused("describe", "--clip", tmp_path / "nowhere.safetensors")


def test_options_of_describe_without_effect_are_refused(library, tmp_path):
    assert "--clip-model" in library.refused("describe", "--clip-model", "ViT-B-32")
    both = ("--clip", tmp_path / "clip.safetensors", "--captioner", tmp_path, "--images", tmp_path)
    assert "two ways to describe" in library.refused("describe", *both)


def test_a_clip_with_another_tokenizer_is_refused(library, tmp_path):
    write_clip(tmp_path, dimension=8)
    file = tmp_path / "open_clip_config.json"
    model = json.loads(file.read_text())["model_cfg"]
    for change in ({"vocab_size": 250100}, {"hf_tokenizer_name": "xlm"}):
        file.write_text(json.dumps({"model_cfg": model | {"text_cfg": model["text_cfg"] | change}}))
        said = library.refused("describe", "--clip", tmp_path / "clip.safetensors")
        assert "unsupported text encoder" in said
        assert next(iter(change)) in said


def write_clip(folder, dimension):
    """A tiny CLIP with random weights as open_clip publishes it, with its configuration."""
    from open_clip.model import CLIP

    vision = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}
    text = {"context_length": 32, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
    save_file(CLIP(dimension, vision, text, quick_gelu=True).state_dict(), folder / "clip.safetensors")
    config = {"embed_dim": dimension, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))


def test_a_captioner_needs_images_and_a_model(library, images, tmp_path):
    assert "--captioner, --images" in library.refused("describe", "--captioner", tmp_path)
    assert "no captioner" in library.refused("describe", "--captioner", tmp_path, "--images", images)
    assert "no images for adapter" in library.refused("describe", "--captioner", tmp_path, "--images", tmp_path)


# compare


def test_two_adapters_are_compared_in_a_table_and_a_figure(library, new, tmp_path):
    shown = library("compare", "red", new, "-n", "3", "-o", tmp_path / "layers.png")
    assert "3 of" in shown
    assert "cosine" in shown
    assert next(line for line in shown.splitlines() if "all layers" in line).split()[-1] == "1.00"
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_an_unknown_format_is_refused_before_anything_is_compared(library, tmp_path):
    err = library.refused("compare", "red", "blue", "-o", tmp_path / "layers.txt")
    assert "no format of figures (--out)" in err
    assert "expected .png or .svg or .pdf" in err
    assert not list(tmp_path.glob("layers.*"))


def test_an_unknown_or_damaged_adapter_is_not_compared(library, bundle):
    assert "Did you mean blue?" in library.refused("compare", "red", "blu")
    put_nan(bundle / ADAPTERS / "blue")
    assert "NaN or infinity" in library.refused("compare", "red", "blue")
