"""Semantic segmentation that adapts to light and weather: SemLA as a ROS 2 perception node.

`load` gives a pipeline for use without ROS::

    import semla_ros

    pipeline = semla_ros.load("streetworld")
    result = pipeline.process(semla_ros.Frame(rgb, stamp_ns))  # rgb (H, W, 3) uint8, stamp in nanoseconds
    result.labels, result.confidence, result.domain

Importing the package is fast: names are imported when they are first used. ``docs/api.md`` describes all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semla_ros.config import Config
    from semla_ros.errors import SemlaError
    from semla_ros.images.frame import Frame
    from semla_ros.pipeline.domain_state import DomainState
    from semla_ros.pipeline.pipeline import SemlaPipeline
    from semla_ros.pipeline.result import SegmentationResult

__all__ = ["Config", "DomainState", "Frame", "SegmentationResult", "SemlaError", "SemlaPipeline", "load"]
__version__ = "0.1.0"

_MODULES = {
    "Config": "semla_ros.config",
    "DomainState": "semla_ros.pipeline.domain_state",
    "Frame": "semla_ros.images.frame",
    "SegmentationResult": "semla_ros.pipeline.result",
    "SemlaError": "semla_ros.errors",
    "SemlaPipeline": "semla_ros.pipeline.pipeline",
}


def load(bundle: str = "streetworld", settings: Mapping[str, Any] | None = None) -> SemlaPipeline:
    """Loads a model bundle and builds a pipeline from it.

    Args:
        bundle: Path of a bundle's folder, or name of an installed bundle.
        settings: Dotted setting to value, for example ``{"fusion.k": 3, "model.device": "cpu"}``. The file
            ``config/semla.yaml`` lists all settings and their defaults.

    Returns:
        The pipeline. It embeds frames synchronously, so that the same frames give the same results every time.

    Raises:
        ConfigError: A setting is unknown or wrong.
        BundleError: There is no such bundle, or it is damaged.
        AdapterError: No adapter of the bundle fits its segmenter.
    """
    from semla_ros.config import Config, changed
    from semla_ros.pipeline.build import build_pipeline

    return build_pipeline(changed(Config(), {**(settings or {}), "model.bundle": bundle}))


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
