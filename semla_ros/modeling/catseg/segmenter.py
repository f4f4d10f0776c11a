"""A segmenter for images: CAT-Seg with classes, preprocessing and both ways of inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.modeling.base import Mode, PromptTemplates
from semla_ros.modeling.catseg.architecture import CLIP_MEAN, CLIP_STD
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.catseg.tiling import Plain, SlidingWindow, Tiling, resized
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import tokenize

CHUNK = 8  # classes upsampled at a time, so that memory does not grow with their number
MIB = 2**20


class CatSegSegmenter:
    """Classes of pixels in a image.

    Args:
        network: A CAT-Seg with its weights, of any floating dtype.
        classes: Class names, synonyms after commas ("car, automobile").
        prompt_templates: How classes are worded, see `semla_ros.modeling.clip.prompts.prompts`.
        memory_mib: Cap on the activations of windows that are segmented in one batch.
    """

    tilings: ClassVar[Mapping[Mode, Tiling]] = {"plain": Plain(), "sliding": SlidingWindow()}

    def __init__(
        self,
        network: CatSeg,
        classes: Sequence[str],
        prompt_templates: PromptTemplates = "official",
        memory_mib: int = 1024,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.memory_mib = memory_mib
        self.set_classes(classes, prompt_templates)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self.network.parameters()).dtype

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Name to linear layer: those that adapters change."""
        return self.network.adapted_layers()

    def set_classes(self, classes: Sequence[str], prompt_templates: PromptTemplates = "official") -> None:
        """Looks for other classes from now on."""
        texts = [prompts(name, prompt_templates) for name in classes]
        tokens = tokenize([text for each in texts for text in each], self.network.arch.context_length)
        self.classes = tuple(classes)
        self._tokens, self._counts = tokens.to(self.device), [len(each) for each in texts]
        self.refresh_text()

    @torch.inference_mode()
    def refresh_text(self) -> None:
        """Encodes the classes anew. Owed after every change of weights: adapters change the text encoder too."""
        embeddings = self.network.clip.encode_text(self._tokens).split(self._counts)
        self._text = F.normalize(torch.stack([each.mean(0) for each in embeddings]), dim=-1)

    @torch.inference_mode()
    def logits(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits of the plain mode: rgb (H, W, 3) uint8 to (T, 4 grid, 4 grid) float32."""
        return self._logits(self.tilings["plain"].crops(self._normalised(rgb)))[0].cpu().numpy()

    @torch.inference_mode()
    def probabilities(self, rgb: NDArray[np.uint8], mode: Mode = "plain") -> NDArray[np.float32]:
        """One probability a class and pixel, each class for itself: rgb (H, W, 3) uint8 to (T, H, W) float32."""
        return torch.cat(list(self._probabilities(rgb, mode, rgb.shape[:2]))).cpu().numpy()

    @torch.inference_mode()
    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The most probable class of every pixel and its probability.

        Args:
            rgb: Image (H, W, 3) uint8.
            mode: One pass, or the paper's sliding window.
            size: Height and width of the result; the image's own by default.

        Returns:
            Class indices (h, w) int64 and probabilities (h, w) float32.
        """
        size = size or (rgb.shape[0], rgb.shape[1])
        best = torch.zeros(size, device=self.device)  # what is not a number is not sure
        labels = torch.zeros(size, dtype=torch.int64, device=self.device)
        for chunk, probabilities in enumerate(self._probabilities(rgb, mode, size)):
            values, indices = probabilities.max(0)
            better = values > best
            labels = torch.where(better, indices + chunk * CHUNK, labels)
            best = torch.where(better, values, best)
        return labels.cpu().numpy(), best.cpu().numpy()

    def _probabilities(self, rgb: NDArray[np.uint8], mode: Mode, size: tuple[int, ...]) -> Iterator[Tensor]:
        """Probabilities of `CHUNK` classes at a time, (≤ CHUNK, h, w)."""
        view = self.tilings[mode]
        logits = self._logits(view.crops(self._normalised(rgb)))
        for few in logits.split(CHUNK, dim=1):
            yield resized(view.blend(few), size)[0]

    def _logits(self, crops: Tensor) -> Tensor:
        """Normalised images (B, 3, h, w) to logits (B, T, 4 grid, 4 grid) float32."""
        side = self.network.arch.image_size
        pixels = resized(crops, (side, side)).to(self.dtype)
        at_once = max(1, self.memory_mib * MIB // self.network.activation_bytes(len(self.classes)))
        return torch.cat([self.network(batch, self._text) for batch in pixels.split(at_once)]).float()

    def _normalised(self, rgb: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device).permute(2, 0, 1)[None].float()
        mean, std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        return (pixels - mean) / std
