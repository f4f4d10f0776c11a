"""The public Python API, and the example of its page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import PACKAGE
from tiny import frame

import semla_ros
from semla_ros.errors import BundleError, ConfigError

PAGE = PACKAGE.parent / "docs" / "api.md"


def test_every_public_name_can_be_imported_and_is_described() -> None:
    page = PAGE.read_text()
    for name in semla_ros.__all__:
        assert getattr(semla_ros, name).__doc__, name
        assert f"`semla_ros.{name}" in page, name
    assert set(semla_ros.__all__) <= set(dir(semla_ros))


def test_other_names_are_refused_as_those_of_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'semla_ros' has no attribute 'nothing'"):
        _ = semla_ros.nothing


def test_a_bundle_is_loaded_with_settings(pristine_bundle: Path) -> None:
    pipeline = semla_ros.load(str(pristine_bundle), {"fusion.k": 1, "model.device": "cpu"})
    assert isinstance(pipeline, semla_ros.SemlaPipeline)
    result = pipeline.process(frame("red", 1.0))
    assert isinstance(result, semla_ros.SegmentationResult)
    assert len(result.domain.mixture.names) == 1


def test_wrong_arguments_are_refused(pristine_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"no model bundle.*nowhere"):
        semla_ros.load("nowhere")
    with pytest.raises(ConfigError, match=r"unknown setting \(fusion.kk\)"):
        semla_ros.load(str(pristine_bundle), {"fusion.kk": 1})


def test_importing_the_package_and_its_settings_is_light() -> None:
    code = "import sys, semla_ros; dir(semla_ros); semla_ros.__all__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "cv2", "yaml", "rclpy", "semla_ros.config"} & set(loaded)


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "class of the centre pixel",
        "its probability",
        "active adapters",
    ]
