"""Images inside an HTML page."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from semla_ros.images.files import encoded


def photo(rgb: NDArray[np.uint8]) -> str:
    """A camera image, (H, W, 3) uint8 RGB, as a data URI (JPEG)."""
    return data_uri(encoded(rgb, ".jpg"), "image/jpeg")


def drawing(rgb: NDArray[np.uint8]) -> str:
    """An image of few colours, (H, W, 3) uint8 RGB, as a data URI (PNG)."""
    return data_uri(encoded(rgb), "image/png")


def data_uri(data: bytes, kind: str) -> str:
    """A URI that contains the bytes of a file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
