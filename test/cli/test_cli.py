from __future__ import annotations

import json

import pytest

from semla_ros.cli import main


def refused(capsys, *argv: str) -> str:
    assert main(argv) == 1
    return capsys.readouterr().err


def test_help_names_every_task(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(task in shown for task in ("demo", "replay", "evaluate", "train", "world"))


def test_a_missing_recording_is_one_clear_line(capsys, tmp_path):
    assert "no such recording" in refused(capsys, "replay", str(tmp_path / "no.mcap"), "-o", str(tmp_path / "out.mcap"))


@pytest.mark.parametrize(
    "leg", ["fog_day", "fog_day:x", "fog_day:1:2:3", "fog_day:nan:1", "fog_day:3:inf", "fog_day:-1"]
)
def test_a_malformed_leg_says_what_a_leg_looks_like(capsys, tmp_path, leg):
    assert "fog_day:12:3" in refused(capsys, "world", "drive", "-o", str(tmp_path / "d.mcap"), "--leg", leg)


def test_an_unknown_setting_is_refused_before_anything_is_loaded(capsys, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    shown = refused(capsys, "evaluate", "--set", "fusion.q=3")
    assert "fusion.q" in shown
    assert "fusion.k" in shown


def test_a_setting_without_a_value_is_refused(capsys):
    assert "KEY=VALUE" in refused(capsys, "evaluate", "--set", "fusion.k")


def test_a_data_set_is_written_as_asked(tmp_path):
    assert main(["world", "dataset", "dusk", "-o", str(tmp_path / "dusk"), "-n", "2"]) == 0
    assert len(list((tmp_path / "dusk/images").glob("*.png"))) == 2


def test_a_rendered_drive_is_replayed_and_scored(tmp_path, capsys):
    drive, out = tmp_path / "drive.mcap", tmp_path / "out.mcap"
    assert main(["world", "drive", "-o", str(drive), "--leg", "clear_day:1"]) == 0
    assert main(["replay", str(drive), "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "10 frames" in shown
    assert "mIoU" in shown
    assert out.exists()


def test_the_evaluation_writes_every_method_and_domain(tmp_path):
    file = tmp_path / "scores.json"
    assert main(["evaluate", "--images", "1", "--json", str(file), "--set", "model.device=cpu"]) == 0
    scores = json.loads(file.read_text())
    assert set(scores) == {"zero_shot", "uniform", "semla", "oracle"}
    assert all(len(score["per_domain"]) == 13 and 0 <= score["h_mean"] <= 100 for score in scores.values())


def test_a_place_that_cannot_be_written_to_is_one_clear_line(capsys, tmp_path):
    (tmp_path / "file").touch()
    shown = refused(capsys, "world", "dataset", "dusk", "-o", str(tmp_path / "file/below"), "-n", "1")
    assert str(tmp_path / "file") in shown


def test_a_setting_that_is_no_yaml_is_refused(capsys):
    assert "not plain YAML (--set segmenter.classes)" in refused(capsys, "evaluate", "--set", "segmenter.classes=[a")


@pytest.mark.parametrize("argv", [("evaluate", "--images", "0"), ("demo", "--seed", "-1")])
def test_numbers_that_make_no_sense_are_refused_before_the_work(capsys, argv):
    with pytest.raises(SystemExit):
        main(argv)
    assert "expected a whole number of at least" in capsys.readouterr().err
