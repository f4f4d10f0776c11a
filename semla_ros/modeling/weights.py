"""State dicts that fill a network completely, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from semla_ros.errors import BundleError


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Loads a state dict into a network.

    Raises:
        BundleError: Names the tensors that are missing, left over or of another shape.
    """
    check_fit(network, state, where)
    network.load_state_dict(state)


def check_fit(network: nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Compares the names and shapes of a state dict with those of a network.

    Raises:
        BundleError: Names the tensors that are missing, left over or of another shape.
    """
    expected = network.state_dict()
    wrong = [f"{key} missing" for key in expected.keys() - state.keys()]
    wrong += [f"{key} unknown" for key in state.keys() - expected.keys()]
    wrong += [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & state.keys()
        if state[key].shape != expected[key].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise BundleError("weights do not fit", where=where, got=shown)
