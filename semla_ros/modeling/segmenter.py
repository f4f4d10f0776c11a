"""A segmenter for pictures: CAT-Seg with classes, preprocessing and both ways of inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from semla_ros.modeling.architecture import CLIP_MEAN, CLIP_STD
from semla_ros.modeling.catseg import CatSeg

Mode = Literal["plain", "sliding"]
TEMPLATE = "A photo of a {} in the scene"
CHUNK = 8  # classes upsampled at a time, so that memory does not grow with their number


def tokenize(prompts: Sequence[str], context_length: int) -> Tensor:
    """BPE tokens (N, context_length) int64 of CLIP's vocabulary, zero-padded."""
    tokens: Tensor = SimpleTokenizer(context_length=context_length)(list(prompts))
    return tokens


class Segmenter:
    """Classes of pixels in a picture.

    Args:
        network: A CAT-Seg with its weights.
        classes: Class names. Of synonyms ("car, automobile") the first is used.
    """

    def __init__(self, network: CatSeg, classes: Sequence[str]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.set_classes(classes)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.network.parameters()).device

    def set_classes(self, classes: Sequence[str]) -> None:
        """Looks for other classes from now on."""
        prompts = [TEMPLATE.format(name.split(",")[0].strip()) for name in classes]
        self.classes = tuple(classes)
        self._tokens = tokenize(prompts, self.network.arch.context_length).to(self.device)
        self.refresh_text()

    @torch.inference_mode()
    def refresh_text(self) -> None:
        """Encodes the classes anew. Owed after every change of weights: adapters change the text encoder too."""
        self._text = self.network.clip.encode_text(self._tokens)

    @torch.inference_mode()
    def logits(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits of the plain mode: rgb (H, W, 3) uint8 to (T, 4 grid, 4 grid) float32."""
        return self._forward(self._normalised(rgb))[0].cpu().numpy()

    @torch.inference_mode()
    def probabilities(self, rgb: NDArray[np.uint8], mode: Mode = "plain") -> NDArray[np.float32]:
        """One probability a class and pixel, each class for itself: rgb (H, W, 3) uint8 to (T, H, W) float32."""
        coarse = self._coarse(rgb, mode)
        return _resized(coarse, rgb.shape[:2])[0].cpu().numpy()

    @torch.inference_mode()
    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The most probable class of every pixel and its probability.

        Args:
            rgb: Picture (H, W, 3) uint8.
            mode: One pass, or the paper's sliding window.
            size: Height and width of the result; the picture's own by default.

        Returns:
            Class indices (h, w) int64 and probabilities (h, w) float32.
        """
        size = size or (rgb.shape[0], rgb.shape[1])
        coarse = self._coarse(rgb, mode)
        best = torch.zeros(size, device=coarse.device)  # what is not a number is not sure
        labels = torch.zeros(size, dtype=torch.int64, device=coarse.device)
        for start in range(0, coarse.shape[1], CHUNK):
            values, indices = _resized(coarse[:, start : start + CHUNK], size)[0].max(0)
            better = values > best
            labels = torch.where(better, indices + start, labels)
            best = torch.where(better, values, best)
        return labels.cpu().numpy(), best.cpu().numpy()

    def _coarse(self, rgb: NDArray[np.uint8], mode: Mode) -> Tensor:
        """Probabilities (1, T, h, w) before they are resized to the picture."""
        pixels = self._normalised(rgb)
        return sliding_window(self._forward, pixels) if mode == "sliding" else self._forward(pixels).sigmoid()

    def _forward(self, pixels: Tensor) -> Tensor:
        side = self.network.arch.image_size
        logits: Tensor = self.network(_resized(pixels, (side, side)), self._text)
        return logits

    def _normalised(self, rgb: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device).permute(2, 0, 1)[None].float()
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        return (pixels - mean) / std


def sliding_window(
    forward: Callable[[Tensor], Tensor], pixels: Tensor, canvas: int = 640, window: int = 384, stride: int = 256
) -> Tensor:
    """SemLA's evaluation: the mean of overlapping windows and of the whole picture (PARITY: sliding window).

    Args:
        forward: Normalised pictures (B, 3, window, window) to logits (B, T, h, w).
        pixels: Normalised picture (1, 3, H, W).
        canvas: Side the picture is resized to.
        window: Side of a window.
        stride: Distance between windows.

    Returns:
        Probabilities (1, T, canvas, canvas).
    """
    image = _resized(pixels, (canvas, canvas))
    corners = [(y, x) for y in range(0, canvas - window + 1, stride) for x in range(0, canvas - window + 1, stride)]
    crops = [image[..., y : y + window, x : x + window] for y, x in corners]
    *parts, whole = forward(torch.cat([*crops, _resized(pixels, (window, window))])).split(1)
    total = torch.zeros(1, whole.shape[1], canvas, canvas, device=pixels.device)
    count = torch.zeros(canvas, canvas, device=pixels.device)
    for (y, x), part in zip(corners, parts, strict=True):
        total[..., y : y + window, x : x + window] += _resized(part, (window, window)).sigmoid()
        count[y : y + window, x : x + window] += 1
    whole = _resized(_resized(whole, (window, window)).sigmoid(), (canvas, canvas))
    return (total / count + whole) / 2


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False) if maps.shape[-2:] != size else maps
