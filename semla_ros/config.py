"""Every setting, once: its default, its range, its unit and what it means.

YAML keys, ROS parameter names and field paths are the same words: ``fusion.temperature`` is
``Config().fusion.temperature``. The node's parameter descriptors are made from the same metadata.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from semla_ros.errors import ConfigError

T = TypeVar("T")


def setting(
    default: Any,
    doc: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    unit: str = "",
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    """A dataclass field that knows its meaning (``doc``), closed range, unit and choices."""
    metadata = {"doc": doc, "low": low, "high": high, "unit": unit, "choices": choices, "read_only": read_only}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ModelConfig:
    """Which networks run, and where."""

    bundle: str = setting("streetworld", "Model bundle: a folder, or the name of a bundled one", read_only=True)
    device: str = setting("auto", "auto takes CUDA where there is one", choices=("auto", "cpu", "cuda"), read_only=True)
    precision: Literal["float32", "bfloat16", "float16"] = setting(
        "float32",
        "What the segmenter computes in; half the memory and faster where the device supports it",
        choices=("float32", "bfloat16", "float16"),
        read_only=True,
    )
    compile: bool = setting(
        False, "torch.compile the segmenter; a minute or more at the first frame, needs a C++ compiler", read_only=True
    )
    official_compat: bool = setting(
        False, "Repeat the faults of SemLA's published code, to reproduce its numbers", read_only=True
    )
    threads: int = setting(
        0,
        "CPU threads of the networks; 0: all cores, live fewer while other processes use them",
        low=0,
        high=1024,
        read_only=True,
    )


@dataclass(frozen=True)
class SegmenterConfig:
    """What the segmenter looks for."""

    classes: tuple[str, ...] = setting(
        (), "Class names; empty takes the bundle's. Synonyms in one name: 'car, automobile'"
    )
    prompt_templates: Literal["official", "synonyms", "imagenet"] = setting(
        "official",
        "Prompts of a class: CAT-Seg's template with the first synonym or all, or ImageNet's eighty templates",
        choices=("official", "synonyms", "imagenet"),
    )
    mode: Literal["plain", "sliding"] = setting(
        "plain", "One pass, or the paper's sliding window", choices=("plain", "sliding")
    )
    min_confidence: float = setting(
        0.0, "Pixels less sure than this are published as 255, unlabelled", low=0.0, high=1.0
    )
    memory_mib: int = setting(
        1024, "Cap on the activations of windows segmented in one batch", low=1, high=1_000_000, unit="MiB",
        read_only=True,
    )  # fmt: skip


@dataclass(frozen=True)
class NavigatorConfig:
    """How often the domain is looked at."""

    period_s: float = setting(0.5, "Time between two embeddings, by message stamps", low=0.0, high=3600.0, unit="s")
    max_share: float = setting(
        0.1,
        "Live, a navigator that would take more than this share of the time looks more rarely",
        low=0.001,
        high=1.0,
        read_only=True,
    )


@dataclass(frozen=True)
class TrackerConfig:
    """When the domain counts as changed (paper, section E)."""

    ema_time_s: float = setting(1.0, "Time constant of the embedding's moving average", low=0.0, high=3600.0, unit="s")
    upper_threshold: float = setting(
        0.0, "Distance to the active mixture that starts the clock; 0 takes the bundle's", low=0.0
    )
    lower_threshold: float = setting(0.0, "Distance below which the clock stops again; 0 takes the bundle's", low=0.0)
    debounce_s: float = setting(
        1.5, "How long the distance must stay beyond the threshold", low=0.0, high=3600.0, unit="s"
    )
    min_interval_s: float = setting(3.0, "Least time between two swaps", low=0.0, high=3600.0, unit="s")
    min_weight_change: float = setting(
        0.05, "A swap that moves the weights by less than this in L1 is skipped", low=0.0, high=2.0
    )
    stamp_tolerance_s: float = setting(
        1.0,
        "A frame that is older than the newest one by up to this is segmented, but not tracked; a larger jump back"
        " resets the tracker",
        low=0.0,
        high=3600.0,
        unit="s",
    )


@dataclass(frozen=True)
class FusionConfig:
    """Which adapters are mixed, and how sharply (paper, section 3.3)."""

    adapt: bool = setting(True, "False leaves the base segmenter as it is: no embedding, no swap")
    k: int = setting(0, "Adapters in a mixture; 0 takes the bundle's", low=0, high=1000)
    temperature: float = setting(
        0.0, "Softmax temperature over inverse distances; 0 takes the bundle's", low=0.0, high=1e6
    )


@dataclass(frozen=True)
class LibraryConfig:
    """Which adapters there are, and how many of them are kept in memory."""

    exclude: tuple[str, ...] = setting((), "Adapters that are never retrieved", read_only=True)
    memory_mib: int = setting(
        512, "Budget of the adapters kept in memory", low=1, high=1_000_000, unit="MiB", read_only=True
    )


@dataclass(frozen=True)
class Config:
    """All settings of the pipeline, one group a stage."""

    model: ModelConfig = field(default_factory=ModelConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    navigator: NavigatorConfig = field(default_factory=NavigatorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    library: LibraryConfig = field(default_factory=LibraryConfig)


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
    """Yields (dotted path, field, value) of every setting of a config dataclass, nested ones included."""
    for spec in fields(config):
        value = getattr(config, spec.name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{spec.name}.")
        else:
            yield f"{prefix}{spec.name}", spec, value


def changed(config: T, settings: Mapping[str, Any]) -> T:
    """A copy of a config dataclass with some settings changed.

    Args:
        config: A config dataclass such as `Config`.
        settings: Dotted path to new value, for example ``{"fusion.k": 3}``.

    Raises:
        ConfigError: A path is unknown, or its value of the wrong type or out of range.
    """
    known = {path: spec for path, spec, _ in walk(config)}
    for path, value in settings.items():
        if path not in known:
            raise ConfigError("unknown setting", where=path, expected="one of " + ", ".join(known))
        config = _with(config, path.split("."), check(path, known[path], value))
    return config


def load(config: T, path: Path) -> T:
    """Reads a YAML file of nested settings, plain or as a ROS parameter file, over ``config``.

    Raises:
        ConfigError: The file is missing, no YAML or no mapping, or a setting in it is wrong.
    """
    if not path.is_file():
        raise ConfigError("no such settings file", where=path)
    try:
        tree = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("settings file is not YAML", where=path, hint=str(error)) from error
    if not isinstance(tree, dict):
        raise ConfigError("settings file is not a mapping", where=path, got=type(tree).__name__)
    return changed(config, {path.rpartition("ros__parameters.")[2]: value for path, value in flatten(tree)})


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted path, value) of the leaves of nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check(path: str, spec: Field[Any], value: Any) -> Any:
    """The value as the field's type, if it may be one.

    Raises:
        ConfigError: Wrong type, not finite, out of range or not among the choices.
    """
    kind = type(spec.default)
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(item for item in value if item)  # ROS cannot declare an empty string list: [''] stands for it
    if kind is float and (type(value) is int or _is_scientific(value)):
        value = float(value)
    if kind is tuple or type(value) is not kind:
        raise ConfigError("setting of the wrong type", where=path, got=repr(value), expected=_type_name(kind))
    limits = spec.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise ConfigError(
            "setting not among its choices", where=path, got=repr(value), expected=" | ".join(limits["choices"])
        )
    if isinstance(value, int | float) and not (limits["low"] <= value <= limits["high"] and math.isfinite(value)):
        raise ConfigError(
            "setting out of range", where=path, got=value, expected=f"{limits['low']} to {limits['high']}"
        )
    return value


def _is_scientific(value: Any) -> bool:
    """Whether it is a number that YAML 1.1 takes for text, like 1e-3."""
    return isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) is not None


def _type_name(kind: type) -> str:
    return "a list of strings" if kind is tuple else kind.__name__


def _with(config: T, steps: list[str], value: Any) -> T:
    head, *rest = steps
    return replace(config, **{head: _with(getattr(config, head), rest, value) if rest else value})  # type: ignore[type-var]
