"""FISA as a segmenter of images: classes, preprocessing, semantic and panoptic maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.modeling.base import Instances, Mode, PromptTemplates
from semla_ros.modeling.clip.class_prompts import ClassPrompts
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.fisa.merging import panoptic, semantic
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.things import THINGS, are_things


class FisaSegmenter:
    """Finds classes and instances in an image; see `semla_ros.modeling.base.PanopticSegmenter`.

    There is one mode: the whole image in one pass. The mask generator keeps the aspect ratio of the image; CLIP is
    shown the image stretched to a square.

    Args:
        network: A FISA network with its weights, of any floating-point type.
        classes: Class names, synonyms after commas ("car, automobile").
        prompt_templates: Prompts per class, see `semla_ros.modeling.clip.prompts.prompts`.
        memory_mib: Memory limit for the maps at the size of an image that are computed at a time, MiB.

    Raises:
        ConfigError: There are no classes.
    """

    def __init__(
        self, network: Fisa, classes: Sequence[str], prompt_templates: PromptTemplates = "official",
        memory_mib: int = 1024,
    ) -> None:  # fmt: skip
        self.network, self.memory_mib = network.eval().requires_grad_(False), memory_mib
        self.set_classes(classes, prompt_templates)

    @property
    def device(self) -> torch.device:
        """Device that the network computes on."""
        return self.network.clip.text_projection.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type that the network computes in."""
        return self.network.clip.text_projection.dtype

    @property
    def text(self) -> Tensor:
        """Text embeddings, L2-normalised: of the T classes, and last of void if the architecture names it."""
        return self._text

    @property
    def things(self) -> tuple[bool, ...]:
        """Whether each class is a thing, which has instances, in the order of ``classes``."""
        return are_things(self.classes, self.network.arch.things or THINGS)

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Returns the linear layers that adapters change, by module name."""
        return self.network.adapted_layers()

    def set_classes(self, classes: Sequence[str], prompt_templates: PromptTemplates = "official") -> None:
        """Segments into other classes from now on. If this fails, the previous classes stay in force.

        Args:
            classes: Class names, synonyms after commas.
            prompt_templates: Prompts per class.

        Raises:
            ConfigError: There are no classes.
        """
        arch = self.network.arch
        void = [arch.void] if arch.void and classes else []
        prompts = ClassPrompts.of([*classes, *void], prompt_templates, arch.context_length, self.device)
        text = prompts.encoded(self.network.clip)
        self.classes, self._prompts, self._text = tuple(classes), prompts, text

    def refresh_text(self) -> None:
        """Encodes the classes again. Required after every change of weights: adapters change the text encoder, too."""
        self._text = self._prompts.encoded(self.network.clip)

    @torch.inference_mode()
    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `semla_ros.modeling.base.Segmenter.segment`. Both modes are the same."""
        scores, masks = self.classified(rgb)
        wanted = size or (rgb.shape[0], rgb.shape[1])
        labels, confidence = semantic(scores, masks, len(self.classes), wanted, self._values)
        return labels.cpu().numpy(), confidence.cpu().numpy()

    @torch.inference_mode()
    def segment_instances(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> Instances:
        """See `semla_ros.modeling.base.PanopticSegmenter.segment_instances`. Both modes are the same."""
        return self.merged(*self.classified(rgb), size or (rgb.shape[0], rgb.shape[1]))

    @torch.inference_mode()
    def merged(self, scores: Tensor, masks: Tensor, size: tuple[int, int]) -> Instances:
        """Merges classified masks, see `classified`, to maps of a size (height, width)."""
        arch = self.network.arch
        labels, confidence = semantic(scores, masks, len(self.classes), size, self._values)
        segments, numbers = panoptic(
            scores, masks, self.things, size, arch.score_threshold, arch.overlap_threshold, self._values
        )
        return Instances(*(each.cpu().numpy() for each in (labels, confidence, numbers, segments)))

    @torch.inference_mode()
    def classified(self, rgb: NDArray[np.uint8], proposals: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classifies masks of an image.

        Args:
            rgb: Image (H, W, 3) uint8, RGB.
            proposals: Logits of m masks, (m, h, w); by default those of the mask generator.

        Returns:
            Logits of the classes, and of void after them, (m, T or T + 1), and of the adjusted masks (m, h, w); both
            float32.
        """
        image = self._image(rgb)
        if proposals is None:
            proposals = self.network.generator(image)[0]
        scores, masks = self.network(self.pixels(rgb), proposals[None].to(self.device, self.dtype), self._text)
        return scores[0].float(), masks[0].float()

    @torch.inference_mode()
    def pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Returns what CLIP is shown of an image (H, W, 3) uint8: (1, 3, S, S), normalised."""
        return square(normalised(self._image(rgb)), self.network.arch.image_size).to(self.dtype)

    @property
    def _values(self) -> int:
        """Number of values of maps at the size of an image that are computed at a time."""
        return self.memory_mib * 2**20 // 16  # float32, and copies while they are compared

    def _image(self, rgb: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device)[None]


def square(pixels: Tensor, side: int) -> Tensor:
    """Stretches images (B, 3, H, W) to squares, bilinearly."""
    return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
