from pathlib import Path

import pytest
from videos import half_video

from semla_ros.cli import main


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
