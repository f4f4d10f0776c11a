from __future__ import annotations

import argparse

import pytest

from semla_ros import cli
from semla_ros.cli.extras import EXTRAS, remedy


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("peft", "workshop"),
        ("torchmetrics", "workshop"),
        ("open_clip", "workshop"),
        ("ray", "batch"),
        ("rclpy", "ros"),
        ("aiohttp", "view"),
    ],
)
def test_a_missing_module_is_answered_with_the_extra_that_brings_it(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: argparse.Namespace) -> None:
        raise ModuleNotFoundError(f"No module named '{module}.part'", name=f"{module}.part")

    monkeypatch.setattr("semla_ros.cli.bench._bench", run)
    assert cli.main(["bench"]) == 1
    told = capsys.readouterr().err
    assert f"needs {module}" in told
    assert f"pip install '.[{extra}]'" in told


def test_a_missing_module_that_no_extra_brings_stays_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: argparse.Namespace) -> None:
        raise ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere")

    monkeypatch.setattr("semla_ros.cli.bench._bench", run)
    with pytest.raises(ModuleNotFoundError, match="elsewhere"):
        cli.main(["bench"])


def test_no_extra_is_claimed_for_our_own_modules() -> None:
    assert remedy(ModuleNotFoundError(name="semla_ros.nothing")) is None
    assert set(EXTRAS) == {"workshop", "batch", "view", "ros"}
