"""Adapters on disk, in the official loradb layout: PEFT's two files and the statistics of the training images.

An adapter of full fine-tuning, which PEFT does not know, has ``difference.safetensors`` in place of PEFT's files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from semla_ros.adaptation.metrics import MIN_SAMPLES, Metric
from semla_ros.adaptation.statistics import Statistics
from semla_ros.adaptation.statistics_file import load_statistics, save_statistics
from semla_ros.errors import AdapterError
from semla_ros.images.texture import TEXTURE_DIM
from semla_ros.library.adapter_config import AdapterConfig
from semla_ros.library.adapter_weights import METHOD, PREFIX, A, AdapterWeights, B
from semla_ros.library.manifest import check_listed, write_manifest
from semla_ros.library.tensor_file import save_tensors
from semla_ros.library.untrusted_file import check_file
from semla_ros.library.weight_difference import DIFFERENCE, WeightDifference
from semla_ros.modeling.lora import Adapter

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CARD = "README.md", "curve.png"
LORA, FULL = "lora", "full"  # methods
MAX_STATISTICS_BYTES = 2**26


class AdapterFolder:
    """One adapter on disk. Opening it checks the configuration, and the names and shapes of the tensors.

    Args:
        path: Folder with ``<name>_statistics.npz``, and with ``adapter_config.json`` and ``adapter_model.safetensors``
            or with ``difference.safetensors``.
        module_name: Maps a published module name to the segmenter's own name, see
            `semla_ros.modeling.base.SegmenterKind`.

    Attributes:
        name: Name of the folder, which is the name of the adapter.
        rank: Rank r of its matrices; 0 without any.
        scale: Factor s of B A.
        method: How it was trained, such as lora.
        shapes: Module name to the shapes of A (r, in) and B (out, r).
        difference: Weight difference of a fully fine-tuned adapter; None for LoRA.
        ignored: Published names of the modules that have matrices and are no target of the configuration.

    Raises:
        AdapterError: A file is missing, damaged, inconsistent or asks for more than plain LoRA.
    """

    def __init__(self, path: Path, module_name: Callable[[str], str] = str) -> None:
        self.path, self.name = path, path.name
        try:
            self._open(module_name)
        except AdapterError:
            self._check_manifest()  # that a file was damaged says more than what is missing in it then
            raise

    def _open(self, module_name: Callable[[str], str]) -> None:
        path = self.path
        if not is_adapter(path):
            expected = f"a folder with {CONFIG} and {WEIGHTS}, or {DIFFERENCE}"
            raise AdapterError("no adapter", where=path, expected=expected)
        self.difference = WeightDifference(path / DIFFERENCE) if (path / DIFFERENCE).exists() else None
        self._config = None if self.difference and not (path / CONFIG).exists() else AdapterConfig.read(path / CONFIG)
        self._weights = AdapterWeights(path / WEIGHTS, self._config.adapts, module_name) if self._config else None
        self.rank, self.scale = (self._config.rank, self._config.scale) if self._config else (0, 1.0)
        self.method = (self._weights.method or LORA) if self._weights else FULL
        self.shapes = self._weights.shapes if self._weights else {}
        self.ignored = self._weights.ignored if self._weights else ()

    def _check_manifest(self) -> None:
        """Raises an AdapterError if a file is not that of the manifest."""
        for file in (self.path / name for name in (CONFIG, WEIGHTS, DIFFERENCE)):
            if file.is_file():
                check_listed(file, AdapterError)

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Targets of the configuration without any matrices, sorted."""
        return self._config.unmatched(self._weights.published) if self._config and self._weights else ()

    @property
    def modules(self) -> frozenset[str]:
        """Names of the modules that the adapter changes."""
        changed = self.difference.shapes if self.difference else ()
        return frozenset(self.shapes) | {name.rpartition(".")[0] for name in changed}

    @cached_property
    def statistics(self) -> Statistics:
        """Statistics of the training images, read at the first use.

        Raises:
            AdapterError: The file is missing or damaged.
        """
        return read_statistics(self.path)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that hold the weights."""
        return *((CONFIG, WEIGHTS) if self._weights else ()), *((DIFFERENCE,) if self.difference else ())

    @property
    def size(self) -> int:
        """Size of the configuration and the weights on disk, bytes."""
        return sum((self.path / name).stat().st_size for name in self.files)

    def check(self, layers: Mapping[str, nn.Linear], parameters: Mapping[str, Tensor] | None = None) -> None:
        """Compares the tensors' shapes with a segmenter.

        Args:
            layers: Module name to its linear layer.
            parameters: Parameter name to parameter; needed for adapters of full fine-tuning.

        Raises:
            AdapterError: A module is unknown, or a matrix has the wrong shape: the adapter is for another base model.
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
        if self.difference:
            self.difference.check(parameters or {})

    def load(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Adapter:
        """Reads the tensors into memory. The files may be replaced afterwards.

        Args:
            device: Device to put the tensors on.
            dtype: Floating-point type of the tensors.

        Raises:
            AdapterError: The file changed since the folder was opened, or its values are not finite in ``dtype``.
        """
        factors = self._weights.read(device, dtype) if self._weights else {}
        difference = self.difference.read(device, dtype) if self.difference else {}
        return Adapter(self.name, factors, self.scale, difference)

    def copy_to(self, target: Path) -> None:
        """Copies the adapter and its card, and no other files of its folder, into a new folder of any name.

        Raises:
            OSError: A file cannot be read or written.
        """
        target.mkdir(parents=True)
        card = [name for name in CARD if (self.path / name).is_file() and not (self.path / name).is_symlink()]
        for name in (*self.files, *card):
            shutil.copyfile(self.path / name, target / name)
        shutil.copyfile(statistics_file(self.path), statistics_file(target))
        write_manifest(target)


def is_adapter(path: Path) -> bool:
    """Whether a folder holds the files of an adapter, damaged or not."""
    return any((path / name).exists() for name in (CONFIG, WEIGHTS, DIFFERENCE))


def statistics_file(adapter: Path) -> Path:
    """Returns the path of the statistics in the folder of an adapter."""
    return adapter / f"{adapter.name}_statistics.npz"


def read_statistics(adapter: Path) -> Statistics:
    """Reads the statistics in the folder of an adapter.

    Raises:
        AdapterError: The file is missing, damaged, too large or not that of the manifest.
    """
    path = statistics_file(adapter)
    try:
        check_file(path, MAX_STATISTICS_BYTES)
        check_listed(path, AdapterError)
    except FileNotFoundError as error:
        hint = "'semla library build' computes them from the training images."
        raise AdapterError("unreadable statistics", where=path, got="no such file", hint=hint) from error
    except OSError as error:
        raise AdapterError("unreadable statistics", where=path, hint=str(error)) from error
    return load_statistics(path)


def check_statistics(statistics: Statistics, dimension: int, metric: Metric, where: Path) -> None:
    """Checks whether statistics can be used with a navigator and a distance metric.

    Args:
        statistics: Statistics of an adapter's training images.
        dimension: Dimension D of the navigator's embeddings.
        metric: Distance metric of the library.
        where: Folder of the adapter.

    Raises:
        AdapterError: The centroid or the looks have another dimension, or the metric needs to know more.
    """
    found = len(statistics.centroid)
    if found != dimension:
        raise AdapterError("centroid of another navigator", where=where, got=f"dimension {found}", expected=dimension)
    look = statistics.look
    if look is not None and (length := look.mean.size - dimension) != TEXTURE_DIM:
        raise AdapterError("textures of another length", where=where, got=length, expected=TEXTURE_DIM)
    if not statistics.supports(metric):
        covariance = "no covariance" if statistics.covariance is None else f"{statistics.count} training images"
        raise AdapterError(
            f"too little is known for the metric {metric.name}", where=where, got=covariance,
            expected=f"a covariance of at least {MIN_SAMPLES} images",
        )  # fmt: skip


def is_adapter_name(name: str) -> bool:
    """Whether a folder of this name is an adapter: not hidden, and not what macOS adds."""
    return bool(name) and not name.startswith((".", "__MACOSX")) and "/" not in name and "\0" not in name


def check_name(name: str, folder: Path) -> None:
    """Refuses what is no name of an adapter in the library ``folder``.

    Raises:
        AdapterError: The name is empty, hidden or no name of a folder.
    """
    if not is_adapter_name(name):
        raise AdapterError("not the name of an adapter", where=folder, got=repr(name), expected="the name of a folder")


def save_adapter(
    adapter: Adapter, statistics: Statistics, folder: Path, dtype: torch.dtype = torch.float16, method: str = LORA
) -> None:
    """Writes an adapter into ``folder / adapter.name``: PEFT's files or a weight difference, statistics, manifest.

    Args:
        adapter: The adapter, of one rank for all modules.
        statistics: Statistics of its training images.
        folder: Folder of the adapter library.
        dtype: Floating-point type of the tensors on disk.
        method: How the adapter was trained, for people to read.

    Raises:
        AdapterError: The name is no name of a folder in ``folder``.
    """
    check_name(adapter.name, folder)
    path = folder / adapter.name
    path.mkdir(parents=True, exist_ok=True)
    if adapter.factors:
        _save_factors(adapter, path, dtype, method)
    if adapter.difference:
        save_tensors(adapter.difference, path / DIFFERENCE, dtype)
    save_statistics(statistics, statistics_file(path))
    write_manifest(path)


def _save_factors(adapter: Adapter, path: Path, dtype: torch.dtype, method: str) -> None:
    tensors: dict[str, Tensor] = {}
    for module, (down, up) in adapter.factors.items():
        tensors |= {f"{PREFIX}{module}{A}": down, f"{PREFIX}{module}{B}": up}
    save_tensors(tensors, path / WEIGHTS, dtype, **({"format": "pt"} if method == LORA else {METHOD: method}))
    rank = next(iter(adapter.factors.values()))[0].shape[0]
    config = {
        "peft_type": "LORA", "r": rank, "lora_alpha": adapter.scale * rank, "lora_dropout": 0.0, "bias": "none",
        "target_modules": sorted(adapter.factors), "use_rslora": False, "use_dora": False, "task_type": None,
    }  # fmt: skip
    (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
