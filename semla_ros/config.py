"""All settings of the pipeline: default, range, unit and description.

YAML keys, ROS parameter names and field paths are identical: ``fusion.temperature`` is
``Config().fusion.temperature``. The node makes its parameter descriptors from the same metadata.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

from semla_ros.errors import ConfigError
from semla_ros.plain_yaml import read_yaml

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
    """Defines a field of a config dataclass.

    Args:
        default: Default value; its type is the type of the setting.
        doc: Description for users.
        low: Smallest allowed number.
        high: Largest allowed number.
        unit: Unit of the number, for example "s".
        choices: Allowed values of a string.
        read_only: Whether the setting is fixed once the pipeline is built.
    """
    metadata = {"doc": doc, "low": low, "high": high, "unit": unit, "choices": choices, "read_only": read_only}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ModelConfig:
    """The networks and the device that they run on."""

    bundle: str = setting("streetworld", "Model bundle: path of a folder, or name of an installed one", read_only=True)
    device: str = setting(
        "auto", "Device of the networks; auto uses CUDA if available, else the CPU", choices=("auto", "cpu", "cuda"),
        read_only=True,
    )  # fmt: skip
    precision: Literal["float32", "bfloat16", "float16"] = setting(
        "float32",
        "Floating-point type of the segmenter; 16 bits need half the memory and are faster on most GPUs",
        choices=("float32", "bfloat16", "float16"),
        read_only=True,
    )
    compile: bool = setting(
        False,
        "Use torch.compile for the segmenter: the first frame takes a minute or more; needs a C++ compiler",
        read_only=True,
    )
    official_compat: bool = setting(
        False, "Reproduce the errors of SemLA's published code, to compare with its published results", read_only=True
    )
    threads: int = setting(
        0,
        "Number of CPU threads for the networks; 0 uses all cores, in the node fewer while other processes use them",
        low=0,
        high=1024,
        read_only=True,
    )


@dataclass(frozen=True)
class SegmenterConfig:
    """What is segmented, and how."""

    classes: tuple[str, ...] = setting(
        (), "Class names; an empty list uses the bundle's classes. Separate synonyms by commas: 'car, automobile'"
    )
    prompt_templates: Literal["official", "synonyms", "imagenet"] = setting(
        "official",
        "CAT-Seg's template with the first synonym (official) or all synonyms, or CLIP's 80 templates (imagenet)",
        choices=("official", "synonyms", "imagenet"),
    )
    mode: Literal["plain", "sliding"] = setting(
        "plain",
        "One pass over the whole image (plain), or CAT-Seg's sliding window: finer, 5 times slower",
        choices=("plain", "sliding"),
    )
    min_confidence: float = setting(
        0.0,
        "Pixels with a lower class probability are published as unlabelled: 255, or 65535 with more than 255 classes",
        low=0.0,
        high=1.0,
    )
    memory_mib: int = setting(
        1024, "Memory limit for the activations of sliding windows that are computed in one batch", low=1,
        high=1_000_000, unit="MiB", read_only=True,
    )  # fmt: skip


@dataclass(frozen=True)
class NavigatorConfig:
    """How often an image is embedded."""

    period_s: float = setting(
        0.5, "Time between two embeddings, measured by message stamps", low=0.0, high=3600.0, unit="s"
    )
    max_share: float = setting(
        0.1,
        "Largest share of wall time that the live node's navigator may use; a slower navigator runs less often",
        low=0.001,
        high=1.0,
        read_only=True,
    )


@dataclass(frozen=True)
class TrackerConfig:
    """When a change of domain is detected (paper, section E)."""

    ema_time_s: float = setting(
        1.0, "Time constant of the exponential moving average of embeddings", low=0.0, high=3600.0, unit="s"
    )
    upper_threshold: float = setting(
        0.0,
        "Distance of the moving average to the embedding that the active mixture was retrieved for, above which the"
        " debounce timer starts; 0: the bundle's value, else derived from the library",
        low=0.0,
    )
    lower_threshold: float = setting(
        0.0,
        "Distance, as for upper_threshold, below which the debounce timer stops; 0: the bundle's value, else derived"
        " from the library",
        low=0.0,
    )
    debounce_s: float = setting(
        1.5,
        "Time that the distance must stay above the threshold before the mixture is swapped",
        low=0.0,
        high=3600.0,
        unit="s",
    )
    min_interval_s: float = setting(3.0, "Minimum time between two swaps", low=0.0, high=3600.0, unit="s")
    min_weight_change: float = setting(
        0.05, "Swaps that change the mixture weights by less than this (L1 distance) are skipped", low=0.0, high=2.0
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
    """Which adapters are mixed, and with which weights (paper, section 3.3)."""

    adapt: bool = setting(True, "Adapt to the domain; false runs the base segmenter without embeddings and swaps")
    k: int = setting(0, "Number of adapters in a mixture; 0 uses the bundle's value", low=0, high=1000)
    temperature: float = setting(
        0.0, "Temperature of the softmax over inverse distances; 0 uses the bundle's value", low=0.0, high=1e6
    )


@dataclass(frozen=True)
class LibraryConfig:
    """Which adapters are used, and how many are kept in memory."""

    exclude: tuple[str, ...] = setting((), "Names of adapters that are never used", read_only=True)
    memory_mib: int = setting(
        512,
        "Memory limit for loaded adapters; the least recently used are unloaded first",
        low=1,
        high=1_000_000,
        unit="MiB",
        read_only=True,
    )


@dataclass(frozen=True)
class GapsConfig:
    """Whether images that no adapter fits are recorded, as a start for new training data."""

    folder: str = setting("", "Folder of a record of the images that no adapter fits; empty: no record", read_only=True)
    disk_mib: int = setting(200, "Limit of the record on disk", low=2, high=1_000_000, unit="MiB", read_only=True)
    groups: int = setting(8, "Maximum number of groups of similar images", low=1, high=50, read_only=True)
    images: int = setting(
        40, "Maximum number of example images per group, spread evenly over time", low=2, high=10_000, read_only=True
    )


@dataclass(frozen=True)
class OutputConfig:
    """Size and encoding of the published images."""

    output_size: str = setting(
        "image",
        "Size of the published images: that of the camera image, or of the depth camera's point cloud, for Nav2",
        choices=("image", "cloud"),
    )
    output_width: int = setting(
        0,
        "Width of the published images; 0: as output_size, or by the proportions of the camera image",
        low=0,
        high=16384,
        unit="px",
    )
    output_height: int = setting(
        0,
        "Height of the published images; 0: as output_size, or by the proportions of the camera image",
        low=0,
        high=16384,
        unit="px",
    )
    confidence_encoding: str = setting(
        "mono8", "Confidence image: mono8 is round(255 p), 32FC1 is p itself", choices=("mono8", "32FC1")
    )
    overlay_opacity: float = setting(0.5, "Opacity of the class colours in the overlay", low=0.0, high=1.0)


@dataclass(frozen=True)
class Config:
    """All settings of the pipeline, in one group per stage."""

    model: ModelConfig = field(default_factory=ModelConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    navigator: NavigatorConfig = field(default_factory=NavigatorConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    library: LibraryConfig = field(default_factory=LibraryConfig)
    gaps: GapsConfig = field(default_factory=GapsConfig)


RELIABILITIES = ("auto", "reliable", "best_effort")


@dataclass(frozen=True)
class NodeConfig(OutputConfig, Config):
    """All settings of the node: those of the pipeline, in groups, of its outputs (`OutputConfig`), and its own."""

    image_transport: str = setting(
        "raw", "Topic of the images: image, or image/compressed", choices=("raw", "compressed")
    )
    image_reliability: str = setting(
        "auto", "Reliability of the subscription; auto takes that of the publishers", choices=RELIABILITIES
    )
    cameras: tuple[str, ...] = setting(
        (),
        "Names of several cameras, such as front for front/image and front/segmentation/mask; empty: one camera, image",
        read_only=True,
    )
    domain_cameras: tuple[str, ...] = setting(
        (), "Cameras whose images decide the domain and so the mixture of all; an empty list takes all cameras"
    )
    domain_per_camera: bool = setting(
        False,
        "Each camera follows a domain of its own: its mixture is fused at its turn, its state is on front/domain/state",
        read_only=True,
    )
    camera_batch: int = setting(
        1,
        "Largest number of cameras whose waiting images are segmented in one pass: more images per second, each later",
        low=1,
        high=64,
    )
    depth_topic: str = setting(
        "", "Topic of depth images that are aligned with the camera image, for segmentation/points; empty: no points",
        read_only=True,
    )  # fmt: skip
    depth_tolerance_s: float = setting(
        0.05, "Largest difference of the stamps of a camera image and its depth image", low=0.0, high=10.0, unit="s"
    )
    silence_s: float = setting(5.0, "Time without an image before a warning", low=0.1, high=3600.0, unit="s")
    autostart: bool = setting(True, "Configure and activate the node at its start", read_only=True)


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
    """Yields (dotted path, field, value) per setting of a config dataclass, including nested dataclasses."""
    for spec in fields(config):
        value = getattr(config, spec.name)
        if is_dataclass(value):
            yield from walk(value, f"{prefix}{spec.name}.")
        else:
            yield f"{prefix}{spec.name}", spec, value


def changed(config: T, settings: Mapping[str, Any]) -> T:
    """Returns a copy of a config dataclass with some settings changed.

    Args:
        config: A config dataclass such as `Config`.
        settings: New values by dotted path, for example ``{"fusion.k": 3}``.

    Raises:
        ConfigError: A path is unknown, or a value has the wrong type or is out of range.
    """
    known = {path: spec for path, spec, _ in walk(config)}
    if unknown := [path for path in settings if path not in known]:
        nearest = (" or ".join(get_close_matches(path, known, n=3)) for path in unknown)
        expected = "; ".join(filter(None, nearest)) or "one of " + ", ".join(known)
        raise ConfigError("unknown setting" + "s" * (len(unknown) > 1), where=", ".join(unknown), expected=expected)
    for path, value in settings.items():
        config = _with(config, path.split("."), check(path, known[path], value))
    return config


def load(config: T, path: Path) -> T:
    """Applies a YAML file of nested settings, either plain or a ROS parameter file, to ``config``.

    Raises:
        ConfigError: The file is missing, is not plain YAML, is not a mapping, or contains a wrong setting.
    """
    if not path.is_file():
        raise ConfigError("no such settings file", where=path)
    tree = read_yaml(path) or {}
    if not isinstance(tree, dict):
        raise ConfigError("settings file is not a mapping", where=path, got=type(tree).__name__)
    return changed(config, {path.rpartition("ros__parameters.")[2]: value for path, value in flatten(tree)})


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted path, value) per leaf of nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check(path: str, spec: Field[Any], value: Any) -> Any:
    """Returns the value, converted to the type of the field.

    Args:
        path: Dotted path of the setting, for messages.
        spec: A field made by `setting`.
        value: A value from YAML, ROS or Python. A list of strings becomes a tuple, a whole number a float if needed.

    Raises:
        ConfigError: The value has the wrong type, is not finite, is out of range or not one of the choices.
    """
    kind = type(spec.default)
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(item for item in value if item)  # ROS cannot declare an empty string list: [''] stands for it
    if kind is float and (type(value) is int or _is_scientific(value)):
        value = _float(value)
    if kind is tuple or type(value) is not kind:
        raise ConfigError("setting of the wrong type", where=path, got=repr(value), expected=_type_name(kind))
    limits = spec.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise ConfigError(
            "setting not among its choices", where=path, got=repr(value), expected=" | ".join(limits["choices"])
        )
    if isinstance(value, int | float) and not (limits["low"] <= value <= limits["high"] and math.isfinite(value)):
        expected = f"{limits['low']} or more" if limits["high"] == math.inf else f"{limits['low']} to {limits['high']}"
        raise ConfigError("setting out of range", where=path, got=value, expected=expected)
    return value


def _float(number: int | str) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of more than 308 digits
        return math.inf if int(number) > 0 else -math.inf


def _is_scientific(value: Any) -> bool:
    """Returns whether the value is a number such as 1e-3, which YAML 1.1 (and so ``ros2 param set``) reads as text."""
    return isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) is not None


def _type_name(kind: type) -> str:
    return "a list of strings" if kind is tuple else kind.__name__


def _with(config: T, steps: list[str], value: Any) -> T:
    head, *rest = steps
    return replace(config, **{head: _with(getattr(config, head), rest, value) if rest else value})  # type: ignore[type-var]
