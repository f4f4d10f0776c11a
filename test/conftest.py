from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from semla_ros.machine import limit_spinning

# Nodes of other machines on the same network must not take part; a test run there may have chosen the same ROS domain.
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
limit_spinning()  # before torch is imported: tests beside other processes would take many times as long

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline


# The pytest plugins of a sourced ROS 2 workspace make launch's loggers the default; these hide records from caplog.
logging.setLoggerClass(logging.Logger)

# The same examples in every run, however long one of them takes: by default 200 ms are too long.
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seeds what tests draw without a generator of their own, whichever tests ran before."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def pristine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle to read, never to change."""
    from tiny import write_bundle

    return write_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def bundle(pristine_bundle: Path, tmp_path: Path) -> Path:
    """A tiny bundle of the test's own, to break: without manifests, which would find the damage first."""
    return Path(shutil.copytree(pristine_bundle, tmp_path / "tiny", ignore=shutil.ignore_patterns("SHA256SUMS")))


@pytest.fixture
def pipeline(bundle: Path) -> SemlaPipeline:
    """A pipeline over `bundle` whose tracker keeps times that tests can count on."""
    from semla_ros.config import Config, changed
    from semla_ros.pipeline.build import build_pipeline

    times = {"ema_time_s": 0.5, "debounce_s": 1.0, "min_interval_s": 2.0}
    settings = {"model.bundle": str(bundle), "model.device": "cpu", "navigator.period_s": 0.5}
    return build_pipeline(changed(Config(), settings | {f"tracker.{name}": value for name, value in times.items()}))
