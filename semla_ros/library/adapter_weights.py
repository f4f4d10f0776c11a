"""``adapter_model.safetensors``: the matrices of a LoRA adapter, as PEFT saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load as load_bytes
from torch import Tensor

from semla_ros.errors import AdapterError
from semla_ros.library.untrusted_file import check_file, read_file

PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
FLOATS = "F64", "F32", "F16", "BF16"
MAX_BYTES, MAX_HEADER_BYTES, MAX_NAME = 2**30, 2**20, 256
Shape = tuple[int, ...]


class AdapterWeights:
    """The matrices of an adapter on disk. Opening the file reads names and shapes only.

    Args:
        path: The file.
        adapts: Called with a published module name; returns whether the adapter acts on that module.
        module_name: Maps a published module name to the segmenter's own name.

    Attributes:
        shapes: The segmenter's module name to the shapes of A (r, in) and B (out, r).
        published: Published names of all modules that have matrices.
        ignored: Those of them that the adapter does not act on.

    Raises:
        AdapterError: The file is missing or damaged, or holds anything but pairs of matrices A and B.
    """

    def __init__(self, path: Path, adapts: Callable[[str], bool], module_name: Callable[[str], str]) -> None:
        self.path = path
        shapes = _tensor_shapes(path)
        self._stems: dict[str, str] = {}  # module name to the common beginning of its tensors' names
        stems = {stem.removeprefix(PREFIX): stem for stem in _paired(shapes, path)}
        self.published, self.ignored = tuple(stems), tuple(name for name in stems if not adapts(name))
        for published, stem in stems.items():
            if published not in self.ignored and self._stems.setdefault(module_name(published), stem) != stem:
                raise AdapterError("two pairs of matrices for one module", where=path, got=module_name(published))
        if not self._stems:
            raise AdapterError("adapter acts on no module", where=path, expected="tensors of its target_modules")
        self.shapes = {module: (shapes[stem + A], shapes[stem + B]) for module, stem in self._stems.items()}

    def read(self, device: torch.device | str, dtype: torch.dtype) -> dict[str, tuple[Tensor, Tensor]]:
        """Reads the matrices into memory.

        Args:
            device: Device to put them on.
            dtype: Floating-point type to convert them to.

        Returns:
            The segmenter's module name to A (r, in) and B (out, r).

        Raises:
            AdapterError: The file changed since it was opened, or its values are not finite in ``dtype``.
        """
        try:  # from bytes: safe_open().get_tensor() leaks memory at every call
            stored = load_bytes(read_file(self.path, MAX_BYTES))
            pairs = {
                module: (stored[stem + A].to(device, dtype), stored[stem + B].to(device, dtype))
                for module, stem in self._stems.items()
            }
        except Exception as error:  # safetensors, torch and the file system raise errors of many types
            reason = f"{type(error).__name__}: {error}"
            raise AdapterError("unreadable adapter", where=self.path, hint=reason) from error
        for module, (down, up) in pairs.items():
            if (tuple(down.shape), tuple(up.shape)) != self.shapes[module]:
                raise AdapterError("adapter changed on disk", where=self.path, got=module, hint="reload the library")
            if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
                raise AdapterError("adapter holds NaN or infinity", where=self.path, got=module)
        return pairs


def _tensor_shapes(path: Path) -> dict[str, Shape]:
    """Reads the header of a safetensors file: tensor name to shape.

    Raises:
        AdapterError: The file is missing, truncated or too large, or a tensor is not of a real floating-point type.
    """
    try:
        check_file(path, MAX_BYTES)
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > MAX_HEADER_BYTES:
                raise ValueError(f"its header is longer than {MAX_HEADER_BYTES} bytes")
        with safe_open(path, framework="pt") as stored:
            slices = {key: stored.get_slice(key) for key in stored.keys()}  # noqa: SIM118
            types = {key: tensor.get_dtype() for key, tensor in slices.items()}
            shapes = {key: tuple(tensor.get_shape()) for key, tensor in slices.items()}
    except Exception as error:  # safetensors and the file system raise errors of many types
        raise AdapterError("unreadable adapter", where=path, hint=f"{error}; copy it again") from error
    odd = [f"{key:.80} {kind}" for key, kind in types.items() if kind not in FLOATS]
    if odd:
        raise AdapterError("adapter of an unsupported type", where=path, got=odd[0], expected=" or ".join(FLOATS))
    return shapes


def _paired(shapes: dict[str, Shape], path: Path) -> list[str]:
    """Returns the names of the tensors without ``.lora_A.weight`` or ``.lora_B.weight``, once per pair, sorted.

    Raises:
        AdapterError: A tensor is no matrix of a pair, such as a bias or a whole module that PEFT saves beside them.
    """
    stray = sorted(key for key in shapes if not key.endswith((A, B)) or len(key) > MAX_NAME)
    if stray or not shapes:
        named = ", ".join(f"{key:.80}" for key in stray[:3]) or "no tensors"
        raise AdapterError("adapter is not made of lora_A, lora_B pairs", where=path, got=named)
    stems = sorted({key.removesuffix(A).removesuffix(B) for key in shapes})
    for key in (stem + side for stem in stems for side in (A, B)):
        if len(shapes.get(key, ())) != 2:
            raise AdapterError("adapter lacks a matrix", where=path, got=shapes.get(key, "nothing"), expected=key)
    return stems
