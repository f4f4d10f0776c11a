"""The mask generator: proposes masks of whatever stands out in an image, and names no classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from semla_ros.errors import BundleError

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, for values from 0 to 255
DIVISOR = 32  # of the sides of its input: the coarsest feature map has a pixel for so many
BACKBONES = "swin", "resnet"  # those of transformers that never download anything
# Values for which transformers takes memory before the network has any parameters.
LIMITS = {"num_labels": 10_000, "num_queries": 100_000, "window_size": 64, "depths": 200}


class MaskGenerator(nn.Module):
    """Mask2Former without its classifier. It is always frozen.

    Another generator has the same two sizes and `forward`.

    Args:
        config: What differs from the defaults of transformers' Mask2FormerConfig.
        short: Length that the short side of the image is resized to, pixels.
        long: Longest side, pixels.

    Raises:
        BundleError: The configuration makes no Mask2Former.
    """

    def __init__(self, config: Mapping[str, Any], short: int, long: int) -> None:
        super().__init__()
        self.short, self.long = short, long
        self.model = _mask2former(config)

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: proposals are the same in training, without dropout."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Proposes masks.

        Args:
            images: (B, H, W, 3) uint8, RGB.

        Returns:
            Logits of m masks, (B, m, h, w), at a fourth of the size that the image is resized to.
        """
        weight = next(self.model.parameters())
        pixels = images.permute(0, 3, 1, 2).float()
        pixels = F.interpolate(pixels, self.size(*images.shape[1:3]), mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD))
        out: Tensor = self.model(((pixels - mean) / std).to(weight.dtype)).masks_queries_logits[-1]
        return out

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image is resized to: multiples of 32, its aspect ratio nearly kept."""
        scale = min(self.short / min(height, width), self.long / max(height, width))
        rounded = (max(1, round(scale * side / DIVISOR)) * DIVISOR for side in (height, width))
        return next(rounded), next(rounded)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers from writing to the terminal.

    It shows progress bars, reports of tensors that do not fit (our errors name them), and a warning about backbones
    other than those of the published models.
    """
    from transformers.utils import logging as module

    logging: Any = module  # a part of it has no types
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def generator_config(config: Any) -> dict[str, Any]:
    """Returns what a Mask2FormerConfig has besides the defaults and the names of classes, as plain values."""
    names = {"architectures", "id2label", "label2id", "dtype", "torch_dtype", "transformers_version", "_name_or_path"}
    plain: dict[str, Any] = _plain(config.to_diff_dict())
    return {key: value for key, value in plain.items() if key not in names}


def check_config(config: Mapping[str, Any]) -> None:
    """Refuses a configuration whose network may take files or much memory while it is built.

    Args:
        config: What differs from the defaults of transformers' Mask2FormerConfig.

    Raises:
        BundleError: Names the value and what is possible.
    """
    backbone = config.get("backbone_config", {"model_type": "swin"})
    kind = backbone.get("model_type") if isinstance(backbone, Mapping) else backbone
    if kind not in BACKBONES or config.get("backbone"):
        raise BundleError(
            "unknown backbone of the mask generator", where="generator.backbone_config.model_type",
            got=config.get("backbone") or kind, expected=" or ".join(BACKBONES),
        )  # fmt: skip
    for part in (config, backbone if isinstance(backbone, Mapping) else {}):
        for name, limit in LIMITS.items():
            given = part.get(name, 0)
            if any(isinstance(each, int | float) and each > limit for each in _values(given)):
                where = f"generator.{name}" if part is config else f"generator.backbone_config.{name}"
                raise BundleError("value that takes much memory", where=where, got=given, expected=f"at most {limit}")


def _values(given: object) -> Sequence[object]:
    return given if isinstance(given, list | tuple) else (given,)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _mask2former(config: Mapping[str, Any]) -> nn.Module:
    try:
        from transformers import Mask2FormerConfig, Mask2FormerModel
    except ModuleNotFoundError as error:
        hint = "In a clone of semla_ros: pip install '.[workshop]', or transformers alone."
        raise BundleError("the mask generator needs a package", got=f"no {error.name}", hint=hint) from error
    check_config(config)
    try:
        with quiet_transformers():
            return Mask2FormerModel(Mask2FormerConfig(**_plain(config)))
    except BundleError:
        raise
    except Exception as error:  # transformers raises errors of many types for values that do not fit
        raise BundleError("configuration that makes no mask generator", where="generator", hint=repr(error)) from error
