"""``adapter_model.safetensors``: the matrices of a LoRA adapter, as PEFT saves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from semla_ros.errors import AdapterError
from semla_ros.library.tensor_file import Shape, TensorFile

PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
METHOD = "method"  # entry of the file's metadata: PEFT refuses or warns of a field of its configuration
MAX_BYTES, MAX_NAME, MAX_METHOD = 2**30, 256, 40


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
        method: How the adapter was trained, for people to read; empty if the file does not say.

    Raises:
        AdapterError: The file is missing or damaged, or holds anything but pairs of matrices A and B.
    """

    def __init__(self, path: Path, adapts: Callable[[str], bool], module_name: Callable[[str], str]) -> None:
        self.path, self._file = path, TensorFile(path, MAX_BYTES)
        shapes, self.method = self._file.shapes, self._file.metadata.get(METHOD, "")[:MAX_METHOD]
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
        keys = [stem + side for stem in self._stems.values() for side in (A, B)]
        stored = self._file.read(keys, device, dtype)
        return {module: (stored[stem + A], stored[stem + B]) for module, stem in self._stems.items()}


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
