"""What `semla models fetch` can bring: the published files that a bundle is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlparse


@dataclass(frozen=True)
class Download:
    """A published file.

    Attributes:
        name: What it is asked for by.
        about: One line for people.
        url: Where it lies.
        size: About how much it weighs, computed from the number of parameters where nobody says.
        licence: Of the code it comes with; the weights themselves name none.
        source: The page that publishes it.
        sha256: Hexadecimal, if its authors publish it; otherwise the first download's is recorded.
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
        """Its file name."""
        return PurePosixPath(urlparse(self.url).path).name


_CATSEG = "https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/main/"
CATALOGUE = (
    Download(
        "catseg-large", "CAT-Seg, CLIP ViT-L/14@336: the segmenter that SemLA's adapters are made for",
        _CATSEG + "model_large.pth", "1.7 GB", "MIT",
        "https://github.com/cvlab-kaist/CAT-Seg",
    ),
    Download(
        "catseg-base", "CAT-Seg, CLIP ViT-B/16: a third of the work; no published adapters fit it",
        _CATSEG + "model_base.pth", "0.6 GB", "MIT",
        "https://github.com/cvlab-kaist/CAT-Seg",
    ),
    Download(
        "semla-loradb", "SemLA's library: twenty adapters with their centroids",
        "https://huggingface.co/rezaqorbani/SemLA/resolve/main/loradb.zip", "0.4 GB",
        "Apache-2.0", "https://github.com/rezaqorbani/SemLA",
    ),
    Download(
        "clip-vit-l-14", "OpenAI's CLIP ViT-L/14: the navigator that those centroids were made with",
        "https://huggingface.co/timm/vit_large_patch14_clip_224.openai/resolve/main/open_clip_model.safetensors",
        "1.7 GB", "MIT", "https://huggingface.co/timm/vit_large_patch14_clip_224.openai",
    ),
)  # fmt: skip
