from __future__ import annotations

from pathlib import Path

import pytest
from tiny import image

from semla_ros.bench.live_soak import live_soak
from semla_ros.bench.stress import stress_settings

pytestmark = pytest.mark.live


def test_the_live_node_swaps_takes_parameters_and_reloads_and_does_not_grow(pristine_bundle: Path) -> None:
    settings = {"model.bundle": str(pristine_bundle), "model.device": "cpu", "library.memory_mib": 1}
    images = [image("red"), image("blue")]
    stress = {**stress_settings(20, 10.0), "navigator.max_share": 1.0}
    run = live_soak(images, 400, 20, {**settings, **stress}, change_every=25, reload_every=50)
    assert run.frames >= 400
    assert run.swaps >= 10
    assert run.changes >= 10
    assert run.reloads >= 5
    assert 10 <= len(run.resident_mib) <= 60  # a fast node publishes several masks between two samples
    assert run.growth_mib < 30  # 200 images that are kept would take 40 MB
    assert abs(run.thread_growth) <= 1
    assert abs(run.file_growth) <= 2
    assert all(mib > 10 for mib in run.resident_mib)
