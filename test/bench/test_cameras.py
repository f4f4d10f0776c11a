from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

from semla_ros.bench.cameras import sharing


@pytest.mark.live
@pytest.mark.slow
def test_two_cameras_on_one_node_are_measured_beside_two_nodes() -> None:
    images = [np.full((48, 64, 3), value, np.uint8) for value in (40, 200)]
    no_time = 0.0  # each camera gets a mask all the same
    figures = sharing(2, no_time, images, {"model.device": "cpu", "model.threads": 1})
    assert figures.cameras == 2
    for nodes in (figures.one_node, figures.one_pass, figures.domain_each, figures.node_each):
        assert 0 < nodes.slowest_fps <= nodes.fps / 2
    assert figures.memory_ratio < 0.8
