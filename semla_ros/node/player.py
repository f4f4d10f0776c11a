"""A recorded camera: publishes the camera topics of a recording over ROS, at the recorded speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from semla_ros.errors import SemlaError
from semla_ros.node.message_factory import message_type, new
from semla_ros.node.signals import Stopping
from semla_ros.node.topic_names import check_topic_name
from semla_ros.recordings import OnError
from semla_ros.recordings.playback import CAMERA_INFO, CameraMessage, Playback
from semla_ros.recordings.recording import refuse

DEPTH = 20
CLOCK_PERIOD_S = 0.025
SETTLE_S = 1.0  # a subscriber that has been discovered here may itself discover the publisher a moment later
PERIOD_NS = 100_000_000  # of a recording of one image
ACKNOWLEDGE_S = 60.0  # for the last messages of a reliable publisher
CLOCK = "rosgraph_msgs/msg/Clock"


class PlayError(SemlaError):
    """A recording cannot be played."""


@dataclass(frozen=True)
class Pace:
    """How a recording is played.

    Attributes:
        rate: Speed as a multiple of the recorded one.
        start_s: Time to leave out at the beginning, seconds.
        duration_s: Time to play, seconds of the recording; None plays to the end.
        loop: Whether it begins again at its end.
        restamp: Whether messages are stamped with the present time instead of the recorded one.
        clock: Whether the recorded time is published on /clock, 40 times per second.
        reliable: Whether messages are sent again until they arrive.
        wait_s: Longest time to wait for the first subscriber of an image topic; 0 does not wait.
    """

    rate: float = 1.0
    start_s: float = 0.0
    duration_s: float | None = None
    loop: bool = False
    restamp: bool = False
    clock: bool = False
    reliable: bool = True
    wait_s: float = 60.0


class Player:
    """Publishes a recording.

    Args:
        node: Node that publishes.
        playback: The recording.
        pace: How it is played.

    Raises:
        PlayError: A topic of the recording has a name that ROS 2 does not accept.
    """

    def __init__(self, node: Node, playback: Playback, pace: Pace) -> None:
        self._playback, self._pace = playback, pace
        reliability = ReliabilityPolicy.RELIABLE if pace.reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=DEPTH, reliability=reliability)
        for topic in playback.topics:
            check_topic_name(topic, playback.path, PlayError)
        self._publishers: dict[str, Any] = {
            topic: node.create_publisher(message_type(kind), topic, qos) for topic, kind in playback.topics.items()
        }
        self._clock = node.create_publisher(message_type(CLOCK), "/clock", 10) if pace.clock else None

    def play(self, stopping: Stopping, on_sent: Callable[[CameraMessage], object], on_error: OnError = refuse) -> None:
        """Waits for a subscriber and publishes to the end of the recording, or until the process is told to end.

        Args:
            stopping: Returns whether the process has received a signal to end.
            on_sent: Called after each message.
            on_error: As for `Playback.messages`.

        Raises:
            PlayError: No image topic has a subscriber within ``wait_s``, or there is nothing to play.
            RecordingError: The recording is damaged.
        """
        self._wait(stopping)
        again = True
        while again and not stopping():
            sent = 0
            for message in self._paced(stopping, on_error):
                self._publishers[message.topic].publish(message.data)
                on_sent(message)
                sent += 1
            if not sent and not stopping():
                raise PlayError("nothing to play", where=self._playback.path, hint="Check --start and --duration.")
            again = self._pace.loop
        if self._pace.reliable and not stopping():
            for publisher in self._publishers.values():
                publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_S))

    def _wait(self, stopping: Stopping) -> None:
        images = [topic for topic, kind in self._playback.topics.items() if kind != CAMERA_INFO] or self._publishers
        if not self._pace.wait_s:
            return
        end = time.monotonic() + self._pace.wait_s
        while not any(self._publishers[topic].get_subscription_count() for topic in images):
            if stopping():
                return
            if time.monotonic() > end:
                hint = "Start the node first, or wait longer with --wait; --wait 0 plays at once."
                raise PlayError("nobody subscribes", where=", ".join(images), hint=hint)
            time.sleep(CLOCK_PERIOD_S)
        time.sleep(SETTLE_S)

    def _paced(self, stopping: Stopping, on_error: OnError) -> Iterator[CameraMessage]:
        """Yields each message when it is due. In a loop, the period of the first topic goes on from round to round."""
        pace, begin = self._pace, time.monotonic()
        times_ns: list[int] = []  # of the first topic
        topic = ""
        for message in self._playback.messages(pace.start_s, pace.duration_s, on_error):
            topic = topic or message.topic
            if message.topic == topic:
                times_ns.append(message.time_ns)
            self._wait_until(begin + 1e-9 * (message.time_ns - times_ns[0]) / pace.rate, message.time_ns, stopping)
            if stopping():
                return
            yield message.stamped(time.time_ns()) if pace.restamp else message
        if pace.loop and times_ns:  # without a pause, the node would drop an image
            first_ns, last_ns = times_ns[0], times_ns[-1]
            end_ns = last_ns + ((last_ns - first_ns) // (len(times_ns) - 1) if len(times_ns) > 1 else PERIOD_NS)
            self._wait_until(begin + 1e-9 * (end_ns - first_ns) / pace.rate, end_ns, stopping)

    def _wait_until(self, due_s: float, time_ns: int, stopping: Stopping) -> None:
        """Waits until a monotonic time, seconds, at which the recorded time is ``time_ns``."""
        while (left := due_s - time.monotonic()) > 0 and not stopping():
            self._publish_clock(time_ns - round(1e9 * left * self._pace.rate))
            time.sleep(min(left, CLOCK_PERIOD_S))
        self._publish_clock(time_ns)

    def _publish_clock(self, time_ns: int) -> None:
        if self._clock:
            seconds, nanoseconds = divmod(time_ns, 10**9)
            self._clock.publish(new(CLOCK, clock=new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)))


def play(
    playback: Playback,
    pace: Pace,
    stopping: Stopping,
    on_sent: Callable[[CameraMessage], object] = lambda message: None,
    on_error: OnError = refuse,
) -> None:
    """Plays a recording as a ROS node of its own, see `Player.play`."""
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        Player(rclpy.create_node("camera"), playback, pace).play(stopping, on_sent, on_error)
    finally:
        rclpy.shutdown()
