from __future__ import annotations

from pathlib import Path

import pytest
from tiny import image

from semla_ros.bench.live_soak import live_soak
from semla_ros.bench.stress import stress_settings

pytestmark = pytest.mark.live


def test_the_live_node_swaps_and_its_memory_is_sampled(pristine_bundle: Path) -> None:
    settings = {"model.bundle": str(pristine_bundle), "model.device": "cpu", "library.memory_mib": 1}
    images = [image("red"), image("blue")]
    run = live_soak(images, 60, 20, {**settings, **stress_settings(20, 10.0), "navigator.max_share": 1.0})
    assert run.frames >= 60
    assert run.swaps >= 1
    assert 2 <= len(run.resident_mib) <= 60  # a fast node publishes several masks between two samples
    assert all(mib > 10 for mib in run.resident_mib)
