from __future__ import annotations

import errno
import io
import json
import sys

import pytest

from semla_ros.cli import main


def refused(capsys, *argv: str) -> str:
    assert main(argv) == 1
    return capsys.readouterr().err


def test_help_lists_all_tasks(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(task in shown for task in ("demo", "replay", "evaluate", "train", "world"))


def test_a_missing_recording_is_reported_without_a_traceback(capsys, tmp_path):
    assert "no such recording" in refused(capsys, "replay", str(tmp_path / "no.mcap"), "-o", str(tmp_path / "out.mcap"))


@pytest.mark.parametrize(
    "leg", ["fog_day", "fog_day:x", "fog_day:1:2:3", "fog_day:nan:1", "fog_day:3:inf", "fog_day:-1"]
)
def test_a_malformed_leg_is_refused_with_an_example(capsys, tmp_path, leg):
    assert "fog_day:12:3" in refused(capsys, "world", "drive", "-o", str(tmp_path / "d.mcap"), "--leg", leg)


def test_an_unknown_setting_is_refused_before_anything_is_loaded(capsys, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    shown = refused(capsys, "evaluate", "--set", "fusion.q=3")
    assert "fusion.q" in shown
    assert "fusion.k" in shown


def test_a_setting_without_a_value_is_refused(capsys):
    assert "KEY=VALUE" in refused(capsys, "evaluate", "--set", "fusion.k")


def test_a_data_set_is_written(tmp_path):
    assert main(["world", "dataset", "dusk", "-o", str(tmp_path / "dusk"), "-n", "2"]) == 0
    assert len(list((tmp_path / "dusk/images").glob("*.png"))) == 2


def test_a_rendered_drive_is_replayed_and_evaluated(tmp_path, capsys):
    drive, out = tmp_path / "drive.mcap", tmp_path / "out.mcap"
    assert main(["world", "drive", "-o", str(drive), "--leg", "clear_day:1"]) == 0
    assert main(["replay", str(drive), "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "10 frames" in shown
    assert "mIoU" in shown
    assert out.exists()


def test_the_evaluation_writes_all_methods_and_domains(tmp_path):
    file = tmp_path / "scores.json"
    assert main(["evaluate", "--images", "1", "--json", str(file), "--set", "model.device=cpu"]) == 0
    scores = json.loads(file.read_text())
    assert set(scores) == {"zero_shot", "uniform", "semla", "oracle"}
    assert all(len(score["per_domain"]) == 13 and 0 <= score["h_mean"] <= 100 for score in scores.values())


def test_an_unwritable_path_is_reported_without_a_traceback(capsys, tmp_path):
    (tmp_path / "file").touch()
    shown = refused(capsys, "world", "dataset", "dusk", "-o", str(tmp_path / "file/below"), "-n", "1")
    assert str(tmp_path / "file") in shown


def test_a_setting_that_is_not_plain_yaml_is_refused(capsys):
    assert "not plain YAML (--set segmenter.classes)" in refused(capsys, "evaluate", "--set", "segmenter.classes=[a")


def test_a_system_error_without_a_file_is_reported_without_a_traceback(capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("semla_ros.library.downloads.fetch", full)
    assert refused(capsys, "models", "fetch", "semla-loradb").endswith("semla: No space left on device\n")


@pytest.mark.parametrize("argv", [("evaluate", "--images", "0"), ("demo", "--seed", "-1")])
def test_numbers_out_of_range_are_refused_before_the_work(capsys, argv):
    with pytest.raises(SystemExit):
        main(argv)
    assert "expected a whole number of at least" in capsys.readouterr().err


def test_a_terminal_that_cannot_show_a_name_gets_it_escaped(monkeypatch, capsys, tmp_path, pristine_bundle):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    library = tmp_path / "straße"
    library.mkdir()
    assert (
        main(
            [
                "library",
                "add",
                str(pristine_bundle / "adapters/red"),
                "--library",
                str(library),
                "--bundle",
                str(pristine_bundle),
            ]
        )
        == 0
    )
    sys.stdout.flush()
    assert rb"red: added to" in shown.getvalue()
    assert rb"stra\xdfe" in shown.getvalue()
