"""Captions of example images by BLIP-2, as in SemLA's Table 4: through transformers, from local files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import BundleError, ImageError
from semla_ros.images.files import read_rgb
from semla_ros.modeling.base import Navigator

MAX_TOKENS = 40
EXAMPLES = 50  # images that are embedded to find the most typical one


class Captioner:
    """Writes a caption of an image. Nothing is downloaded.

    Args:
        folder: Folder of the model, as ``save_pretrained`` of transformers writes it.

    Raises:
        BundleError: The folder holds no such model.
    """

    def __init__(self, folder: Path) -> None:
        import transformers

        if not (folder / "config.json").is_file():
            raise BundleError("no captioner", where=folder, expected="a folder with config.json, as of BLIP-2")
        try:
            known: Any = transformers
            local = {"local_files_only": True, "trust_remote_code": False}  # no code of the folder is run
            self._processor = known.AutoProcessor.from_pretrained(folder, **local)
            model = known.AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True, **local)
            self._model = model.eval()
        except Exception as error:  # transformers raises errors of many types
            raise BundleError("unreadable captioner", where=folder, hint=str(error)) from error

    def caption(self, rgb: NDArray[np.uint8]) -> str:
        """Returns a caption of an image (H, W, 3) uint8, RGB."""
        inputs = self._processor(images=rgb, return_tensors="pt")
        tokens = self._model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        text: str = self._processor.batch_decode(tokens, skip_special_tokens=True)[0]
        return text.strip()


def typical_image(paths: list[Path], centroid: NDArray[np.float64], navigator: Navigator) -> NDArray[np.uint8]:
    """Returns the image whose embedding is nearest to a centroid, (H, W, 3) uint8, RGB.

    Args:
        paths: Image files; some of them, evenly spread, are looked at. Damaged ones are passed over.
        centroid: Centroid (D,).
        navigator: Embeds the images.

    Raises:
        ImageError: None of them can be read.
    """
    images = list(_readable(paths[:: -(-len(paths) // EXAMPLES)]))
    if not images:
        raise ImageError("no readable image", where=paths[0].parent)
    return min(images, key=lambda rgb: float(np.linalg.norm(navigator.embed(rgb) - centroid)))


def _readable(paths: Iterable[Path]) -> Iterable[NDArray[np.uint8]]:
    for path in paths:
        try:
            yield read_rgb(path)
        except ImageError:
            continue
