"""Segments frames one after the other as the live node does, for a while; a process of `semla_ros.bench.under_load`.

Usage: ``python -m semla_ros.bench.frame_loop JSON``. The object holds ``settings``, ``seconds``, ``warm_up_s`` and
``fixed`` (whether the number of threads stays as it is). The last line is JSON: milliseconds of each frame.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from semla_ros.machine import limit_spinning

IMAGE = 360, 640  # height and width, pixels


def main(wanted: dict[str, Any]) -> list[float]:
    """Returns the time of each frame after the warm-up, milliseconds."""
    limit_spinning()
    import numpy as np

    from semla_ros.config import NodeConfig, changed
    from semla_ros.images.frame import Frame
    from semla_ros.pipeline.build import build_live_pipeline

    pipeline = build_live_pipeline(changed(NodeConfig(), wanted["settings"]))
    pipeline.threads = None if wanted["fixed"] else pipeline.threads
    rgb = np.random.default_rng(0).integers(0, 256, (*IMAGE, 3), np.uint8)
    times: list[float] = []
    begin = time.perf_counter()
    while (start := time.perf_counter()) < begin + wanted["warm_up_s"] + wanted["seconds"] or not times:
        pipeline.process(Frame(rgb, time.time_ns(), "bench"))
        if start >= begin + wanted["warm_up_s"]:
            times.append(1e3 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
