"""Tensor files (safetensors) from untrusted sources: names, types and shapes are checked before any value is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from semla_ros.errors import AdapterError
from semla_ros.library.manifest import check_listed
from semla_ros.library.untrusted_file import check_file, read_file

FLOATS = "F64", "F32", "F16", "BF16"
MAX_HEADER_BYTES = 2**20
Shape = tuple[int, ...]


class TensorFile:
    """The tensors of an adapter on disk. Opening the file reads its header only.

    Args:
        path: The file.
        max_bytes: Largest size that is accepted.

    Attributes:
        shapes: Tensor name to shape.
        metadata: Texts that the writer of the file added.

    Raises:
        AdapterError: The file is missing, truncated or too large, or a tensor is not of a real floating-point type.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self._max_bytes = path, max_bytes
        try:
            check_file(path, max_bytes)
            with path.open("rb") as file:
                if int.from_bytes(file.read(8), "little") > MAX_HEADER_BYTES:
                    raise ValueError(f"its header is longer than {MAX_HEADER_BYTES} bytes")
            with safe_open(path, framework="pt") as stored:
                self.metadata: dict[str, str] = stored.metadata() or {}
                slices = {key: stored.get_slice(key) for key in stored.keys()}  # noqa: SIM118
                types = {key: tensor.get_dtype() for key, tensor in slices.items()}
                self.shapes: dict[str, Shape] = {key: tuple(part.get_shape()) for key, part in slices.items()}
        except Exception as error:  # safetensors and the file system raise errors of many types
            raise AdapterError("unreadable adapter", where=path, hint=f"{error}; copy it again") from error
        odd = [f"{key:.80} {kind}" for key, kind in types.items() if kind not in FLOATS]
        if odd:
            expected = " or ".join(FLOATS)
            raise AdapterError("adapter of an unsupported type", where=path, got=odd[0], expected=expected)

    def read(self, keys: Iterable[str], device: torch.device | str, dtype: torch.dtype) -> dict[str, Tensor]:
        """Reads tensors into memory.

        Args:
            keys: Names of the tensors.
            device: Device to put them on.
            dtype: Floating-point type to convert them to.

        Raises:
            AdapterError: The file changed since it was opened, is not that of the manifest, or its values are not
                finite in ``dtype``.
        """
        try:  # from bytes: safe_open().get_tensor() leaks memory at every call
            content = read_file(self.path, self._max_bytes)
            check_listed(self.path, AdapterError, content)
            stored = load_bytes(content)
            tensors = {key: stored[key].to(device, dtype) for key in keys}
        except AdapterError:
            raise
        except Exception as error:  # safetensors, torch and the file system raise errors of many types
            reason = f"{type(error).__name__}: {error}"
            raise AdapterError("unreadable adapter", where=self.path, hint=reason) from error
        for key, tensor in tensors.items():
            if tuple(tensor.shape) != self.shapes[key]:
                raise AdapterError("adapter changed on disk", where=self.path, got=key, hint="reload the library")
            if not torch.isfinite(tensor).all():
                raise AdapterError("adapter holds NaN or infinity", where=self.path, got=key)
        return tensors


def save_tensors(tensors: Mapping[str, Tensor], path: Path, dtype: torch.dtype, **metadata: str) -> None:
    """Writes what `TensorFile` reads. Other users may read the file as well: ``safetensors.save_file`` forbids it.

    Args:
        tensors: Tensor name to tensor.
        path: The file.
        dtype: Floating-point type of the tensors in the file.
        metadata: Texts to add, at most one: several are written in a random order.
    """
    path.write_bytes(save_bytes({name: each.to(dtype).contiguous() for name, each in tensors.items()}, metadata))
