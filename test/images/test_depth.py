from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from semla_ros.errors import ImageError
from semla_ros.images.depth import depth_values, metres


def message(values: np.ndarray[Any, Any], encoding: str, padding: int = 0, **changes: Any) -> Any:
    rows = np.pad(values, ((0, 0), (0, padding)))
    fields = {
        "height": values.shape[0], "width": values.shape[1], "encoding": encoding, "step": rows.strides[0],
        "is_bigendian": int(values.dtype.byteorder == ">"), "data": rows.tobytes(),
    }  # fmt: skip
    return SimpleNamespace(**(fields | changes))


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_millimetres_become_metres_and_zero_means_no_measurement(encoding: str, order: str) -> None:
    depth = metres(depth_values(message(np.array([[1500, 0], [1, 65535]], f"{order}u2"), encoding)))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[1.5, np.nan], [0.001, 65.535]], rtol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_metres_stay_metres_and_what_is_not_a_positive_number_means_no_measurement(order: str) -> None:
    values = np.array([[1.25, np.nan, np.inf], [-np.inf, 0.0, -1.0]], f"{order}f4")
    expected = np.array([[1.25, np.nan, np.nan], [np.nan, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(metres(depth_values(message(values, "32FC1"))), expected)


def test_padding_of_rows_is_left_out() -> None:
    values = np.arange(6, dtype="<u2").reshape(2, 3)
    np.testing.assert_array_equal(depth_values(message(values, "16UC1", padding=5)), values)


def test_the_message_keeps_its_values() -> None:
    values = np.array([[np.inf, 0.0]], "<f4")
    seen = message(values, "32FC1", data=values)
    metres(depth_values(seen))
    np.testing.assert_array_equal(values, [[np.inf, 0.0]])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"encoding": "rgb8"}, "not the encoding of a depth image: got 'rgb8', expected one of 16UC1, mono16, 32FC1"),
        ({"data": bytes(3)}, r"truncated image \(encoding 16UC1\): got 3 bytes, expected 8 for 2x2"),
        ({"step": 3}, "step too small"),
        ({"width": 0}, "empty image"),
    ],
)
def test_what_is_no_depth_image_is_refused_with_the_reason(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        depth_values(message(np.zeros((2, 2), "<u2"), **({"encoding": "16UC1"} | wrong)))
