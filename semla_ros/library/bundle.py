"""A model bundle: a folder with a segmenter, a navigator, classes, default settings and a library of adapters."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn

from semla_ros.adaptation.metrics import METRICS
from semla_ros.config import changed, setting
from semla_ros.errors import BundleError, SemlaError
from semla_ros.images.classes import CITYSCAPES_COLORS, ClassInfo, class_table
from semla_ros.library.downloads import bundles_folder
from semla_ros.library.manifest import MANIFEST, check_listed, write_manifest
from semla_ros.library.stored_network import stored_network
from semla_ros.modeling.base import Architecture, Navigator, navigator_kind, segmenter_kind
from semla_ros.plain_yaml import read_yaml
from semla_ros.resources import shared

LOG = logging.getLogger(__name__)
DESCRIPTION, SEGMENTER, NAVIGATOR, ADAPTERS = (
    "bundle.yaml",
    "segmenter.safetensors",
    "navigator.safetensors",
    "adapters",
)
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Defaults:
    """Values for settings that are 0. A threshold that is 0 here too is derived from the library's statistics."""

    k: int = setting(5, "Number of adapters in a mixture (supplement, Table 6)", low=1, high=1000)
    temperature: float = setting(0.05, "Temperature of the softmax (supplement, Table 6)", low=1e-6, high=1e6)
    upper_threshold: float = setting(0.0, "Embedding distance that starts the debounce timer", low=0.0)
    lower_threshold: float = setting(0.0, "Embedding distance that stops the debounce timer", low=0.0)
    metric: str = setting("euclidean", "Distance metric between embeddings", choices=tuple(METRICS))


@dataclass(frozen=True)
class Bundle:
    """The content of ``bundle.yaml``.

    Attributes:
        path: Folder of the bundle.
        about: Description for users, one sentence.
        segmenter: Kind and sizes of the segmenter.
        navigator: Kind, sizes and preprocessing of the navigator.
        classes: Classes that are segmented by default.
        colors: RGB (0 to 255) by class name.
        defaults: See `Defaults`.
    """

    path: Path
    about: str
    segmenter: Architecture
    navigator: Architecture
    classes: tuple[str, ...]
    colors: Mapping[str, Color] = field(default_factory=lambda: CITYSCAPES_COLORS)
    defaults: Defaults = field(default_factory=Defaults)

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Reads the description. The weights are not read.

        Raises:
            BundleError: The folder or its description is missing, an entry is missing or wrong, or the description is
                not that of the bundle's manifest.
        """
        file = path / DESCRIPTION
        if not file.is_file():
            raise BundleError("no model bundle", where=path, expected=f"a folder with {DESCRIPTION}")
        if not (path / MANIFEST).exists():
            LOG.info("%s has no %s: its files are not checked", path, MANIFEST)
        check_listed(file, BundleError)
        try:
            tree = _mapping(read_yaml(file), DESCRIPTION)
            colors = _colors(_mapping(tree.get("classes"), "classes"))
            return cls(
                path, str(tree.get("about", "")), _architecture(tree, "segmenter", segmenter_kind),
                _architecture(tree, "navigator", navigator_kind), tuple(colors), colors,
                changed(Defaults(), _mapping(tree.get("defaults", {}), "defaults")),
            )  # fmt: skip
        except SemlaError as error:
            raise BundleError("malformed bundle description", where=file, hint=str(error)) from error

    def class_table(self, names: tuple[str, ...] = ()) -> tuple[ClassInfo, ...]:
        """Returns the default classes, or the given ones, with indices and colours."""
        return class_table(names or self.classes, self.colors)

    def load_network(self) -> nn.Module:
        """Loads the segmenter's network, float32.

        Raises:
            BundleError: The weights are missing, damaged, of other sizes or not those of the manifest.
        """
        kind = segmenter_kind(self.segmenter.kind)
        network: nn.Module = self._stored(lambda: kind.network(self.segmenter), SEGMENTER)
        return network

    def load_navigator(self) -> Navigator:
        """Loads the navigator, float32.

        Raises:
            BundleError: The weights are missing, damaged, of other sizes or not those of the manifest, or the
                preprocessing is unknown.
        """
        kind = navigator_kind(self.navigator.kind)
        network = self._stored(lambda: kind.network(self.navigator), NAVIGATOR)
        try:
            return kind.navigator(network, self.navigator)
        except (TypeError, ValueError, LookupError, AssertionError) as error:
            raise BundleError("navigator that cannot be used", where=self.path, hint=repr(error)) from error

    def save(self, segmenter: nn.Module, navigator: nn.Module, dtype: torch.dtype = torch.float16) -> None:
        """Writes description, weights and manifest. The adapters are written by `save_adapter` (adapter_folder.py).

        Args:
            segmenter: The segmenter's network.
            navigator: The navigator's network.
            dtype: Floating-point type of the stored weights.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        tree = {
            "about": self.about, "segmenter": self.segmenter.to_dict(), "navigator": self.navigator.to_dict(),
            "classes": {c.name: list(c.color) for c in self.class_table()}, "defaults": asdict(self.defaults),
        }  # fmt: skip
        (self.path / DESCRIPTION).write_text(yaml.safe_dump(tree, sort_keys=False))
        for network, name in ((segmenter, SEGMENTER), (navigator, NAVIGATOR)):
            save_file(_stored(network, dtype), self.path / name)
            shutil.copymode(self.path / DESCRIPTION, self.path / name)  # safetensors lets the owner alone read
        write_manifest(self.path)

    def _stored(self, build: Callable[[], nn.Module], name: str) -> Any:
        """Builds a network and loads its weights; meanwhile a thread compares their file with the manifest."""
        file = self.path / name
        with ThreadPoolExecutor(1) as beside:
            listed = beside.submit(check_listed, file, BundleError) if file.is_file() else None
            try:
                return stored_network(build, file)
            finally:
                if listed:
                    listed.result()  # its error tells more than that of a damaged file


