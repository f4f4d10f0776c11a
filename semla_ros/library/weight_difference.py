"""``difference.safetensors``: what full fine-tuning added to the parameters of a segmenter (SemLA, Table 6)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from semla_ros.errors import AdapterError
from semla_ros.library.tensor_file import TensorFile

DIFFERENCE = "difference.safetensors"
MAX_BYTES = 2**31


class WeightDifference:
    """The difference of an adapter on disk, one tensor per parameter that it changes.

    Args:
        path: The file.

    Attributes:
        shapes: Parameter name to shape.

    Raises:
        AdapterError: The file is missing, damaged, empty or holds anything but floating-point numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, TensorFile(path, MAX_BYTES)
        self.shapes = self._file.shapes
        if not self.shapes:
            raise AdapterError("adapter changes nothing", where=path, expected="one tensor per changed parameter")

    def check(self, parameters: Mapping[str, Tensor]) -> None:
        """Compares the shapes with the parameters of a segmenter.

        Raises:
            AdapterError: A parameter is unknown or has another shape: the adapter is for another base model.
        """
        for name, shape in self.shapes.items():
            fitting = tuple(parameters[name].shape) if name in parameters else None
            if shape != fitting:
                expected = f"shape {fitting}" if fitting is not None else "a parameter of the segmenter"
                raise AdapterError(
                    "adapter for another base model", where=self.path, got=f"{name:.80} {shape}", expected=expected
                )

    def read(self, device: torch.device | str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Reads the tensors into memory; arguments and errors as in `TensorFile.read`."""
        return self._file.read(self.shapes, device, dtype)
