from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from semla_ros.pipeline import SemlaPipeline


@pytest.fixture(scope="session")
def pristine_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle to read, never to change."""
    from tiny import write_bundle

    return write_bundle(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def bundle(pristine_bundle: Path, tmp_path: Path) -> Path:
    """A tiny bundle of the test's own, to break."""
    return Path(shutil.copytree(pristine_bundle, tmp_path / "tiny"))


@pytest.fixture
def pipeline(bundle: Path) -> SemlaPipeline:
    """A pipeline over `bundle`."""
    from semla_ros.build import build_pipeline
    from semla_ros.config import Config, changed

    return build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu"}))
