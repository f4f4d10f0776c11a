"""Runs the pipeline in a worker thread: from camera messages to published segmentations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from semla_ros.config import Config, NodeConfig
from semla_ros.images.conversion import decode, decode_compressed
from semla_ros.images.frame import Frame
from semla_ros.node.cameras import Camera
from semla_ros.node.depth import NearestImage
from semla_ros.node.library_reader import LibraryReader
from semla_ros.node.publishers import Publishers
from semla_ros.node.signals import Stopped, Stopping
from semla_ros.node.statistics import Statistics
from semla_ros.node.throttled_log import ThrottledLogger, explained, reason
from semla_ros.node.worker import Worker
from semla_ros.text import counted
from semla_ros.topics.messages import stamp_ns

if TYPE_CHECKING:
    from semla_ros.pipeline.domain_state import DomainState
    from semla_ros.pipeline.pipeline import SemlaPipeline
    from semla_ros.pipeline.result import SegmentationResult

LARGEST_AGE_S = 3600.0  # an image that seems older is stamped by another clock


@dataclass(frozen=True, slots=True)
class Arrival:
    """A camera message and when it arrived.

    Attributes:
        camera: The camera that has sent it.
        topic: Full name of its topic.
        message: sensor_msgs/Image or sensor_msgs/CompressedImage.
        stamp_ns: Time of arrival by the node's clock, nanoseconds; used for images without a stamp.
        steady_ns: Time of arrival by the monotonic clock, nanoseconds; used for the latency "total".
        depth: The search for its depth image; None without a depth camera.
    """

    camera: Camera
    topic: str
    message: Any
    stamp_ns: int
    steady_ns: int
    depth: NearestImage | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image that is ready for the pipeline.

    Attributes:
        arrival: The camera message.
        frame: Its image.
        counts: Whether it counts for the domain.
        domain: Camera whose domain it belongs to; empty for the domain of all cameras.
        took_ns: Time for decoding, nanoseconds.
    """

    arrival: Arrival
    frame: Frame
    counts: bool
    domain: str
    took_ns: int


