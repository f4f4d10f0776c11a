import os
import signal
from pathlib import Path
from typing import Any

import cv2
import pytest
from paths import CONFIG
from rosbags.highlevel import AnyReader
from tiny import image
from videos import half_video

from semla_ros.cli import main
from semla_ros.pipeline.pipeline import SemlaPipeline


def test_a_video_cut_in_half_is_replayed_as_far_as_it_goes_and_ends_with_an_exit_code(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mcap"
    assert main(["replay", str(half_video(tmp_path)), "-o", str(out), "--bundle", str(bundle)]) == 1
    shown = capsys.readouterr()
    missing = shown.err.partition("recording is incomplete")[2]
    assert "got 2" in missing  # some 26 of 38 images
    assert "images missing" in missing
    assert "frames at" in shown.out
    assert out.is_file()


def test_the_parameter_file_of_the_node_and_its_output_settings_count_for_a_replay(
    tmp_path: Path, bundle: Path
) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/0.png"), image("red"))
    out = tmp_path / "out.mcap"
    settings = ["--config", str(CONFIG / "semla.yaml"), "--bundle", str(bundle), "--set", "output_width=16"]
    assert main(["replay", str(tmp_path / "images"), "-o", str(out), *settings]) == 0
    with AnyReader([out]) as reader:
        (mask,) = (each for each in reader.connections if each.topic.endswith("/mask"))
        ((_, _, data),) = reader.messages([mask])
        assert reader.deserialize(data, mask.msgtype).width == 16


def test_sigterm_ends_a_replay_with_exit_code_143_and_leaves_nothing_behind(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/0.png"), image("red"))
    left: list[set[str]] = []

    def process(*_: Any) -> None:
        left.append({each.name for each in (tmp_path / "out").iterdir()})
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(SemlaPipeline, "process", process)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(tmp_path / "images"), "-o", str(tmp_path / "out/new.mcap"), "--bundle", str(bundle)])
    assert ended.value.code == 143
    assert left[0] != set()
    assert not list((tmp_path / "out").iterdir())
    assert signal.getsignal(signal.SIGTERM) is before
