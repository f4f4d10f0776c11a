"""The published files that can be downloaded, and the bundles that can be made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlparse


@dataclass(frozen=True)
class Download:
    """A published file.

    Attributes:
        name: Name in commands.
        about: Description for users, one line.
        url: Address of the file.
        size: Approximate size.
        licence: Licence that the publisher names for the code or the weights.
        source: Page of the publisher.
        sha256: SHA-256 checksum, hexadecimal; None if none is known. Then the first download's checksum is recorded.
    """

    name: str
    about: str
    url: str
    size: str
    licence: str
    source: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        """File name."""
        return PurePosixPath(urlparse(self.url).path).name


@dataclass(frozen=True)
class Recipe:
    """The downloads that make a bundle.

    Attributes:
        about: Description for users, one line.
        segmenter: Name of the download with the segmenter.
        library: Name of the download with the adapters.
        navigator: Name of the download with the navigator.
        segmenter_kind: Kind of the segmenter, see `semla_ros.modeling.base.SEGMENTERS`.
        navigator_kind: Kind of the navigator, see `semla_ros.modeling.base.NAVIGATORS`.
        navigator_model: Published name of the navigator's model, which tells its sizes.
    """

    about: str
    segmenter: str
    library: str
    navigator: str
    segmenter_kind: str
    navigator_kind: str
    navigator_model: str


_CATSEG = "https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/main/"
_CLIP = "https://huggingface.co/timm/vit_large_patch14_clip_224.openai"
CATALOGUE = (
    Download(
        "catseg-large", "CAT-Seg, CLIP ViT-L/14@336: the base model of SemLA's adapters",
        _CATSEG + "model_large.pth", "2.3 GB", "MIT", "https://github.com/cvlab-kaist/CAT-Seg",
        "80722f4b328161aa15d25d278e832a824b72af4486b013f664757ae7cc020f61",
    ),
    Download(
        "catseg-base", "CAT-Seg, CLIP ViT-B/16: a third of the computation; no published adapters fit it",
        _CATSEG + "model_base.pth", "0.8 GB", "MIT", "https://github.com/cvlab-kaist/CAT-Seg",
        "a201a50f94f4c04196e3083773832b736c2b8b81d27ea2c59cc13af3aff05760",
    ),
    Download(
        "semla-loradb", "SemLA's library: twenty adapters with their centroids",
        "https://huggingface.co/rezaqorbani/SemLA/resolve/main/loradb.zip", "0.4 GB",
        "Apache-2.0", "https://github.com/rezaqorbani/SemLA",
    ),
    Download(
        "clip-vit-l-14", "OpenAI's CLIP ViT-L/14: the navigator of these centroids",
        _CLIP + "/resolve/main/open_clip_model.safetensors", "1.7 GB", "Apache-2.0", _CLIP,
        "9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
    ),
)  # fmt: skip
RECIPES = {
    "official": Recipe(
        "SemLA's published models (ViT-L/14@336, twenty adapters)",
        "catseg-large", "semla-loradb", "clip-vit-l-14", "catseg", "clip", "ViT-L-14-quickgelu",
    ),
}  # fmt: skip
