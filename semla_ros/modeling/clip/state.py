"""State dicts of CLIP: the published layouts to ours."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from semla_ros.errors import BundleError


def clip_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Splits the fused tensors of a CLIP state dict: one weight and one bias per projection.

    Args:
        state: In one of three layouts: PyTorch's fused ``in_proj_weight`` (OpenAI, open_clip), CAT-Seg's
            ``q_proj_weight``, or SemLA's ``q_proj.weight`` beside it. Their biases are always fused.

    Returns:
        The same tensors by the names of `semla_ros.modeling.clip`.

    Raises:
        BundleError: A fused tensor cannot be split into three.
    """
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        stem, _, name = key.rpartition(".")
        if name in ("in_proj_weight", "in_proj_bias"):
            if len(value) % 3:
                raise BundleError(
                    "no projections of attention", where=key, got=tuple(value.shape), expected="(3 n, ...)"
                )
            kind = name.removeprefix("in_proj_")
            out |= {f"{stem}.{part}_proj.{kind}": chunk for part, chunk in zip("qkv", value.chunk(3), strict=True)}
        elif name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            out[f"{stem}.{name.replace('_weight', '.weight')}"] = value
        else:
            out[key] = value
    return out
