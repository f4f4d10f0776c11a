"""A model bundle: a folder with a segmenter, a navigator, classes, defaults and an adapter library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from semla_ros.adaptation.metrics import find_metric
from semla_ros.errors import BundleError
from semla_ros.images.classes import CITYSCAPES_COLORS, ClassInfo, class_table
from semla_ros.modeling.base import Architecture, Navigator, navigator_kind, segmenter_kind
from semla_ros.modeling.weights import load_strictly
from semla_ros.resources import shared

T = TypeVar("T", bound=nn.Module)
HINT = f"Bundled ones lie in {next(shared('models'))}"
DESCRIPTION, SEGMENTER, NAVIGATOR, ADAPTERS = (
    "bundle.yaml",
    "segmenter.safetensors",
    "navigator.safetensors",
    "adapters",
)


@dataclass(frozen=True)
class Defaults:
    """What a setting of 0 stands for. The thresholds are derived from the library where they are 0 here too.

    Attributes:
        k: Adapters in a mixture (supplement, Table 6).
        temperature: Of the softmax (supplement, Table 6).
        upper_threshold: Embedding distance that starts the debounce clock.
        lower_threshold: Embedding distance that stops it.
        metric: Distance metric between embeddings, a name in `semla_ros.adaptation.metrics.METRICS`.
    """

    k: int = 5
    temperature: float = 0.05
    upper_threshold: float = 0.0
    lower_threshold: float = 0.0
    metric: str = "euclidean"


@dataclass(frozen=True)
class Bundle:
    """What ``bundle.yaml`` says.

    Attributes:
        path: The folder.
        about: One sentence for people.
        segmenter: Sizes of the segmenter.
        navigator: Sizes and preprocessing of the navigator.
        classes: What it segments by default.
        colors: Class name to RGB.
        defaults: See `Defaults`.
    """

    path: Path
    about: str
    segmenter: Architecture
    navigator: Architecture
    classes: tuple[str, ...]
    colors: Mapping[str, tuple[int, int, int]] = field(default_factory=lambda: CITYSCAPES_COLORS)
    defaults: Defaults = Defaults()

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Reads the description; weights stay on disk.

        Raises:
            BundleError: The folder or its description is missing or malformed.
        """
        file = path / DESCRIPTION
        if not file.is_file():
            raise BundleError("no model bundle", where=path, expected=f"a folder with {DESCRIPTION}")
        try:
            tree = yaml.safe_load(file.read_text())
            colors = {name: (rgb[0], rgb[1], rgb[2]) for name, rgb in tree["classes"].items()}
            networks = _segmenter(tree["segmenter"]), _navigator(tree["navigator"])
            bundle = cls(path, str(tree["about"]), *networks, tuple(colors), colors, _defaults(tree, file))
        except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise BundleError("malformed bundle description", where=file, hint=reason) from error
        if not bundle.classes:
            raise BundleError("no classes", where=file, expected="at least one under classes")
        return bundle

    def class_table(self, names: tuple[str, ...] = ()) -> tuple[ClassInfo, ...]:
        """The classes, or others, numbered and coloured."""
        return class_table(names or self.classes, self.colors)

    def load_network(self) -> nn.Module:
        """The segmenting network, float32.

        Raises:
            BundleError: Its weights are missing, truncated or for other sizes.
        """
        kind = segmenter_kind(self.segmenter.kind)
        return _filled(lambda: kind.network(self.segmenter), self.path / SEGMENTER)

    def load_navigator(self) -> Navigator:
        """The navigator, float32.

        Raises:
            BundleError: Its weights are missing, truncated or for other sizes.
        """
        kind = navigator_kind(self.navigator.kind)
        network = _filled(lambda: kind.network(self.navigator), self.path / NAVIGATOR)
        return kind.navigator(network, self.navigator)

    def save(self, segmenter: nn.Module, navigator: nn.Module, dtype: torch.dtype = torch.float16) -> None:
        """Writes description and weights; adapters are written by `semla_ros.library.adapter_folder.save_adapter`."""
        self.path.mkdir(parents=True, exist_ok=True)
        save_file(_stored(segmenter, dtype), self.path / SEGMENTER)
        save_file(_stored(navigator, dtype), self.path / NAVIGATOR)
        tree = {
            "about": self.about, "segmenter": self.segmenter.to_dict(), "navigator": self.navigator.to_dict(),
            "classes": {c.name: list(c.color) for c in self.class_table()}, "defaults": asdict(self.defaults),
        }  # fmt: skip
        (self.path / DESCRIPTION).write_text(yaml.safe_dump(tree, sort_keys=False))


def find_bundle(name: str) -> Path:
    """A bundle by folder, or by the name of a bundled one.

    Raises:
        BundleError: Neither.
    """
    for candidate in (Path(name).expanduser(), *shared(f"models/{name}")):
        if (candidate / DESCRIPTION).is_file():
            return candidate
    raise BundleError(
        "no model bundle", where=name, expected=f"a folder with {DESCRIPTION}, or a bundled name", hint=HINT
    )


def _segmenter(tree: Mapping[str, Any]) -> Architecture:
    return segmenter_kind(tree["kind"]).architecture.from_dict(tree)


def _navigator(tree: Mapping[str, Any]) -> Architecture:
    return navigator_kind(tree["kind"]).architecture.from_dict(tree)


def _defaults(tree: Mapping[str, Any], file: Path) -> Defaults:
    given = tree.get("defaults", {})
    unknown = given.keys() - {f.name for f in fields(Defaults)}
    if unknown:
        raise BundleError("unknown defaults", where=file, got=sorted(unknown))
    defaults = Defaults(**given)
    find_metric(defaults.metric)
    usable = isinstance(defaults.k, int) and defaults.k > 0 and defaults.temperature > 0
    if not (usable and defaults.upper_threshold >= 0 and defaults.lower_threshold >= 0):
        raise BundleError("defaults out of range", where=file, got=given, expected="k and temperature above 0")
    return defaults


def _stored(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    state = network.state_dict()
    return {key: (t.to(dtype) if t.is_floating_point() else t).contiguous() for key, t in state.items()}


def _filled(build: Callable[[], T], path: Path) -> T:
    try:
        network = build()
    except Exception as error:  # torch and open_clip refuse impossible sizes in many ways
        raise BundleError("sizes that make no network", where=path.parent / DESCRIPTION, hint=repr(error)) from error
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError("unreadable weights", where=path, hint=str(error)) from error
    load_strictly(network, {key: t.float() if t.is_floating_point() else t for key, t in state.items()}, path)
    return network
