from __future__ import annotations

from pathlib import Path

import pytest
from parameter_file import FILE, parameter_file

from semla_ros.config import Config, changed, load


def test_the_shipped_parameter_file_is_the_one_written_from_the_settings() -> None:
    pytest.importorskip("rclpy")
    from semla_ros.config import NodeConfig

    written = parameter_file(NodeConfig())
    assert FILE.read_text() == written, "run: PYTHONPATH=.:test python -m parameter_file"


def test_a_written_parameter_file_is_loaded_with_the_same_values(tmp_path: Path) -> None:
    config = changed(Config(), {"fusion.temperature": 0.001, "segmenter.classes": ["car, automobile", "sky"]})
    (tmp_path / "all.yaml").write_text(parameter_file(config))
    assert load(Config(), tmp_path / "all.yaml") == config