def find_bundle(name: str) -> Path:
    """Finds a bundle by the path of its folder, or by name among the installed and the downloaded ones.

    Raises:
        BundleError: There is none; the message lists the names that exist.
    """
    for candidate in (Path(os.path.expanduser(name)), *(folder / name for folder in _shelves())):
        if (candidate / DESCRIPTION).is_file():
            return candidate
    names = sorted({file.parent.name for folder in _shelves() for file in folder.glob(f"*/{DESCRIPTION}")})
    expected = f"a folder with {DESCRIPTION}, or the name of an installed bundle: {', '.join(names)}"
    raise BundleError("no model bundle", where=name, expected=expected)


def _shelves() -> Iterator[Path]:
    """Yields the folders where bundles may lie."""
    yield from shared("models")
    yield bundles_folder()


def _mapping(value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BundleError(f"wrong entry '{key}'", got=type(value).__name__, expected="a mapping")
    return value


def _architecture(tree: Mapping[str, Any], key: str, find: Callable[[str], Any]) -> Architecture:
    sizes = _mapping(tree.get(key), key)
    arch: Architecture = find(str(sizes.get("kind"))).architecture.from_dict(sizes)
    return arch


def _colors(classes: Mapping[str, Any]) -> dict[str, Color]:
    """Checks class names and colours."""
    if not classes:
        raise BundleError("no classes", expected="at least one under classes")
    for name, rgb in classes.items():
        if not isinstance(name, str) or not name.strip():
            raise BundleError("wrong class name", got=repr(name), expected="text; write words such as 'yes' in quotes")
        if not (isinstance(rgb, list) and len(rgb) == 3 and all(type(c) is int and 0 <= c <= 255 for c in rgb)):
            raise BundleError(
                "wrong colour", where=f"class {name}", got=repr(rgb), expected="[red, green, blue], 0 to 255"
            )
    names = [name.strip() for name in classes]
    class_table(names)  # refuses names that differ in spaces only
    return {name: (rgb[0], rgb[1], rgb[2]) for name, rgb in zip(names, classes.values(), strict=True)}


def _stored(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    state = network.state_dict()
    return {key: (t.to(dtype) if t.is_floating_point() else t).contiguous() for key, t in state.items()}
