"""The devices that a training computes on, in any number of processes, by Hugging Face accelerate."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from semla_ros.errors import ConfigError


def accelerator_on(device: str = "auto") -> Accelerator:
    """Returns accelerate's access to the devices.

    A GPU computes in bfloat16 where it is able to, and a CPU in float32, unless ``accelerate launch
    --mixed_precision`` says otherwise. The number of processes is that of ``accelerate launch``.

    Args:
        device: "auto" takes a GPU if there is one; or "cpu" or "cuda".

    Raises:
        ConfigError: The device is cuda, but there is no CUDA device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device", where="--device", got="cuda", expected="auto or cpu on this machine")
    gpu = device != "cpu" and torch.cuda.is_available()
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION") or (
        "bf16" if gpu and torch.cuda.is_bf16_supported() else "no"
    )
    # A fully trained network has parameters that no image uses, such as the queries of CAT-Seg's last image block.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=not gpu, mixed_precision=precision, kwargs_handlers=[unused])
