"""Intrinsics of any values become a message, so that a wrong camera_info costs no mask."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from semla_ros.node.message_factory import new
from semla_ros.topics.camera_info import camera_info

UINT32 = st.integers(0, 10) | st.integers(0, 2**32 - 1)
FLOATS = st.floats(width=64)


def floats(count: int) -> st.SearchStrategy[list[float]]:
    return FLOATS.map(lambda value: [value] * count)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=150, deadline=None)
@given(
    st.builds(
        CameraInfo, width=UINT32, height=UINT32, distortion_model=st.text(max_size=20), d=st.lists(FLOATS, max_size=9),
        k=floats(9), r=floats(9), p=floats(12), binning_x=UINT32, binning_y=UINT32,
        roi=st.builds(
            RegionOfInterest, x_offset=UINT32, y_offset=UINT32, width=UINT32, height=UINT32, do_rectify=st.booleans()
        ),
    ),
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
)  # fmt: skip
def test_any_intrinsics_become_a_message_of_the_masks_size(info: CameraInfo, size: tuple[int, int]) -> None:
    labels = np.broadcast_to(np.uint8(0), size)
    made = camera_info(SimpleNamespace(camera_info=info, labels=labels, header=Header()), new)  # type: ignore[arg-type]
    if info.width and info.height:
        assert (made.height, made.width) == size
        assert made.roi.x_offset <= size[1]
        assert made.roi.height <= size[0]
    else:
        assert made is None
