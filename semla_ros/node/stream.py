"""Camera messages in, segmentation out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from semla_ros.config import Config
from semla_ros.errors import SemlaError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.conversion import decode, decode_compressed
from semla_ros.images.frame import Frame
from semla_ros.node.publishers import Publishers
from semla_ros.node.settings import NodeConfig
from semla_ros.node.statistics import Statistics
from semla_ros.node.throttled_log import ThrottledLogger, reason
from semla_ros.node.worker import Worker

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline
    from semla_ros.pipeline.result import DomainState


@dataclass(frozen=True, slots=True)
class Arrival:
    """A camera message and when it came in, nanoseconds: once by the node's clock, once by the steady one."""

    message: Any
    stamp_ns: int
    steady_ns: int


class Stream:
    """Builds and runs the pipeline in a worker: the newest frame only, one after the other.

    No other thread computes with all cores. OpenMP keeps threads for each one that does, and where these outnumber the
    cores they sleep between any two operations: a small model takes half as long again.

    Args:
        node: Whose clock and context are used.
        build: Makes the pipeline; what it raises comes out of here.
        publishers: Where the results go.
        statistics: Where the frames are counted.
        log: Where errors are said.
        config: The settings in force.
    """

    def __init__(
        self,
        node: LifecycleNode,
        build: Callable[[], SemlaPipeline],
        publishers: Publishers,
        statistics: Statistics,
        log: ThrottledLogger,
        config: NodeConfig,
    ) -> None:
        self._node = node
        self._publishers = publishers
        self._statistics = statistics
        self._log = log
        self._config = config
        self._depth = BitDepth()  # of the camera's 16-bit images
        self._worker = Worker(self._segment)
        try:
            self._pipeline = self._worker.run(build).result()
        except BaseException:
            self._worker.stop()
            raise

    def receive(self, message: Any) -> None:
        """Takes a camera message; one that still waits for the worker gives way to it."""
        self._statistics.receive()
        if self._worker.offer(Arrival(message, self._now(), time.monotonic_ns())):
            self._statistics.drop()

    def announce(self) -> None:
        """Publishes classes and domain state, for those who have just come."""
        self._publishers.send_classes(self._pipeline.classes, self._config.segmenter.min_confidence)
        self._tell(self._pipeline.domain)
        self._publishers.repeat_domain()

    def configure(self, config: NodeConfig) -> None:
        """Puts settings in force, from the next frame on.

        Raises:
            ConfigError: The pipeline refuses them; the old ones stay in force.
        """
        self._worker.run(partial(self._configure, config)).result()

    def freeze(self, frozen: bool) -> None:
        """Holds the mixture, or lets it go again."""
        self._between_frames(partial(self._pipeline.freeze, frozen))

    def reset(self) -> None:
        """Forgets the domain: the next frame is looked at as if it were the first."""
        self._between_frames(self._pipeline.reset)

    def reload_library(self) -> str:
        """Reads the adapters from disk again.

        Returns:
            Which adapters do not fit and are left out; empty where all do.

        Raises:
            AdapterError: An adapter is damaged or does not fit; the old library stays.
            BundleError: There is no library any more; the old one stays.
        """
        return self._between_frames(self._pipeline.reload_library).result()

    def drain(self) -> None:
        """Drops the waiting frame and returns when the one at work is done."""
        if self._worker.drain():
            self._statistics.drop()

    def close(self) -> None:
        """Ends the worker and lets go of the pipeline."""
        self.drain()
        self._worker.stop()
        del self._pipeline

    def _between_frames(self, task: Callable[[], None]) -> Future[str]:
        def run() -> str:
            task()
            self._tell(self._pipeline.domain)
            return self._pipeline.domain.error

        return self._worker.run(run)

    def _configure(self, config: NodeConfig) -> None:
        if any(getattr(config, group.name) != getattr(self._config, group.name) for group in fields(Config)):
            self._pipeline.configure(config)
        told, self._config = self._config, config
        if config.segmenter != told.segmenter:
            self._publishers.send_classes(self._pipeline.classes, config.segmenter.min_confidence)
        self._tell(self._pipeline.domain)

    def _segment(self, arrival: Arrival) -> None:
        try:
            self._process(arrival)
        except Exception as error:  # whatever it was, the next frame gets its chance
            self._fail(error)

    def _process(self, arrival: Arrival) -> None:
        begin = time.monotonic_ns()
        header = arrival.message.header
        compressed = isinstance(arrival.message, CompressedImage)
        rgb = (decode_compressed if compressed else decode)(arrival.message, self._depth)
        decoded = time.monotonic_ns()
        stamp_ns = 10**9 * header.stamp.sec + header.stamp.nanosec
        result = self._pipeline.process(Frame(rgb, stamp_ns or self._received(arrival), header.frame_id))
        processed = time.monotonic_ns()
        self._publishers.send(result, header, self._pipeline.classes, self._config)
        self._tell(result.domain, header)
        published = time.monotonic_ns()
        own = {"decode": decoded - begin, "publish": published - processed, "total": published - arrival.steady_ns}
        latency_s = {**result.latency_s, **{stage: 1e-9 * ns for stage, ns in own.items()}}
        self._statistics.finish(latency_s, 1e-9 * (self._now() - stamp_ns) if stamp_ns else None)

    def _tell(self, domain: DomainState, header: Header | None = None) -> None:
        if domain.error:  # the frame is segmented all the same, by the last good mixture
            self._statistics.alarm(domain.error)
            self._log.error(f"adaptation failed: {domain.error}")
        self._publishers.send_domain(domain, header)

    def _received(self, arrival: Arrival) -> int:
        text = "images carry no stamp: the time they came in is used for tracking, and published stamps stay zero"
        self._node.get_logger().warning(text, once=True)
        return arrival.stamp_ns

    def _fail(self, error: Exception) -> None:
        self._statistics.fail(reason(error))
        text = reason(error) if isinstance(error, SemlaError) else traceback.format_exc()
        self._log.error(f"image of {self._node.resolve_topic_name('image')} lost: {text}")

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
