"""Checkpoint files: read without running any code in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from semla_ros.errors import BundleError


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a PyTorch checkpoint, which is never unpickled freely.

    Raises:
        BundleError: Missing, truncated, or with anything but tensors in plain containers.
    """
    if not path.is_file():
        raise BundleError("no such file", where=path, expected="a .pth or .safetensors checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tree: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler stumbles over other people's bytes in any way
        raise BundleError(
            "unreadable checkpoint", where=path, got=type(error).__name__, expected="tensors in a .pth or .safetensors",
            hint="It is damaged or holds more than tensors; download it again.",
        ) from error  # fmt: skip
    tree = tree.get("model", tree.get("state_dict", tree)) if isinstance(tree, dict) else tree
    if not isinstance(tree, dict) or not all(isinstance(value, Tensor) for value in tree.values()):
        raise BundleError(
            "checkpoint is no state dict", where=path, got=type(tree).__name__, expected="names to tensors"
        )
    return tree
