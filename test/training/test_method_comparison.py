from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ARCH, NAVIGATOR, random_navigator, random_network

from semla_ros.cli import main
from semla_ros.library.bundle import Bundle
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.domains import DOMAINS
from semla_ros.training import comparison as comparison_module
from semla_ros.training.comparison import Comparison, compare


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    bundle = Bundle(tmp_path / "tiny", "random", ARCH, NAVIGATOR, CLASSES)
    bundle.save(random_network(), random_navigator().network, torch.float32)
    return bundle.path


def comparison(bundle: Path, **changes: Any) -> Comparison:
    sizes = {"seeds": 2, "steps": 2, "batch": 2, "images": 2, "test_images": 1}
    return Comparison(("dusk",), {"lora": 0.01, "recyclelora": 0.01}, bundle=str(bundle), **(sizes | changes))


def test_every_combination_is_trained_once_and_tested_in_all_domains(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    fit = comparison_module.fit_adapter

    def remember(name: str, *others: Any) -> Any:
        trained.append(name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return fit(name, *others)

    monkeypatch.setattr(comparison_module, "fit_adapter", remember)
    with pytest.raises(KeyboardInterrupt):
        compare(comparison(bundle), tmp_path / "work")
    table = compare(comparison(bundle), tmp_path / "work")
    assert trained == ["dusk-lora-0", "dusk-recyclelora-0", "dusk-lora-1", "dusk-lora-1", "dusk-recyclelora-1"]
    scores = {name: json.loads((tmp_path / f"work/{name}.json").read_text()) for name in {*trained, "base"}}
    assert all(set(each) == set(DOMAINS) for each in scores.values())
    assert scores["dusk-lora-0"] != scores["base"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [row[:2] for row in rows[2:]] == [["dusk", "no adapter"], ["dusk", "lora"], ["dusk", "recyclelora"]]
    own = [scores[f"dusk-lora-{seed}"]["dusk"] for seed in (0, 1)]
    assert rows[3][2].startswith(f"{sum(own) / 2:.1f} ±")
    unseen = [value for name, value in scores["base"].items() if name != "dusk"]
    assert rows[2][3] == f"{sum(unseen) / 12:.1f}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--domains", "venus"), "no such domain"),
        (("--rates", "lora"), "no learning rates (--rates): got lora"),
        (("--rates", "magic=1"), "no learning rates (--rates): got magic=1"),
        (("--rates", "lora=0"), "no learning rates"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert main(["train", "compare", "-o", str(tmp_path / "work"), *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_folder_of_another_comparison_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(comparison_module, "render_datasets", interrupt)
        assert main(["train", "compare", "-o", str(tmp_path), "--steps", "30"]) == 130
    assert main(["train", "compare", "-o", str(tmp_path)]) == 1
    assert "training with other settings" in capsys.readouterr().err


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_settings_that_were_cut_off_are_not_left_behind(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def killed(path: Path, text: str) -> int:
        write(path, text[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison_module, "render_datasets", interrupt)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            compare(comparison(bundle), tmp_path / "work")
    with pytest.raises(KeyboardInterrupt):  # by the rendering: the settings are accepted
        compare(comparison(bundle), tmp_path / "work")
    assert len(list((tmp_path / "work").iterdir())) == 1
