"""A camera for the live benchmarks: sends the next frame when the mask of the last one has come, or at a fixed rate.

Usage: ``python -m semla_ros.bench.camera FRAMES EVERY CHANGE RELOAD FILE.npy PERIOD``. FRAMES masks are waited for.
After each EVERY frames the next image of the array (N, H, W, 3) uint8 is shown, after each CHANGE frames a node
parameter is changed, and after each RELOAD frames its library is read again. PERIOD is the time between two frames in
seconds; 0 waits for the mask. It prints JSON per mask: the numbers of masks, swaps, changes, reloads and dropped frames
so far, the milliseconds from the frame to this mask, whether a reload is under way or has just ended, and the seconds
that the last reload took.
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
from semla_ros.topics.messages import stamp_ns

RATE_HZ = 10.0  # by the stamps
PATIENCE_S = 300.0  # for the first mask or the next one
RESEND_S = 5.0  # after which a frame counts as lost
SETTLED_S = 1.0  # after a reload: by then the next embedding has brought the new library's adapters
POLL_S = 0.5
NEVER = 10**9  # frames: more than any run has


class Camera:
    """Publishes ``image`` and listens to ``segmentation/mask`` and ``domain/state``.

    Args:
        images: Images to show in turn, (N, H, W, 3) uint8, RGB.
        every: Frames before the next image.
        change_every: Frames before the next change of a parameter.
        reload_every: Frames before the library is read again.
    """

    def __init__(
        self, images: np.ndarray[Any, np.dtype[np.uint8]], every: int, change_every: int, reload_every: int
    ) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import Image
        from std_srvs.srv import Trigger

        self.images, self.every, self.sent, self._swaps = images, every, 0, 0
        self.counts = {"masks": 0, "swaps": 0, "changes": 0, "reloads": 0, "dropped": 0}
        self._sent_s: dict[int, float] = {}  # stamp, nanoseconds, to the time by the monotonic clock
        self._reload_begin_s = self._reload_end_s = -SETTLED_S
        self._change_every, self._reload_every = change_every, reload_every
        self.node = rclpy.create_node("bench_camera")
        self._publisher = self.node.create_publisher(Image, "image", QoSProfile(depth=1))
        self.node.create_subscription(Image, "segmentation/mask", self._on_mask, QoSProfile(depth=10))
        self.node.create_subscription(DiagnosticArray, "domain/state", self._on_state, QoSProfile(depth=10))
        self._parameters: Any = self.node.create_client(SetParametersAtomically, "semla/set_parameters_atomically")
        self._library: Any = self.node.create_client(Trigger, "semla/reload_library")

    def send(self) -> None:
        """Publishes the next frame."""
        from sensor_msgs.msg import Image

        rgb = self.images[self.sent // self.every % len(self.images)]
        message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=3 * rgb.shape[1])
        stamp = 10**9 + round(1e9 * self.sent / RATE_HZ)  # nanoseconds
        message.header.frame_id = "camera"
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.data = array.array("B", rgb.tobytes())
        self._sent_s[stamp] = time.monotonic()
        self._publisher.publish(message)
        self.sent += 1
        if self.sent % self._change_every == 0:
            self._change()
        if self.sent % self._reload_every == 0 and not self._is_reloading:
            self._reload()

    def _change(self) -> None:
        """Changes the smallest confidence, which has no effect on the swaps."""
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.parameter import Parameter

        value = 0.1 * (self.sent // self._change_every % 2)
        parameter = Parameter("segmenter.min_confidence", value=value).to_parameter_msg()
        answer = self._parameters.call_async(SetParametersAtomically.Request(parameters=[parameter]))
        answer.add_done_callback(lambda done: self._count("changes", done.result().result.successful))

    def _reload(self) -> None:
        from std_srvs.srv import Trigger

        self._reload_begin_s = time.monotonic()
        answer = self._library.call_async(Trigger.Request())
        answer.add_done_callback(self._on_reload)

    @property
    def _is_reloading(self) -> bool:
        return self._reload_begin_s > self._reload_end_s

    def _on_reload(self, done: Any) -> None:
        self._reload_end_s = time.monotonic()
        self._count("reloads", done.result().success)

    def _count(self, what: str, number: int) -> None:
        self.counts[what] += int(number)

    def _on_mask(self, message: Any) -> None:
        now = time.monotonic()
        stamp = stamp_ns(message.header)
        latency_ms = 1e3 * (now - self._sent_s[stamp])
        self._count("masks", 1)
        self._count("dropped", sum(each < stamp for each in self._sent_s))  # their masks would have come before
        self._sent_s = {each: sent_s for each, sent_s in self._sent_s.items() if each > stamp}
        figures = {
            "latency_ms": latency_ms,
            "at_reload": self._is_reloading or now < self._reload_end_s + SETTLED_S,
            "reload_s": max(0.0, self._reload_end_s - self._reload_begin_s),
        }
        print(json.dumps(self.counts | figures), flush=True)

    def _on_state(self, message: Any) -> None:
        """Adds up the swaps; the node counts from 0 again when it has read its library."""
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        before, self._swaps = self._swaps, int(values.get("swaps", self._swaps))
        self._count("swaps", self._swaps - before if self._swaps >= before else self._swaps)


def main(frames: int, every: int, change_every: int, reload_every: int, file: Path, period_s: float) -> int:
    """Runs until so many masks have come; returns 1 if none comes for a long time."""
    name_prefix()
    import rclpy

    rclpy.init()
    camera = Camera(np.load(file), every, change_every, reload_every)
    seen, begin, due = -1, time.monotonic(), 0.0
    while (masks := camera.counts["masks"]) < frames and (now := time.monotonic()) < begin + PATIENCE_S:
        is_new = masks > seen
        if is_new:
            begin = now
        if (is_new and not period_s) or now >= due:
            due = (due if due + period_s > now else now) + (period_s or RESEND_S)
            camera.send()
        seen = masks
        rclpy.spin_once(camera.node, timeout_sec=min(POLL_S, max(0.0, due - time.monotonic())))
    camera.node.destroy_node()
    rclpy.shutdown()
    return int(camera.counts["masks"] < frames)


if __name__ == "__main__":
    frames, every, change_every, reload_every = map(int, sys.argv[1:5])
    sys.exit(main(frames, every, change_every, reload_every, Path(sys.argv[5]), float(sys.argv[6])))
