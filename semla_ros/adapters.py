"""Adapters on disk, in the official loradb layout: PEFT's files and the statistics of the training pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semla_ros.checkpoints import our_name
from semla_ros.errors import AdapterError
from semla_ros.modeling.lora import Adapter

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Statistics:
    """What is known of the pictures an adapter was trained on.

    Attributes:
        centroid: Mean embedding (D,), unnormalised.
        spread: Mean distance of embeddings to it; NaN where the file does not say (the official ones do not).
        radius: 99th percentile of those distances; NaN likewise.
    """

    centroid: NDArray[np.float64]
    spread: float
    radius: float

    @classmethod
    def of(cls, embeddings: NDArray[np.float64]) -> Statistics:
        """Of the embeddings (N, D) of a training set."""
        centroid = embeddings.mean(0)
        distances = np.linalg.norm(embeddings - centroid, axis=1)
        return cls(centroid, float(distances.mean()), float(np.percentile(distances, 99)))

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Reads ``<name>_statistics.npz``; the official single key is enough.

        Raises:
            AdapterError: No such file, no npz, no or a wrong centroid.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                centroid = stored["train_average_embedding"].astype(np.float64).reshape(-1)
                spread, radius = (float(stored[key]) if key in stored else np.nan for key in ("spread", "radius"))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise AdapterError(
                "unreadable statistics",
                where=path,
                expected="an npz with train_average_embedding (1, D)",
                hint=str(error),
            ) from error
        if not np.isfinite(centroid).all():
            raise AdapterError("centroid is not finite", where=path)
        return cls(centroid, spread, radius)

    def save(self, path: Path) -> None:
        """Writes what `load` reads."""
        centroid = self.centroid[None].astype(np.float32)
        np.savez(path, train_average_embedding=centroid, spread=np.float32(self.spread), radius=np.float32(self.radius))


class AdapterFolder:
    """One adapter on disk: its header checked, its tensors still unread.

    Args:
        path: ``adapter_config.json``, ``adapter_model.safetensors`` and ``<name>_statistics.npz`` lie there.

    Raises:
        AdapterError: A file is missing, truncated or inconsistent.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        config = self._config()
        self.scale = _scale(config, path / CONFIG)
        self._keys, self.shapes = self._header()
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
            if (down[1], up[0]) != (layer.in_features, layer.out_features) or down[0] != up[1]:
                raise AdapterError(
                    f"adapter does not fit {module}", where=self.path / WEIGHTS, got=f"A {down} and B {up}",
                    expected=f"A (r, {layer.in_features}) and B ({layer.out_features}, r)",
                )  # fmt: skip

    def load(self) -> Adapter:
        """Reads the tensors.

        Raises:
            AdapterError: The file changed since it was opened, or holds NaN.
        """
        try:
            with safe_open(self.path / WEIGHTS, framework="pt") as stored:
                factors = {m: tuple(stored.get_tensor(k).float() for k in keys) for m, keys in self._keys.items()}
        except (SafetensorError, OSError) as error:
            raise AdapterError("unreadable adapter", where=self.path / WEIGHTS, hint=str(error)) from error
        for module, pair in factors.items():
            if not all(torch.isfinite(factor).all() for factor in pair):
                raise AdapterError("adapter holds NaN or infinity", where=self.path / WEIGHTS, got=module)
        return Adapter(self.name, factors, self.scale)  # type: ignore[arg-type]

    def _config(self) -> dict[str, Any]:
        try:
            config = json.loads((self.path / CONFIG).read_text())
        except (OSError, ValueError) as error:
            raise AdapterError("unreadable adapter configuration", where=self.path / CONFIG, hint=str(error)) from error
        if not isinstance(config, dict) or config.get("peft_type") != "LORA":
            raise AdapterError("not a LoRA adapter", where=self.path / CONFIG, expected='"peft_type": "LORA"')
        return config

    def _header(self) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[tuple[int, ...], tuple[int, ...]]]]:
        """Pairs the tensors by module, without reading them."""
        path = self.path / WEIGHTS
        try:
            with safe_open(path, framework="pt") as stored:
                shapes: Shapes = {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise AdapterError("unreadable adapter", where=path, hint=f"{error}; copy it again") from error
        stems = {key.rpartition(".lora_")[0] for key in shapes}
        pairs = {
            our_name(stem.removeprefix(PREFIX)): (f"{stem}.lora_A.weight", f"{stem}.lora_B.weight") for stem in stems
        }
        for key in (key for pair in pairs.values() for key in pair):
            if len(shapes.get(key, ())) != 2:
                raise AdapterError("adapter lacks a matrix", where=path, got=shapes.get(key, "nothing"), expected=key)
        if not pairs or len(shapes) != 2 * len(pairs):
            raise AdapterError("adapter is not made of lora_A, lora_B pairs", where=path, got=sorted(shapes)[:3])
        return pairs, {module: (shapes[a], shapes[b]) for module, (a, b) in pairs.items()}


def _scale(config: Mapping[str, Any], path: Path) -> float:
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (isinstance(rank, int) and rank > 0 and isinstance(alpha, int | float)):
        raise AdapterError("adapter without rank or alpha", where=path, got=f"r={rank}, lora_alpha={alpha}")
    if config.get("use_dora") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise AdapterError("unsupported kind of LoRA", where=path, expected="no DoRA, no rank or alpha pattern")
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


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
