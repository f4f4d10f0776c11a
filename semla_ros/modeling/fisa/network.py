"""The network of FISA: a frozen mask generator, and CLIP, which classifies the masks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.base import linear_layers
from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.modeling.fisa.distribution_adapter import DistributionAdapter
from semla_ros.modeling.fisa.generator import MaskGenerator
from semla_ros.modeling.fisa.mask_tokens import mask_tokens, visible_tokens
from semla_ros.modeling.fisa.seve import Seve


class Fisa(nn.Module):
    """FISA: mask generator, CLIP, SEVE and Distribution Adapter.

    Args:
        arch: Sizes.

    Raises:
        BundleError: The configuration makes no mask generator.
    """

    def __init__(self, arch: FisaArch) -> None:
        super().__init__()
        self.arch = arch
        self.generator = MaskGenerator(arch.generator, arch.generator_short, arch.generator_long)
        self.clip = Clip(arch.vision, arch.text, guidance_layers=())
        self.seve = Seve(arch.vision_width, arch.embed_dim, arch.seve_width, arch.seve_heads, arch.seve_residual)
        self.distribution = DistributionAdapter(arch.adapter_layers, arch.adapter_channels)

    def forward(self, pixels: Tensor, proposals: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Adjusts and classifies masks.

        Args:
            pixels: Images (B, 3, image_size, image_size), normalised by CLIP's mean and standard deviation.
            proposals: Logits of m masks, (B, m, h, w), of any size; m may be 0.
            text: Text embeddings of the T classes, L2-normalised, and last that of ``void`` if it is not empty:
                (T or T + 1, embed_dim).

        Returns:
            Logits of the classes (B, m, T or T + 1), and of the adjusted masks (B, m, h, w).
        """
        masks = self.distribution(proposals)
        if not masks.shape[1]:
            return text.new_zeros(len(masks), 0, len(text)), masks
        visible = visible_tokens(masks, self.arch.grid, self.arch.reads_class_token)
        targets = text[:-1] if self.arch.void else text  # the classes asked for
        visual = self.clip.visual
        tokens = mask_tokens(visual, pixels, visible, self.seve, self.arch.seve_layers, targets)
        features = F.normalize(visual.ln_post(tokens) @ visual.proj, dim=-1)
        return self.arch.logit_scale * features @ text.T, masks

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Returns the linear layers of CLIP, visual and text, by module name: those that adapters change."""
        return {f"clip.{name}": layer for name, layer in linear_layers(self.clip).items()}
