"""A model bundle: a folder with a segmenter, a navigator, classes, defaults and an adapter library."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from semla_ros.checkpoints import load_strictly
from semla_ros.classes import CITYSCAPES_COLORS, ClassInfo, class_table
from semla_ros.errors import BundleError
from semla_ros.modeling.architecture import CatSegArch
from semla_ros.modeling.catseg import CatSeg
from semla_ros.modeling.navigator import Navigator, NavigatorArch

DESCRIPTION, SEGMENTER, NAVIGATOR, ADAPTERS = (
    "bundle.yaml",
    "segmenter.safetensors",
    "navigator.safetensors",
    "adapters",
)
BUNDLED = (Path(__file__).parent.parent / "models", Path("share/semla_ros/models"))


@dataclass(frozen=True)
class Defaults:
    """What a setting of 0 stands for. The thresholds are derived from the library where they are 0 here too.

    Attributes:
        k: Adapters in a mixture (supplement, Table 6).
        temperature: Of the softmax (supplement, Table 6).
        enter: Embedding distance that starts the debounce clock.
        rearm: Embedding distance that stops it.
    """

    k: int = 5
    temperature: float = 0.05
    enter: float = 0.0
    rearm: float = 0.0


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
    segmenter: CatSegArch
    navigator: NavigatorArch
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
            return cls(
                path, str(tree["about"]), CatSegArch.from_dict(tree["segmenter"]), NavigatorArch.from_dict(tree["navigator"]),
                tuple(tree["classes"]), {k: (v[0], v[1], v[2]) for k, v in tree["classes"].items()}, _defaults(tree),
            )  # fmt: skip
        except (yaml.YAMLError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise BundleError("malformed bundle description", where=file, hint=repr(error)) from error

    def class_table(self, names: tuple[str, ...] = ()) -> tuple[ClassInfo, ...]:
        """The classes, or others, numbered and coloured."""
        return class_table(names or self.classes, self.colors)

    def load_segmenter(self) -> CatSeg:
        """The segmenting network, float32.

        Raises:
            BundleError: Its weights are missing, truncated or for other sizes.
        """
        return _filled(CatSeg(self.segmenter), self.path / SEGMENTER)

    def load_navigator(self) -> Navigator:
        """The navigator, float32.

        Raises:
            BundleError: Its weights are missing, truncated or for other sizes.
        """
        return Navigator(_filled(self.navigator.build(), self.path / NAVIGATOR), self.navigator)

    def save(self, segmenter: nn.Module, navigator: nn.Module, dtype: torch.dtype = torch.float16) -> None:
        """Writes description and weights; adapters are written by `semla_ros.adapters.save_adapter`."""
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
    candidates = [Path(name).expanduser(), BUNDLED[0] / name, Path(sys.prefix) / BUNDLED[1] / name]
    for candidate in candidates:
        if (candidate / DESCRIPTION).is_file():
            return candidate
    raise BundleError("no model bundle", where=name, expected="one of " + ", ".join(str(c) for c in candidates))


def _defaults(tree: Mapping[str, Any]) -> Defaults:
    given = tree.get("defaults", {})
    unknown = given.keys() - {f.name for f in fields(Defaults)}
    if unknown:
        raise BundleError("unknown defaults", where=DESCRIPTION, got=sorted(unknown))
    return Defaults(**given)


def _stored(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    state = network.state_dict()
    return {key: (t.to(dtype) if t.is_floating_point() else t).contiguous() for key, t in state.items()}


def _filled(network: nn.Module, path: Path) -> Any:
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError("unreadable weights", where=path, hint=str(error)) from error
    load_strictly(network, {key: t.float() if t.is_floating_point() else t for key, t in state.items()}, path)
    return network
