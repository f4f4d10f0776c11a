from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from semla_ros.bench.frame_loop import FrameLoop
from semla_ros.bench.under_load import POLICIES, summary, under_load
from semla_ros.cli import main
from semla_ros.errors import BundleError


def test_the_frame_loop_measures_frames_turn_by_turn(pristine_bundle: Path) -> None:
    settings = {"model.bundle": str(pristine_bundle), "model.device": "cpu"}
    with FrameLoop({"GOMP_SPINCOUNT": "7"}, settings, fixed=False) as loop:
        turns = [loop.run(0.2), loop.run(0.0)]
    assert len(turns[1]) == 1
    assert all(time > 0 for turn in turns for time in turn)


def test_a_frame_loop_leaves_the_environment_as_it_was(pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    before = dict(os.environ)
    with FrameLoop({"GOMP_SPINCOUNT": "7", "OMP_WAIT_POLICY": None}, {"model.bundle": str(pristine_bundle)}, True):
        assert dict(os.environ) == before


def test_a_frame_loop_reports_a_wrong_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=str(tmp_path)):
        FrameLoop({}, {"model.bundle": str(tmp_path)}, fixed=True)


def test_figures_compare_ours_with_the_default_and_with_the_best_under_load() -> None:
    frames = {
        ("ours", False): [[20.0, 20.0], [25.0, 25.0], [10.0, 10.0]],
        ("default", False): [[10.0], [12.5], [10.0]],
        ("passive", False): [[30.0], [30.0], [30.0]],
        ("ours", True): [[50.0]],
        ("default", True): [[500.0]],
        ("passive", True): [[40.0]],
    }
    figures = summary(frames, 2)
    assert figures.idle_fps == pytest.approx({"ours": 50, "default": 100, "passive": 1e3 / 30})
    assert figures.idle_ms["ours"] == 20
    assert figures.idle_over_default == pytest.approx(0.5)
    assert figures.loaded_over_best == pytest.approx(20 / 25)


def test_every_policy_runs_idle_and_loaded(pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(POLICIES) - {"ours", "default"}:
        monkeypatch.delitem(POLICIES, name)
    settings = {"model.bundle": str(pristine_bundle), "model.device": "cpu"}
    figures = under_load(settings, rounds=1, seconds=0.1, processes=1, warm_up_s=0.0)
    assert figures.idle_fps.keys() == figures.loaded_fps.keys() == {"ours", "default"}
    assert min(*figures.idle_fps.values(), *figures.loaded_fps.values()) > 0


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def measured(settings: object, *rest: object) -> object:
        asked.append(settings)
        return summary({(name, loaded): [[10.0]] for name in POLICIES for loaded in (False, True)}, 2)

    monkeypatch.setattr("semla_ros.bench.under_load.under_load", measured)
    argv = ["bench", "--under-load", "--quick", "--set", "model.device=cpu", "--json", str(tmp_path / "load.json")]
    assert main(argv) == 0
    assert asked == [{"model.device": "cpu"}]
    assert json.loads((tmp_path / "load.json").read_text())["loaded_over_best"] == pytest.approx(1)
    assert "loaded_fps.one_thread: 100.00" in capsys.readouterr().out
