"""Videos that tests read."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def half_video(folder: Path, suffix: str = ".mp4") -> Path:
    """Writes a video of 38 images with its index at the beginning, ``whole``, and the first half of its bytes."""
    whole, half = folder / f"whole{suffix}", folder / f"half{suffix}"
    options = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    with av.open(str(whole), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=8, width=64, height=48, pix_fmt="yuv420p")
        for number in range(38):
            noise = np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    data = whole.read_bytes()
    half.write_bytes(data[: len(data) // 2])
    return half
