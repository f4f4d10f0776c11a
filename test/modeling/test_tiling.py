from __future__ import annotations

import torch
import torch.nn.functional as F

from semla_ros.modeling.catseg.official_compat import PaddedPlain
from semla_ros.modeling.catseg.tiling import Plain, SlidingWindow


def test_the_sliding_window_averages_four_windows_and_the_whole_image() -> None:
    pixels, tiling = torch.randn(1, 2, 640, 640), SlidingWindow()
    crops = tiling.crops(pixels)
    assert crops.shape == (5, 2, 384, 384)
    out = tiling.blend(crops)  # as if the network returned its input
    whole = F.interpolate(pixels, (384, 384), mode="bilinear", align_corners=False).sigmoid()
    whole = F.interpolate(whole, (640, 640), mode="bilinear", align_corners=False)
    assert out.shape == (1, 2, 640, 640)
    assert torch.allclose(out, (pixels.sigmoid() + whole) / 2, atol=1e-5)


def test_classes_are_blended_independently_of_each_other() -> None:
    logits, tiling = torch.randn(5, 3, 96, 96), SlidingWindow()
    assert torch.allclose(tiling.blend(logits)[:, 1:2], tiling.blend(logits[:, 1:2]), atol=1e-6)


def test_the_plain_tiling_is_the_image_itself() -> None:
    pixels = torch.randn(1, 3, 30, 50)
    assert torch.equal(Plain().crops(pixels), pixels)
    assert torch.equal(Plain().blend(pixels), pixels.sigmoid())


def test_the_official_plain_tiling_pads_to_multiples_of_32_and_keeps_them() -> None:
    pixels = torch.randn(1, 3, 33, 64)
    padded = PaddedPlain().crops(pixels)
    assert padded.shape == (1, 3, 64, 64)
    assert torch.equal(padded[..., :33, :], pixels)
    assert not padded[..., 33:, :].any()
    assert torch.equal(PaddedPlain().crops(padded), padded)