class Stream:
    """Owns the pipeline and its worker thread, which builds it and processes the frames.

    No other thread computes with all cores: OpenMP keeps a team of threads for each thread that does. If there are more
    of them than cores, they sleep between any two operations, and a small model takes half as long again.

    Args:
        node: Node whose clock and logger are used.
        build: Builds the pipeline.
        publishers: Publish the classes.
        domains: Name of a camera to the publishers of its domain; one with an empty name for the domain of all.
        statistics: Count the frames.
        log: Receives errors.
        config: The settings in force.
        stopping: Returns whether the process has received a signal to end.

    Raises:
        Stopped: The process received a signal to end before the pipeline was built.
        Exception: Whatever ``build`` raises.
    """

    def __init__(
        self,
        node: LifecycleNode,
        build: Callable[[], SemlaPipeline],
        publishers: Publishers,
        domains: Mapping[str, Publishers],
        statistics: Statistics,
        log: ThrottledLogger,
        config: NodeConfig,
        stopping: Stopping = lambda: False,
    ) -> None:
        self._node = node
        self._publishers = publishers
        self._domains = domains
        self._statistics = statistics
        self._log = log
        self._config = config
        self._reader = LibraryReader()
        self._worker = Worker(self._process_or_report, stopping, self._batch)
        try:
            self._pipeline = self._worker.call(build)
            for camera in domains:  # now: later several threads may ask for their state
                self._worker.call(partial(self._pipeline.domain_of, camera))
        except Stopped:
            self._worker.stop(wait=False)  # models are still loading; the end of the process ends that
            raise
        except BaseException:
            self._worker.stop()
            raise

    def receive(self, camera: Camera, topic: str, message: Any) -> None:
        """Passes a camera message to the worker.

        It replaces a message of the same camera that still waits, which counts as dropped.
        """
        self._statistics.receive(camera.name)
        depth = camera.depth.search(message.header)
        arrival = Arrival(camera, topic, message, self._now(), time.monotonic_ns(), depth)
        if self._worker.offer(arrival, camera.name):
            self._statistics.drop(camera.name)

    def publish_state(self) -> None:
        """Publishes classes and domain state."""
        self._publishers.send_classes(self._pipeline.classes, self._config.segmenter.min_confidence)
        self._report_domains()
        for outputs in self._domains.values():
            outputs.repeat_domain()

    def check(self, config: NodeConfig) -> None:
        """Checks settings without changing anything.

        Raises:
            ConfigError: The pipeline cannot work with them.
        """
        if self._pipeline_settings_differ(config):
            self._pipeline.check(config)

    def configure(self, config: NodeConfig) -> None:
        """Applies settings; they are in force from the next frame on.

        Raises:
            Exception: Whatever the pipeline raises; the settings in force stay.
        """
        self._worker.call(partial(self._configure, config))

    def freeze(self, frozen: bool) -> None:
        """Holds the mixture of each domain, or lets it follow the domain again."""
        self._between_frames(partial(self._pipeline.freeze, frozen))

    def reset(self) -> None:
        """Forgets all domains: the next frame is treated as the first."""
        self._between_frames(self._pipeline.reset)

    def reload_library(self) -> Future[str]:
        """Reads the adapters from disk again while frames are processed, and exchanges the library between two frames.

        Returns:
            Number of adapters in use, and which ones do not fit and are left out. The future raises AdapterError if
            there is no adapter or none fits, and Stopped if the stream is closed; the previous library then stays.
        """
        return self._reader.submit(self._reload)

    def gap_values(self) -> dict[str, str]:
        """Returns the state of the record of gaps as pairs of strings; empty if there is no record."""
        return self._pipeline.gaps.key_values() if self._pipeline.gaps else {}

    def warnings(self) -> tuple[str, ...]:
        """Returns what limits the pipeline although frames are segmented, one sentence each."""
        return self._pipeline.warnings

    def drain(self) -> None:
        """Drops the waiting frames and returns when the one in progress is done."""
        for camera in self._worker.drain():
            self._statistics.drop(camera)

    def close(self) -> None:
        """Gives up reading a library, ends the worker and frees the pipeline."""
        self._reader.close()
        self.drain()
        self._worker.stop()
        self._pipeline.close()
        del self._pipeline

    def _reload(self) -> str:
        """Runs in the thread of the reader."""
        with self._failure_reported():
            library = self._pipeline.read_library(self._reader.pause)
        self._between_frames(partial(self._pipeline.use_library, library)).result()
        rejected = "; ".join(str(error) for error in library.rejected)
        return f"{counted(len(library.names), 'adapter')} in use" + (f", left out: {rejected}" if rejected else "")

    def _between_frames(self, task: Callable[[], None]) -> Future[None]:
        """Runs a task after the frame in progress."""

        def run() -> None:
            with self._failure_reported():
                task()
            self._report_domains()

        return self._worker.submit(run)

    @contextmanager
    def _failure_reported(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not isinstance(error, Stopped):
                self._statistics.alarm(reason(error))
                self._log.error(explained(error))
            raise

    def _pipeline_settings_differ(self, config: NodeConfig) -> bool:
        return any(getattr(config, group.name) != getattr(self._config, group.name) for group in fields(Config))

    def _configure(self, config: NodeConfig) -> None:
        if self._pipeline_settings_differ(config):
            self._pipeline.configure(config)
        before, self._config = self._config, config
        if config.segmenter != before.segmenter:
            self._publishers.send_classes(self._pipeline.classes, config.segmenter.min_confidence)
        self._report_domains()

    def _process_or_report(self, arrivals: list[Arrival]) -> None:
        """Processes images of different cameras. The error of one is counted and logged, and the others go on."""
        decoded = []
        for arrival in arrivals:
            with self._loss_reported(arrival):
                decoded.append(self._decoded(arrival))
        for each, result in zip(decoded, self._processed_together(decoded), strict=True):
            with self._loss_reported(each.arrival):
                self._publish(each, result or self._pipeline.process(each.frame, each.counts, each.domain))

    def _processed_together(self, decoded: list[Decoded]) -> Sequence[SegmentationResult | None]:
        """The results of one pass over several images; None for those to be processed one by one."""
        if len(decoded) > 1:
            try:
                return self._pipeline.process_together([(each.frame, each.counts) for each in decoded])
            except Exception as error:
                self._statistics.alarm(reason(error))
                self._log.error(f"{len(decoded)} images in one pass failed, and are tried alone: {explained(error)}")
        return [None] * len(decoded)

    def _batch(self) -> int:
        """Number of waiting images to process together."""
        return self._config.camera_batch if self._pipeline.takes_batches else 1

    @contextmanager
    def _loss_reported(self, arrival: Arrival) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the next frame may be fine
            camera = arrival.camera.name
            self._statistics.fail(f"{camera}: {reason(error)}" if camera else reason(error), camera)
            self._log.error(f"image of {arrival.topic} lost: {explained(error)}")

    def _decoded(self, arrival: Arrival) -> Decoded:
        begin = time.monotonic_ns()
        header, camera = arrival.message.header, arrival.camera
        compressed = isinstance(arrival.message, CompressedImage)
        rgb = (decode_compressed if compressed else decode)(arrival.message, camera.bit_depth)
        # A stamp of zero means that the driver has set none.
        frame = Frame(rgb, stamp_ns(header) or self._arrival_stamp(arrival), header.frame_id)
        deciding = self._config.domain_cameras
        counts = not deciding or camera.name in deciding
        domain = camera.name if camera.name in self._domains else ""
        return Decoded(arrival, frame, counts, domain, time.monotonic_ns() - begin)

    def _publish(self, decoded: Decoded, result: SegmentationResult) -> None:
        """Publishes a result, and measures each step."""
        processed = time.monotonic_ns()
        arrival, header = decoded.arrival, decoded.arrival.message.header
        arrival.camera.outputs.send(result, header, self._pipeline.classes, self._config, arrival.depth)
        self._report_domain(decoded.domain, result.domain, header)
        published = time.monotonic_ns()
        steps = {"decode": decoded.took_ns, "publish": published - processed, "total": published - arrival.steady_ns}
        latency_s = {**result.latency_s, **{stage: 1e-9 * ns for stage, ns in steps.items()}}
        self._statistics.finish(latency_s, _age_s(stamp_ns(header), self._now()), arrival.camera.name)

    def _report_domains(self) -> None:
        """Publishes the state of each domain."""
        for camera in self._domains:
            self._report_domain(camera, self._pipeline.domain_of(camera))

    def _report_domain(self, camera: str, domain: DomainState, header: Header | None = None) -> None:
        """Publishes the state of a domain; an error of the adaptation is also logged and raises an alarm."""
        if domain.error:  # the frame was segmented nevertheless, with the last good mixture
            self._statistics.alarm(domain.error)
            self._log.error(f"adaptation failed: {domain.error}")
        self._domains[camera].send_domain(domain, header)

    def _arrival_stamp(self, arrival: Arrival) -> int:
        text = "images carry no stamp: their time of arrival is used for tracking, and published stamps stay zero"
        self._node.get_logger().warning(text, once=True)
        return arrival.stamp_ns

    def _now(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


def _age_s(stamp_ns: int, now_ns: int) -> float | None:
    """Age of an image, seconds; None if it has no stamp, or one of another clock, such as that of a recording."""
    known = stamp_ns and now_ns  # simulated time is 0 before it begins
    age_s = 1e-9 * (now_ns - stamp_ns)
    return age_s if known and abs(age_s) < LARGEST_AGE_S else None
