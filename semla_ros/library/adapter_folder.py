"""Adapters on disk, in the official loradb layout: PEFT's files and the statistics of the training images."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError
from semla_ros.modeling.lora import Adapter

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
UNSUPPORTED = "use_dora", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "exclude_modules", "layers_to_transform"
Shapes = dict[str, tuple[int, ...]]


class AdapterFolder:
    """One adapter on disk: its header checked, its tensors still unread.

    Args:
        path: Folder of ``adapter_config.json``, ``adapter_model.safetensors`` and ``<name>_statistics.npz``.
        module_name: Published module name to the segmenter's own, see `semla_ros.modeling.base.SegmenterKind`.

    Raises:
        AdapterError: A file is missing, truncated or inconsistent.
    """

    def __init__(self, path: Path, module_name: Callable[[str], str] = str) -> None:
        self.path, self.name, self._module_name = path, path.name, module_name
        config = self._config()
        self.rank, self.scale = _rank_and_scale(config, path / CONFIG)
        self._keys, self.shapes = self._header(config.get("target_modules"))
        self.statistics = Statistics.load(path / f"{self.name}_statistics.npz")

    def check(self, layers: Mapping[str, nn.Linear]) -> None:
        """Compares the header with the linear layers of a segmenter.

        Raises:
            AdapterError: A module is unknown, or a factor of the wrong shape: the adapter is for another base.
        """
        for module, (down, up) in self.shapes.items():
            layer = layers.get(module)
            if layer is None:
                raise AdapterError(
                    "adapter for another base model", where=self.path / WEIGHTS, got=f"module {module}",
                    expected="a linear layer of the segmenter",
                )  # fmt: skip
            fitting = (self.rank, layer.in_features), (layer.out_features, self.rank)
            if (down, up) != fitting:
                raise AdapterError(
                    f"adapter does not fit {module}", where=self.path / WEIGHTS, got=f"A {down} and B {up}",
                    expected=f"A {fitting[0]} and B {fitting[1]}",
                )  # fmt: skip

    def load(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Adapter:
        """Reads the tensors. The file is mapped for reading and let go: who replaces it later does no harm.

        Args:
            device: Where the tensors shall lie.
            dtype: What they shall be.

        Raises:
            AdapterError: The file changed since it was opened, or holds NaN.
        """
        path = self.path / WEIGHTS
        try:
            with safe_open(path, framework="pt") as stored:
                factors = {
                    module: tuple(stored.get_tensor(key).to(device, dtype, copy=True) for key in keys)
                    for module, keys in self._keys.items()
                }
        except (SafetensorError, OSError) as error:
            raise AdapterError("unreadable adapter", where=path, hint=str(error)) from error
        for module, (down, up) in factors.items():
            if (tuple(down.shape), tuple(up.shape)) != self.shapes[module]:
                raise AdapterError("adapter changed on disk", where=path, got=module, hint="reload the library")
            if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
                raise AdapterError("adapter holds NaN or infinity", where=path, got=module)
        return Adapter(self.name, factors, self.scale)

    def _config(self) -> dict[str, Any]:
        try:
            config = json.loads((self.path / CONFIG).read_text())
        except (OSError, ValueError) as error:
            raise AdapterError("unreadable adapter configuration", where=self.path / CONFIG, hint=str(error)) from error
        if not isinstance(config, dict) or config.get("peft_type") != "LORA":
            raise AdapterError("not a LoRA adapter", where=self.path / CONFIG, expected='"peft_type": "LORA"')
        return config

    def _header(
        self, targets: object
    ) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[tuple[int, ...], tuple[int, ...]]]]:
        """Pairs the tensors by module, without reading them. Those of modules that are no targets do not act."""
        path = self.path / WEIGHTS
        try:
            with safe_open(path, framework="pt") as stored:
                shapes: Shapes = {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise AdapterError("unreadable adapter", where=path, hint=f"{error}; copy it again") from error
        stems = {key.rpartition(".lora_")[0] for key in shapes}
        pairs = {
            self._module_name(stem.removeprefix(PREFIX)): (f"{stem}.lora_A.weight", f"{stem}.lora_B.weight")
            for stem in stems
            if is_target(stem.removeprefix(PREFIX), targets)
        }
        for key in (key for pair in pairs.values() for key in pair):
            if len(shapes.get(key, ())) != 2:
                raise AdapterError("adapter lacks a matrix", where=path, got=shapes.get(key, "nothing"), expected=key)
        if not pairs or len(shapes) != 2 * len(stems):
            raise AdapterError("adapter is not made of lora_A, lora_B pairs", where=path, got=sorted(shapes)[:3])
        return pairs, {module: (shapes[a], shapes[b]) for module, (a, b) in pairs.items()}


def is_target(module: str, targets: object) -> bool:
    """Whether PEFT puts an adapter on a module: ``target_modules`` are full names or ends of names, or one pattern."""
    if isinstance(targets, str):
        return targets == "all-linear" or re.fullmatch(targets, module) is not None
    if isinstance(targets, list):
        return any(module == target or module.endswith(f".{target}") for target in targets)
    return targets is None


def _rank_and_scale(config: Mapping[str, Any], path: Path) -> tuple[int, float]:
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (isinstance(rank, int) and rank > 0 and isinstance(alpha, int | float) and math.isfinite(alpha)):
        raise AdapterError("adapter without rank or alpha", where=path, got=f"r={rank}, lora_alpha={alpha}")
    unsupported = [key for key in UNSUPPORTED if config.get(key)]
    if unsupported:
        raise AdapterError("unsupported kind of LoRA", where=path, got=unsupported, expected="plain LoRA or rsLoRA")
    return rank, float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def save_adapter(adapter: Adapter, statistics: Statistics, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes an adapter as PEFT does, with its statistics beside it, into ``folder / adapter.name``."""
    path = folder / adapter.name
    path.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for module, (down, up) in adapter.factors.items():
        tensors[f"{PREFIX}{module}.lora_A.weight"] = down.to(dtype).contiguous()
        tensors[f"{PREFIX}{module}.lora_B.weight"] = up.to(dtype).contiguous()
    save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})
    rank = next(iter(adapter.factors.values()))[0].shape[0]
    config = {
        "peft_type": "LORA", "r": rank, "lora_alpha": adapter.scale * rank, "lora_dropout": 0.0, "bias": "none",
        "target_modules": sorted(adapter.factors), "use_rslora": False, "use_dora": False, "task_type": None,
    }  # fmt: skip
    (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    statistics.save(path / f"{adapter.name}_statistics.npz")
