from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_fisa import ARCH, random_fisa

from semla_ros.bench import fisa
from semla_ros.bench.fisa_reference import reference_scores
from semla_ros.bench.live_memory import LiveMemory
from semla_ros.cli import main


@pytest.mark.parametrize("void", [True, False])
@torch.inference_mode()
def test_all_tokens_in_one_attention_give_the_same_scores(void: bool) -> None:
    network = random_fisa()
    draw = torch.Generator().manual_seed(0)
    pixels, proposals = torch.randn(1, 3, 32, 32, generator=draw), torch.randn(1, 6, 8, 8, generator=draw)
    text = F.normalize(torch.randn(4 if void else 3, 16, generator=draw), dim=1)
    expected = reference_scores(network, pixels, proposals, text)
    assert torch.allclose(network(pixels, proposals, text)[0], expected, atol=1e-3)


@torch.inference_mode()
def test_live_memory_counts_tensors_as_long_as_they_live() -> None:
    with LiveMemory() as memory:
        first = torch.zeros(1000)
        second = first + 1
        view = second.view(10, 100)
        del first, second
        third = view * 2
        del view
        torch.cat([third, third])
    assert memory.peak == 12_000


def test_the_command_writes_figures_and_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(fisa.SIZES, "fisa-vitb16", ARCH)
    monkeypatch.setattr(fisa, "MASKS", (1, 20))
    monkeypatch.setattr(fisa, "CLASSES", (1, 20))
    argv = ["bench", "--size", "fisa-vitb16", "--repeats", "1", "--classes", "3"]
    assert main([*argv, "--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")]) == 0
    measured = json.loads((tmp_path / "out.json").read_text())["sizes"]["fisa-vitb16"]
    assert measured["difference"] < 1e-2
    ours, theirs = measured["operations"]["20"]
    assert 0 < ours < theirs
    assert measured["by_masks"]["20"][1] > measured["by_masks"]["1"][1]
    assert {"mask_generator", "mask_tokens", "reference", "semantic", "panoptic"} <= measured["stages_ms"].keys()
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "straightforward computation / ours" in capsys.readouterr().out


def test_sizes_of_two_kinds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--size", "vitb16", "--size", "fisa-vitl14"]) == 1
    assert "sizes of two kinds (--size): got vitb16, expected those of FISA alone" in capsys.readouterr().err
