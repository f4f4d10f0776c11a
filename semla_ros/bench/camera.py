"""A camera for the live soak test: sends the next frame when the mask of the last one has come.

Usage: ``python -m semla_ros.bench.camera FRAMES EVERY FILE.npy``. FRAMES masks are waited for; after every EVERY frames
the next image of the array (N, H, W, 3) uint8 is shown. It prints JSON per mask: ``{"masks": ..., "swaps": ...}``.
"""

from __future__ import annotations

import array
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from semla_ros.node.environment import name_prefix

RATE_HZ = 10.0  # by the stamps
PATIENCE_S = 300.0  # for the first mask or the next one
RESEND_S = 5.0  # after which a frame counts as lost


class Camera:
    """Publishes ``image`` and listens to ``segmentation/mask`` and ``domain/state``.

    Args:
        images: Images to show in turn, (N, H, W, 3) uint8, RGB.
        every: Frames before the next image.
    """

    def __init__(self, images: np.ndarray[Any, np.dtype[np.uint8]], every: int) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import Image

        self.images, self.every, self.sent, self.masks, self.swaps = images, every, 0, 0, 0
        self.node = rclpy.create_node("bench_camera")
        self._publisher = self.node.create_publisher(Image, "image", QoSProfile(depth=1))
        self.node.create_subscription(Image, "segmentation/mask", self._on_mask, QoSProfile(depth=10))
        self.node.create_subscription(DiagnosticArray, "domain/state", self._on_state, QoSProfile(depth=10))

    def send(self) -> None:
        """Publishes the next frame."""
        from sensor_msgs.msg import Image

        rgb = self.images[self.sent // self.every % len(self.images)]
        message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=3 * rgb.shape[1])
        stamp_ns = 10**9 + round(1e9 * self.sent / RATE_HZ)
        message.header.frame_id = "camera"
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        message.data = array.array("B", rgb.tobytes())
        self._publisher.publish(message)
        self.sent += 1

    def _on_mask(self, _: Any) -> None:
        self.masks += 1
        print(json.dumps({"masks": self.masks, "swaps": self.swaps}), flush=True)

    def _on_state(self, message: Any) -> None:
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        self.swaps = int(values.get("swaps", self.swaps))


def main(frames: int, every: int, file: Path) -> int:
    """Runs until so many masks have come; returns 1 if none comes for a long time."""
    name_prefix()
    import rclpy

    rclpy.init()
    camera = Camera(np.load(file), every)
    seen, begin, last = -1, time.monotonic(), 0.0
    while camera.masks < frames and time.monotonic() < begin + PATIENCE_S:
        if camera.masks > seen or time.monotonic() > last + RESEND_S:
            begin = time.monotonic() if camera.masks > seen else begin
            seen, last = camera.masks, time.monotonic()
            camera.send()
        rclpy.spin_once(camera.node, timeout_sec=0.5)
    camera.node.destroy_node()
    rclpy.shutdown()
    return int(camera.masks < frames)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
