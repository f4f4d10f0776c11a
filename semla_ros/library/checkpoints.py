"""Reads checkpoint files without running any code in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from semla_ros.errors import BundleError


def read_state(path: Path) -> dict[str, Tensor]:
    """Reads the state dict of a safetensors file or a PyTorch checkpoint.

    Args:
        path: A .safetensors file; or a file of ``torch.save``, whose state dict may lie under "model" or "state_dict".

    Returns:
        Tensors by name, on the CPU.

    Raises:
        BundleError: The file is missing or damaged, or contains other objects than tensors in plain containers.
    """
    if not path.is_file():
        raise BundleError("no such file", where=path, expected="a .pth or .safetensors checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tree: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises any kind of error for arbitrary bytes
        raise BundleError(
            "unreadable checkpoint", where=path, got=type(error).__name__,
            expected="a state dict in a .pth or .safetensors file",
            hint="The file is damaged or contains other objects; download it again.",
        ) from error  # fmt: skip
    tree = tree.get("model", tree.get("state_dict", tree)) if isinstance(tree, dict) else tree
    if not isinstance(tree, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in tree.items()):
        raise BundleError(
            "checkpoint is no state dict", where=path, got=type(tree).__name__, expected="tensors by name"
        )
    return tree
