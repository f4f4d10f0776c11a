"""Builds a network and loads its weights, without memory for sizes that the weights do not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from semla_ros.errors import BundleError
from semla_ros.modeling.weights import load_strictly

T = TypeVar("T", bound=nn.Module)


def stored_network(build: Callable[[], T], file: Path) -> T:
    """Builds a network and loads its weights as float32.

    The network is first built on PyTorch's meta device, where tensors have a shape and no memory, and compared with the
    header of the weights. Sizes from an untrusted description can therefore take neither much memory nor much time.

    Args:
        build: Returns the untrained network. It must be able to run under ``torch.device("meta")``.
        file: Its state dict (.safetensors).

    Raises:
        BundleError: The file is missing or damaged, the network cannot be built, or its tensors differ from the file's.
    """
    header = _read(_header, file)
    network = _outline(build, file, len(header))
    load_strictly(network, header, file)
    _check_types(network, header, file)
    state = {key: t.float() if t.is_floating_point() else t for key, t in _read(load_file, file).items()}
    network.load_state_dict(state, assign=True)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):  # it is not in the state dict
        network = build()
        network.load_state_dict(state)
    return network


def _read(read: Callable[[Path], dict[str, Tensor]], file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise BundleError("unreadable weights", where=file, hint="There is no such file.")
    try:
        return read(file)
    except (SafetensorError, OSError) as error:
        raise BundleError("unreadable weights", where=file, hint=str(error)) from error


def _header(file: Path) -> dict[str, Tensor]:
    """Returns the tensors of a file on the meta device: their shapes, and whether they are floating-point."""
    with safe_open(file, framework="pt") as stored:
        slices = {key: stored.get_slice(key) for key in stored.keys()}  # noqa: SIM118
        return {
            key: torch.empty(
                part.get_shape(), dtype=torch.float32 if "F" in part.get_dtype() else torch.int64, device="meta"
            )
            for key, part in slices.items()
        }


def _outline(build: Callable[[], T], file: Path, tensors: int) -> T:
    """Builds a network on the meta device; stops when it has far more parameters than the file has tensors."""
    built, limit = 0, 100 + 2 * tensors

    def count(*_: object) -> None:
        nonlocal built
        built += 1
        if built > limit:
            raise BundleError("description of a larger network", where=file, got=f"{tensors} tensors in the file")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            return build()
    except BundleError:
        raise
    except Exception as error:  # PyTorch and open_clip raise many kinds of errors for impossible sizes
        raise BundleError("sizes that make no network", where=file.parent, hint=repr(error)) from error
    finally:
        hook.remove()


def _check_types(network: nn.Module, header: dict[str, Tensor], file: Path) -> None:
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() != header[key].is_floating_point():
            raise BundleError("weights of another type", where=file, got=key, expected=tensor.dtype)
