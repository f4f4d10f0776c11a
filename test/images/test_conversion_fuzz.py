"""The message door: whatever a camera sends, there is an image or an `ImageError`."""

from __future__ import annotations

import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semla_ros.errors import ImageError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.conversion import decode, decode_compressed
from semla_ros.images.encodings import ENCODINGS

UINT32 = st.integers(0, 2**32 - 1)
FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.integers(0, 40) | UINT32
BUFFERS = (bytes, bytearray, list, tuple, lambda data: array.array("B", data), lambda data: np.frombuffer(data, "u1"))
FILES = [
    cv2.imencode(suffix, np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8))[1].tobytes()
    for suffix in (".jpg", ".png", ".bmp", ".tiff", ".webp", ".ppm")
]


def decoded(decode: Callable[..., Any], message: SimpleNamespace) -> Any:
    """The image, or None after an `ImageError` of a moderate length. No other exception is caught."""
    try:
        image = decode(message, BitDepth())
    except ImageError as refused:
        return None if len(str(refused)) < 1000 else pytest.fail(str(refused))
    assert (image.dtype, image.ndim, image.shape[2], image.flags.writeable) == (np.uint8, 3, 3, True)
    assert image.size
    return image


@st.composite
def any_message(draw: st.DrawFn) -> SimpleNamespace:
    """Any header and any data."""
    return SimpleNamespace(
        encoding=draw(st.sampled_from([*ENCODINGS, "", "RGB8", "rgb8\0", "32FC1", "nv12"]) | st.text(max_size=30)),
        width=draw(SIZES), height=draw(SIZES), step=draw(SIZES), is_bigendian=draw(st.booleans() | st.integers(0, 255)),
        data=draw(st.sampled_from(BUFFERS))(draw(st.binary(max_size=2000))),
    )  # fmt: skip


@st.composite
def nearly_right_message(draw: st.DrawFn) -> SimpleNamespace:
    """A sound image with rows padded or cut, and bytes missing or left over."""
    name = draw(st.sampled_from(list(ENCODINGS)))
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    step = max(0, width * ENCODINGS[name].pixel_bytes + draw(st.integers(-2, 3)))
    size = max(0, step * height + draw(st.integers(-2, 3)))
    return SimpleNamespace(
        encoding=name, width=width, height=height, step=step, is_bigendian=draw(st.integers(0, 1)),
        data=draw(st.sampled_from(BUFFERS))(draw(st.binary(min_size=size, max_size=size))),
    )  # fmt: skip


@pytest.mark.parametrize("messages", [any_message(), nearly_right_message()], ids=["any", "nearly right"])
def test_any_image_message_gives_an_image_of_its_size_or_an_image_error(
    messages: st.SearchStrategy[SimpleNamespace],
) -> None:
    @FUZZ
    @given(messages)
    def run(message: SimpleNamespace) -> None:
        image = decoded(decode, message)
        assert image is None or image.shape[:2] == (message.height, message.width)

    run()


@st.composite
def damaged_file(draw: st.DrawFn) -> bytes:
    """A file of one of several formats with bytes replaced, cut off or appended."""
    content = bytearray(draw(st.sampled_from(FILES)))
    for position, byte in draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)):
        content[position] = byte
    return bytes(content[: draw(st.integers(0, len(content)))]) + draw(st.binary(max_size=20))


@pytest.mark.filterwarnings("ignore")
@FUZZ
@given(st.binary(max_size=500) | damaged_file(), st.text(max_size=40), st.sampled_from(BUFFERS))
def test_any_compressed_message_gives_an_image_or_an_image_error(data: bytes, form: str, buffer: Any) -> None:
    decoded(decode_compressed, SimpleNamespace(format=form, data=buffer(data)))
