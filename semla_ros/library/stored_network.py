"""Builds a network and loads its weights, without memory for sizes that the weights do not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from semla_ros.errors import BundleError
from semla_ros.modeling.weights import check_fit

T = TypeVar("T", bound=nn.Module)


def stored_network(build: Callable[[], T], file: Path) -> T:
    """Builds a network and loads its weights as float32.

    The network is first built of tensors without memory and compared with the header of the weights. Sizes from an
    untrusted description can therefore take neither much memory nor much time.

    Args:
        build: Returns the untrained network. It must not read the values of its tensors.
        file: Its state dict (.safetensors).

    Raises:
        BundleError: The file is missing or damaged, the network cannot be built, or its tensors differ from the file's.
    """
    header = _read(_header, file)
    network = _outline(build, file, len(header))
    check_fit(network, header, file)
    _check_types(network, header, file)
    state = {key: _own(tensor) for key, tensor in _read(load_file, file).items()}
    network.load_state_dict(state, assign=True)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):  # it is not in the state dict
        network = build()
        network.load_state_dict(state)
    return network


class _WithoutMemory(TorchFunctionMode):
    """Creates tensors on the meta device, where they have a shape and no memory.

    ``torch.device("meta")`` does so too, but its arithmetic and its random values make PyTorch import SymPy, about 6 s.
    So no random values are drawn, and tensors of ``torch.arange`` (masks and positions) stay on the CPU.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by PyTorch in place of each of its functions."""
        kwargs = kwargs or {}
        if func is Tensor.normal_ or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        if func is torch.randn:
            func = torch.empty
        if func in (torch.empty, torch.zeros, torch.ones, torch.full):
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _read(read: Callable[[Path], dict[str, Tensor]], file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise BundleError("unreadable weights", where=file, hint="There is no such file.")
    try:
        return read(file)
    except (SafetensorError, OSError, RuntimeError) as error:  # RuntimeError: sizes beyond 64 bits
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
    """Builds a network without memory; stops when it has far more parameters than the file has tensors."""
    built, limit = 0, 100 + 2 * tensors

    def count(*_: object) -> None:
        nonlocal built
        built += 1
        if built > limit:
            raise BundleError("description of a larger network", where=file, got=f"{tensors} tensors in the file")

    hook = register_module_parameter_registration_hook(count)
    try:
        with _WithoutMemory():
            return build()
    except BundleError:
        raise
    except Exception as error:  # PyTorch and open_clip raise many kinds of errors for impossible sizes
        raise BundleError("sizes that make no network", where=file.parent, hint=repr(error)) from error
    finally:
        hook.remove()


def _own(tensor: Tensor) -> Tensor:
    """Copies a tensor, float32 if it is floating-point. Those of `load_file` are part of the file's memory map."""
    return tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)


def _check_types(network: nn.Module, header: dict[str, Tensor], file: Path) -> None:
    for key, tensor in network.state_dict().items():
        if tensor.is_floating_point() != header[key].is_floating_point():
            raise BundleError("weights of another type", where=file, got=key, expected=tensor.dtype)
